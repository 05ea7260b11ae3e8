"""The report of zero-shot scores and retrieval: tables with intervals, and a picture."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import format_interval, make_folder, markdown_table, write_json
from .pair_scores import CONTRASTIVE, MATCHING
from .zero_shot import AUDIO_TO_TEXT, CHANCE, RERANKED, TEXT_TO_AUDIO

_SHOWN_SKIPPED = 20
_ASKS = {TEXT_TO_AUDIO: "recordings by their description", AUDIO_TO_TEXT: "descriptions by their recording"}
_PICTURED = "r10"
_COLORS = {CONTRASTIVE: "C0", MATCHING: "C1", RERANKED: "C2"}


def write_zero_shot_report(folder: Path, report: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
    """Writes `zero_shot.json`, `zero_shot.md` and `zero_shot.png`.

    Args:
        folder: is made.
        report: what `zero_shot_report` gives.
        facts: about the run, by what they are called.

    Returns:
        The path of the tables.
    """
    make_folder(folder, "--output_dir")
    write_json(folder / "zero_shot.json", {"run": dict(facts), **report})
    _draw(report, folder / "zero_shot.png")
    path = folder / "zero_shot.md"
    path.write_text("\n\n".join(_sections(report, facts)) + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def _sections(report: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    sizes = report["sizes"]
    yield "# Zero-shot"
    yield markdown_table(("what", "which"), facts.items())
    yield (
        "contrastive: cosine similarity in the shared space; matching: log-odds of the fused streams; calibrated: "
        "less each label's mean over validation clips, whose labels are not read; reranked: the first of the "
        "contrastive scores in the order of the matching scores. In brackets: 95 % bootstrap intervals over clips or "
        "queries; of chance in tasks, where 95 % of random scores lie."
    )
    for name, splits in report["tasks"].items():
        for split, methods in splits.items():
            size = sizes["tasks"][name][split]
            yield f"## {name}, {split}: {size['clips']} clips, {size['labels']} labels"
            yield table(methods)
    for split, directions in report["retrieval"].items():
        size = sizes["retrieval"][split]
        yield f"## Retrieval, {split}: {size['clips']} recordings, {size['texts']} descriptions"
        yield (
            "r1, r5, r10: share of the queries with a right answer among the first so many; median rank of the first "
            "right answer; map10: mean average precision of the first ten. Equal scores count as in random order."
        )
        for direction, methods in directions.items():
            yield f"### {_ASKS[direction]}"
            yield table(methods)
    yield "![main metric of everything, with its interval and chance](zero_shot.png)"
    if report["skipped"]:
        yield "## Left out"
        yield shown_skipped(report["skipped"])


def table(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """A row per method, a column per metric."""
    names = list(next(iter(methods.values())))
    rows = (
        (method.replace("_", ", "), *(format_interval(metrics[name]) for name in names))
        for method, metrics in methods.items()
    )
    return markdown_table(("scores", *names), rows)


def shown_skipped(skipped: Sequence[str]) -> str:
    """A list of the first, and how many more there are."""
    more = [f"... and {len(skipped) - _SHOWN_SKIPPED} more: zero_shot.json"] if len(skipped) > _SHOWN_SKIPPED else []
    return "\n".join(f"* {item}" for item in [*skipped[:_SHOWN_SKIPPED], *more])


def _panels(report: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Title, metric, and methods."""
    for name, splits in report["tasks"].items():
        for split, methods in splits.items():
            yield f"{name}, {split}", next(iter(methods[CHANCE])), methods
    for split, directions in report["retrieval"].items():
        for direction, methods in directions.items():
            yield f"{direction.replace('_', ' ')}, {split}", _PICTURED, methods


def _draw(report: Mapping[str, Any], path: Path):
    from matplotlib.figure import Figure

    panels = list(_panels(report))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.5 * columns, 0.4 + 2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (title, metric, methods) in zip(grid, panels, strict=False):
        shown = {
            method: metrics[metric]
            for method, metrics in methods.items()
            if method != CHANCE and metrics[metric]["value"] is not None
        }
        for position, (method, number) in enumerate(shown.items()):
            kind, _, calibrated = method.partition("_")
            axes.barh(position, number["value"], color=_COLORS[kind], alpha=0.6 if calibrated else 1)
            if number["low"] is not None:
                axes.plot([number["low"], number["high"]], [position, position], color="black", linewidth=1.5)
        axes.set_yticks(range(len(shown)), [method.replace("_", ",\n") for method in shown])
        axes.invert_yaxis()
        if (chance := methods[CHANCE][metric]["value"]) is not None:
            axes.axvline(chance, color="0.4", linestyle="--")
        axes.set_title(title, fontsize="medium", parse_math=False)
        axes.set_xlabel(f"{metric} (dashed: chance)")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.savefig(path, dpi=100)
