"""Metrics of tagging, classification and regression, and their bootstrap intervals over tracks.

A bootstrap resample of n tracks is represented by n weights: how often each track was drawn. Every metric is computed
for many resamples at once, so that work that does not depend on the weights, such as sorting, is done once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# The metric that selects the best epoch, by kind of task.
MAIN_METRIC = {"multi_label": "roc_auc", "single_label": "accuracy", "regression": "r2"}
COVERAGE = (2.5, 97.5)  # percentiles of a 95 % interval
# Largest number of scores in a block of resamples; a block takes about 150 MB.
_BLOCK = 2**22
_NO_SCORES = "scores is an empty list; pass one array, or one array per training seed"

Scores = np.ndarray | Sequence[np.ndarray]
# Weights `(resamples, tracks)` -> metrics over all outputs, `(resamples,)`, and per output, `(resamples, outputs)`.
_Measure = Callable[[np.ndarray], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


def score(kind: str, truth: np.ndarray, scores: Scores) -> dict[str, float]:
    """Return the metrics of a task, with the values of scikit-learn and SciPy.

    Args:
        kind: Kind of the task: "multi_label", "single_label" or "regression".
        truth: For multi_label, zeros and ones `(tracks, tags)`; for single_label, class indices `(tracks,)`; for
            regression, values `(tracks, dimensions)`.
        scores: For multi_label, scores of any scale `(tracks, tags)`; for single_label, scores of any scale
            `(tracks, classes)`, whose maximum is the prediction; for regression, values `(tracks, dimensions)`. Or a
            list of such arrays, one per training seed, whose metrics are averaged.

    Returns:
        * multi_label: `roc_auc` and `pr_auc`, averaged over the tags, and `roc_auc_micro` and `pr_auc_micro` over all
          pairs of track and tag. PR-AUC is average precision without interpolation. Tags that no track or every track
          has are excluded from the averages, because their ROC curve is undefined.
        * single_label: `accuracy` and `macro_f1`, averaged over the classes that occur in truth or predictions.
        * regression: `r2` and `pearson` (0 for constant predictions), averaged over the dimensions whose truth is not
          constant.

        NaN if all tags or dimensions are excluded.

    Raises:
        ValueError: Shapes do not match, scores are NaN, or truth has values that the kind of task does not allow.
    """
    return {name: float(values[0]) for name, values in _on_all_tracks(kind, truth, scores, 0).items()}


def score_outputs(kind: str, truth: np.ndarray, scores: Scores, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the metrics of each tag (`roc_auc`, `pr_auc`), class (`f1`) or dimension (`r2`, `pearson`).

    Args:
        kind, truth, scores: See `score`.
        names: Names of the outputs (tags, classes or dimensions).

    Returns:
        A dictionary of metrics by name of the output. NaN for undefined metrics: a tag that no track or every track
        has, a class that occurs neither in truth nor in predictions, a dimension whose truth is constant.

    Raises:
        ValueError: As `score`, or the names are not one distinct name per output.
    """
    measures = _on_all_tracks(kind, truth, scores, 1)
    count = next(iter(measures.values())).shape[1]
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"names has {len(set(names))} distinct names for {count} outputs; pass one name per output")
    return {
        name: {measure: float(values[0, index]) for measure, values in measures.items()}
        for index, name in enumerate(names)
    }


