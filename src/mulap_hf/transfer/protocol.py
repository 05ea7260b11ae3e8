"""The transfer protocol: learn on train, choose on validation, predict the tests, and only then read their labels."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.schema import Task
from ..data.tables import Skipped
from ..errors import DataError
from ..files import replacing
from ..metrics.scores import intervals, score, score_outputs, without_nan
from .arguments import ProbeArguments
from .features import Extractor, FeatureCache, Features
from .probe import LabeledFeatures, Probe, train_probe
from .tasks import TRAIN, VALIDATION, Targets, TaskData

REGRESSION_TRACKS = 10  # for each "label per class", as if there were so many classes


@dataclass(frozen=True)
class Predictions:
    """What a model says of the tracks of a split.

    ids: of the tracks.
    scores: `(tracks, outputs)`, logits or values.
    skipped: tracks that could not be heard.
    """

    ids: list[str]
    scores: np.ndarray
    skipped: list[Skipped]

    def save(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:  # a name without .npz would get one
            np.savez(file, ids=np.array(self.ids), scores=self.scores)

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        with np.load(path) as content:
            return cls(content["ids"].tolist(), content["scores"], [])


@dataclass(frozen=True)
class Learned:
    """A probe, and how it came about.

    probe: with the weights of its best epoch.
    validation: its metrics there.
    num_train, num_validation: tracks with labels.
    skipped: tracks that could not be heard, or have no label.
    seconds: of the training, features not included.
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
    """Trains a head on frozen features of the training tracks, and chooses it by the validation tracks.

    Args:
        extractor: makes the features; it is not changed.
        data: the task.
        args: how the head learns.
        cache: of features.
        seed: of the head, and of which few tracks.
        labels_per_class: see `choose_few`; None: all.
        checkpoint: see `train_probe`.

    Raises:
        DataError: there is nothing to learn from.
    """
    train, skipped = _labeled(cache.features(extractor, data, TRAIN), data.targets(TRAIN))
    validation, more = _labeled(cache.features(extractor, data, VALIDATION), data.targets(VALIDATION))
    if labels_per_class is not None:
        rows = choose_few(data.task, train.targets, labels_per_class, seed)
        ids = [train.features.ids[row] for row in rows]
        train = LabeledFeatures(train.features.select(ids), train.targets[rows])
    start = time.perf_counter()
    probe = train_probe(args, data.task, train, validation, seed, checkpoint, cache.progress)
    seconds = time.perf_counter() - start
    metrics = score(data.task.kind, validation.targets, probe.predict(validation.features))
    return Learned(probe, metrics, len(train.targets), len(validation.targets), skipped + more, seconds)


def _labeled(features: Features, targets: Targets) -> tuple[LabeledFeatures, list[Skipped]]:
    ids = [name for name in features.ids if name in targets.by_id]
    if not ids:
        raise DataError(f"none of {len(features.ids)} tracks has a label: {(targets.skipped or ['no rows'])[0]}")
    return LabeledFeatures(features.select(ids), targets.of(ids)), features.skipped + targets.skipped


def choose_few(task: Task, targets: np.ndarray, labels_per_class: int, seed: int) -> np.ndarray:
    """A random choice of few training tracks, in ascending order; of another size with the same seed, they are nested.

    With classes: so many tracks of each, or all there are. With tags: tracks are taken, in a random order, that have a
    tag which fewer than so many of those taken have. Regression: ten times as many tracks.

    Args:
        task: what is learned.
        targets: `(tracks, ...)`.
        labels_per_class: how many.
        seed: of the order.
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
    probe: Probe, extractor: Extractor, data: TaskData, cache: FeatureCache, split: str, condition: str | None = None
) -> Predictions:
    """What the probe says of the tracks of a split; their labels are not read.

    Args:
        condition: a name in `DEGRADATIONS`: how the audio is degraded first.
    """
    features = cache.features(extractor, data, split, condition)
    return Predictions(features.ids, probe.predict(features), features.skipped)


def judge(data: TaskData, split: str, predictions: Predictions, resamples: int, seed: int = 0) -> dict[str, Any]:
    """Reads the labels of a split and compares.

    Args:
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        `metrics`: by name, `value` and the 95 % interval `low` to `high`; `outputs`: metrics by tag, class or
        dimension; `tracks`: how many have been judged.

    Raises:
        DataError: no track has a label, or the labels cannot be read.
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
    """Truth and scores of the tracks that have both.

    Raises:
        DataError: none has.
    """
    rows = [row for row, name in enumerate(predictions.ids) if name in targets.by_id]
    if not rows:
        raise DataError(f"none of {len(predictions.ids)} tracks has a label: {(targets.skipped or ['no rows'])[0]}")
    return targets.of([predictions.ids[row] for row in rows]), predictions.scores[rows]
