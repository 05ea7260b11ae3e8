"""The pictures of a comparison report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

METRIC_NAMES = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "r2": "R2",
    "pearson": "correlation",
}


def draw_scores(results: Mapping[str, Any], path: Path) -> Path:
    """Draw the main metric: a panel per task, and a dot with its interval per strategy and split."""
    from matplotlib.figure import Figure

    tasks = {task: by_split for task, by_split in results["scores"].items() if any(by_split.values())}
    strategies = results["strategies"]
    figure = Figure(figsize=(3.2 * max(1, len(tasks)) + 1.2, 0.35 * len(strategies) + 1.6), layout="constrained")
    panels = figure.subplots(1, max(1, len(tasks)), sharey=True, squeeze=False)[0]
    for axes, (task, by_split) in zip(panels, tasks.items(), strict=False):
        metric = results["tasks"][task]["metric"]
        for index, (split, rows) in enumerate(by_split.items()):
            shown = [(place, rows[name][metric]) for place, name in enumerate(strategies) if name in rows]
            shown = [(place, number) for place, number in shown if number["value"] is not None]
            values = [number["value"] for _, number in shown]
            errors = [
                [number["value"] - number["low"] for _, number in shown],
                [number["high"] - number["value"] for _, number in shown],
            ]
            places = [place + 0.25 * index for place, _ in shown]
            axes.errorbar(values, places, xerr=errors, fmt="o", capsize=2, label=split)
        axes.set_title(task)
        axes.set_xlabel(METRIC_NAMES[metric])
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(strategies)), strategies)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(path, dpi=100)
    return path


def draw_curves(results: Mapping[str, Any], part: str, axis: str, path: Path) -> Path:
    """Draw the curves of `labels` or `shares`: a panel per task, a line with its interval per strategy."""
    from matplotlib.figure import Figure

    tasks = {task: curves for task, curves in results[part].items() if any(curves.values())}
    figure = Figure(figsize=(3.4 * len(tasks), 3.4), layout="constrained")
    for axes, (task, curves) in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks.items(), strict=True):
        labels = sorted({label for curve in curves.values() for label in curve}, key=position_on_axis)
        for name, curve in curves.items():
            points = [(place, curve[label]) for place, label in enumerate(labels) if label in curve]
            points = [(place, number) for place, number in points if number["value"] is not None]
            axes.plot([place for place, _ in points], [n["value"] for _, n in points], marker="o", label=name)
            axes.fill_between(
                [place for place, _ in points],
                [n["low"] for _, n in points],
                [n["high"] for _, n in points],
                alpha=0.1,
            )
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel(axis)
        axes.set_title(f"{task}, {METRIC_NAMES[results['tasks'][task]['metric']]}")
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    figure.savefig(path, dpi=100)
    return path


def draw_drops(results: Mapping[str, Any], path: Path) -> Path:
    """A panel per task: strategies by degradations, the darker the more is lost."""
    from matplotlib.figure import Figure

    tasks = {task: rows for task, rows in results["drops"].items() if any(rows.values())}
    degradations = list(dict.fromkeys(name for rows in tasks.values() for row in rows.values() for name in row))
    figure = Figure(
        figsize=(2 + 0.5 * len(degradations), (1 + 0.3 * len(results["strategies"])) * len(tasks)),
        layout="constrained",
    )
    for axes, (task, rows) in zip(figure.subplots(len(tasks), 1, squeeze=False)[:, 0], tasks.items(), strict=True):
        names = [name for name in results["strategies"] if rows.get(name)]
        values = [[rows[name].get(c, {}).get("value") or 0.0 for c in degradations] for name in names]
        image = axes.imshow(values, cmap="Reds", vmin=0, aspect="auto")
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                color = "white" if value > 0.6 * image.norm.vmax else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(degradations)), degradations, rotation=45, ha="right")
        axes.set_title(f"{task}: loss of {METRIC_NAMES[results['tasks'][task]['metric']]}")
        figure.colorbar(image, ax=axes)
    figure.savefig(path, dpi=100)
    return path


def position_on_axis(label: str) -> float:
    """Sort key of the points of a curve: a number, or "all"."""
    return float("inf") if label == "all" else float(label)
