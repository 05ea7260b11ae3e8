"""Retrieval metrics, compared with known rankings, closed forms for ties, and enumerated orders of tied items."""

import itertools

import numpy as np
import pytest

from mulap_hf.metrics.retrieval import report_retrieval, score_queries, score_retrieval


def test_known_rankings():
    """Four items per query, with relevant ones at the ranks 1 and 3; 2; 4."""
    scores = np.array([[0.9, 0.2, 0.5, 0.1], [0.3, 0.8, 0.4, 0.6], [0.4, 0.3, 0.2, 0.1]])
    relevant = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]], bool)
    relevant[0, 1] = True
    values = score_queries(scores, relevant)
    np.testing.assert_allclose(values["rank"], [1, 2, 4])
    np.testing.assert_allclose(values["r1"], [1, 0, 0])
    np.testing.assert_allclose(values["r5"], [1, 1, 1])
    np.testing.assert_allclose(values["ap10"], [(1 + 2 / 3) / 2, 1 / 2, 1 / 4])
    summary = score_retrieval(scores, relevant)
    assert summary == pytest.approx({"r1": 1 / 3, "r5": 1, "r10": 1, "median_rank": 2, "map10": (5 / 6 + 3 / 4) / 3})


@pytest.mark.parametrize("number", [1, 3])
def test_equal_scores_are_at_chance(number):
    items = 20
    relevant = np.zeros((4, items), bool)
    relevant[:, :number] = True
    scores = score_retrieval(np.zeros((4, items)), relevant)
    assert scores["r1"] == pytest.approx(number / items)
    missed = np.prod([(items - number - place) / (items - place) for place in range(10)])
    assert scores["r10"] == pytest.approx(1 - missed)
    assert scores["median_rank"] == pytest.approx((items + 1) / (number + 1))
    if number == 1:
        assert scores["map10"] == pytest.approx(sum(1 / rank for rank in range(1, 11)) / items)


def test_ties_are_the_mean_of_all_orders():
    rng = np.random.default_rng(0)
    scores, relevant = rng.integers(3, size=(8, 6)), rng.random((8, 6)) < 0.4
    relevant[:, 2] |= ~relevant.any(axis=1)
    orders = [np.array(order) for order in itertools.permutations(range(6))]
    # Adding a small offset that depends on the order breaks the ties in that order.
    broken = [score_queries(scores + 1e-3 * order, relevant) for order in orders]
    for name, values in score_queries(scores, relevant).items():
        np.testing.assert_allclose(values, np.mean([one[name] for one in broken], axis=0), err_msg=name)


def test_the_order_of_queries_and_items_does_not_matter():
    rng = np.random.default_rng(1)
    scores, relevant = rng.integers(9, size=(12, 30)), rng.random((12, 30)) < 0.2
    relevant[:, 0] |= ~relevant.any(axis=1)
    rows, columns = rng.permutation(12), rng.permutation(30)
    assert score_retrieval(scores[rows][:, columns], relevant[rows][:, columns]) == pytest.approx(
        score_retrieval(scores, relevant)
    )


def test_intervals_are_over_queries():
    """With R@1 = 0.25 over 400 queries, the standard deviation is sqrt(0.25 * 0.75 / 400)."""
    relevant = np.eye(2, dtype=bool)[np.zeros(400, int)]
    scores = np.where(np.arange(400)[:, None] < 100, [[1.0, 0.0]], [[0.0, 1.0]])
    report = report_retrieval(scores, relevant, resamples=2000)
    deviation = np.sqrt(0.25 * 0.75 / 400)
    assert report["r1"]["value"] == 0.25
    assert report["r1"]["low"] == pytest.approx(0.25 - 1.96 * deviation, abs=0.004)
    assert report["r1"]["high"] == pytest.approx(0.25 + 1.96 * deviation, abs=0.004)
    assert report["median_rank"] == {"value": 2, "low": 2, "high": 2}
    assert report == report_retrieval(scores, relevant, resamples=2000)
    assert report_retrieval(scores, relevant, resamples=0)["r1"] == {"value": 0.25, "low": None, "high": None}


@pytest.mark.parametrize(
    ("scores", "relevant", "message"),
    [
        (np.zeros((2, 3)), np.ones((3, 2), bool), r"got \(2, 3\) and \(3, 2\)"),
        (np.array([[np.nan, 0.0]]), np.ones((1, 2), bool), "1 of the 2 scores are NaN"),
        (np.zeros((2, 2)), np.array([[True, False], [False, False]]), "query 1 has no relevant item"),
    ],
)
def test_errors_name_the_invalid_input(scores, relevant, message):
    with pytest.raises(ValueError, match=message):
        score_queries(scores, relevant)
