"""Plots of the metrics of a run over its steps: one file per group of metrics, one panel per metric."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tracking import ROW_KEYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPLITS = ("train", "validation")
# Scores of an untrained model.
BASELINES = {"matching_accuracy": 0.5, "matching_auc": 0.5, "mam_r2": 0.0}
# The name of a metric decides its group; of the others, those measured on held-out pairs are scores.
THROUGHPUT = "throughput"
_GROUPS = {
    "losses": r"(.+_)?loss",
    "scores": None,
    "optimization": r"learning_rate|grad(ient)?_norm",
    THROUGHPUT: r".+_per_second",
    "features": r"(.+_)?(feature_std|effective_rank)",
    "other": None,
}
_NOISY = ("losses", "optimization", THROUGHPUT)  # measured on single batches: drawn with their running median
_COLUMNS = 3
_PANEL_INCHES = (4.4, 3.1)
_FEW = 30  # points of a curve that are marked


def metric_groups(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """The metrics in the rows of `metrics.jsonl` that have a finite value, by group."""
    groups: dict[str, list[str]] = {group: [] for group in _GROUPS}
    held_out = {name for row in rows if row["split"] == "validation" for name in row}
    for name in dict.fromkeys(name for row in rows for name in row if name not in ROW_KEYS):
        if any(series(rows, split, name)[0] for split in SPLITS):
            named = (group for group, pattern in _GROUPS.items() if pattern and re.fullmatch(pattern, name))
            groups[next(named, "scores" if name in held_out else "other")].append(name)
    return {group: names for group, names in groups.items() if names}


def series(rows: Sequence[dict[str, Any]], split: str, name: str) -> tuple[list[int], list[float]]:
    """Steps and finite values of a metric."""
    measured = (row for row in rows if row["split"] == split)
    points = [(row["step"], row[name]) for row in measured if math.isfinite(row.get(name, math.nan))]
    return [step for step, _ in points], [value for _, value in points]


def draw_metrics(rows: Sequence[dict[str, Any]], folder: Path, kept_step: int | None = None) -> list[Path]:
    """Writes `GROUP.png` for every group that has metrics.

    Args:
        rows: as from `read_metrics`.
        folder: created here.
        kept_step: marked in every panel.

    Returns:
        The pictures' paths.
    """
    from matplotlib.figure import Figure  # without pyplot, which keeps figures and a backend for the whole process

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for group, names in metric_groups(rows).items():
        columns = 2 if len(names) == 4 else min(_COLUMNS, len(names))
        lines = math.ceil(len(names) / columns)
        width, height = _PANEL_INCHES
        figure = Figure(figsize=(columns * width, lines * height + 0.5), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).flatten()
        for axes, name in zip(panels, names, strict=False):
            _draw_panel(axes, name, rows, kept_step, group)
        for axes in panels[len(names) :]:
            axes.remove()
        legends = (zip(*axes.get_legend_handles_labels()[::-1], strict=True) for axes in figure.axes)
        entries = {label: handle for legend in legends for label, handle in legend}
        figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=2 * columns, frameon=False)
        paths.append(folder / f"{group}.png")
        figure.savefig(paths[-1], dpi=100)
    return paths


def _draw_panel(axes: Axes, name: str, rows: Sequence[dict], kept_step: int | None, group: str):
    axes.set_title(name, parse_math=False)
    axes.set_xlabel("step")
    last = max(1, *(row["step"] for row in rows))
    axes.set_xlim(-0.03 * last, 1.03 * last)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    trained, validated = (series(rows, split, name) for split in SPLITS)
    marker = "." if len(trained[0]) <= _FEW else ""
    if group in _NOISY and name != "learning_rate" and not marker:
        axes.plot(*trained, color="C0", alpha=0.35, label="train, as logged")
        axes.plot(*_running_median(*trained), color="C0", linewidth=2, label="train, running median")
    elif trained[0]:
        axes.plot(*trained, color="C0", marker=marker, label="train")
    if validated[0]:
        axes.plot(*validated, color="C1", marker="o", markersize=4, label="validation")
    if name in BASELINES:
        axes.axhline(BASELINES[name], color="0.4", linestyle="--", label="baseline")
    if kept_step is not None:
        axes.axvline(kept_step, color="C2", linestyle=":", linewidth=2, zorder=1, label=f"kept step: {kept_step}")
    values = trained[1] + validated[1]
    if min(values) > 0 and max(values) > 10 * statistics.median(values):  # a few values would flatten the rest
        axes.set_yscale("log")


def _running_median(steps: Sequence[int], values: Sequence[float]) -> tuple[Sequence[int], list[float]]:
    """Over a tenth of the points, around each; those at the ends have none, as half a window lags behind a trend."""
    half = max(1, len(values) // 20)
    middles = range(half, len(values) - half)
    return steps[half:-half], [statistics.median(values[i - half : i + half + 1]) for i in middles]
