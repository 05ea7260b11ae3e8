"""What is measured of a model: all scores for one pooling of its features."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from ..files import make_folder, write_json
from ..illustration.embedding_map import project
from ..pretraining.evaluation import effective_rank
from .excerpts import PartFeatures
from .layout import NOTES, SOUNDTRACKS
from .neighbors import neighbor_chance, same_class_neighbors, same_track, standardize, whiten
from .probes import class_indices, predict_in_folds
from .statistics import Outcomes

_VERSION = 1  # of the scores; increase it with every change of the probes or the measures


@dataclass
class Measured:
    """The scores of a model for one pooling.

    Attributes:
        outcomes: By measure, what was achieved on each recording.
        numbers: By measure, numbers that are not means over recordings.
        predicted: By part, the index of the predicted class of each excerpt, `(recordings, excerpts)`.
        positions: Of the tracks in a map in two dimensions, `(recordings, 2)`, if there are soundtracks.
    """

    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    predicted: dict[str, np.ndarray] = field(default_factory=dict)
    positions: np.ndarray | None = None

    @classmethod
    def average(cls, seeds: "Sequence[Measured]") -> "Measured":
        """Return the mean scores of models that differ in their seed; predictions and map are those of the first."""
        first = seeds[0]
        outcomes = {
            key: replace(one, values=np.mean([seed.outcomes[key].values for seed in seeds], axis=0))
            for key, one in first.outcomes.items()
        }
        numbers = {key: float(np.mean([seed.numbers[key] for seed in seeds])) for key in first.numbers}
        return replace(first, outcomes=outcomes, numbers=numbers)

    def save(self, path: Path):
        """Write the scores as JSON."""
        lists = {
            "outcomes": {
                key: [one.names, one.values.tolist(), None if one.strata is None else one.strata.tolist()]
                for key, one in self.outcomes.items()
            },
            "numbers": self.numbers,
            "predicted": {part: classes.tolist() for part, classes in self.predicted.items()},
            "positions": None if self.positions is None else self.positions.tolist(),
        }
        write_json(path, lists)

    @classmethod
    def load(cls, path: Path) -> "Measured":
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            {
                key: Outcomes(names, np.array(values), None if strata is None else np.array(strata))
                for key, (names, values, strata) in content["outcomes"].items()
            },
            content["numbers"],
            {part: np.array(classes) for part, classes in content["predicted"].items()},
            None if content["positions"] is None else np.array(content["positions"]),
        )


def measure_titles(labels_per_class: list[int]) -> dict[str, str]:
    """Return the title of each measure, in the order of the tables."""
    return {
        "notes": "notes: class",
        **{f"notes_{number}": f"notes: {number} labels per class" for number in labels_per_class},
        "soundtracks": "soundtracks: class, balanced",
        "soundtracks_accuracy": "soundtracks: class",
        "neighbors": "neighbors",
        "neighbors_whitened": "neighbors, whitened",
        "same_track": "same track, R@1",
        "same_track_whitened": "same track, R@1, whitened",
    }


def measure(
    data: dict[str, PartFeatures],
    fingerprint: str,
    pooling: str,
    labels_per_class: list[int],
    draws: int,
    seed: int,
    cache: Path,
) -> Measured:
    """Measure a model, or read its scores from the cache if nothing that they depend on has changed.

    Args:
        data: Its features for each part that exists.
        fingerprint: Identifier of the features.
        pooling: How chunk features become one vector per excerpt.
        labels_per_class, draws, seed: See `predict_in_folds`.
        cache: Folder of scores that were measured before.
    """
    ids = {part: one.features.ids for part, one in data.items()}
    identity = [_VERSION, fingerprint, ids, pooling, labels_per_class, draws, seed]
    path = make_folder(cache, "--cache_dir") / f"{sha256(json.dumps(identity).encode()).hexdigest()[:16]}.json"
    if path.exists():
        return Measured.load(path)
    measured = Measured()
    if NOTES in data:
        _measure_notes(measured, data[NOTES], data[NOTES].pooled(pooling), labels_per_class, draws, seed)
    if SOUNDTRACKS in data:
        _measure_tracks(measured, data[SOUNDTRACKS], data[SOUNDTRACKS].pooled(pooling), seed)
    measured.save(path)
    return measured


def _measure_notes(
    measured: Measured, data: PartFeatures, vectors: np.ndarray, labels_per_class: list[int], draws: int, seed: int
):
    names = [recording.name for recording in data.recordings]
    _, targets = class_indices(data)
    for key, few, number in _label_counts(labels_per_class, draws):
        predicted = predict_in_folds(data, vectors, seed, few, number)  # (draws, recordings, excerpts)
        measured.outcomes[key] = Outcomes(names, _correct(predicted, targets))
        if few is None:
            measured.predicted[NOTES] = predicted[0]


def _label_counts(labels_per_class: list[int], draws: int) -> Iterator[tuple[str, int | None, int]]:
    yield "notes", None, 1
    for number in labels_per_class:
        yield f"notes_{number}", number, draws


def _measure_tracks(measured: Measured, data: PartFeatures, vectors: np.ndarray, seed: int):
    names = [recording.name for recording in data.recordings]
    _, targets = class_indices(data)
    predicted = predict_in_folds(data, vectors, seed)
    correct = _correct(predicted, targets)
    measured.predicted[SOUNDTRACKS] = predicted[0]
    measured.outcomes["soundtracks"] = Outcomes(names, correct, targets)
    measured.outcomes["soundtracks_accuracy"] = Outcomes(names, correct)
    plain, white = standardize(vectors), whiten(vectors)
    for key, points in (("", plain), ("_whitened", white)):
        measured.outcomes[f"neighbors{key}"] = Outcomes(names, same_class_neighbors(points, targets))
        measured.outcomes[f"same_track{key}"] = Outcomes(names, same_track(points))
    measured.numbers["dimensions"] = effective_rank(vectors.reshape(-1, vectors.shape[2]))
    measured.positions = project(plain.mean(axis=1)).astype(float)  # as they are read from the cache


def chances(data: dict[str, PartFeatures], labels_per_class: list[int]) -> dict[str, float]:
    """Return the score of each measure that does not depend on the audio: of constant or of random predictions."""
    found = {}
    if NOTES in data:
        _, targets = class_indices(data[NOTES])
        most = float(np.bincount(targets).max() / len(targets))
        found |= {"notes": most} | {f"notes_{number}": 1 / (targets.max() + 1) for number in labels_per_class}
    if SOUNDTRACKS in data:
        _, targets = class_indices(data[SOUNDTRACKS])
        found |= {
            "soundtracks": float(1 / (targets.max() + 1)),
            "soundtracks_accuracy": float(np.bincount(targets).max() / len(targets)),
        }
        found |= dict.fromkeys(("neighbors", "neighbors_whitened"), neighbor_chance(targets))
        found |= dict.fromkeys(("same_track", "same_track_whitened"), 1 / len(targets))
    return {name: float(value) for name, value in found.items()}


def _correct(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the fraction of correct predictions of each recording: `(draws, recordings, excerpts)`."""
    return (predicted == targets[:, None]).mean(axis=(0, 2))
