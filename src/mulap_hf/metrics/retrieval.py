"""Measures of retrieval, with several right answers and ties, and bootstrap intervals over queries."""

from collections.abc import Callable

import numpy as np

from .scores import COVERAGE

RANKS = (1, 5, 10)
_PRECISION_RANK = 10


def score_queries(scores: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """How well each query finds its right items, where items of equal score stand in random order.

    All values are expectations over these orders, exact: where all scores are equal, they are chance. (A query whose
    right item ties with everything would otherwise be first, or last, by the way that ranks are counted.)

    Args:
        scores: `(queries, items)`.
        right: `(queries, items)`, bool, which items answer the query; at least one.

    Returns:
        `(queries,)` each: `r1`, `r5`, `r10`, chance of a right item among the first so many; `rank` of the first right
        item, from 1; `ap10`, average precision of the first ten, over the smaller of ten and the number of right
        items, with ties as in McSherry & Najork (ECIR 2008, section 3).

    Raises:
        ValueError: the shapes differ, a score is NaN, or a query has no right item.
    """
    scores = np.asarray(scores, dtype=float)  # of unsigned integers, the negatives would be wrong
    if scores.shape != right.shape or scores.ndim != 2 or not scores.size:
        raise ValueError(
            f"scores {scores.shape} and right {right.shape} must both be (queries, items), of at least one"
        )
    if np.isnan(scores).any():
        raise ValueError(f"{np.isnan(scores).sum()} of the scores are not numbers: the model has diverged")
    if not right.any(axis=1).all():
        raise ValueError(f"query {int(np.flatnonzero(~right.any(axis=1))[0])} has no right item")
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    above, tied = (scores > best).sum(axis=1), scores == best
    tied_right = (tied & right).sum(axis=1)
    tied_wrong = tied.sum(axis=1) - tied_right
    values = {"rank": above + 1 + tied_wrong / (tied_right + 1)}
    for most in RANKS:
        missed = np.ones(len(scores))  # chance that none of the places left to the tied items has a right one
        for place in range(most):
            wrong_left = np.maximum(tied_wrong - place, 0)
            missed *= np.where(place < most - above, wrong_left / np.maximum(wrong_left + tied_right, 1), 1)
        values[f"r{most}"] = 1 - missed
    return values | {"ap10": _average_precision(scores, right)}


def _average_precision(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    deepest = min(_PRECISION_RANK, scores.shape[1])
    levels = -np.partition(-scores, np.arange(deepest), axis=1)[:, :deepest]  # (queries, places), descending
    total = np.zeros(len(scores))
    for place, level in enumerate(levels.T, start=1):
        above, tied = scores > level[:, None], scores == level[:, None]
        before, right_before = above.sum(axis=1), (above & right).sum(axis=1)
        among, right_among = tied.sum(axis=1), (tied & right).sum(axis=1)
        others = np.maximum(right_among - 1, 0) / np.maximum(among - 1, 1)  # right ones among the other tied ones
        precision = (right_before + 1 + (place - before - 1) * others) / place
        total += right_among / among * precision
    return total / np.minimum(right.sum(axis=1), deepest)


# What is said of all queries, and how.
_SUMMARIES: dict[str, tuple[str, Callable]] = {
    **{f"r{most}": (f"r{most}", np.mean) for most in RANKS},
    "median_rank": ("rank", np.median),
    "map10": ("ap10", np.mean),
}


def score_retrieval(scores: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """`r1`, `r5`, `r10`, `median_rank` and `map10` of all queries: see `score_queries`."""
    values = score_queries(scores, right)
    return {name: float(summarize(values[source])) for name, (source, summarize) in _SUMMARIES.items()}


def report_retrieval(
    scores: np.ndarray, right: np.ndarray, resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, float | None]]:
    """`score_retrieval` with 95 % percentile bootstrap intervals over the queries, among the same items.

    Args:
        scores, right: see `score_queries`.
        resamples: how many; none: no intervals.
        seed: of the draws; the same one draws the same queries.

    Returns:
        `value`, `low` and `high`, by name of the metric.
    """
    values = score_queries(scores, right)
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(scores), size=len(scores)) for _ in range(resamples)]
    report = {}
    for name, (source, summarize) in _SUMMARIES.items():
        resampled = [summarize(values[source][rows]) for rows in draws]
        low, high = map(float, np.percentile(resampled, COVERAGE)) if draws else (None, None)
        report[name] = {"value": float(summarize(values[source])), "low": low, "high": high}
    return report
