"""Comparison of the words of real captions with those that the generated captions use."""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DataError
from .compose import compose
from .generate import CAPTION_STYLES, PRODUCTIONS, CorpusConfig, caption_of
from .styles import STYLE_NAMES

__all__ = ["compare_words", "frequent_words", "generated_words", "read_captions"]

_CAPTIONS_PER_SONG = 10
# Function words: articles, pronouns, prepositions, conjunctions, auxiliaries, numbers.
_FUNCTION_WORDS = (
    "a about above across after again against all almost along alongside also although always am among an and another "
    "any anything are around as at away back be because been before behind being below between both but by can cannot "
    "could did do does doing done down due during each either else even every everything few for from further had has "
    "have having he her here hers him his how however i if in into is isn't it it's its itself just kind less like "
    "lot many may maybe me might more most mostly much must my near no nor not of off on once one ones only onto or "
    "other others our out over own per perhaps quite rather s same she should since so some somehow someone something "
    "sometimes somewhere still such t than that that's the their them then there there's these they thing things this "
    "those though three through throughout to together too toward towards two under until up upon us very was we well "
    "were what when where whether which while who whole whose why will with within without would yet you your b c d e "
    "f g m n o p r "
)


def read_captions(path: str | os.PathLike, column: str = "caption") -> list[str]:
    """Return the captions of a file.

    Args:
        path: A .csv, .tsv or .jsonl file with a column of captions, or a .txt file with one caption per line.
        column: Name of the column.

    Raises:
        DataError: The file does not exist, has another suffix, lacks the column, or has no captions.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".tsv", ".jsonl", ".txt"):
        raise DataError(f"{path} is not a file of captions; pass a .csv, .tsv, .jsonl or .txt file")
    if not path.is_file():
        raise DataError(f"{path} does not exist; pass a file of captions")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".txt":
                captions = [line.strip() for line in file]
            elif path.suffix == ".jsonl":
                captions = [json.loads(line)[column] for line in file if line.strip()]
            else:
                rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
                captions = [row[column] for row in rows]
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 {path.suffix[1:]}: {error}; convert the file") from error
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} has no column {column!r} in every row; rename the column of the captions") from error
    captions = [caption for caption in captions if caption]
    if not captions:
        raise DataError(f"{path} has no captions; pass another file")
    return captions


def _words(caption: str) -> list[str]:
    return re.findall(r"[a-z]+(?:'[a-z]+)?", caption.lower())


def frequent_words(captions: Iterable[str], number: int = 500) -> dict[str, int]:
    """Return the most frequent content words of captions with their counts; hyphens separate words."""
    ignored = frozenset(_FUNCTION_WORDS.split())
    counts = Counter(word for caption in captions for word in _words(caption) if word not in ignored)
    return dict(counts.most_common(number))


def generated_words(config: CorpusConfig, num_songs: int) -> Counter[str]:
    """Return the words of generated captions with their counts.

    The songs are composed but not rendered: all of their tracks count as audible. Captions have no typos.

    Args:
        config: Settings of the corpus.
        num_songs: Number of songs; each gets 10 captions.
    """
    counts: Counter[str] = Counter()
    config = replace(config, captions=replace(config.captions, typo=0.0))
    for index in range(num_songs):
        rng = np.random.default_rng([config.seed, index])
        style = STYLE_NAMES[index % len(STYLE_NAMES)]
        song = compose(rng, style, config.clip_seconds, varied=config.composition == "varied")
        effects = PRODUCTIONS[config.production](rng, config.effect_strength)
        for _ in range(_CAPTIONS_PER_SONG if song.tracks else 0):
            counts.update(_words(caption_of(config, song, song.tracks, effects, rng).text))
    return counts


def compare_words(captions: Iterable[str], config: CorpusConfig, num_songs: int = 1000) -> str:
    """Return a report in Markdown: which of the 500 most frequent content words the generated captions use.

    Args:
        captions: Real captions.
        config: Settings of the corpus; its caption style is ignored, both styles are compared.
        num_songs: Number of generated songs per style.
    """
    captions = list(captions)
    wanted = frequent_words(captions)
    total = sum(wanted.values())
    lines = [
        f"The {len(wanted)} most frequent content words of {len(captions):,} captions, and how many of them the "
        f"captions of {num_songs:,} generated songs use:",
        "",
        "| captions | words | fraction of the words | fraction of their occurrences |",
        "|---|---|---|---|",
    ]
    missing: dict[str, list[str]] = {}
    for style in CAPTION_STYLES:
        used = generated_words(replace(config, caption_style=style), num_songs)
        found = [word for word in wanted if word in used]
        occurrences = sum(wanted[word] for word in found)
        lines.append(f"| {style} | {len(found)} | {len(found) / len(wanted):.3f} | {occurrences / total:.3f} |")
        missing[style] = [word for word in wanted if word not in used]
    for style, words in missing.items():
        lines += ["", f"Not used by {style} captions, most frequent first: {', '.join(words) or 'none'}."]
    return "\n".join(lines)
