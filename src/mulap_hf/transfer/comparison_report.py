"""The report of a comparison: `comparison.md`, `comparison.json` and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import format_interval, markdown_table, write_json
from .comparison import TEST
from .degradations import DEGRADATIONS

REPORT_FILE = "comparison.md"
PICTURES_FOLDER = "comparison"
_METRIC_NAMES = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "accuracy": "accuracy", "macro_f1": "macro F1", "r2": "R2"}
_SHOWN = {"multi_label": ("roc_auc", "pr_auc"), "single_label": ("accuracy", "macro_f1"), "regression": ("r2",)}


def write_comparison_report(folder: Path, results: Mapping[str, Any]) -> Path:
    """Writes what `collect_results` gives as JSON, as tables and as pictures.

    Returns:
        The report's path.
    """
    write_json(folder / "comparison.json", results)
    pictures = folder / PICTURES_FOLDER
    pictures.mkdir(exist_ok=True)
    sections = ["# Comparison of training strategies", _how(results)]
    sections += ["## Tasks", _picture(_draw_scores(results, pictures / "scores.png"))]
    for task, by_split in results["scores"].items():
        sections += [_scores(results, task, split, rows) for split, rows in by_split.items() if rows]
    for part, title, axis in (
        ("labels", "Label efficiency", "labels per class"),
        ("shares", "Data efficiency", "share of the corpus that was pre-trained on"),
    ):
        if any(curve for curves in results[part].values() for curve in curves.values()):
            sections += [f"## {title}", _picture(_draw_curves(results, part, axis, pictures / f"{part}.png"))]
            sections += [_curves(results, task, curves, axis) for task, curves in results[part].items() if curves]
    if any(drops for by_strategy in results["drops"].values() for drops in by_strategy.values()):
        sections += [
            "## Robustness",
            _drops_intro(results["settings"]["comparison"]["conditions"]),
            _picture(_draw_drops(results, pictures / "drops.png")),
        ]
        sections += [_drops(results, task) for task in results["drops"]]
    if results["zero_shot"]:
        sections += ["## Zero-shot and retrieval", _zero_shot(results)]
    sections += ["## Compute", _compute(results["compute"])]
    if results["missing"]:
        sections += ["## Missing", "\n".join(f"* {name}" for name in results["missing"])]
    path = folder / REPORT_FILE
    path.write_text("\n\n".join(section for section in sections if section) + "\n", encoding="utf-8")
    return path


def _how(results: Mapping[str, Any]) -> str:
    settings = results["settings"]["comparison"]
    seeds = ", ".join(map(str, settings["seeds"]))
    corpus = settings["train_data"] or f"{settings['pretrain_clips']} clips of the embedded corpus"
    many = len(settings["seeds"]) > 1
    covers = "over tracks and seeds" if many else "over tracks; what another seed would change they do not say"
    return (
        f"Every strategy that is trained here: {settings['pretrain_steps']} steps of "
        f"{settings['pretrain_batch_size']} clips of {settings['clip_seconds']:g} s from {corpus}; the same backbone, "
        "the same probe on frozen features, chosen on validation, tested once. "
        f"Seeds: {seeds}. In brackets: 95 % bootstrap intervals {covers}. "
        f"Difference: to {results['reference']}, on the same tracks; bold where its interval leaves out 0, which one "
        "in twenty does where there is no difference. PR-AUC's intervals are too narrow where tags are rare."
    )


def _scores(results: Mapping[str, Any], task: str, split: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    kind, main = results["tasks"][task]["kind"], results["tasks"][task]["metric"]
    metrics = _SHOWN[kind]
    tracks = next(iter(rows.values()))["tracks"]
    table = markdown_table(
        ("strategy", *(_METRIC_NAMES[metric] for metric in metrics), f"difference in {_METRIC_NAMES[main]}"),
        (
            (
                name,
                *(format_interval(row[metric]) for metric in metrics),
                "" if name == results["reference"] or "difference" not in row else _difference(row["difference"]),
            )
            for name, row in rows.items()
        ),
    )
    return f"### {task}, {split} ({tracks} tracks, {results['tasks'][task]['outputs']} outputs)\n\n{table}"


def _difference(number: Mapping[str, float | None]) -> str:
    if number["value"] is None or number["low"] is None:
        return "unknown"
    text = f"{number['value']:+.3f} ({number['low']:+.3f} to {number['high']:+.3f})"
    return f"**{text}**" if number["low"] > 0 or number["high"] < 0 else text


def _curves(results: Mapping[str, Any], task: str, curves: Mapping[str, Mapping[str, Any]], axis: str) -> str:
    columns = list(dict.fromkeys(label for curve in curves.values() for label in curve))
    columns.sort(key=_position)
    table = markdown_table(
        (f"strategy \\ {axis}", *columns),
        (
            (name, *(format_interval(curve[column]) if column in curve else "" for column in columns))
            for name, curve in curves.items()
        ),
    )
    return f"### {task}, {_METRIC_NAMES[results['tasks'][task]['metric']]}\n\n{table}"


def _position(label: str) -> float:
    return float("inf") if label == "all" else float(label)


def _drops_intro(conditions: Sequence[str]) -> str:
    rows = ((name, DEGRADATIONS[name].description) for name in conditions if name != "none")
    return (
        "The probe has learnt from clean audio; the test audio is degraded. Shown is what the metric loses, on the "
        "same tracks. Another pitch is another key: there, a loss is as it should be. Pitch and tempo are changed by "
        "a phase vocoder, which softens onsets, too; simclr has met it, and noise, in pre-training.\n\n"
        + markdown_table(("condition", "what is done"), rows)
    )


def _drops(results: Mapping[str, Any], task: str) -> str:
    drops = {name: row for name, row in results["drops"][task].items() if row}
    if not drops:
        return ""
    conditions = list(dict.fromkeys(condition for row in drops.values() for condition in row))
    table = markdown_table(
        ("condition", *drops),
        (
            (condition, *(format_interval(row[condition]) if condition in row else "" for row in drops.values()))
            for condition in conditions
        ),
    )
    return f"### {task}, loss of {_METRIC_NAMES[results['tasks'][task]['metric']]}\n\n{table}"


def _compute(compute: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(next(iter(compute.values()))) if compute else []

    def cell(value) -> str:
        return "" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"

    return (
        markdown_table(
            ("model", *(column.replace("_", " ") for column in columns)),
            ((name, *(cell(row[column]) for column in columns)) for name, row in compute.items()),
        )
        + "\n\nSeconds are of the clock, with everything that ran beside it. Heard hours: steps times clips times "
        "their length. "
        "Parameters: all numbers in the saved file, heads included."
    )


def _picture(path: Path | None) -> str:
    return "" if path is None else f"![{path.stem}]({path.parent.name}/{path.name})"


def _draw_scores(results: Mapping[str, Any], path: Path) -> Path:
    """A panel per task, a dot with its interval per strategy and split."""
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
        axes.set_xlabel(_METRIC_NAMES[metric])
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(strategies)), strategies)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(path, dpi=100)
    return path


def _draw_curves(results: Mapping[str, Any], part: str, axis: str, path: Path) -> Path:
    from matplotlib.figure import Figure

    tasks = {task: curves for task, curves in results[part].items() if any(curves.values())}
    figure = Figure(figsize=(3.4 * len(tasks), 3.4), layout="constrained")
    for axes, (task, curves) in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks.items(), strict=True):
        labels = sorted({label for curve in curves.values() for label in curve}, key=_position)
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
        axes.set_title(f"{task}, {_METRIC_NAMES[results['tasks'][task]['metric']]}")
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    figure.savefig(path, dpi=100)
    return path


def _draw_drops(results: Mapping[str, Any], path: Path) -> Path:
    """A panel per task: strategies by conditions, the darker the more is lost."""
    from matplotlib.figure import Figure

    tasks = {task: rows for task, rows in results["drops"].items() if any(rows.values())}
    conditions = list(dict.fromkeys(name for rows in tasks.values() for row in rows.values() for name in row))
    figure = Figure(
        figsize=(2 + 0.5 * len(conditions), (1 + 0.3 * len(results["strategies"])) * len(tasks)), layout="constrained"
    )
    for axes, (task, rows) in zip(figure.subplots(len(tasks), 1, squeeze=False)[:, 0], tasks.items(), strict=True):
        names = [name for name in results["strategies"] if rows.get(name)]
        values = [[rows[name].get(c, {}).get("value") or 0.0 for c in conditions] for name in names]
        image = axes.imshow(values, cmap="Reds", vmin=0, aspect="auto")
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                color = "white" if value > 0.6 * image.norm.vmax else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(conditions)), conditions, rotation=45, ha="right")
        axes.set_title(f"{task}: loss of {_METRIC_NAMES[results['tasks'][task]['metric']]}")
        figure.colorbar(image, ax=axes)
    figure.savefig(path, dpi=100)
    return path


def _zero_shot(results: Mapping[str, Any]) -> str:
    """On the split test: the main metric of every task, and retrieval in both directions."""
    reports = results["zero_shot"]
    tasks = list(dict.fromkeys(task for report in reports.values() for task in report["tasks"]))
    metrics = {task: results["tasks"][task]["metric"] for task in tasks}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for strategy, report in reports.items():
        for task in report["tasks"]:
            for method, numbers in report["tasks"][task].get(TEST, {}).items():
                rows.setdefault((strategy, method), {})[task] = format_interval(numbers[metrics[task]])
    parts = [
        "Tags and classes by prompts, recordings and descriptions by each other; of the first seed. What the methods "
        "are: README, zero-shot.",
        markdown_table(
            ("strategy", "method", *(f"{task}, {_METRIC_NAMES[metrics[task]]}" for task in tasks)),
            ((*row, *(cells.get(task, "") for task in tasks)) for row, cells in rows.items()),
        ),
    ]
    found = [(name, report["retrieval"][TEST]) for name, report in reports.items() if report["retrieval"].get(TEST)]
    for direction in found[0][1] if found else ():
        lines = [
            (strategy, method, *map(format_interval, numbers.values()))
            for strategy, directions in found
            for method, numbers in directions[direction].items()
        ]
        columns = next(iter(found[0][1][direction].values()))
        parts += [
            f"### Retrieval, {direction.replace('_', ' ')}",
            markdown_table(("strategy", "method", *columns), lines),
        ]
    return "\n\n".join(parts)
