"""The report of a zero-shot evaluation: tables with intervals, and a picture."""

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
    """Write `zero_shot.json`, `zero_shot.md` and `zero_shot.png`.

    Args:
        folder: The output folder; it is created if necessary.
        report: The result of `zero_shot_report`.
        facts: Settings of the run by name.

    Returns:
        The path of `zero_shot.md`.
    """
    make_folder(folder, "--output_dir")
    write_json(folder / "zero_shot.json", {"run": dict(facts), **report})
    _draw(report, folder / "zero_shot.png")
    path = folder / "zero_shot.md"
    path.write_text("\n\n".join(_sections(report, facts)) + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def _sections(report: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    sizes = report["sizes"]
    yield "# Zero-shot evaluation"
    yield markdown_table(("setting", "value"), facts.items())
    yield (
        "* contrastive: cosine similarity in the joint embedding space.\n"
        "* matching: log-odds of a match, from the fused streams.\n"
        "* calibrated: minus the mean score of each label over validation clips, whose labels are not used.\n"
        "* reranked: the first contrastive results, ordered by their matching scores.\n"
        "* In brackets: 95 % bootstrap intervals over clips or queries; for chance in tasks, the range of 95 % of "
        "random scores."
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
            "r1, r5, r10: fraction of the queries with a relevant item among the first 1, 5 or 10 results. "
            "median_rank: median rank of the first relevant item. map10: mean average precision at 10. Items with "
            "equal scores count as if in random order."
        )
        for direction, methods in directions.items():
            yield f"### {_ASKS[direction]}"
            yield table(methods)
    yield "![main metric of each task and retrieval, with intervals and chance](zero_shot.png)"
    if report["skipped"]:
        yield "## Skipped clips"
        yield shown_skipped(report["skipped"])


def table(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table with a row per method and a column per metric."""
    names = list(next(iter(methods.values())))
    rows = (
        (method.replace("_", ", "), *(format_interval(metrics[name]) for name in names))
        for method, metrics in methods.items()
    )
    return markdown_table(("scores", *names), rows)


def shown_skipped(skipped: Sequence[str]) -> str:
    """Return a list of the first skipped clips, and the number of the others."""
    more = [f"... and {len(skipped) - _SHOWN_SKIPPED} more: zero_shot.json"] if len(skipped) > _SHOWN_SKIPPED else []
    return "\n".join(f"* {item}" for item in [*skipped[:_SHOWN_SKIPPED], *more])


def _panels(report: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the title, the metric and the methods of each panel."""
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
