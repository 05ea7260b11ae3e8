"""The report of the benchmark: tables, pictures, and what holds in plain words, chosen by the intervals."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.schema import Skipped
from ..files import format_interval, make_folder, markdown_table, write_json
from .plots import draw_bars, draw_confusion, draw_map
from .reliability import draw_reliability
from .statistics import compare
from .tags import tag_sections
from .training import training_table

_HALVES = {
    "dev": "the development half of the recordings, by a hash of their names; models are chosen on it",
    "test": "the test half of the recordings, by a hash of their names; no model is chosen on it",
    "all": "all recordings, the development and the test half",
}
_GEOMETRY = "Tracks without training"
_METHOD = """\
* Features are frozen. A note is its first 6 s; a track is two excerpts of at most 30 s around a quarter and three \
quarters of it. An excerpt is one vector: statistics over its chunks.
* *class*: accuracy of a logistic regression (C = 0.01, standardized features) in {folds} folds, the same for all \
models. Folds of notes divide by {notes}, those of tracks by {soundtracks}. *Balanced*: every class counts the same.
* *labels per class*: the same with few training recordings per class, mean over {draws} random choices. If a class \
has fewer, all of its training recordings are used.
* *neighbors*: the fraction of the five nearest tracks (cosine similarity of standardized features) that have the \
same class.
* *same track*: how often the first excerpt of a track is nearest to the second excerpt of the same track.
* *whitened*: on 32 principal components with equal variance, computed without labels.
* *effective dimensions*: the exponential of the entropy of the variances of the principal components.
* In brackets: 95 % bootstrap intervals over the recordings. *Chance*: the largest class, a random one, or a \
random track."""


def write_report(
    path: Path, results: Mapping[str, Any], skipped: Sequence[Skipped], missing: Mapping[str, str], folds: int
) -> Path:
    """Write the report, its numbers, and its pictures to a folder of the same name.

    Args:
        path: Path of the report, with the suffix .md.
        results: See `collect_results`.
        skipped: Recordings and classes that were left out.
        missing: For each missing part, what to do about it.
        folds: Number of folds.
    """
    pictures = make_folder(path.with_suffix(""))
    write_json(path.with_suffix(".json"), {**results, "left_out": [str(item) for item in skipped]})
    sections = [
        "# Real music",
        f"{_models(results)} on recordings made by people: {_HALVES[results['settings']['half']]}. Made by "
        "`training/real_music.py`.",
        _parts(results),
        *(f"{name}: {reason}." for name, reason in missing.items()),
        "## What holds",
        *_statements(results),
        *_tables(results),
        *_draw(results, pictures),
        *_tagger(results, pictures),
        *_seeds(results),
        "## Pooling over chunks",
        *_poolings(results),
        *_training(results),
        "## Method",
        _METHOD.format(
            folds=folds,
            draws=results["settings"]["draws"],
            **{part: results["parts"].get(part, {}).get("folds", "file") for part in ("notes", "soundtracks")},
        ),
        markdown_table(("setting", "value"), results["settings"].items()),
        "## Left out",
        _left_out(skipped),
    ]
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def _models(results: Mapping[str, Any]) -> str:
    return f"{len(results['models'])} models" if len(results["models"]) > 1 else "One model"


def _parts(results: Mapping[str, Any]) -> str:
    rows = (
        (name, sum(part["classes"].values()), ", ".join(f"{label} {n}" for label, n in part["classes"].items()))
        for name, part in results["parts"].items()
    )
    return markdown_table(("part", "recordings", "classes"), rows)


def _statements(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the paired differences to each reference say, a list per reference."""
    for reference in results["references"]:
        differences, lines = results["differences"][reference], []
        for name in results["models"]:
            if name == reference:
                continue
            found: dict[str, list[str]] = {}
            for key, title in results["measures"].items():
                number = differences[key][name]
                found.setdefault(compare(number), []).append(f"{title} ({number['value']:+.3f})")
            clauses = "; ".join(f"**{phrase}** it in {', '.join(titles)}" for phrase, titles in sorted(found.items()))
            lines.append(f"* {name} is {clauses}.")
        if lines:
            yield f"Compared with **{reference}** (difference in brackets, by its 95 % interval):\n\n" + "\n".join(
                lines
            )


