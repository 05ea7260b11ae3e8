"""The report of a training run, made from its files: `training_report.md`, plots, and the list of skipped items."""

import importlib.metadata
import json
import os
import platform
import re
import shlex
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ..data.schema import Skipped
from ..files import known, markdown_table, printable
from .plots import BASELINES, SPLITS, THROUGHPUT, draw_metrics, metric_groups, series
from .tracking import METRICS_FILE, ROW_KEYS, read_metrics

REPORT_FILE = "training_report.md"
PICTURES_FOLDER = "training_report"
SKIPPED_FILE = "skipped.jsonl"
_PACKAGES = ("torch", "transformers", "datasets", "accelerate", "mulap-hf")
_SHOWN_NAMES = 5


def environment(accelerator: Accelerator | None = None) -> dict[str, Any]:
    """Versions, machine and command line of this process; None where a value is unknown.

    Args:
        accelerator: of the run; device, processes and precision are known from it alone.
    """
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "device": accelerator and accelerator.device.type,
        "processes": accelerator and accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "mixed_precision": accelerator and accelerator.mixed_precision,
        "command": shlex.join(sys.argv),
    }


def write_report(
    folder: str | Path,
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    skipped: Sequence[Skipped] = (),
    kept_step: int | None = None,
    warnings: Sequence[str] = (),
) -> Path:
    """Writes `training_report.md`, the plots in `training_report/`, and `skipped.jsonl`.

    Args:
        folder: of the run, with its `metrics.jsonl`.
        settings: sections of options, and `pairs` (`{"train", "validation"}`) and `seconds` of the run; `objective`
            and `max_steps` are looked for in all sections. What is missing is reported as unknown.
        environment: as from `environment`.
        skipped: every item that was left out.
        kept_step: step whose weights were kept.
        warnings: a sentence each, such as those of collapse.

    Returns:
        The report's path.

    Raises:
        OSError: `metrics.jsonl` does not exist.
        DataError: a line of it is broken.
    """
    folder = Path(folder)
    rows = read_metrics(folder / METRICS_FILE)
    pictures = draw_metrics(rows, folder / PICTURES_FOLDER, kept_step)
    lines = (json.dumps(asdict(item)) + "\n" for item in skipped)
    (folder / SKIPPED_FILE).write_text("".join(lines), encoding="utf-8")
    settings_json = json.dumps(settings, indent=2, ensure_ascii=False, default=str)
    machine = ((name, value) for name, value in environment.items() if name != "command")
    sections = [
        f"# Training of {_code(printable(folder.resolve().name))}",
        _summary(rows, settings, kept_step),
        *(f"> **Warning:** {printable(warning)}" for warning in warnings),
        "## Validation",
        _validation(rows, kept_step),
        *(f"![{path.stem}]({PICTURES_FOLDER}/{path.name})" for path in pictures),
        "## Speed",
        markdown_table(("measure", "value"), _speed(rows, settings, environment)),
        "## Skipped or incomplete",
        _skipped(skipped),
        "## Environment",
        markdown_table(("what", "which"), machine),
        f"```sh\n{printable(known(environment.get('command')))}\n```",
        f"<details><summary>All settings</summary>\n\n```json\n{settings_json}\n```\n\n</details>",
    ]
    path = folder / REPORT_FILE
    # Bytes of a path that are not UTF-8 are surrogates in Python, which UTF-8 refuses.
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def _summary(rows: list[dict], settings: Mapping[str, Any], kept_step: int | None) -> str:
    pairs = settings.get("pairs") or {}
    facts = {
        "Objective": _find(settings, "objective"),
        "steps": f"{max((row['step'] for row in rows), default=0)} of {known(_find(settings, 'max_steps'))}",
        "training pairs": pairs.get("train"),
        "validation pairs": pairs.get("validation"),
        "duration": _duration(settings.get("seconds")),
        "kept step": kept_step,
    }
    return "; ".join(f"{name}: {known(value)}" for name, value in facts.items()) + "."


def _validation(rows: list[dict], kept_step: int | None) -> str:
    """Each metric at the kept and at the last evaluation; several rows may belong to one step."""
    evaluations: dict[int, dict] = {}
    for row in rows:
        if row["split"] == "validation":
            evaluations.setdefault(row["step"], {}).update(row)
    if not evaluations:
        return "Nothing was measured on held-out pairs."
    last = max(evaluations)
    columns = {f"last, step {last}": evaluations[last]}
    if kept_step in evaluations:
        columns = {f"kept, step {kept_step}": evaluations[kept_step]} | columns
    names = dict.fromkeys(name for row in columns.values() for name in row if name not in ROW_KEYS)
    lines = (
        (name, *(_figure(row.get(name)) for row in columns.values()), _figure(BASELINES.get(name), missing=""))
        for name in names
    )
    return markdown_table(("metric", *columns, "baseline"), lines)


def _speed(rows: list[dict], settings: Mapping[str, Any], environment: Mapping[str, Any]) -> Iterable[tuple]:
    for name in metric_groups(rows).get(THROUGHPUT, ()):
        values = [value for split in SPLITS for value in series(rows, split, name)[1]]
        yield f"{name}, median", _figure(statistics.median(values))
    yield "total time", _duration(settings.get("seconds"))
    yield "processes", environment.get("processes")
    yield "threads per process", environment.get("threads")


def _skipped(skipped: Sequence[Skipped]) -> str:
    """The reasons, starting with the most frequent one."""
    if not skipped:
        return "Nothing was skipped."
    names: dict[str, list[str]] = {}
    for item in skipped:
        names.setdefault(item.reason, []).append(_code(item.id))
    rows = (
        (reason, len(ids), ", ".join(ids[:_SHOWN_NAMES]) + (", ..." if len(ids) > _SHOWN_NAMES else ""))
        for reason, ids in sorted(names.items(), key=lambda pair: -len(pair[1]))
    )
    table = markdown_table(("reason", "items", "which"), rows)
    return f"{table}\n\nAll {len(skipped)}, with details: `{SKIPPED_FILE}`."


def _find(settings: Mapping[str, Any], name: str) -> Any:
    """An option, in any section."""
    sections = (settings, *(value for value in settings.values() if isinstance(value, Mapping)))
    return next((section[name] for section in sections if name in section), None)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str | None:
    """On Linux from a file; elsewhere from Python, if it knows the name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or None


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _figure(value: float | None, missing: str = "unknown") -> str:
    return missing if value is None else f"{value:.4g}"


def _code(name: str) -> str:
    """A name as code in Markdown, with a fence that is longer than any row of backticks in it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    return f"{fence} {name} {fence}" if "`" in name else f"{fence}{name}{fence}"
