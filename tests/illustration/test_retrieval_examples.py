"""Retrieval examples: ranks, results and chance, compared with values computed by hand."""

import numpy as np
import pytest
from pictures import assert_shows_data
from tones import SIZES, make_rows

from mulap_hf.illustration.data_split import DataSplit
from mulap_hf.illustration.retrieval import chance_recall, illustrate_retrieval
from mulap_hf.transfer.pair_scores import PairScorer

# Three recordings; the first two have the same description.
SIMILARITY = np.array([[0.1, 0.4], [0.3, 0.2], [0.9, 0.3]], dtype=np.float32)  # (clips, texts)
LOG_ODDS = np.array([[5.0, 1.0], [4.0, 2.0], [-1.0, 3.0]], dtype=np.float32)
CAPTIONS = {"test-000": "calm", "test-001": "calm", "test-002": "loud"}


@pytest.fixture
def three(split, monkeypatch) -> DataSplit:
    """The first three recordings, with known scores."""
    monkeypatch.setattr(type(split.data), "captions", lambda self, split: CAPTIONS)
    monkeypatch.setattr(PairScorer, "contrastive", lambda self, clips, texts: SIMILARITY)

    def matching(self, clips, texts, wanted=None, label=""):
        return np.where(np.ones(SIMILARITY.shape, dtype=bool) if wanted is None else wanted, LOG_ODDS, np.nan)

    monkeypatch.setattr(PairScorer, "matching", matching)
    return split


def test_ranks_and_results_of_known_scores(tmp_path, scorer, three, cache, monkeypatch):
    monkeypatch.setattr("mulap_hf.illustration.retrieval._NUM_RESULTS", 1)
    shown = illustrate_retrieval(scorer, three, cache, tmp_path, recordings=9, queries=5, top_k=1, seed=0)
    numbers = shown.numbers
    assert (numbers["recordings"], numbers["descriptions"]) == (3, 2)
    queries = {query["description"]: query for query in numbers["queries"]}
    assert set(queries) == {"calm", "loud"}  # there are only two descriptions
    # calm: 0.9 (other), 0.3 (target). loud: 0.4 (other), 0.3 (target). Re-ranking one result changes no order.
    assert queries["calm"]["target_rank"] == {"contrastive": 2, "reranked": 2}
    assert queries["loud"]["target_rank"] == {"contrastive": 2, "reranked": 2}
    first, target = queries["calm"]["results"]["contrastive"]
    scores = {"similarity": pytest.approx(0.9), "log_odds": -1.0}
    texts = {"description": "loud", "labels": three.labels("test-002")}
    assert first == {"rank": 1, "id": "test-002", "target": False, **scores, **texts}
    row = make_rows("test", 3)[2]
    assert texts["labels"] == [row["register"], ", ".join(row["sound"])]
    assert (target["rank"], target["id"], target["target"]) == (2, "test-001", True)
    assert numbers["recall"]["contrastive"] == {"r1": 0.0, "r5": 1.0, "r10": 1.0}
    assert numbers["recall"]["chance"]["r1"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert numbers["median_rank"]["contrastive"] == 2
    assert "Rank of the target among 3 recordings: 2 (contrastive), 2 (reranked)." in shown.text
    for name in shown.pictures:
        assert_shows_data(tmp_path / name)
    assert shown.pictures == ["retrieval_1.png", "retrieval_2.png", "retrieval_ranks.png"]


def test_results_are_reranked_by_the_log_odds(tmp_path, scorer, three, cache):
    shown = illustrate_retrieval(scorer, three, cache, tmp_path, recordings=9, queries=2, top_k=3, seed=0)
    results = {query["description"]: query["results"]["reranked"] for query in shown.numbers["queries"]}
    assert [(one["id"], one["target"]) for one in results["calm"]] == [
        ("test-000", True),
        ("test-001", True),
        ("test-002", False),
    ]
    assert [one["log_odds"] for one in results["loud"]] == [3, 2, 1]
    assert shown.numbers["ranks"] == {"contrastive": [2, 2], "reranked": [1, 1]}


def test_ranks_of_a_model_follow_from_its_scores(tmp_path, folders, split, cache):
    scorer = PairScorer(folders["dual"], "cpu", progress=False)
    shown = illustrate_retrieval(scorer, split, cache, tmp_path, recordings=500, queries=2, top_k=3, seed=0)
    assert list(shown.numbers["ranks"]) == ["contrastive"] and shown.numbers["recordings"] == SIZES["test"]
    for query in shown.numbers["queries"]:
        results = query["results"]["contrastive"]
        scores = [result["similarity"] for result in results]
        assert scores == sorted(scores, reverse=True) and any(result["target"] for result in results)
        for result in results:
            assert result["target"] == (split.captions[result["id"]] == query["description"])
        target_rank = next(result["rank"] for result in results if result["target"])
        assert query["target_rank"]["contrastive"] == target_rank
    again = illustrate_retrieval(scorer, split, cache, tmp_path, recordings=500, queries=2, top_k=3, seed=0)
    assert again.numbers == shown.numbers


def test_chance_is_that_of_drawing_without_replacement():
    chance = chance_recall(np.array([1, 2]), 4)
    both = [(1 / 4 + 1 / 2) / 2, (2 / 4 + 5 / 6) / 2, (3 / 4 + 1) / 2, 1]
    np.testing.assert_allclose(chance, both)
