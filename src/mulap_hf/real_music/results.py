"""The results of the benchmark as JSON values: scores with intervals, and differences to the reference models."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arguments import RealMusicArguments
from .excerpts import PartFeatures
from .layout import NOTES, SOUNDTRACKS, Part
from .measures import Measured, chances, measure_titles
from .probes import class_indices
from .statistics import Number, Outcomes

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
    measured = {
        name: {pooling: Measured.average(seeds) for pooling, seeds in one.items()} for name, one in runs.items()
    }
    titles = {key: title for key, title in measure_titles(args.labels_per_class).items() if key in _keys(measured)}
    main = args.poolings[0]
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
        "scores": {
            pooling: {
                key: {name: _number(one[pooling].outcomes[key], None, args) for name, one in measured.items()}
                for key in titles
            }
            for pooling in args.poolings
        },
        "seeds": {
            name: {key: [round(seed.outcomes[key].score, _DIGITS) for seed in one[main]] for key in titles}
            for name, one in runs.items()
            if len(one[main]) > 1
        },
        "dimensions": {
            pooling: {name: round(one[pooling].numbers.get("dimensions", 0.0), 2) for name, one in measured.items()}
            for pooling in args.poolings
        },
        "differences": {
            reference: {
                key: {
                    name: _number(one[main].outcomes[key], measured[reference][main].outcomes[key], args)
                    for name, one in measured.items()
                    if name != reference
                }
                for key in titles
            }
            for reference in references
        },
        "pooling_differences": {
            pooling: {
                key: {
                    name: _number(one[pooling].outcomes[key], one[main].outcomes[key], args)
                    for name, one in measured.items()
                }
                for key in titles
            }
            for pooling in args.poolings[1:]
        },
        "confusion": {
            name: _confusion(data[NOTES], one[main].predicted[NOTES]).tolist()
            for name, one in measured.items()
            if NOTES in data
        },
        "map": {name: one[main].positions.round(2).tolist() for name, one in measured.items() if SOUNDTRACKS in data},
    }


def _keys(measured: Mapping[str, Mapping[str, Measured]]) -> set[str]:
    return set(next(iter(next(iter(measured.values())).values())).outcomes)


def _describe(part: Part, data: PartFeatures) -> dict[str, Any]:
    classes, targets = class_indices(data)
    return {
        "classes": dict(zip(classes, np.bincount(targets).tolist(), strict=True)),
        "recordings": [[recording.label, recording.path.stem] for recording in data.recordings]
        if part.name == SOUNDTRACKS
        else len(data.recordings),
        "folds": "pitch class" if part.has_pitches else "file",
    }


def _number(outcomes: Outcomes, other: Outcomes | None, args: RealMusicArguments) -> Number:
    sizes = (args.resamples, args.seed)
    number = outcomes.mean(*sizes) if other is None else outcomes.minus(other, *sizes)
    return {name: round(value, _DIGITS) for name, value in number.items()}


def _confusion(data: PartFeatures, predicted: np.ndarray) -> np.ndarray:
    """Return the number of excerpts by their class and their predicted class, `(classes, classes)`."""
    classes, targets = class_indices(data)
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (np.repeat(targets, predicted.shape[1]), predicted.ravel()), 1)
    return counts
