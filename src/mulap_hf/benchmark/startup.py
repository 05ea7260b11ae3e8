"""Processor time that commands and imports take before they do anything."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from tqdm import tqdm

from ..files import make_folder, markdown_table, write_json
from .report import machine

_IMPORTS = (
    "pass",
    "import mulap_hf",
    "from mulap_hf import MulapConfig",
    "from mulap_hf import MulapModel",
    "from mulap_hf.embedding import Embedder",
    "import torch; from transformers import PreTrainedModel",
)
_MULAP = ("", "embed", "index", "search", "serve")


def run(output: Path, rounds: int, scripts: Sequence[Path]) -> str:
    """Measure `--help` of every command, and imports, in new processes; write `OUTPUT/startup.*`.

    Args:
        output: Folder of the report.
        rounds: Number of measured rounds.
        scripts: Scripts whose `--help` is measured.

    Returns:
        The Markdown report.

    Raises:
        RuntimeError: A command failed; the message has its error output.
    """
    commands = make_commands(scripts)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in tqdm(range(rounds + 1), unit="round"):
        for name, command in commands.items():
            taken = cpu_seconds(command)
            if number:  # the first round compiles modules and fills the system's cache
                seconds[name].append(taken)
    report = {"title": "Start-up of commands", "machine": machine(), "seconds": seconds}
    path = make_folder(output) / "startup"
    write_json(path.with_suffix(".json"), report)
    plot(path.with_suffix(".png"), seconds)
    path.with_suffix(".md").write_text(text := render_startup(report), encoding="utf-8")
    return text


def make_commands(scripts: Sequence[Path]) -> dict[str, list[str]]:
    """The commands to measure by their names in the report."""
    python = [sys.executable, "-c"]
    commands = {f"python -c {code!r}": [*python, code] for code in _IMPORTS}
    for name in _MULAP:
        words = [name] if name else []
        commands[" ".join(["mulap", *words, "--help"])] = [sys.executable, "-m", "mulap_hf.cli", *words, "--help"]
    commands |= {
        f"{script.parent.name}/{script.name} --help": [sys.executable, str(script), "--help"] for script in scripts
    }
    return commands


def cpu_seconds(command: Sequence[str]) -> float:
    """User and system time of a command and its child processes.

    Raises:
        RuntimeError: The command failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode:
        raise RuntimeError(f"{command} failed with exit status {result.returncode}: {result.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def render_startup(report: dict[str, Any]) -> str:
    """The Markdown page of a report."""
    about, rounds = report["machine"], len(next(iter(report["seconds"].values())))
    rows = (
        (f"`{name}`", f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        for name, values in report["seconds"].items()
    )
    sections = [
        f"# {report['title']}",
        "Processor time, user and system, of new processes that import, or print their help.",
        markdown_table(("command", "seconds"), rows),
        f"* Machine: {about['device']}, torch {about['torch']}.\n"
        f"* Medians over {rounds} interleaved rounds, after one that is not measured. In brackets: the lowest and the "
        "highest round.",
    ]
    return "\n\n".join(sections) + "\n"


def plot(path: Path, seconds: dict[str, list[float]]):
    """Draw the medians as bars."""
    figure, axes = plt.subplots(figsize=(9, 0.3 * len(seconds) + 1.2))
    axes.barh(list(seconds), [median(values) for values in seconds.values()])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("processor time in seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
