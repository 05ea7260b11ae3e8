"""Retrieval metrics with several relevant items and ties, and their bootstrap intervals over queries."""

from collections.abc import Callable

import numpy as np

from .scores import COVERAGE

RANKS = (1, 5, 10)
_PRECISION_RANK = 10


def score_queries(scores: np.ndarray, relevant: np.ndarray) -> dict[str, np.ndarray]:
    """Return the retrieval metrics of each query.

    Items with equal scores count as if in random order: every metric is its exact expectation over all such orders.
    If all scores are equal, the metrics are at chance.

    Args:
        scores: Similarity of each query and item, `(queries, items)`.
        relevant: Whether an item is relevant to a query, `(queries, items)`, bool; at least one per query.

    Returns:
        Arrays `(queries,)`: `r1`, `r5` and `r10`, the probability that a relevant item is among the first 1, 5 or 10;
        `rank`, the rank of the first relevant item, from 1; `ap10`, the average precision at 10, divided by the
        smaller of 10 and the number of relevant items (ties as in McSherry & Najork, ECIR 2008, section 3).

    Raises:
        ValueError: The shapes differ, a score is NaN, or a query has no relevant item.
    """
    scores = np.asarray(scores, dtype=float)  # negating unsigned integers would wrap around
    if scores.shape != relevant.shape or scores.ndim != 2 or not scores.size:
        raise ValueError(
            f"scores and relevant must have the same shape (queries, items) with at least one element; got "
            f"{scores.shape} and {relevant.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError(
            f"{np.isnan(scores).sum()} of the {scores.size} scores are NaN; check the model for divergence and its "
            "input for NaN"
        )
    if not relevant.any(axis=1).all():
        missing = int(np.flatnonzero(~relevant.any(axis=1))[0])
        raise ValueError(f"query {missing} has no relevant item; remove queries without relevant items")
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    above, tied = (scores > best).sum(axis=1), scores == best
    tied_relevant = (tied & relevant).sum(axis=1)
    tied_others = tied.sum(axis=1) - tied_relevant
    values = {"rank": above + 1 + tied_others / (tied_relevant + 1)}
    for depth in RANKS:
        missed = np.ones(len(scores))  # probability that no relevant item is among the first `depth`
        for place in range(depth):
            others_left = np.maximum(tied_others - place, 0)
            missed *= np.where(place < depth - above, others_left / np.maximum(others_left + tied_relevant, 1), 1)
        values[f"r{depth}"] = 1 - missed
    return values | {"ap10": _average_precision(scores, relevant)}


def _average_precision(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the expected average precision at 10 of each query over all orders of tied items."""
    depth = min(_PRECISION_RANK, scores.shape[1])
    levels = -np.partition(-scores, np.arange(depth), axis=1)[:, :depth]  # (queries, ranks), descending
    total = np.zeros(len(scores))
    for rank, level in enumerate(levels.T, start=1):
        above, tied = scores > level[:, None], scores == level[:, None]
        num_above, relevant_above = above.sum(axis=1), (above & relevant).sum(axis=1)
        num_tied, relevant_tied = tied.sum(axis=1), (tied & relevant).sum(axis=1)
        # Given a relevant item at this rank: the fraction of relevant items among the other tied ones.
        fraction = np.maximum(relevant_tied - 1, 0) / np.maximum(num_tied - 1, 1)
        precision = (relevant_above + 1 + (rank - num_above - 1) * fraction) / rank
        total += relevant_tied / num_tied * precision
    return total / np.minimum(relevant.sum(axis=1), depth)


# Name of a summary -> (key of `score_queries`, statistic over the queries).
_SUMMARIES: dict[str, tuple[str, Callable]] = {
    **{f"r{depth}": (f"r{depth}", np.mean) for depth in RANKS},
    "median_rank": ("rank", np.median),
    "map10": ("ap10", np.mean),
}


def score_retrieval(scores: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """Return `r1`, `r5`, `r10`, `median_rank` and `map10` over all queries; see `score_queries`."""
    values = score_queries(scores, relevant)
    return {name: float(summarize(values[source])) for name, (source, summarize) in _SUMMARIES.items()}


def report_retrieval(
    scores: np.ndarray, relevant: np.ndarray, resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, float | None]]:
    """Return the metrics of `score_retrieval` with 95 % percentile bootstrap intervals over queries.

    Args:
        scores, relevant: See `score_queries`.
        resamples: Number of bootstrap resamples; 0 for no intervals.
        seed: Seed of the resamples; the same seed draws the same queries.

    Returns:
        Dictionaries with `value`, `low` and `high`, by name of the metric.
    """
    values = score_queries(scores, relevant)
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(scores), size=len(scores)) for _ in range(resamples)]
    report = {}
    for name, (source, summarize) in _SUMMARIES.items():
        resampled = [summarize(values[source][rows]) for rows in draws]
        low, high = map(float, np.percentile(resampled, COVERAGE)) if draws else (None, None)
        report[name] = {"value": float(summarize(values[source])), "low": low, "high": high}
    return report
