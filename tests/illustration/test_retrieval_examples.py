"""Retrieval examples: ranks and results against those counted by hand, and chance."""

import numpy as np
import pytest
from pictures import colors
from tones import SIZES, make_rows

from mulap_hf.illustration.material import Material
from mulap_hf.illustration.retrieval import chance_recall, illustrate_retrieval
from mulap_hf.transfer.pair_scores import PairScorer

# Three recordings, of which the first two go by one description.
SIMILARITY = np.array([[0.1, 0.4], [0.3, 0.2], [0.9, 0.3]], dtype=np.float32)  # (clips, texts)
LOG_ODDS = np.array([[5.0, 1.0], [4.0, 2.0], [-1.0, 3.0]], dtype=np.float32)
CAPTIONS = {"test-000": "calm", "test-001": "calm", "test-002": "loud"}


@pytest.fixture
def three(material, monkeypatch) -> Material:
    """The first three recordings, with known scores."""
    monkeypatch.setattr(type(material.data), "captions", lambda self, split: CAPTIONS)
    monkeypatch.setattr(PairScorer, "contrastive", lambda self, clips, texts: SIMILARITY)

    def matching(self, clips, texts, wanted=None, label=""):
        return np.where(np.ones(SIMILARITY.shape, dtype=bool) if wanted is None else wanted, LOG_ODDS, np.nan)

    monkeypatch.setattr(PairScorer, "matching", matching)
    return material


def test_ranks_are_those_counted_by_hand(tmp_path, scorer, three, cache, monkeypatch):
    monkeypatch.setattr("mulap_hf.illustration.retrieval._SHOWN", 1)
    shown = illustrate_retrieval(scorer, three, cache, tmp_path, recordings=9, queries=5, top_k=1, seed=0)
    numbers = shown.numbers
    assert (numbers["recordings"], numbers["descriptions"]) == (3, 2)
    queries = {query["description"]: query for query in numbers["queries"]}
    assert set(queries) == {"calm", "loud"}  # no more than there are
    # calm: 0.9 (wrong), 0.3 (right). loud: 0.4 (wrong), 0.3 (right). A shortlist of one changes no order.
    assert queries["calm"]["rank"] == {"contrastive": 2, "reranked": 2}
    assert queries["loud"]["rank"] == {"contrastive": 2, "reranked": 2}
    first, right = queries["calm"]["results"]["contrastive"]
    scores = {"similarity": pytest.approx(0.9), "log_odds": -1.0}
    said = {"description": "loud", "labels": three.labels("test-002")}
    assert first == {"place": 1, "id": "test-002", "right": False, **scores, **said}
    row = make_rows("test", 3)[2]
    assert said["labels"] == [row["register"], ", ".join(row["sound"])]
    assert (right["place"], right["id"], right["right"]) == (2, "test-001", True)
    assert numbers["recall"]["contrastive"] == {"r1": 0.0, "r5": 1.0, "r10": 1.0}
    assert numbers["recall"]["chance"]["r1"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert numbers["median_rank"]["contrastive"] == 2
    assert "Rank of the right recording: contrastive 2, reranked 2 of 3." in shown.text
    for name in shown.pictures:
        assert colors(tmp_path / name) > 10
    assert shown.pictures == ["retrieval_1.png", "retrieval_2.png", "retrieval_ranks.png"]


def test_reranked_by_the_log_odds(tmp_path, scorer, three, cache):
    shown = illustrate_retrieval(scorer, three, cache, tmp_path, recordings=9, queries=2, top_k=3, seed=0)
    results = {query["description"]: query["results"]["reranked"] for query in shown.numbers["queries"]}
    assert [(one["id"], one["right"]) for one in results["calm"]] == [
        ("test-000", True),
        ("test-001", True),
        ("test-002", False),
    ]
    assert [one["log_odds"] for one in results["loud"]] == [3, 2, 1]
    assert shown.numbers["ranks"] == {"contrastive": [2, 2], "reranked": [1, 1]}


def test_of_a_real_model_the_ranks_follow_from_its_scores(tmp_path, folders, material, cache):
    scorer = PairScorer(folders["dual"], "cpu", progress=False)
    shown = illustrate_retrieval(scorer, material, cache, tmp_path, recordings=500, queries=2, top_k=3, seed=0)
    assert list(shown.numbers["ranks"]) == ["contrastive"] and shown.numbers["recordings"] == SIZES["test"]
    for query in shown.numbers["queries"]:
        results = query["results"]["contrastive"]
        scores = [result["similarity"] for result in results]
        assert scores == sorted(scores, reverse=True) and any(result["right"] for result in results)
        for result in results:
            assert result["right"] == (material.captions[result["id"]] == query["description"])
        assert query["rank"]["contrastive"] == next(result["place"] for result in results if result["right"])
    again = illustrate_retrieval(scorer, material, cache, tmp_path, recordings=500, queries=2, top_k=3, seed=0)
    assert again.numbers == shown.numbers


def test_chance_is_that_of_drawing_without_putting_back():
    chance = chance_recall(np.array([1, 2]), 4)
    both = [(1 / 4 + 1 / 2) / 2, (2 / 4 + 5 / 6) / 2, (3 / 4 + 1) / 2, 1]
    np.testing.assert_allclose(chance, both)
