"""Reports of measurements: JSON with all numbers, a Markdown table, and a bar plot."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import LogLocator, NullFormatter

from ..files import markdown_table
from .measure import Measurement


def machine(device: torch.device | str = "cpu") -> dict[str, str | int]:
    """Return the processor, the number of torch threads and the version of torch."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def make_report(
    title: str,
    measurements: Sequence[Measurement],
    unit: str,
    baselines: Sequence[str],
    peak: str | None = None,
    notes: Sequence[str] = (),
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Return a report as JSON values.

    Args:
        title: Title of the page.
        measurements: The result of one call of `measure`.
        unit: Unit of work in the plural, for example "clips".
        baselines: Names of the variants that all others are compared with.
        peak: Name of the variant whose arithmetic rate is the peak of the machine, if there is one.
        notes: Sentences above the table.
        device: Device of the measurements.
    """
    return {
        "title": title,
        "machine": machine(device),
        "unit": unit,
        "baselines": list(baselines),
        "peak": peak,
        "notes": list(notes),
        "variants": [asdict(measurement) for measurement in measurements],
    }


def write_report(path: Path, report: Mapping[str, Any], more: str = "") -> str:
    """Write a report to `PATH.json`, `PATH.md` and `PATH.png`.

    Args:
        path: Path without suffix.
        report: The result of `make_report`, possibly with more keys.
        more: Markdown that is appended to the page.

    Returns:
        The Markdown page.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = render(report) + more
    path.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    plot(path.with_suffix(".png"), report)
    return text


def render(report: Mapping[str, Any]) -> str:
    """Return the Markdown page of a report."""
    measured, peak = _measurements(report), report["peak"]
    rows = [row for row in measured.values() if row.name != peak]
    has_memory = any(row.peak_mib is not None for row in rows)
    header = ["variant", f"{report['unit']} per second", *(f"speedup over {name}" for name in report["baselines"])]
    header += ["GFLOP/s", "fraction of peak rate"] if peak is not None else []
    header += ["peak memory"] if has_memory else []
    cells = []
    for row in rows:
        rates = [row.units / seconds for seconds in row.seconds]
        cells.append([row.name, f"{_number(row.rate)} ({_number(min(rates))} to {_number(max(rates))})"])
        for name in report["baselines"]:
            ratios = row.faster_than(measured[name])
            cells[-1].append(f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        if peak is not None:
            known = row.gflops is not None
            cells[-1] += [f"{row.gflops:.0f}", f"{row.gflops / measured[peak].gflops:.0%}"] if known else ["", ""]
        if has_memory:
            cells[-1].append("" if row.peak_mib is None else f"{row.peak_mib:.0f} MiB")
    explanations = "\n".join(_explanations(report, measured, has_memory))
    sections = [f"# {report['title']}", *report["notes"], markdown_table(header, cells), explanations]
    return "\n\n".join(sections) + "\n"


def _measurements(report: Mapping[str, Any]) -> dict[str, Measurement]:
    return {row["name"]: Measurement(**row) for row in report["variants"]}


def _explanations(report: Mapping[str, Any], measured: Mapping[str, Measurement], has_memory: bool) -> list[str]:
    """Return list items that explain the columns of the table."""
    about, rounds = report["machine"], len(next(iter(measured.values())).seconds)
    items = [
        f"* Machine: {about['device']}, {about['threads']} threads, torch {about['torch']}.",
        f"* Rates and speedups are medians over {rounds} interleaved rounds in one process. In brackets: the lowest "
        "and the highest round.",
    ]
    if report["peak"] is not None:
        items += [
            "* GFLOP/s counts the operations of the reference computation, even if a variant needs fewer.",
            f"* Peak rate: {measured[report['peak']].gflops:.0f} GFLOP/s, measured in the same rounds "
            f"({report['peak']}).",
        ]
    if has_memory:
        items.append("* Peak memory is the largest increase over the memory in use before a run.")
    return items


def plot(path: Path, report: Mapping[str, Any]):
    """Draw the rates of all variants except the peak as bars, with baselines in another color."""
    rows = [row for row in _measurements(report).values() if row.name != report["peak"]]
    rates = np.array([row.rate for row in rows])
    spread = np.array([[row.units / max(row.seconds), row.units / min(row.seconds)] for row in rows]).T
    figure, axes = plt.subplots(figsize=(9, 0.35 * len(rows) + 1.2))
    axes.barh(
        [row.name for row in rows],
        rates,
        xerr=np.abs(spread - rates),
        color=["tab:orange" if row.name in report["baselines"] else "tab:blue" for row in rows],
        error_kw={"elinewidth": 1, "ecolor": "0.3"},
    )
    axes.invert_yaxis()
    axes.set_xscale("log")
    plain_log_ticks(axes.xaxis)
    axes.set_xlabel(f"{report['unit']} per second (log scale; orange: baselines)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plain_log_ticks(axis):
    """Label a logarithmic axis with plain numbers: powers of ten, and 2 and 5 times these if there is room."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_minor_formatter(NullFormatter())


def _number(value: float) -> str:
    """Return a number with three significant digits, or without decimals from 100."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in names if line.startswith("model name")), platform.processor())
