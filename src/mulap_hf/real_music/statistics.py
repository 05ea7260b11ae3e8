"""Means over recordings with bootstrap intervals, and paired differences between models."""

from dataclasses import dataclass

import numpy as np

from ..metrics.scores import COVERAGE

Number = dict[str, float]


@dataclass(frozen=True)
class Outcomes:
    """What a model achieved on each recording.

    Attributes:
        names: Names of the recordings.
        values: Between 0 and 1, `(recordings,)`.
        strata: Class of each recording, `(recordings,)`, if every class counts the same (balanced accuracy).
    """

    names: list[str]
    values: np.ndarray
    strata: np.ndarray | None = None

    def _weights(self) -> np.ndarray:
        """Weight of each recording in the score; they sum to 1."""
        if self.strata is None:
            return np.full(len(self.values), 1 / len(self.values))
        _, classes, counts = np.unique(self.strata, return_inverse=True, return_counts=True)
        return 1 / counts[classes] / len(counts)

    @property
    def score(self) -> float:
        return float(self.values @ self._weights())

    def mean(self, resamples: int, seed: int) -> Number:
        """Return `value` with its 95 % interval from `low` to `high`."""
        return _number(self.values, self, resamples, seed)

    def minus(self, other: "Outcomes", resamples: int, seed: int) -> Number:
        """Return the difference to another model on the recordings that both have, resampled together."""
        place = {name: row for row, name in enumerate(other.names)}
        rows = [row for row, name in enumerate(self.names) if name in place]
        strata = None if self.strata is None else self.strata[rows]
        common = Outcomes([self.names[row] for row in rows], self.values[rows], strata)
        return _number(common.values - other.values[[place[name] for name in common.names]], common, resamples, seed)


def _number(values: np.ndarray, outcomes: Outcomes, resamples: int, seed: int) -> Number:
    """Weighted mean of values with a percentile interval; classes with equal weight are resampled one by one."""
    rng = np.random.default_rng(seed)
    weights, strata = outcomes._weights(), outcomes.strata
    groups = (
        [np.arange(len(values))] if strata is None else [np.flatnonzero(strata == one) for one in np.unique(strata)]
    )
    drawn = np.concatenate([rng.choice(rows, (resamples, len(rows))) for rows in groups], axis=1)
    low, high = np.percentile((values * weights)[drawn].sum(axis=1), COVERAGE)
    return {"value": float(values @ weights), "low": float(low), "high": float(high)}


def compare(difference: Number) -> str:
    """Return "above", "below", or "not significantly different from", by the interval of a difference."""
    if difference["low"] > 0:
        return "above"
    return "below" if difference["high"] < 0 else "not significantly different from"