def _tables(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield a section per part, with scores and differences to the references."""
    pooling = results["settings"]["poolings"][0]
    scores = results["scores"][pooling]
    for title, keys in _groups(results).items():
        names = [results["measures"][key] for key in keys]
        with_dimensions = title == _GEOMETRY
        rows: list[tuple] = []
        for name in results["models"]:
            more = (f"{results['dimensions'][pooling][name]:.1f}",) if with_dimensions else ()
            rows.append((name, *(format_interval(scores[key][name]) for key in keys), *more))
        rows.append(
            ("chance", *(f"{results['chance'][key]:.3f}" for key in keys), *(("",) if with_dimensions else ()))
        )
        yield f"## {title}"
        yield markdown_table(("model", *names, *(("effective dimensions",) if with_dimensions else ())), rows)
        for reference in results["references"]:
            differences = results["differences"][reference]
            rows = [
                (name, *(format_interval(differences[key][name]) for key in keys))
                for name in results["models"]
                if name != reference
            ]
            if rows:
                yield f"Paired differences to {reference}:"
                yield markdown_table(("model", *names), rows)


def _groups(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the measures of each table that exist."""
    keys = list(results["measures"])
    groups = {
        "Notes": [key for key in keys if key.startswith("notes")],
        "Tracks": [key for key in keys if key.startswith("soundtracks")],
        _GEOMETRY: [key for key in keys if key.startswith(("neighbors", "same_track"))],
    }
    return {title: keys for title, keys in groups.items() if keys}


def _draw(results: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Draw the pictures of the first model and of the first reference; yield their section."""
    shown = list(dict.fromkeys([next(iter(results["models"])), *results["references"][:1]]))
    yield "## Pictures"
    for number, keys in enumerate(_groups(results).values()):
        picture = draw_bars(results, keys, folder / f"scores_{number + 1}.png")
        yield f"![scores with intervals; dotted: chance]({folder.name}/{picture})"
    if "notes" in results["parts"]:
        picture = draw_confusion(results, shown, folder / "confusion.png")
        yield f"![confusion matrix of the notes]({folder.name}/{picture})"
    if "soundtracks" in results["parts"]:
        picture = draw_map(results, shown, folder / "map.png")
        yield f"![map of the tracks]({folder.name}/{picture})"
        yield (
            "The map shows the tracks in two dimensions, by t-SNE. Labels set only the colors, not the positions. "
            "Distances between groups have little meaning; the axes have none."
        )


def _tagger(results: Mapping[str, Any], folder: Path) -> list[str]:
    if "reliability" not in results:
        return []
    picture = draw_reliability(results["reliability"], folder / "calibration.png")
    return tag_sections(results.get("tags", {}), results["reliability"], f"{folder.name}/{picture}")


def _seeds(results: Mapping[str, Any]) -> Iterator[str]:
    if results["seeds"]:
        yield "## Seeds"
        yield (
            "Scores of models that were trained several times, with other random seeds. All tables above show their "
            "means; the intervals are over recordings alone."
        )
        measures = results["measures"]
        rows = (
            (name, *(", ".join(f"{score:.3f}" for score in scores[key]) for key in measures))
            for name, scores in results["seeds"].items()
        )
        yield markdown_table(("model", *measures.values()), rows)


def _poolings(results: Mapping[str, Any]) -> Iterator[str]:
    measures, poolings = results["measures"], results["settings"]["poolings"]
    if len(poolings) < 2:
        yield f"Only {poolings[0]} was measured."
        return
    main = poolings[0]
    for pooling in poolings[1:]:
        counts = {"above": 0, "below": 0, "not significantly different from": 0}
        for numbers in results["pooling_differences"][pooling].values():
            for number in numbers.values():
                counts[compare(number)] += 1
        yield (
            f"Over all models and measures, {pooling} is above {main} in {counts['above']} cases, below it in "
            f"{counts['below']}, and not significantly different in {counts['not significantly different from']}."
        )
    rows = [
        (name, pooling, *(f"{results['scores'][pooling][key][name]['value']:.3f}" for key in measures))
        for name in results["models"]
        for pooling in poolings
    ]
    yield markdown_table(("model", "pooling", *measures.values()), rows)


def _training(results: Mapping[str, Any]) -> Iterator[str]:
    options = {name: facts["training"] for name, facts in results["models"].items()}
    if sum(map(bool, options.values())) > 1:
        yield "## Training"
        yield "The options of pre-training in which the models differ, of those models whose folders say them."
        yield training_table(options)


def _left_out(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return "Nothing was left out."
    reasons: dict[str, list[str]] = {}
    for item in skipped:
        reasons.setdefault(item.reason, []).append(item.id)
    rows = ((reason, len(ids), ids[0]) for reason, ids in reasons.items())
    return markdown_table(("reason", "items", "first"), rows)
