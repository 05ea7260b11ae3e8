"""What the layouts of corpora are written with, and what is known of them."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

MISSING = "no such file"
BROKEN = "broken audio"
EMPTY = "empty file (0 bytes)"


@dataclass
class Layout:
    """A corpus on disk and the truth about it.

    Attributes:
        root: what `--root` gets.
        options: of the reader.
        rows: by split, in order: id, audio (file or bytes) and the columns besides.
        skipped: by split, in order: id and reason.
        differences: from the published counts.
        tasks: names and kinds.
        shuffled: whether the reader mixes the order of the rows.
    """

    root: Path | str
    rows: dict[str, list[tuple[str, Any, dict]]]
    skipped: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    tasks: dict[str, str] = field(default_factory=dict)
    shuffled: bool = False


def write_audio(path: Path, seed: int, rate: int = 16000, channels: int = 1) -> Path:
    """A third of a second of noise that no other seed gives, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(size=(rate // 3, channels)) * 0.1
    soundfile.write(path, noise, rate, format={".au": "AU"}.get(path.suffix))
    return path


def write_broken(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"<html>404 Not Found</html>" * 20)
    return path


def write_empty(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def write_table(path: Path, rows: list[list], delimiter: str = ",", **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, **how).writerows(rows)
    return path


def write_lines(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
