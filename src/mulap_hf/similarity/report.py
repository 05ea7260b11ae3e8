"""The report of a similarity model: accuracies by head and factor, baselines, and neighbors of real recordings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import format_interval, markdown_table
from ..modeling_mulap_similarity import FACTORS

REPORT_FILE = "similarity_report.md"
PICTURES_FOLDER = "similarity_report"


def write_similarity_report(
    folder: Path,
    facts: Mapping[str, Any],
    tests: Mapping[str, Mapping[str, Any]],
    history: Sequence[Mapping[str, float]],
    neighbors: Mapping[str, Mapping[str, Sequence[str]]],
    skipped: Sequence[str],
) -> Path:
    """Write `similarity_report.md` and its pictures.

    Args:
        folder: The output folder.
        facts: Settings of the run by name.
        tests: Results of `evaluate` by test split.
        history: Result of `train_heads`.
        neighbors: By recording and factor, the names of its nearest recordings.
        skipped: What could not be used, with the reasons.
    """
    pictures = folder / PICTURES_FOLDER
    pictures.mkdir(exist_ok=True)
    sections = [
        "# Music similarity by melody, rhythm and timbre",
        markdown_table(("setting", "value"), facts.items()),
        "A triplet is an anchor, a positive that shares one factor with it and nothing else, and a negative. The "
        "accuracy is the fraction of triplets in which the anchor is more similar to the positive. In brackets: 95 % "
        "bootstrap intervals over groups of related pieces; where all are related, over those that share the factor.",
    ]
    for split, results in tests.items():
        _draw_matrix(results["matrix"], split, pictures / f"{split}.png")
        sections += [f"## {split}: {results['pieces']} pieces", *_tables(results)]
        sections.append(f"![accuracy of each head on each factor]({PICTURES_FOLDER}/{split}.png)")
    _draw_history(history, pictures / "history.png")
    sections += ["## Training", f"![validation accuracy over the steps]({PICTURES_FOLDER}/history.png)"]
    if neighbors:
        rows = [(name, *("; ".join(found[factor]) for factor in FACTORS)) for name, found in neighbors.items()]
        sections += ["## Nearest recordings", markdown_table(("recording", *FACTORS), rows)]
    if skipped:
        sections += ["## Left out", "\n".join(f"* {line}" for line in skipped)]
    path = folder / REPORT_FILE
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def _tables(results: Mapping[str, Any]) -> list[str]:
    own = [(name, *(format_interval(scores[factor]) for factor in FACTORS)) for name, scores in results["own"].items()]
    matrix = [
        (head, *(format_interval(scores[factor]) for factor in FACTORS)) for head, scores in results["matrix"].items()
    ]
    return [
        "Own factor; the negative shares the two other factors with the anchor, so only the factor tells the answer:",
        markdown_table(("similarity by", *FACTORS), own),
        "Each head (row) on triplets of each factor (column); the negative shares nothing with the anchor, and the "
        "two other factors with the positive. A head that does not look at the factor of a column has 0.5 there:",
        markdown_table(("head", *FACTORS), matrix),
    ]


def _draw_matrix(matrix: Mapping[str, Mapping[str, Mapping[str, float]]], split: str, path: Path):
    from matplotlib.figure import Figure

    found = [[matrix[head][factor]["value"] for factor in FACTORS] for head in FACTORS]
    values = np.array(found, dtype=float)  # (heads, factors), NaN where a factor is unknown
    figure = Figure(figsize=(4.6, 3.8), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, vmin=0.5, vmax=1, cmap="Blues")
    for row, numbers in enumerate(values):
        for column, value in enumerate(numbers):
            text = "-" if np.isnan(value) else f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", color="white" if value > 0.8 else "black")
    axes.set_xticks(range(len(FACTORS)), FACTORS)
    axes.set_yticks(range(len(FACTORS)), [f"{head} head" for head in FACTORS])
    axes.set_xlabel("factor of the triplets")
    axes.set_title(f"triplet accuracy, {split}")
    figure.colorbar(image, ax=axes, shrink=0.8, label="0.5 = chance")
    figure.savefig(path, dpi=100)


def _draw_history(history: Sequence[Mapping[str, float]], path: Path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for factor in FACTORS:
        axes.plot([row["step"] for row in history], [row[factor] for row in history], marker=".", label=factor)
    axes.set(xlabel="step", ylabel="validation accuracy, own factor", ylim=(None, 1.005))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
