"""Measurements as Markdown, JSON and a picture."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from .measure import Measurement


def machine(device: torch.device | str = "cpu") -> dict[str, str | int]:
    """What the numbers depend on, beside the code."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def write_report(
    path: Path,
    measurements: Sequence[Measurement],
    unit: str,
    baselines: Sequence[str],
    roof: str | None = None,
    notes: Sequence[str] = (),
    device: torch.device | str = "cpu",
) -> str:
    """Writes `PATH.md`, `PATH.json` and `PATH.png`.

    Args:
        path: without suffix.
        measurements: of one `measure`.
        unit: what the variants' `units` count, in the plural.
        baselines: variants that the others are compared with.
        roof: the variant whose rate of arithmetic is the machine's.
        notes: sentences that stand above the table.
        device: where it was measured.

    Returns:
        The Markdown.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    by_name = {measurement.name: measurement for measurement in measurements}
    rows = [measurement for measurement in measurements if measurement.name != roof]
    about = machine(device)
    rounds = len(measurements[0].seconds)
    lines = [
        f"{about['device']}, {about['threads']} threads, torch {about['torch']}. Median (lowest to highest) of "
        f"{rounds} interleaved rounds in one process; `x NAME`: how many times as fast as NAME in the same round.",
        *notes,
    ]
    if roof is not None:
        lines.append(
            f"Roof: {by_name[roof].gflops:.0f} GFLOP/s, measured in the same rounds ({roof}). GFLOP/s counts the "
            "operations of the plain computation, whatever a variant does instead."
        )
    heads = [f"{unit} per second", *(f"x {name}" for name in baselines)]
    heads += ["GFLOP/s", "of the roof"] if roof is not None else []
    heads += ["peak memory"] if any(row.peak_mib is not None for row in rows) else []
    table = [f"| variant | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for row in rows:
        rates = [row.units / seconds for seconds in row.seconds]
        cells = [f"{_number(row.rate)} ({_number(min(rates))} to {_number(max(rates))})"]
        for name in baselines:
            ratios = row.faster_than(by_name[name])
            cells.append(f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        if roof is not None:
            known = row.gflops is not None
            cells.append(f"{row.gflops:.0f}" if known else "")
            cells.append(f"{row.gflops / by_name[roof].gflops:.0%}" if known else "")
        if row.peak_mib is not None:
            cells.append(f"{row.peak_mib:.0f} MiB")
        table.append(f"| {row.name} | {' | '.join(cells)} |")
    text = "\n\n".join(lines) + "\n\n" + "\n".join(table) + "\n"
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    raw = {"machine": about, "unit": unit, "variants": [asdict(measurement) for measurement in measurements]}
    path.with_suffix(".json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    plot(path.with_suffix(".png"), rows, unit, baselines)
    return text


def plot(path: Path, rows: Sequence[Measurement], unit: str, baselines: Sequence[str]):
    """Rates as bars, baselines in another color."""
    rates = np.array([row.rate for row in rows])
    spread = np.array([[row.units / max(row.seconds), row.units / min(row.seconds)] for row in rows]).T
    figure, axes = plt.subplots(figsize=(9, 0.35 * len(rows) + 1.2))
    axes.barh(
        [row.name for row in rows],
        rates,
        xerr=np.abs(spread - rates),
        color=["tab:orange" if row.name in baselines else "tab:blue" for row in rows],
        error_kw={"elinewidth": 1, "ecolor": "0.3"},
    )
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(f"{unit} per second (log scale); orange: what the others are compared with")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _number(value: float) -> str:
    """Three digits, or as many as the whole number has."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in names if line.startswith("model name")), platform.processor())
