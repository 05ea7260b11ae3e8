"""The report of a comparison: `comparison.md`, `comparison.json` and pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import format_interval, known, markdown_table, write_json
from ..degradations import DEGRADATIONS
from ..features import HANDCRAFTED
from .pictures import METRIC_NAMES, draw_curves, draw_drops, draw_scores, position_on_axis
from .results import FEWER_RESAMPLES

REPORT_FILE = "comparison.md"
PICTURES_FOLDER = "comparison"
_SHOWN = {
    "multi_label": ("roc_auc", "pr_auc"),
    "single_label": ("accuracy", "macro_f1"),
    "regression": ("r2", "pearson"),
}


_COMPUTE_NAMES = {"matching_auc": "matching AUC"}  # by key of the JSON file


def write_comparison_report(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write results as JSON, tables and pictures.

    Args:
        folder: Of the comparison.
        results: From `collect_results`.

    Returns:
        The path of the report.
    """
    write_json(folder / "comparison.json", results)
    pictures = folder / PICTURES_FOLDER
    pictures.mkdir(exist_ok=True)
    sections = ["# Comparison of training strategies", _overview(results), "## Method", _how(results)]
    sections += ["## Tasks", _picture(draw_scores(results, pictures / "scores.png"))]
    for task, by_split in results["scores"].items():
        sections += [_scores(results, task, split, rows) for split, rows in by_split.items() if rows]
    for part, title, axis in (
        ("labels", "Label efficiency", "labels per class"),
        ("shares", "Data efficiency", "fraction of the corpus used for pre-training"),
    ):
        if any(len(curve) > 1 for curves in results[part].values() for curve in curves.values()):
            sections += [f"## {title}", _picture(draw_curves(results, part, axis, pictures / f"{part}.png"))]
            sections += [_curves(results, task, curves, axis) for task, curves in results[part].items() if curves]
    if any(drops for by_strategy in results["drops"].values() for drops in by_strategy.values()):
        sections += [
            "## Robustness",
            _drops_intro(results["settings"]["comparison"]),
            _picture(draw_drops(results, pictures / "drops.png")),
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
    covers = "over tracks, which do not include the variance between seeds"
    if count := _seeds(results):
        covers = f"over tracks and seeds, which include {1 - 1 / count:.0%} of the variance between {count} seeds"
    return (
        f"{_training(results)}The same probe is trained on the frozen features of each; its best epoch is chosen on "
        f"the validation split, and the test splits are evaluated once. Seeds: {seeds}.\n\n"
        f"In brackets: 95 % bootstrap intervals {covers}. Intervals of curves and of robustness are from "
        f"{FEWER_RESAMPLES} resamples and the others from {settings['resamples']}, so they may differ in the third "
        "decimal. Intervals of PR-AUC are too narrow for rare tags. Differences are in the first metric, on the same "
        "tracks. Significant differences, whose interval excludes 0, are bold; without any true difference, one in "
        "twenty would be."
    )


def _training(results: Mapping[str, Any]) -> str:
    settings = results["settings"]["comparison"]
    corpus = settings["train_data"] or f"{settings['pretrain_clips']} clips of the synthetic corpus"
    given = results.get("given", [])  # older results have none
    text = f"Trained elsewhere, and evaluated as they are: {', '.join(given)}. " if given else ""
    if set(results["strategies"]) - {*given, HANDCRAFTED}:
        text += (
            f"{'The other' if given else 'All'} strategies are pre-trained for {settings['pretrain_steps']} steps of "
            f"{settings['pretrain_batch_size']} clips of {settings['pretrain_seconds']:g} s from {corpus}, with the "
            "same backbone. "
        )
    return text


def _seeds(results: Mapping[str, Any]) -> int:
    """The number of seeds of the comparison; 0 if there is only one."""
    count = len(results["settings"]["comparison"]["seeds"])
    return count if count > 1 else 0


def _overview(results: Mapping[str, Any]) -> str:
    """The main metric of all strategies on all tasks and test splits."""
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
    named = ", ".join(f"{task}: {METRIC_NAMES[metric]}" for task, metric in metrics.items())
    return (
        f"Compared with {reference} on the same tracks: **significantly better**, *significantly worse* (95 % "
        f"interval). {named}.\n\n{table}"
    )


def _direction(difference: Mapping[str, Any]) -> int:
    """1: significantly above 0, -1: significantly below 0, 0: not significantly different."""
    if difference["value"] is None or difference["low"] is None:
        return 0
    return (difference["low"] > 0) - (difference["high"] < 0)


def _partly(results: Mapping[str, Any], number: Mapping[str, Any]) -> str:
    """A note for a number that is not from all seeds."""
    count = _seeds(results)
    return f" [{number['seeds']} of {count} seeds]" if number["seeds"] < count else ""


def _scores(results: Mapping[str, Any], task: str, split: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    kind, main = results["tasks"][task]["kind"], results["tasks"][task]["metric"]
    tracks = next(iter(rows.values()))["tracks"]
    seeds = [f"{METRIC_NAMES[main]} by seed"] if _seeds(results) else []
    table = markdown_table(
        (
            "strategy",
            *(METRIC_NAMES[metric] for metric in _SHOWN[kind]),
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
    """The lowest and the highest value, and the number of seeds."""
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
    columns.sort(key=position_on_axis)
    table = markdown_table(
        (f"strategy \\ {axis}", *columns),
        (
            (name, *(_number(results, curve[column]) if column in curve else "" for column in columns))
            for name, curve in curves.items()
        ),
    )
    return f"### {task}, {METRIC_NAMES[results['tasks'][task]['metric']]}\n\n{table}"


def _number(results: Mapping[str, Any], number: Mapping[str, Any]) -> str:
    return format_interval(number) + _partly(results, number)


def _drops_intro(settings: Mapping[str, Any]) -> str:
    rows = ((name, DEGRADATIONS[name].description) for name in settings["conditions"] if name != "none")
    seed = f" All numbers are from the first seed ({settings['seeds'][0]})." if len(settings["seeds"]) > 1 else ""
    return (
        "The probe is trained on clean audio and evaluated on degraded audio. The tables show the loss in the metric, "
        f"on the same tracks.{seed} A change of pitch changes the key, so the task key should lose there. Pitch and "
        "tempo are changed with a phase vocoder, which also softens onsets. Strategies that augment their audio in "
        "pre-training are trained on noise, filters and level changes (simclr also on pitch shifts), and have an "
        "advantage there.\n\n" + markdown_table(("degradation", "what is done"), rows)
    )


def _drops(results: Mapping[str, Any], task: str) -> str:
    drops = {name: row for name, row in results["drops"][task].items() if row}
    if not drops:
        return ""
    degradations = list(dict.fromkeys(name for row in drops.values() for name in row))
    table = markdown_table(
        ("degradation", *drops),
        (
            (name, *(format_interval(row[name]) if name in row else "" for row in drops.values()))
            for name in degradations
        ),
    )
    return f"### {task}, loss in {METRIC_NAMES[results['tasks'][task]['metric']]}\n\n{table}"


def _compute(compute: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(next(iter(compute.values()))) if compute else []

    def cell(value) -> str:
        digits = ",.1f" if isinstance(value, float) and value >= 1 else ".3f" if isinstance(value, float) else ","
        return "" if value is None else f"{value:{digits}}"

    return (
        markdown_table(
            ("model", *(_COMPUTE_NAMES.get(column, column.replace("_", " ")) for column in columns)),
            ((name, *(cell(row[column]) for column in columns)) for name, row in compute.items()),
        )
        + "\n\nSeconds are wall-clock time, with other runs at the same time. Audio hours: steps times clips per step "
        "times the length of a clip. Parameters: all numbers in the saved file, heads included. Effective rank: the "
        "number of dimensions over which the embeddings of the validation clips spread (the exponential of an "
        "entropy). Matching AUC: how well the fused streams separate matching from mismatched pairs of validation "
        "clips and descriptions."
    )


def _picture(path: Path | None) -> str:
    return "" if path is None else f"![{path.stem}]({path.parent.name}/{path.name})"


def _zero_shot(results: Mapping[str, Any]) -> str:
    """The main metric of every task, and retrieval in both directions, by test split."""
    reports = results["zero_shot"]
    parts = [
        "Tags and classes from prompts, and retrieval between recordings and descriptions, with models of the first "
        "seed. contrastive: cosine similarity in the joint embedding space. matching: log-odds of a match, from the "
        "fused streams. calibrated: minus the mean of each label over validation clips. reranked: the first of the "
        "contrastive scores, ordered by their matching scores."
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
        columns = (f"{task}, {METRIC_NAMES[results['tasks'][task]['metric']]}" for task in tasks)
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
