"""Scores of tagging, classification and regression, and bootstrap intervals over tracks.

A resample of n tracks is a row of n weights, how often each track was drawn. Every measure takes many such rows at
once, and what does not depend on them, sorting above all, is done once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# What a checkpoint is chosen by.
MAIN_METRIC = {"multi_label": "roc_auc", "single_label": "accuracy", "regression": "r2"}
COVERAGE = (2.5, 97.5)  # percentiles of an interval
# Numbers that a block of resamples may gather: some 150 MB with what is made of them.
_BLOCK = 2**22

Scores = np.ndarray | Sequence[np.ndarray]
# Weights `(resamples, tracks)` -> scores over all outputs, `(resamples,)`, and of each, `(resamples, outputs)`.
_Measure = Callable[[np.ndarray], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


def score(kind: str, truth: np.ndarray, scores: Scores) -> dict[str, float]:
    """How well scores agree with the truth.

    Args:
        kind: of the task, "multi_label", "single_label" or "regression".
        truth: `(tracks, tags)` of zeros and ones; `(tracks,)`, indices of classes; or `(tracks, dimensions)`.
        scores: `(tracks, tags)`, of any scale; `(tracks, classes)`, the highest of a track being its prediction; or
            `(tracks, dimensions)`. A list of such arrays is one per training seed: their scores are averaged.

    Returns:
        Of multi_label: `roc_auc` and `pr_auc` (average precision: the sum over thresholds of the precision times the
        recall gained, without interpolation), means over the tags, and `roc_auc_micro` and `pr_auc_micro` of all pairs
        of track and tag taken together. The means leave out tags that no track has or that all have: these have no ROC
        curve. Of single_label: `accuracy` and `macro_f1`, the mean over the classes that occur in truth or in
        predictions. Of regression: `r2` and `pearson` (the correlation, which forgives a wrong level and scale; 0
        of constant predictions), means over the dimensions whose truth is not constant. All as scikit-learn and SciPy
        have them; NaN where nothing is left to take the mean of.

    Raises:
        ValueError: shapes do not match, scores are not numbers, or the truth is none.
    """
    return {name: float(values[0]) for name, values in _on_all_tracks(kind, truth, scores, 0).items()}


def score_outputs(kind: str, truth: np.ndarray, scores: Scores, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Scores of each tag (`roc_auc`, `pr_auc`), class (`f1`) or dimension (`r2`, `pearson`).

    Args:
        kind, truth, scores: see `score`.
        names: of the outputs.

    Returns:
        By name; NaN where there is no such score: a tag that no track has or all have, a class that occurs neither in
        truth nor in predictions, a constant dimension.

    Raises:
        ValueError: as `score`, or the names are not as many as the outputs.
    """
    measures = _on_all_tracks(kind, truth, scores, 1)
    count = next(iter(measures.values())).shape[1]
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"names: {len(set(names))} different ones for {count} outputs; pass one for each")
    return {
        name: {measure: float(values[0, index]) for measure, values in measures.items()}
        for index, name in enumerate(names)
    }


def intervals(
    kind: str, truth: np.ndarray, scores: Scores, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of what `score` gives: percentiles of the scores of resamples, less their bias.

    The bias of a resample, its mean less the value (Efron & Tibshirani 1993, chapter 10), is nil but for measures that
    the repetition of tracks moves: average precision rises with it, so that its plain percentiles may leave out the
    value.

    Of one array, tracks are drawn with replacement: an interval covers what other test tracks would change, the
    trained model being the same. Of a list, one array per training seed, seeds are drawn with replacement too, the
    tracks being common to all of them: an interval also covers what other seeds would change. Of S seeds, resampling
    shows (S - 1) / S of the variance between them, so that with two or three an interval is too narrow. So are those
    of `pr_auc` where tags are rare, as average precision rises when positives are few: in simulations (ten tags of
    ROC-AUC 0.80, 250 tracks) they covered the value of endless tracks in 59 % of cases with 5 positives per tag, 75 %
    with 15 and 89 % with 50, those of the other scores in 91 % to 94 %.

    In a resample a tag that none or all of its tracks have is left out of its mean, and so is a class without tracks
    or predictions.

    Args:
        kind, truth, scores: see `score`.
        resamples: how many.
        seed: of the draws; those of n tracks are `default_rng([seed, 0]).integers(n, size=(resamples, n))` of numpy.

    Raises:
        ValueError: as `score`, or there is no resample.
    """
    found = interval_of([resample(kind, truth, one, resamples, seed) for one in _per_seed(scores)], seed)
    return {name: (low, high) for name, (_, low, high) in found.items()}


def paired_difference(
    kind: str, truth: np.ndarray, scores_a: Scores, scores_b: Scores, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """Difference between two systems on the same tracks, score of a minus score of b, and its 95 % interval.

    Both are scored on each resample of tracks. Of two lists, seeds belong together by position and are drawn together;
    a single array stands against all the seeds of the other.

    Args:
        kind, truth, scores_a, scores_b: see `score`.
        resamples, seed: see `intervals`.

    Returns:
        `(difference, low, high)` by name of the score.

    Raises:
        ValueError: as `intervals`, or the lists differ in length.
    """
    runs_a, runs_b = (
        [resample(kind, truth, one, resamples, seed) for one in _per_seed(scores)] for scores in (scores_a, scores_b)
    )
    return difference_of(runs_a, runs_b, seed)


@dataclass(frozen=True)
class Resampled:
    """Scores of one system, of one training seed. What is made of the same tracks with the same seed goes together.

    kind: of the task.
    values: by name of the score, see `score`.
    resampled: `(resamples,)` by name.
    """

    kind: str
    values: dict[str, float]
    resampled: dict[str, np.ndarray]


def resample(kind: str, truth: np.ndarray, scores: np.ndarray, resamples: int = 1000, seed: int = 0) -> Resampled:
    """The costly part of `intervals` and `paired_difference`, once for each of many systems that are compared.

    Args:
        kind, truth, scores: see `score`; of one training seed.
        resamples, seed: see `intervals`.

    Raises:
        ValueError: as `intervals`.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}: an interval needs at least one, better a thousand")
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
    """`(value, low, high)` by name of the score, as `score` and `intervals` have them.

    Args:
        runs: one per training seed.
        seed: see `intervals`.

    Raises:
        ValueError: there is none.
    """
    if not runs:
        raise ValueError("scores is an empty list; pass an array, or one for each training seed")
    lowest = -np.inf if runs[0].kind == "regression" else 0.0
    found = {}
    for name, (value, resampled) in _over_seeds(runs, seed).items():
        low, high = _interval(value, resampled)
        found[name] = (value, max(low, lowest), min(high, 1.0))  # NaN stays
    return found


