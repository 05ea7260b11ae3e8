"""The report of a transfer: metrics with intervals, pictures, and skipped tracks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.schema import Skipped, Task
from ..files import format_interval, known, markdown_table
from ..metrics.scores import MAIN_METRIC

REPORT_FILE = "transfer_report.md"
PICTURES_FOLDER = "transfer_report"
_MOST_BARS = 60


def write_transfer_report(
    folder: Path,
    task: Task,
    facts: Mapping[str, Any],
    validation: Mapping[str, float],
    tests: Mapping[str, Mapping[str, Any]],
    history: Sequence[Mapping[str, float]],
    best_epoch: int,
    skipped: Sequence[Skipped],
) -> Path:
    """Write `transfer_report.md`, its pictures, and `skipped.jsonl`.

    Args:
        folder: The output folder.
        task: The task.
        facts: Settings of the run by name.
        validation: Validation metrics of the best epoch.
        tests: Results of `protocol.evaluate` by test split.
        history: A row per epoch (or evaluated step of fine-tuning), with `epoch`, `loss` and the main metric.
        best_epoch: The best epoch (or step).
        skipped: Skipped tracks with their reasons.
    """
    lines = (json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in skipped)
    (folder / "skipped.jsonl").write_text("".join(lines), encoding="utf-8")
    pictures = folder / PICTURES_FOLDER
    pictures.mkdir(exist_ok=True)
    metric = MAIN_METRIC[task.kind]
    _draw_history(history, metric, best_epoch, pictures / "history.png")
    _draw_outputs(tests, task, pictures / "outputs.png")
    sections = [
        f"# {task.name}",
        _results(validation, tests),
        "In brackets: 95 % bootstrap intervals over the tracks. They include the uncertainty from the choice of test "
        "tracks, but not from the random seed.",
        f"![metric of each output]({PICTURES_FOLDER}/outputs.png)",
        f"![loss and metric over the epochs]({PICTURES_FOLDER}/history.png)",
        *(_outputs(split, results) for split, results in tests.items()),
        "## Settings",
        markdown_table(("setting", "value"), facts.items()),
        "## Skipped tracks",
        _skipped(skipped),
    ]
    path = folder / REPORT_FILE
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def _results(validation: Mapping[str, float], tests: Mapping[str, Mapping[str, Any]]) -> str:
    names = next(iter(tests.values()))["metrics"]
    rows = (
        (
            name,
            _number(validation.get(name)),
            *(format_interval(results["metrics"][name]) for results in tests.values()),
        )
        for name in names
    )
    header = ("metric", "validation", *(f"{split}, {results['tracks']} tracks" for split, results in tests.items()))
    return markdown_table(header, rows)


def _outputs(split: str, results: Mapping[str, Any]) -> str:
    outputs = results["outputs"]
    names = list(next(iter(outputs.values())))
    rows = ((output, *(_number(values[name]) for name in names)) for output, values in outputs.items())
    table = markdown_table(("output", *names), rows)
    return f"<details><summary>{split}, by output</summary>\n\n{table}\n\n</details>"


def _skipped(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return "No track was skipped."
    reasons: dict[str, int] = {}
    for item in skipped:
        reasons[item.reason] = reasons.get(item.reason, 0) + 1
    table = markdown_table(("reason", "tracks"), sorted(reasons.items(), key=lambda pair: -pair[1])[:20])
    return f"{table}\n\n`skipped.jsonl` lists all {len(skipped)} skipped tracks."


def _number(value: float | None) -> str:
    return known(value) if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _draw_history(history: Sequence[Mapping[str, float]], metric: str, best_epoch: int, path: Path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", metric), strict=True):
        axes.plot(epochs, [row[name] for row in history], marker="." if len(epochs) < 30 else None)
        axes.axvline(best_epoch, color="gray", linestyle=":")
        axes.set_title("training loss" if name == "loss" else f"validation {name}")
        axes.set_xlabel("epoch or step (dotted: the best one)")
    figure.savefig(path, dpi=100)


def _draw_outputs(tests: Mapping[str, Mapping[str, Any]], task: Task, path: Path):
    """Draw the first metric of each output as bars, sorted by the value on the first split."""
    from matplotlib.figure import Figure

    splits = list(tests)
    first = tests[splits[0]]["outputs"]
    metric = next(iter(next(iter(first.values()))))
    known_outputs = [output for output in first if first[output][metric] is not None]
    shown = sorted(known_outputs, key=lambda output: first[output][metric])[-_MOST_BARS:]
    figure = Figure(figsize=(7, 1 + 0.22 * len(shown)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(splits)
    for index, split in enumerate(splits):
        values = [tests[split]["outputs"][output][metric] for output in shown]
        positions = [row - index * height for row in range(len(shown))]
        axes.barh(positions, [0 if value is None else value for value in values], height, label=split)
    axes.set_yticks([row - 0.4 + height / 2 for row in range(len(shown))], shown)
    axes.set_xlabel(metric)
    axes.set_title(task.name)
    if len(splits) > 1:
        axes.legend()
    figure.savefig(path, dpi=100)
