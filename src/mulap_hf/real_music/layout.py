"""The recordings of the benchmark: which there are, their labels and groups, and what is missing."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..audio_search import find_audio_files
from ..data.schema import Skipped
from ..errors import DataError

NOTES, SOUNDTRACKS = "notes", "soundtracks"
FOLDS = 4
# "cello_A3_1_forte.mp3", "Cello-Bb2.wav", "cs4 soft.wav": a letter, an accidental, an octave
_PITCH = re.compile(r"(?:^|[_\-. ])([A-G])(s|#|b|)\d(?=$|[_\-. ])", re.IGNORECASE)
_NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"s": 1, "#": 1, "b": -1, "": 0}
_SOURCES = {
    NOTES: "single notes in a folder per instrument, for example the folder audio/ of the public repository "
    "https://github.com/skratchdot/philharmonia-samples",
    SOUNDTRACKS: "whole tracks in a folder per game or other class, for example those of the Debian packages "
    "wesnoth-1.16-music, nexuiz-music, hyperrogue-music, warzone2100-music and planetblupi-music-ogg",
}
_HALVES = {"dev": ("dev",), "test": ("test",), "all": ("dev", "test")}
_HOW = "training/README.md, section Real music, has the commands"


@dataclass(frozen=True)
class Recording:
    """A file of the benchmark.

    Attributes:
        path: Path of the file.
        label: Its class: the name of the folder below `notes` or `soundtracks`.
        group: What folds keep on one side: the pitch class of a note, else the file.
    """

    path: Path
    label: str
    group: str

    @property
    def name(self) -> str:
        return f"{self.label}/{self.path.name}"


@dataclass(frozen=True)
class Part:
    """The recordings of `notes` or `soundtracks`, and what was left out.

    Attributes:
        name: "notes" or "soundtracks".
        recordings: The recordings, sorted by class and hash of the name.
        skipped: Recordings and classes that were left out.
        has_pitches: Whether the groups are pitch classes.
    """

    name: str
    recordings: list[Recording]
    skipped: list[Skipped]
    has_pitches: bool = False

    @property
    def classes(self) -> list[str]:
        return sorted({recording.label for recording in self.recordings})


def find_parts(data: str | Path, half: str, most_notes: int) -> tuple[dict[str, Part], dict[str, str]]:
    """Find the recordings of one half.

    Args:
        data: Folder with `notes/CLASS/` and `soundtracks/CLASS/`, or one of the two.
        half: "dev", "test" or "all".
        most_notes: Largest number of notes per class in both halves together.

    Returns:
        The parts that can be evaluated by name, and for each other part what to do about it.

    Raises:
        DataError: No part can be evaluated.
    """
    folder = Path(data)
    most = {NOTES: max(1, most_notes // 2), SOUNDTRACKS: None}
    parts, missing = {}, {}
    for name, what in _SOURCES.items():
        problem = "does not exist"
        if (folder / name).is_dir():
            part = _find_part(folder, name, half, most[name])
            if len(part.classes) > 1:
                parts[name] = part
                continue
            problem = f"has fewer than two folders with at least {FOLDS} recordings in the half {half!r}"
        missing[name] = f"{folder / name} {problem}: put {what} there. {_HOW}"
    if not parts:
        raise DataError(f"--data {folder}: nothing to evaluate on. {'. '.join(missing.values())}")
    return parts, missing


def half_of(name: str) -> str:
    """Return "dev" or "test" by a hash of the name of a recording."""
    return "dev" if _hash(name) % 2 == 0 else "test"


def pitch_class(path: Path) -> int | None:
    """Return the pitch class in a file name, 0 for C; None if there is none."""
    found = _PITCH.search(path.stem)
    return found and (_NATURALS[found[1].upper()] + _ACCIDENTALS[found[2].lower()]) % 12


def _find_part(folder: Path, name: str, half: str, most: int | None) -> Part:
    root = folder / name
    paths = [path for path in find_audio_files([root]).files if path.parent != root]
    pitches = {path: pitch_class(path) if name == NOTES else None for path in paths}
    has_pitches = sum(pitch is not None for pitch in pitches.values()) * 2 > len(paths)
    skipped: list[Skipped] = []
    by_class: dict[str, list[Recording]] = defaultdict(list)
    for path in paths:
        label = path.relative_to(root).parts[0]
        if has_pitches and pitches[path] is None:
            skipped.append(Skipped(f"{label}/{path.name}", "no pitch in its name, while most notes have one"))
        else:
            group = str(pitches[path]) if has_pitches else str(path)
            by_class[label].append(Recording(path, label, group))
    kept: list[Recording] = []
    for label, recordings in sorted(by_class.items()):
        chosen = _choose(recordings, half, most)
        if len(chosen) < FOLDS:
            reason = f"class with fewer than {FOLDS} recordings in this half, one per fold"
            skipped.append(Skipped(f"{name}/{label}", reason, f"{len(chosen)}"))
        else:
            kept += chosen
    return Part(name, kept, skipped, has_pitches)


def _choose(recordings: Iterable[Recording], half: str, most: int | None) -> list[Recording]:
    """Return at most `most` recordings of each half, those with the smallest hashes, sorted by their hash."""
    ordered = sorted(recordings, key=lambda recording: (_hash(recording.name) >> 1, recording.name))
    halves = {side: [one for one in ordered if half_of(one.name) == side][:most] for side in _HALVES[half]}
    return [recording for side in halves.values() for recording in side]


def _hash(name: str) -> int:
    return int.from_bytes(sha256(name.encode(errors="surrogateescape")).digest()[:8], "big")