def difference_of(
    runs_a: Sequence[Resampled], runs_b: Sequence[Resampled], seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """`(difference, low, high)` by name of the score, as `paired_difference` has them.

    Args:
        runs_a, runs_b: one per training seed, or a single one.
        seed: see `intervals`.

    Raises:
        ValueError: their numbers differ.
    """
    if len({len(runs_a), len(runs_b)} - {1}) > 1:
        raise ValueError(f"scores_a has {len(runs_a)} seeds and scores_b {len(runs_b)}: pass the same seeds of both")
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
    """All that is said of a task: what `compute` of the `evaluate` modules returns, ready for JSON (None for NaN).

    Args:
        kind, truth, scores: see `score`.
        names: of the outputs; their numbers, as text, where none are given.
        resamples, seed: see `intervals`; without resamples there are no intervals.

    Returns:
        What `score` gives; `intervals`, `[low, high]` by name of the score; `per_output`, see `score_outputs`; and the
        names of what the means leave out: of multi_label, the tags `without_positives` and `without_negatives`; of
        regression, the dimensions whose truth is `constant`.

    Raises:
        ValueError: as `score_outputs` and `intervals`.
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
    """`report` of lists of rows, as `evaluate` hands them over.

    Raises:
        ValueError: as `report`, or rows are not of equal length.
    """
    for name, rows in (("references", references), ("predictions", predictions)):
        lengths = {np.size(row) for row in rows}
        if len(lengths) > 1:
            raise ValueError(f"{name} must be rows of equal length, not of {min(lengths)} to {max(lengths)} numbers")
    return report(kind, np.array(references), np.array(predictions), *args)


def without_nan(content: Any) -> Any:
    """A copy with None, which JSON has, for every NaN in its dicts and lists."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content


def undefined_tags(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the tags that none of the tracks have, and of those that all have; truth is `(tracks, tags)`."""
    counts = np.count_nonzero(truth, axis=0)
    return np.flatnonzero(counts == 0), np.flatnonzero(counts == len(truth))


def _per_seed(scores: Scores) -> Sequence[np.ndarray]:
    return scores if isinstance(scores, list | tuple) else [scores]


def _on_all_tracks(kind: str, truth: np.ndarray, scores: Scores, part: int) -> dict[str, np.ndarray]:
    """Scores over all outputs (part 0) or of each (part 1), each track counting once and the seeds alike."""
    values = [measure(np.ones((1, len(truth))))[part] for measure in _measures(kind, truth, scores)]
    return {name: sum(value[name] for value in values) / len(values) for name in values[0]}


def _over_seeds(runs: Sequence[Resampled], seed: int) -> dict[str, tuple[float, np.ndarray]]:
    """Mean over training seeds, and over as many of them that are drawn for each resample, `(resamples,)`, by name."""
    resamples = len(next(iter(runs[0].resampled.values())))
    shares = _counts(np.random.default_rng([seed, 1]), resamples, len(runs)) / len(runs)  # (resamples, runs)
    return {
        name: (
            sum(run.values[name] for run in runs) / len(runs),
            sum(share * run.resampled[name] for share, run in zip(shares.T, runs, strict=True)),
        )
        for name in runs[0].values
    }


def _counts(rng: np.random.Generator, resamples: int, items: int) -> np.ndarray:
    """How often each item is drawn, `(resamples, items)`."""
    drawn = rng.integers(items, size=(resamples, items)) + items * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * items).reshape(resamples, items)


def _interval(value: float, resampled: np.ndarray) -> tuple[float, float]:
    """NaN where no resample has a value."""
    resampled = resampled[~np.isnan(resampled)]
    if not len(resampled):
        return np.nan, np.nan
    low, high = np.percentile(resampled, COVERAGE) - (resampled.mean() - value)
    return float(low), float(high)


def _measures(kind: str, truth: np.ndarray, scores: Scores) -> list[_Measure]:
    """One per seed.

    Raises:
        ValueError: see `score`.
    """
    if kind not in MAIN_METRIC:
        raise ValueError(f"kind is {kind!r}; there are {', '.join(MAIN_METRIC)}")
    truth, per_seed = np.asarray(truth), [np.asarray(one, dtype=float) for one in _per_seed(scores)]
    if not per_seed:
        raise ValueError("scores is an empty list; pass an array, or one for each training seed")
    for one in per_seed:
        _check(kind, truth, one)
    make = {"multi_label": _tagging, "single_label": _classification, "regression": _regression}[kind]
    return [make(truth, one) for one in per_seed]


def _check(kind: str, truth: np.ndarray, scores: np.ndarray):
    """Raises ValueError: see `score`."""
    fits = truth.shape == scores.shape[:1] if kind == "single_label" else truth.shape == scores.shape
    if scores.ndim != 2 or not scores.size or not fits:
        expected = "(tracks,)" if kind == "single_label" else "(tracks, outputs)"
        raise ValueError(
            f"{kind}: truth must be {expected} and scores (tracks, outputs), of the same tracks and at least one; "
            f"they are {truth.shape} and {scores.shape}"
        )
    broken = ~np.isfinite(scores) if kind == "regression" else np.isnan(scores)  # an infinite one still has a rank
    if broken.any():
        raise ValueError(
            f"{broken.sum()} of the {scores.size} scores, of {broken.any(axis=1).sum()} tracks, are not numbers: the "
            "model has diverged or its input is broken; mend that, or leave these tracks out of truth and scores"
        )
    if kind == "multi_label" and not np.isin(truth, (0, 1)).all():
        raise ValueError(f"truth must be 0 or 1 for each tag, not {_some(truth[~np.isin(truth, (0, 1))])}")
    if kind == "single_label":
        outside = ~np.isin(truth, np.arange(scores.shape[1]))
        if outside.any():
            raise ValueError(
                f"truth must be indices of the {scores.shape[1]} classes, 0 to {scores.shape[1] - 1}, not "
                f"{_some(truth[outside])}"
            )
    if kind == "regression" and not np.isfinite(truth).all():
        raise ValueError(f"{int((~np.isfinite(truth)).sum())} values of truth are not finite; leave these tracks out")


def _some(values: np.ndarray) -> str:
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
    """Items in the order of their scores, for the areas under their curves on any resample of tracks.

    Args:
        positive, scores: `(items,)`.
        tracks: `(items,)`, the track whose weight an item has.
    """

    def __init__(self, positive: np.ndarray, scores: np.ndarray, tracks: np.ndarray):
        order = np.argsort(-scores, kind="stable")
        positive, scores = positive[order], scores[order]
        self._tracks = tracks[order]
        self._positive_tracks = self._tracks[positive]
        # A threshold takes all items of equal score or none; those without positives move no curve.
        ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]) + 1, len(scores))
        starts = np.append(0, ends[:-1])
        found = np.append(0, np.cumsum(positive))
        moves = found[ends] > found[starts]
        self._starts, self._ends = starts[moves], ends[moves]
        self._found_before, self._found = found[self._starts], found[self._ends]

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Area under the ROC curve and average precision, `(resamples,)`; NaN without positives or negatives."""
        taken = _cumulate(weights[:, self._tracks])  # (resamples, 1 + items)
        found = _cumulate(weights[:, self._positive_tracks])  # (resamples, 1 + positives)
        positives, negatives = found[:, -1], taken[:, -1] - found[:, -1]
        before, after = found[:, self._found_before], found[:, self._found]  # (resamples, thresholds)
        gained, taken_after = after - before, taken[:, self._ends]
        # Of the negatives, those ranked below count whole, those at the same score half.
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
            f1 = 2 * (weights @ right) / (weights @ either)  # NaN of a class that does not occur
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
            # What rounding leaves of something constant is nothing.
            return np.where(np.abs(sums) > 1e-12 * (weights @ np.abs(products)), sums, 0)

        spread = covary(true, true)
        spread = np.where(spread > 0, spread, np.nan)
        scale = np.sqrt(spread * covary(predicted, predicted))
        scale[scale == 0] = np.inf  # constant predictions tell nothing
        both = {"r2": 1 - weights @ errors / spread, "pearson": covary(true, predicted) / scale}
        return {name: _mean_of_defined(values) for name, values in both.items()}, both

    return measure


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean of the numbers in each row, NaN where there is none."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=-1) / defined.sum(axis=-1)
