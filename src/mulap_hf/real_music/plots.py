"""The pictures of the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..illustration.drawing import save_picture, short

_MOST_TITLES = 150


def draw_bars(results: Mapping[str, Any], measures: list[str], path: Path) -> str:
    """Draw a panel per measure, with a bar and its interval per model, and a dotted line at chance."""
    from matplotlib.figure import Figure

    names = list(results["models"])
    figure = Figure(figsize=(1.6 + 2.5 * len(measures), 0.9 + 0.32 * len(names)), layout="constrained")
    scores = results["scores"][results["settings"]["poolings"][0]]
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, measures, strict=True):
        numbers = [scores[key][name] for name in names]
        values = np.array([number["value"] for number in numbers])
        errors = [values - [number["low"] for number in numbers], [number["high"] for number in numbers] - values]
        axes.barh(range(len(names)), values, xerr=np.maximum(errors, 0), capsize=2, color="C0", alpha=0.75, height=0.7)
        axes.axvline(results["chance"][key], color="0.3", linestyle=":", linewidth=1)
        axes.set_title(results["measures"][key], fontsize="medium", parse_math=False)
        axes.set_xlim(0, min(1.0, 1.08 * max(0.05, *(number["high"] for number in numbers))))
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), [short(name) for name in names], parse_math=False)
    panels[0].invert_yaxis()
    save_picture(figure, path)
    return path.name


def draw_confusion(results: Mapping[str, Any], shown: list[str], path: Path) -> str:
    """Draw the confusion matrix of the notes for some models side by side, in percent of each true class."""
    from matplotlib.figure import Figure

    classes = list(results["parts"]["notes"]["classes"])
    side = 1.6 + 0.36 * len(classes)
    figure = Figure(figsize=(side * len(shown) + 1, side + 0.3), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        counts = np.array(results["confusion"][name], dtype=float)
        percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.argwhere(percent >= 0.5):
            color = "white" if percent[row, column] > 60 else "black"
            axes.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", fontsize=7, color=color)
        labels = [short(label, 16) for label in classes]
        axes.set_xticks(range(len(classes)), labels, rotation=90, parse_math=False)
        axes.set_yticks(range(len(classes)), labels, parse_math=False)
        axes.set(xlabel="predicted, in percent of each true class", ylabel="true")
        axes.set_title(short(name), parse_math=False)
    save_picture(figure, path)
    return path.name


def draw_map(results: Mapping[str, Any], shown: list[str], path: Path) -> str:
    """Draw the map of the tracks for some models one below the other, with titles, colored by their class."""
    from matplotlib.figure import Figure

    tracks = results["parts"]["soundtracks"]["recordings"]
    labels = np.array([label for label, _ in tracks])
    figure = Figure(figsize=(12, 8.5 * len(shown)), layout="constrained")
    for axes, name in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
        points = np.array(results["map"][name])
        for index, label in enumerate(np.unique(labels)):
            chosen, color = labels == label, f"C{index % 10}"
            marker = "osD^v"[index // 10 % 5]
            axes.scatter(*points[chosen].T, s=22, color=color, marker=marker, label=short(label), linewidths=0)
            if len(tracks) <= _MOST_TITLES:
                for row in np.flatnonzero(chosen):
                    place = {"textcoords": "offset points", "fontsize": 6, "color": color, "parse_math": False}
                    axes.annotate(short(tracks[row][1], 20), points[row], (3, 2), **place)
        axes.set_title(short(name), parse_math=False)
        axes.set(xticks=[], yticks=[])
        axes.legend(loc="best", fontsize="small")
    save_picture(figure, path, palette=True)
    return path.name
