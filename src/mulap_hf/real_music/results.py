"""The results of the benchmark as JSON values: scores with intervals, and differences to the reference models."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .arguments import RealMusicArguments
from .excerpts import PartFeatures
from .layout import NOTES, SOUNDTRACKS, Part
from .measures import Measured, chances, measure_titles
from .probes import class_indices
from .statistics import Number

_DIGITS = 4


def collect_results(
    args: RealMusicArguments,
    parts: Mapping[str, Part],
    data: Mapping[str, PartFeatures],
    models: Mapping[str, Mapping[str, Any]],
    runs: Mapping[str, Mapping[str, list[Measured]]],
    references: list[str],
) -> dict[str, Any]:
    """Return everything that the report shows.

    Args:
        args: Options of the user.
        parts: The recordings.
        data: Features of any model, for the labels of the recordings that can be decoded.
        models: Facts of each model by name.
        runs: By model and pooling, its scores, with each of its seeds.
        references: Names of the models that the others are compared with.
    """
    pooled = {
        pooling: {name: Measured.average(one[pooling]) for name, one in runs.items()} for pooling in args.poolings
    }
    main = pooled[args.poolings[0]]
    exist = next(iter(main.values())).outcomes
    titles = {key: title for key, title in measure_titles(args.labels_per_class).items() if key in exist}
    others = {reference: {name: one for name, one in main.items() if name != reference} for reference in references}
    return {
        "settings": {
            name: getattr(args, name)
            for name in ("half", "poolings", "notes_per_class", "labels_per_class", "draws", "resamples", "seed")
        },
        "parts": {name: _describe(parts[name], one) for name, one in data.items()},
        "models": dict(models),
        "references": references,
        "measures": titles,
        "chance": {name: round(value, _DIGITS) for name, value in chances(data, args.labels_per_class).items()},
        "scores": {pooling: _numbers(args, titles, measured) for pooling, measured in pooled.items()},
        "seeds": {
            name: _by_seed(one[args.poolings[0]]) for name, one in runs.items() if len(one[args.poolings[0]]) > 1
        },
        "dimensions": {
            pooling: {name: round(one.numbers.get("dimensions", 0.0), 2) for name, one in measured.items()}
            for pooling, measured in pooled.items()
        },
        "differences": {
            reference: _numbers(args, titles, measured, dict.fromkeys(measured, main[reference]))
            for reference, measured in others.items()
        },
        "pooling_differences": {
            pooling: _numbers(args, titles, pooled[pooling], main) for pooling in args.poolings[1:]
        },
        "confusion": {
            name: _confusion(data[NOTES], one.predicted[NOTES]).tolist() for name, one in main.items() if NOTES in data
        },
        "map": {name: one.positions.round(2).tolist() for name, one in main.items() if SOUNDTRACKS in data},
    }


def _by_seed(seeds: list[Measured]) -> dict[str, list[float]]:
    return {key: [round(one.outcomes[key].score, _DIGITS) for one in seeds] for key in seeds[0].outcomes}


def _describe(part: Part, data: PartFeatures) -> dict[str, Any]:
    classes, targets = class_indices(data)
    return {
        "classes": dict(zip(classes, np.bincount(targets).tolist(), strict=True)),
        "recordings": [[recording.label, recording.path.stem] for recording in data.recordings]
        if part.name == SOUNDTRACKS
        else len(data.recordings),
        "folds": "pitch class" if part.has_pitches else "file",
    }


def _numbers(
    args: RealMusicArguments,
    keys: Iterable[str],
    models: Mapping[str, Measured],
    others: Mapping[str, Measured] | None = None,
) -> dict[str, dict[str, Number]]:
    """Return by measure and model the scores, or the differences to `others` of the same name."""

    def number(name: str, key: str) -> Number:
        outcomes = models[name].outcomes[key]
        sizes = (args.resamples, args.seed)
        found = outcomes.mean(*sizes) if others is None else outcomes.minus(others[name].outcomes[key], *sizes)
        return {part: round(value, _DIGITS) for part, value in found.items()}

    return {key: {name: number(name, key) for name in models} for key in keys}


def _confusion(data: PartFeatures, predicted: np.ndarray) -> np.ndarray:
    """Return the number of excerpts by their class and their predicted class, `(classes, classes)`."""
    classes, targets = class_indices(data)
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (np.repeat(targets, predicted.shape[1]), predicted.ravel()), 1)
    return counts
