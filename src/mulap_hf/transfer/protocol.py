"""The transfer protocol: train on train, select on validation, predict the test splits, then read their labels."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.schema import Skipped, Task
from ..errors import DataError
from ..files import replacing
from ..metrics.calibration import fit_temperature
from ..metrics.scores import intervals, score, score_outputs, without_nan
from .arguments import ProbeArguments
from .features import Extractor, FeatureCache, Features
from .probe import LabeledFeatures, Probe, rescale_outputs, train_probe
from .tasks import TRAIN, VALIDATION, Targets, TaskData

REGRESSION_TRACKS = 10  # tracks of a regression per "label per class"


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model for the tracks of a split.

    Attributes:
        ids: Ids of the tracks.
        scores: Logits or values, `(tracks, outputs)`.
        skipped: Tracks that could not be decoded.
    """

    ids: list[str]
    scores: np.ndarray
    skipped: list[Skipped]

    def save(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:  # numpy would append .npz to a name
            np.savez(file, ids=np.array(self.ids), scores=self.scores)

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        with np.load(path) as content:
            return cls(content["ids"].tolist(), content["scores"], [])


@dataclass(frozen=True)
class Learned:
    """A trained probe, and the facts of its training.

    Attributes:
        probe: The probe with the weights of its best epoch.
        validation: Validation metrics of the best epoch.
        num_train, num_validation: Numbers of tracks with labels.
        skipped: Tracks that could not be decoded, or have no label.
        seconds: Training time without the computation of features.
    """

    probe: Probe
    validation: dict[str, float]
    num_train: int
    num_validation: int
    skipped: list[Skipped]
    seconds: float


def learn(
    extractor: Extractor,
    data: TaskData,
    args: ProbeArguments,
    cache: FeatureCache,
    seed: int = 0,
    labels_per_class: int | None = None,
    checkpoint: Path | None = None,
) -> Learned:
    """Train a head on frozen features of the training split, and select its epoch on the validation split.

    Args:
        extractor: The feature extractor; it is not changed.
        data: The task.
        args: Arguments of the head.
        cache: Cache of the features.
        seed: Random seed of the head and of the choice of tracks.
        labels_per_class: See `choose_few`; None for all tracks.
        checkpoint: See `train_probe`.

    Raises:
        DataError: No training or validation track has a label and can be decoded.
    """
    train, skipped = _labeled(cache.features(extractor, data, TRAIN), data.targets(TRAIN))
    validation, more = _labeled(cache.features(extractor, data, VALIDATION), data.targets(VALIDATION))
    if labels_per_class is not None:
        rows = choose_few(data.task, train.targets, labels_per_class, seed)
        ids = [train.features.ids[row] for row in rows]
        train = LabeledFeatures(train.features.select(ids), train.targets[rows])
    start = time.perf_counter()
    probe = train_probe(args, data.task, train, validation, seed, checkpoint, cache.progress)
    if args.calibrate and data.task.kind != "regression":
        temperature = fit_temperature(data.task.kind, validation.targets, probe.predict(validation.features))
        scale = torch.full((data.task.num_outputs,), 1 / temperature)
        rescale_outputs(probe.head, torch.zeros_like(scale), scale)
    seconds = time.perf_counter() - start
    metrics = score(data.task.kind, validation.targets, probe.predict(validation.features))
    return Learned(probe, metrics, len(train.targets), len(validation.targets), skipped + more, seconds)


def _labeled(features: Features, targets: Targets) -> tuple[LabeledFeatures, list[Skipped]]:
    ids = [name for name in features.ids if name in targets.by_id]
    if not ids:
        raise DataError(f"none of {len(features.ids)} tracks has a label: {(targets.skipped or ['no rows'])[0]}")
    return LabeledFeatures(features.select(ids), targets.of(ids)), features.skipped + targets.skipped


def choose_few(task: Task, targets: np.ndarray, labels_per_class: int, seed: int) -> np.ndarray:
    """Choose a few training tracks at random; with the same seed, smaller choices are subsets of larger ones.

    * single_label: `labels_per_class` tracks of each class, or all of them.
    * multi_label: tracks in random order that have a tag with fewer than `labels_per_class` chosen tracks.
    * regression: ten times `labels_per_class` tracks.

    Args:
        task: The task.
        targets: Targets of the training tracks, `(tracks, ...)`.
        labels_per_class: Number of labels per class.
        seed: Random seed.

    Returns:
        The indices of the chosen tracks in ascending order.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    if task.kind == "regression":
        return np.sort(order[: labels_per_class * REGRESSION_TRACKS])
    rows = np.eye(task.num_outputs, dtype=bool)[targets] if task.kind == "single_label" else targets > 0
    counts = np.zeros(task.num_outputs, dtype=int)
    chosen = []
    for track in order:
        if (counts[rows[track]] < labels_per_class).any():
            chosen.append(track)
            counts += rows[track]
    return np.sort(np.array(chosen, dtype=np.int64))


def predict(
    probe: Probe, extractor: Extractor, data: TaskData, cache: FeatureCache, split: str, degradation: str | None = None
) -> Predictions:
    """Return the predictions of a probe for a split, without reading its labels.

    Args:
        probe: The probe.
        extractor: The feature extractor.
        data: The task.
        cache: Cache of the features.
        split: Name of the split.
        degradation: Name of a degradation of the audio in `DEGRADATIONS`; None for clean audio.
    """
    features = cache.features(extractor, data, split, degradation)
    return Predictions(features.ids, probe.predict(features), features.skipped)


def evaluate(data: TaskData, split: str, predictions: Predictions, resamples: int, seed: int = 0) -> dict[str, Any]:
    """Read the labels of a split, and evaluate predictions.

    Args:
        data: The task.
        split: Name of the split.
        predictions: Predictions for the split.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        A dictionary: `metrics`, by name the `value` and its 95 % interval from `low` to `high`; `outputs`, the metrics
        by tag, class or dimension; `tracks`, the number of evaluated tracks.

    Raises:
        DataError: No track has a label, or the labels cannot be read.
    """
    truth, scores = align(data.targets(split), predictions)
    kind = data.task.kind
    ranges = intervals(kind, truth, scores, resamples=resamples, seed=seed)
    metrics = {
        name: {"value": value, "low": ranges[name][0], "high": ranges[name][1]}
        for name, value in score(kind, truth, scores).items()
    }
    outputs = score_outputs(kind, truth, scores, data.task.classes or data.task.columns)
    return without_nan({"metrics": metrics, "outputs": outputs, "tracks": len(truth)})


def align(targets: Targets, predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets and the scores of the tracks that have both.

    Raises:
        DataError: No track has both.
    """
    rows = [row for row, name in enumerate(predictions.ids) if name in targets.by_id]
    if not rows:
        raise DataError(f"none of {len(predictions.ids)} tracks has a label: {(targets.skipped or ['no rows'])[0]}")
    return targets.of([predictions.ids[row] for row in rows]), predictions.scores[rows]