def intervals(
    kind: str, truth: np.ndarray, scores: Scores, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return 95 % bootstrap intervals of the metrics of `score`: bias-corrected percentiles over resamples.

    * One array: tracks are resampled. An interval covers the uncertainty from the choice of test tracks, for a fixed
      model.
    * A list of arrays, one per training seed: tracks and seeds are resampled. An interval also covers the uncertainty
      from the training seed. Resampling S seeds underestimates the variance between seeds by the factor (S - 1) / S,
      so intervals from two or three seeds are too narrow.

    The bias, the mean over the resamples minus the metric (Efron & Tibshirani 1993, chapter 10), is subtracted because
    repeated tracks increase average precision; uncorrected percentiles may not even contain the metric. The other
    metrics have hardly any bias.

    Intervals of `pr_auc` are too narrow for rare tags. In simulations (ten tags of ROC-AUC 0.80, 250 tracks) they
    covered the true value in 59 % of the cases with 5 positives per tag, 75 % with 15, and 89 % with 50. Intervals of
    the other metrics covered it in 91 % to 94 %.

    Each resample excludes its undefined tags, classes and dimensions from the averages, as `score` does.

    Args:
        kind, truth, scores: See `score`.
        resamples: Number of bootstrap resamples, at least 1.
        seed: Seed of the resamples. The indices of n tracks are those of
            `numpy.random.default_rng([seed, 0]).integers(n, size=(resamples, n))`.

    Returns:
        `(low, high)` by name of the metric; NaN if the metric is undefined in every resample.

    Raises:
        ValueError: As `score`, or `resamples` is below 1.
    """
    found = interval_of([resample(kind, truth, one, resamples, seed) for one in _per_seed(scores)], seed)
    return {name: (low, high) for name, (_, low, high) in found.items()}


def paired_difference(
    kind: str, truth: np.ndarray, scores_a: Scores, scores_b: Scores, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """Return the difference of the metrics of two systems on the same tracks, a minus b, with its 95 % interval.

    Both systems are evaluated on the same resamples of tracks. In two lists, arrays at the same position belong to the
    same training seed, and seeds are resampled in pairs. A single array is compared with every seed of the other list.

    Args:
        kind, truth, scores_a, scores_b: See `score`.
        resamples, seed: See `intervals`.

    Returns:
        `(difference, low, high)` by name of the metric.

    Raises:
        ValueError: As `intervals`, or the lists differ in length.
    """
    runs_a, runs_b = (
        [resample(kind, truth, one, resamples, seed) for one in _per_seed(scores)] for scores in (scores_a, scores_b)
    )
    return difference_of(runs_a, runs_b, seed)


@dataclass(frozen=True)
class Resampled:
    """Metrics of one system and training seed on all resamples.

    Two of them can be compared if they were made from the same tracks with the same bootstrap seed.

    Attributes:
        kind: Kind of the task.
        values: Metrics on all tracks by name, see `score`.
        resampled: Metrics on the resamples, `(resamples,)`, by name.
    """

    kind: str
    values: dict[str, float]
    resampled: dict[str, np.ndarray]


def resample(kind: str, truth: np.ndarray, scores: np.ndarray, resamples: int = 1000, seed: int = 0) -> Resampled:
    """Return the metrics of one system and training seed on all resamples.

    This is the expensive part of `intervals` and `paired_difference`. To compare many systems, call it once for each,
    then `interval_of` and `difference_of`.

    Args:
        kind, truth, scores: See `score`; one array, of one training seed.
        resamples, seed: See `intervals`.

    Raises:
        ValueError: As `intervals`.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1 for an interval, got {resamples}; 1000 is usual")
    (measure,) = _measures(kind, truth, scores)
    rng = np.random.default_rng([seed, 0])
    size = max(1, _BLOCK // np.size(scores))
    blocks = [
        measure(_counts(rng, min(size, resamples - start), len(truth)).astype(float))[0]
        for start in range(0, resamples, size)
    ]
    resampled = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return Resampled(kind, score(kind, truth, scores), resampled)


def interval_of(runs: Sequence[Resampled], seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Return `(value, low, high)` by name of the metric: the results of `score` and `intervals`.

    Args:
        runs: Resampled metrics, one per training seed.
        seed: See `intervals`.

    Raises:
        ValueError: `runs` is empty.
    """
    if not runs:
        raise ValueError(_NO_SCORES)
    lowest = -np.inf if runs[0].kind == "regression" else 0.0
    found = {}
    for name, (value, resampled) in _over_seeds(runs, seed).items():
        low, high = _interval(value, resampled)
        found[name] = (value, max(low, lowest), min(high, 1.0))  # NaN stays
    return found


def difference_of(
    runs_a: Sequence[Resampled], runs_b: Sequence[Resampled], seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """Return `(difference, low, high)` by name of the metric: the result of `paired_difference`.

    Args:
        runs_a, runs_b: Resampled metrics, one per training seed, or a single one.
        seed: See `intervals`.

    Raises:
        ValueError: The numbers of seeds differ.
    """
    if len({len(runs_a), len(runs_b)} - {1}) > 1:
        raise ValueError(
            f"scores_a has {len(runs_a)} training seeds and scores_b has {len(runs_b)}; pass the same seeds for both"
        )
    a, b = _over_seeds(runs_a, seed), _over_seeds(runs_b, seed)
    differences = {name: (a[name][0] - b[name][0], a[name][1] - b[name][1]) for name in a}
    return {name: (value, *_interval(value, resampled)) for name, (value, resampled) in differences.items()}


def report(
    kind: str,
    truth: np.ndarray,
    scores: Scores,
    names: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return all metrics of a task as JSON values: the result of `compute` of the `evaluate` modules.

    Args:
        kind, truth, scores: See `score`.
        names: Names of the outputs; None takes their indices as text.
        resamples, seed: See `intervals`; 0 resamples for no intervals.

    Returns:
        The metrics of `score`; `intervals`, `[low, high]` by name of the metric; `per_output`, see `score_outputs`;
        and the outputs that are excluded from the averages: for multi_label, the tags `without_positives` and
        `without_negatives`; for regression, the `constant` dimensions. NaN is returned as None.

    Raises:
        ValueError: As `score_outputs` and `intervals`.
    """
    result: dict[str, Any] = score(kind, truth, scores)
    if names is None:
        names = [str(index) for index in range(np.shape(_per_seed(scores)[0])[1])]
    if resamples:
        found = intervals(kind, truth, scores, resamples, seed)
        result["intervals"] = {name: list(interval) for name, interval in found.items()}
    result["per_output"] = score_outputs(kind, truth, scores, names)
    if kind == "multi_label":
        without = ("without_positives", "without_negatives")
        result |= {key: [names[tag] for tag in tags] for key, tags in zip(without, undefined_tags(truth), strict=True)}
    if kind == "regression":
        result["constant"] = [name for name, values in result["per_output"].items() if np.isnan(values["r2"])]
    return without_nan(result)


def report_lists(kind: str, references: list, predictions: list, *args) -> dict[str, Any]:
    """Return `report` of references and predictions given as lists of rows, as `evaluate` passes them.

    Raises:
        ValueError: As `report`, or rows differ in length.
    """
    for name, rows in (("references", references), ("predictions", predictions)):
        lengths = {np.size(row) for row in rows}
        if len(lengths) > 1:
            raise ValueError(f"{name} has rows of {min(lengths)} to {max(lengths)} values; pass rows of equal length")
    return report(kind, np.array(references), np.array(predictions), *args)


def without_nan(content: Any) -> Any:
    """Return a copy of nested dictionaries and lists with None in place of NaN, which JSON lacks."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content


def undefined_tags(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the tags that no track has and of those that every track has, for `(tracks, tags)`."""
    counts = np.count_nonzero(truth, axis=0)
    return np.flatnonzero(counts == 0), np.flatnonzero(counts == len(truth))


def _per_seed(scores: Scores) -> Sequence[np.ndarray]:
    return scores if isinstance(scores, list | tuple) else [scores]


def _on_all_tracks(kind: str, truth: np.ndarray, scores: Scores, part: int) -> dict[str, np.ndarray]:
    """Return the metrics on all tracks, averaged over seeds: over all outputs (part 0) or per output (part 1)."""
    values = [measure(np.ones((1, len(truth))))[part] for measure in _measures(kind, truth, scores)]
    return {name: sum(value[name] for value in values) / len(values) for name in values[0]}


def _over_seeds(runs: Sequence[Resampled], seed: int) -> dict[str, tuple[float, np.ndarray]]:
    """Return by name the mean over training seeds, and the mean over the seeds of each resample, `(resamples,)`."""
    resamples = len(next(iter(runs[0].resampled.values())))
    weights = _counts(np.random.default_rng([seed, 1]), resamples, len(runs)) / len(runs)  # (resamples, runs)
    return {
        name: (
            sum(run.values[name] for run in runs) / len(runs),
            sum(weight * run.resampled[name] for weight, run in zip(weights.T, runs, strict=True)),
        )
        for name in runs[0].values
    }


def _counts(rng: np.random.Generator, resamples: int, items: int) -> np.ndarray:
    """Draw with replacement; return how often each item is drawn, `(resamples, items)`."""
    drawn = rng.integers(items, size=(resamples, items)) + items * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * items).reshape(resamples, items)


def _interval(value: float, resampled: np.ndarray) -> tuple[float, float]:
    """Return the bias-corrected percentile interval of a metric; NaN if it is undefined in every resample."""
    resampled = resampled[~np.isnan(resampled)]
    if not len(resampled):
        return np.nan, np.nan
    low, high = np.percentile(resampled, COVERAGE) - (resampled.mean() - value)
    return float(low), float(high)


def _measures(kind: str, truth: np.ndarray, scores: Scores) -> list[_Measure]:
    """Check the input and return the metrics of each training seed as functions of the weights of the tracks.

    Raises:
        ValueError: See `score`.
    """
    if kind not in MAIN_METRIC:
        raise ValueError(f"unknown kind {kind!r}; choose one of {', '.join(MAIN_METRIC)}")
    truth, per_seed = np.asarray(truth), [np.asarray(one, dtype=float) for one in _per_seed(scores)]
    if not per_seed:
        raise ValueError(_NO_SCORES)
    for one in per_seed:
        _check(kind, truth, one)
    make = {"multi_label": _tagging, "single_label": _classification, "regression": _regression}[kind]
    return [make(truth, one) for one in per_seed]


def _check(kind: str, truth: np.ndarray, scores: np.ndarray):
    """Raise the ValueErrors of `score`."""
    fits = truth.shape == scores.shape[:1] if kind == "single_label" else truth.shape == scores.shape
    if scores.ndim != 2 or not scores.size or not fits:
        expected = "(tracks,)" if kind == "single_label" else "(tracks, outputs)"
        raise ValueError(
            f"{kind}: truth must have the shape {expected} and scores (tracks, outputs), with the same tracks and at "
            f"least one element; got {truth.shape} and {scores.shape}"
        )
    broken = ~np.isfinite(scores) if kind == "regression" else np.isnan(scores)  # infinite scores can be ranked
    if broken.any():
        raise ValueError(
            f"{broken.sum()} of the {scores.size} scores, in {broken.any(axis=1).sum()} tracks, are not finite; check "
            "the model for divergence and its input for NaN, or remove these tracks from truth and scores"
        )
    if kind == "multi_label" and not np.isin(truth, (0, 1)).all():
        raise ValueError(f"truth must be 0 or 1 for each tag, got {_some(truth[~np.isin(truth, (0, 1))])}")
    if kind == "single_label":
        outside = ~np.isin(truth, np.arange(scores.shape[1]))
        if outside.any():
            raise ValueError(
                f"truth must be indices of the {scores.shape[1]} classes, 0 to {scores.shape[1] - 1}, got "
                f"{_some(truth[outside])}"
            )
    if kind == "regression" and not np.isfinite(truth).all():
        raise ValueError(
            f"{int((~np.isfinite(truth)).sum())} values of truth are not finite; remove these tracks from truth and "
            "scores"
        )


def _some(values: np.ndarray) -> str:
    """Return up to five distinct values as text."""
    distinct = np.unique(values)
    return ", ".join(map(str, distinct[:5].tolist())) + (", ..." if len(distinct) > 5 else "")


def _tagging(truth: np.ndarray, scores: np.ndarray) -> _Measure:
    positive, tracks = truth == 1, np.arange(len(truth))
    tags = [_Ranking(has, of_tag, tracks) for has, of_tag in zip(positive.T, scores.T, strict=True)]
    pairs = _Ranking(positive.ravel(), scores.ravel(), np.repeat(tracks, truth.shape[1]))

    def measure(weights):
        roc, pr = np.stack([tag(weights) for tag in tags], axis=-1)  # (resamples, tags) each
        roc_micro, pr_micro = pairs(weights)
        totals = {"roc_auc": _mean_of_defined(roc), "pr_auc": _mean_of_defined(pr)}
        return totals | {"roc_auc_micro": roc_micro, "pr_auc_micro": pr_micro}, {"roc_auc": roc, "pr_auc": pr}

    return measure


class _Ranking:
    """Items sorted by score, for the ROC-AUC and the average precision on any resample of tracks.

    Args:
        positive: Whether an item is positive, `(items,)`, bool.
        scores: Score of each item, `(items,)`.
        tracks: Index of the track of each item, `(items,)`; an item has the weight of its track.
    """

    def __init__(self, positive: np.ndarray, scores: np.ndarray, tracks: np.ndarray):
        order = np.argsort(-scores, kind="stable")
        positive, scores = positive[order], scores[order]
        self._tracks = tracks[order]
        self._positive_tracks = self._tracks[positive]
        # Items with equal scores pass a threshold together. Thresholds that add no positive change neither area.
        ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]) + 1, len(scores))
        starts = np.append(0, ends[:-1])
        found = np.append(0, np.cumsum(positive))
        moves = found[ends] > found[starts]
        self._starts, self._ends = starts[moves], ends[moves]
        self._found_before, self._found = found[self._starts], found[self._ends]

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ROC-AUC and average precision, `(resamples,)` each; NaN without positives or without negatives."""
        taken = _cumulate(weights[:, self._tracks])  # (resamples, 1 + items)
        found = _cumulate(weights[:, self._positive_tracks])  # (resamples, 1 + positives)
        positives, negatives = found[:, -1], taken[:, -1] - found[:, -1]
        before, after = found[:, self._found_before], found[:, self._found]  # (resamples, thresholds)
        gained, taken_after = after - before, taken[:, self._ends]
        # Negatives with a lower score count 1, negatives with the same score 1/2.
        below = negatives[:, None] - (taken[:, self._starts] - before + taken_after - after) / 2
        defined = np.where(positives * negatives > 0, 1, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            roc = (gained * below).sum(axis=1) / (positives * negatives)
            pr = (gained * after / np.maximum(taken_after, 1)).sum(axis=1) / positives
        return roc * defined, pr * defined


def _cumulate(weights: np.ndarray) -> np.ndarray:
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _classification(truth: np.ndarray, scores: np.ndarray) -> _Measure:
    classes = np.arange(scores.shape[1])
    predicted = scores.argmax(axis=1)
    is_true, is_predicted = truth[:, None] == classes, predicted[:, None] == classes  # (tracks, classes)
    right = (is_true & is_predicted).astype(float)
    either = is_true.astype(float) + is_predicted

    def measure(weights):
        with np.errstate(invalid="ignore"):
            f1 = 2 * (weights @ right) / (weights @ either)  # NaN for a class that does not occur
        accuracy = weights @ right.sum(axis=1) / weights.sum(axis=1)
        return {"accuracy": accuracy, "macro_f1": _mean_of_defined(f1)}, {"f1": f1}

    return measure


def _regression(truth: np.ndarray, scores: np.ndarray) -> _Measure:
    true, predicted = (values - values.mean(axis=0, dtype=float) for values in (truth, scores))
    errors = np.square(truth - scores)

    def measure(weights):
        count = weights.sum(axis=1, keepdims=True)

        def covary(one, other):
            products = one * other
            sums = weights @ products - (weights @ one) * (weights @ other) / count  # (resamples, dimensions)
            # The covariance of a constant is 0, not a rounding error.
            return np.where(np.abs(sums) > 1e-12 * (weights @ np.abs(products)), sums, 0)

        spread = covary(true, true)
        spread = np.where(spread > 0, spread, np.nan)
        scale = np.sqrt(spread * covary(predicted, predicted))
        scale[scale == 0] = np.inf  # the correlation of constant predictions is 0
        both = {"r2": 1 - weights @ errors / spread, "pearson": covary(true, predicted) / scale}
        return {name: _mean_of_defined(values) for name, values in both.items()}, both

    return measure


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row without its NaN; NaN for rows of NaN only."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=-1) / defined.sum(axis=-1)
