"""What a tagger says about the tracks: the top tags of a few, and how often it gives each tag to all of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..files import format_interval, markdown_table
from ..illustration.tag_curves import Tagger
from ..transfer.features import FeatureCache
from .excerpts import Excerpts
from .layout import Recording
from .reliability import probe_of, tag_frequencies, tag_probabilities

_TRACKS = 10
_TAGS = 5
_COMMON, _RARE = 0.9, 0.1  # fractions of the tracks
_FACTOR = 3.0


def tag_tracks(tagger: Tagger, excerpts: Excerpts, cache: FeatureCache, temperature: float) -> dict[str, Any]:
    """Return the top tags of ten tracks, and the frequency of every tag among all tracks.

    Args:
        tagger: The classifier.
        excerpts: The soundtracks; the logits of a track are the means over its excerpts.
        cache: Cache of the features.
        temperature: The logits are divided by it for the second probability.

    Returns:
        `tracks`: dictionaries with `track`, `class` and `tags`, a list of (tag, probability, with temperature), the
        most probable first; `frequencies`: by tag the fraction of all tracks that get it with at least 50 %; `of`: the
        number of tracks.
    """
    found = excerpts.features(tagger.embedder, cache)
    logits = probe_of(tagger).predict(found.features).reshape(len(found.recordings), found.excerpts, -1).mean(axis=1)
    plain, soft = tag_probabilities(tagger, logits), tag_probabilities(tagger, logits, temperature)
    tracks = []
    for row in spread_over_classes(found.recordings, _TRACKS):
        top = np.argsort(-logits[row], kind="stable")[:_TAGS]
        tags = [(tagger.labels[tag], round(float(plain[row, tag]), 3), round(float(soft[row, tag]), 3)) for tag in top]
        recording = found.recordings[row]
        tracks.append({"track": recording.path.stem, "class": recording.label, "tags": tags})
    return {"tracks": tracks, "frequencies": tag_frequencies(tagger, logits), "of": len(logits)}


def spread_over_classes(recordings: Sequence[Recording], number: int) -> list[int]:
    """Return the indices of some recordings: the first of each class, then the second of each, and so on."""
    by_class: dict[str, list[int]] = defaultdict(list)
    for row, recording in enumerate(recordings):
        by_class[recording.label].append(row)
    rounds = max(map(len, by_class.values()))
    ordered = [rows[place] for place in range(rounds) for rows in by_class.values() if place < len(rows)]
    return sorted(ordered[:number])


def tag_sections(found: Mapping[str, Any], reliability: Mapping[str, Any], picture: str) -> list[str]:
    """Return the Markdown of the tags: top tags, reading, and calibration.

    Args:
        found: See `tag_tracks`; empty without soundtracks.
        reliability: See `measure_reliability`.
        picture: Path of the picture of the calibration.
    """
    sections = ["## Tags on real tracks"]
    if found:
        rows = (
            (
                one["track"],
                one["class"],
                ", ".join(f"{tag} {plain:.0%} ({soft:.0%})" for tag, plain, soft in one["tags"]),
            )
            for one in found["tracks"]
        )
        sections += [
            f"The {_TAGS} most probable tags. In brackets: with the temperature {reliability['temperature']:.2f}.",
            markdown_table(("track", "class", "tags"), rows),
            *_reading(found, reliability["frequencies"]),
        ]
    return [*sections, "## Can the percentages be believed?", *_calibration(reliability), f"![calibration]({picture})"]


def _reading(found: Mapping[str, Any], expected: Mapping[str, float]) -> list[str]:
    """Return what the frequencies of the tags on real tracks say, compared with those of the synthetic clips."""
    real = found["frequencies"]
    common = [tag for tag, fraction in real.items() if fraction >= _COMMON]
    often = [tag for tag, fraction in real.items() if fraction > _RARE and fraction > _FACTOR * expected[tag]]
    seldom = [tag for tag, fraction in real.items() if expected[tag] > _RARE and fraction < expected[tag] / _FACTOR]

    def listed(tags: list[str]) -> str:
        return ", ".join(f"{tag} ({real[tag]:.0%}, synthetic {expected[tag]:.0%})" for tag in tags) or "none"

    return [
        f"How often a tag gets at least 50 %, on {found['of']} real tracks and on the synthetic test clips, where the "
        "labels are known to be right; real tracks have no such labels, so that a large difference is a likely error:",
        f"* More than {_FACTOR:.0f} times as often on real tracks: {listed(often)}.\n"
        f"* Less than a third as often: {listed(seldom)}.\n"
        f"* On at least {_COMMON:.0%} of the real tracks, so that the tag says little about one: {listed(common)}.",
    ]


def _calibration(reliability: Mapping[str, Any]) -> list[str]:
    rows = []
    for name in ("as it is", "with temperature"):
        sure = reliability[name]["sure"]
        numbers = ("none", "none") if not sure["count"] else (f"{sure['probability']:.1%}", f"{sure['frequency']:.1%}")
        rows.append((name, format_interval(reliability[name]["error"]), *numbers, sure["count"]))
    header = (
        "tagger",
        "expected calibration error",
        "mean probability if at least 50 %",
        "of these true",
        "predictions",
    )
    sure = reliability["as it is"]["sure"]
    too = "" if not sure["count"] else "higher" if sure["probability"] > sure["frequency"] else "lower"
    sentences = [
        f"Measured on {reliability['clips']} synthetic test clips. The temperature, {reliability['temperature']:.3f}, "
        "is fitted on the synthetic validation clips; logits are divided by it.",
        markdown_table(header, rows),
    ]
    if too:
        sentences.append(
            f"As it is, the probabilities of at least 50 % are {too} than the frequency with which they are true, by "
            f"{abs(sure['probability'] - sure['frequency']):.1%}. This holds for synthetic music. On recordings, the "
            "percentages may be further off; the frequencies above show where."
        )
    return sentences
