"""The report of a comparison: `comparison.md`, `comparison.json` and pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import format_interval, known, markdown_table, write_json
from .degradations import DEGRADATIONS
from .results import FEWER_RESAMPLES

REPORT_FILE = "comparison.md"
PICTURES_FOLDER = "comparison"
_METRIC_NAMES = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "r2": "R2",
    "pearson": "correlation",
}
_SHOWN = {
    "multi_label": ("roc_auc", "pr_auc"),
    "single_label": ("accuracy", "macro_f1"),
    "regression": ("r2", "pearson"),
}


def write_comparison_report(folder: Path, results: Mapping[str, Any]) -> Path:
    """Writes what `collect_results` gives as JSON, as tables and as pictures.

    Returns:
        The report's path.
    """
    write_json(folder / "comparison.json", results)
    pictures = folder / PICTURES_FOLDER
    pictures.mkdir(exist_ok=True)
    sections = ["# Comparison of training strategies", _how(results), "## Overview", _overview(results)]
    sections += ["## Tasks", _picture(_draw_scores(results, pictures / "scores.png"))]
    for task, by_split in results["scores"].items():
        sections += [_scores(results, task, split, rows) for split, rows in by_split.items() if rows]
    for part, title, axis in (
        ("labels", "Label efficiency", "labels per class"),
        ("shares", "Data efficiency", "share of the corpus that was pre-trained on"),
    ):
        if any(len(curve) > 1 for curves in results[part].values() for curve in curves.values()):
            sections += [f"## {title}", _picture(_draw_curves(results, part, axis, pictures / f"{part}.png"))]
            sections += [_curves(results, task, curves, axis) for task, curves in results[part].items() if curves]
    if any(drops for by_strategy in results["drops"].values() for drops in by_strategy.values()):
        sections += [
            "## Robustness",
            _drops_intro(results["settings"]["comparison"]),
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
    corpus = settings["train_data"] or f"{settings['pretrain_clips']} clips of the synthetic corpus"
    covers = "over tracks; what another seed would change they do not say"
    if count := _seeds(results):
        covers = f"over tracks and seeds, of whose variance resampling {count} shows {1 - 1 / count:.0%}"
    return (
        f"Every strategy that is trained here: {settings['pretrain_steps']} steps of "
        f"{settings['pretrain_batch_size']} clips of {settings['pretrain_seconds']:g} s from {corpus}; the same "
        "backbone, the same probe on frozen features, chosen on validation, tested once. "
        f"Seeds: {seeds}. In brackets: 95 % bootstrap intervals {covers}; those of curves and of robustness, of "
        f"{FEWER_RESAMPLES} resamples, differ in the third place from the others, of {settings['resamples']}. "
        "Differences: in the first metric, on the same tracks; bold where the interval leaves out 0, which one in "
        "twenty does where there is no difference. PR-AUC's intervals are too narrow where tags are rare."
    )


def _seeds(results: Mapping[str, Any]) -> int:
    """How many there are to be, if more than one."""
    count = len(results["settings"]["comparison"]["seeds"])
    return count if count > 1 else 0


def _overview(results: Mapping[str, Any]) -> str:
    """The main metric of everything."""
    reference = results["references"][0]
    columns = {
        (task, split): rows for task, splits in results["scores"].items() for split, rows in splits.items() if rows
    }
    metrics = {task: about["metric"] for task, about in results["tasks"].items()}

    def cell(name: str, column: tuple[str, str]) -> str:
        row = columns[column].get(name)
        if row is None:
            return ""
        number, difference = row[metrics[column[0]]], row["differences"].get(reference)
        mark = ("*", "", "**")[1 + _direction(difference)] if difference else ""
        text = known(None) if number["value"] is None else f"{number['value']:.3f}"
        return f"{mark}{text}{mark}{_partly(results, number)}"

    table = markdown_table(
        ("strategy", *map(", ".join, columns)),
        ((name, *(cell(name, column) for column in columns)) for name in results["strategies"]),
    )
    named = ", ".join(f"{task}: {_METRIC_NAMES[metric]}" for task, metric in metrics.items())
    return (
        f"Against {reference}, on the same tracks: **better** and *worse* where the interval of the difference leaves "
        f"out 0. {named}.\n\n{table}"
    )


def _direction(difference: Mapping[str, Any]) -> int:
    """1 and -1: its interval is all above or below 0."""
    if difference["value"] is None or difference["low"] is None:
        return 0
    return (difference["low"] > 0) - (difference["high"] < 0)


def _partly(results: Mapping[str, Any], number: Mapping[str, Any]) -> str:
    """Says so where a number is not of all the seeds."""
    count = _seeds(results)
    return f" [{number['seeds']} of {count} seeds]" if number["seeds"] < count else ""


def _scores(results: Mapping[str, Any], task: str, split: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    kind, main = results["tasks"][task]["kind"], results["tasks"][task]["metric"]
    tracks = next(iter(rows.values()))["tracks"]
    seeds = [f"{_METRIC_NAMES[main]} of seeds"] if _seeds(results) else []
    table = markdown_table(
        (
            "strategy",
            *(_METRIC_NAMES[metric] for metric in _SHOWN[kind]),
            *seeds,
            *(f"difference to {reference}" for reference in results["references"]),
        ),
        (
            (
                name,
                *(format_interval(row[metric]) for metric in _SHOWN[kind]),
                *(_by_seed(results, row["by_seed"]) for _ in seeds),
                *(_difference(results, row["differences"].get(reference)) for reference in results["references"]),
            )
            for name, row in rows.items()
        ),
    )
    return f"### {task}, {split} ({tracks} tracks, {results['tasks'][task]['outputs']} outputs)\n\n{table}"


def _by_seed(results: Mapping[str, Any], by_seed: Mapping[str, float | None]) -> str:
    """The lowest and the highest, and of how many."""
    values = [value for value in by_seed.values() if value is not None]
    return f"{min(values):.3f} to {max(values):.3f} ({len(values)} of {_seeds(results)})" if values else known(None)


def _difference(results: Mapping[str, Any], number: Mapping[str, Any] | None) -> str:
    if number is None:
        return ""
    if number["value"] is None or number["low"] is None:
        return known(None)
    text = f"{number['value']:+.3f} ({number['low']:+.3f} to {number['high']:+.3f})"
    return (f"**{text}**" if _direction(number) else text) + _partly(results, number)


def _curves(results: Mapping[str, Any], task: str, curves: Mapping[str, Mapping[str, Any]], axis: str) -> str:
    columns = list(dict.fromkeys(label for curve in curves.values() for label in curve))
    columns.sort(key=_position)
    table = markdown_table(
        (f"strategy \\ {axis}", *columns),
        (
            (name, *(_number(results, curve[column]) if column in curve else "" for column in columns))
            for name, curve in curves.items()
        ),
    )
    return f"### {task}, {_METRIC_NAMES[results['tasks'][task]['metric']]}\n\n{table}"


def _number(results: Mapping[str, Any], number: Mapping[str, Any]) -> str:
    return format_interval(number) + _partly(results, number)


def _position(label: str) -> float:
    return float("inf") if label == "all" else float(label)


def _drops_intro(settings: Mapping[str, Any]) -> str:
    rows = ((name, DEGRADATIONS[name].description) for name in settings["conditions"] if name != "none")
    of = f"Of the first seed ({settings['seeds'][0]}). " if len(settings["seeds"]) > 1 else ""
    return (
        f"{of}The probe has learned from clean audio; the test audio is degraded. Shown is what the metric loses, on "
        "the same tracks. Another pitch is another key: there, a loss is as it should be. Pitch and tempo are changed "
        "by a phase vocoder, which softens onsets, too. What was augmented in pre-training has met noise, filters and "
        "other levels (simclr also pitch shifts): it is no wonder if that stands them.\n\n"
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
        digits = ",.1f" if isinstance(value, float) and value >= 1 else ".3f" if isinstance(value, float) else ","
        return "" if value is None else f"{value:{digits}}"

    return (
        markdown_table(
            ("model", *(column.replace("_", " ") for column in columns)),
            ((name, *(cell(row[column]) for column in columns)) for name, row in compute.items()),
        )
        + "\n\nSeconds are of the clock, with everything that ran beside it. Heard hours: steps times clips times "
        "their length. Effective rank: over how many dimensions the embeddings of the validation clips spread, as the "
        "exponential of an entropy; matching AUC: how well the fused streams tell matched from mismatched pairs of "
        "them. "
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
    """The main metric of every task, and retrieval in both directions, by test split."""
    reports = results["zero_shot"]
    parts = [
        "Tags and classes by prompts, recordings and descriptions by each other; of the first seed. What the methods "
        "are: README, zero-shot."
    ]
    splits = dict.fromkeys(split for report in reports.values() for by in report["tasks"].values() for split in by)
    for split in splits:
        rows: dict[tuple[str, str], dict[str, str]] = {}
        for strategy, report in reports.items():
            for task in report["tasks"].keys() & results["tasks"].keys():
                metric = results["tasks"][task]["metric"]
                for method, numbers in report["tasks"][task].get(split, {}).items():
                    rows.setdefault((strategy, method), {})[task] = format_interval(numbers[metric])
        tasks = [task for task in results["tasks"] if any(task in cells for cells in rows.values())]
        columns = (f"{task}, {_METRIC_NAMES[results['tasks'][task]['metric']]}" for task in tasks)
        lines = ((*row, *(cells.get(task, "") for task in tasks)) for row, cells in rows.items())
        parts += [f"### By prompts, {split}", markdown_table(("strategy", "method", *columns), lines)]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for strategy, report in reports.items():
        for split, directions in report["retrieval"].items():
            among = report["sizes"]["retrieval"][split]["clips"]
            for direction, methods in directions.items():
                found.setdefault((direction, split), []).extend(
                    {"strategy": strategy, "method": method, "recordings": among}
                    | {name: format_interval(number) for name, number in numbers.items()}
                    for method, numbers in methods.items()
                )
    for (direction, split), lines in found.items():
        table = markdown_table(list(lines[0]), (line.values() for line in lines))
        parts += [f"### Retrieval, {direction.replace('_', ' ')}, {split}", table]
    return "\n\n".join(parts)
