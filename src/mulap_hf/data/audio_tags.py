"""Folders of audio without a table: their files as rows, with what the tags in the files say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import MissingPackageError
from .paths import find_audio
from .splits import name_splits
from .tables import Table

FILE_COLUMN, SPLIT_COLUMN = "file_name", "split"
_ID3 = {
    "TIT2": "title", "TPE1": "artist", "TPE2": "albumartist", "TALB": "album", "TCON": "genre", "TDRC": "date",
    "TCOM": "composer", "TBPM": "bpm", "TKEY": "key", "TMOO": "mood", "TIT1": "grouping", "TIT3": "subtitle",
    "TLAN": "language", "COMM": "comment",
}  # fmt: skip
_MP4 = {
    "\xa9nam": "title", "\xa9ART": "artist", "aART": "albumartist", "\xa9alb": "album", "\xa9gen": "genre",
    "\xa9day": "date", "\xa9wrt": "composer", "tmpo": "bpm", "\xa9grp": "grouping", "\xa9cmt": "comment",
    "desc": "description",
}  # fmt: skip
_MP4_FREE = "----:com.apple.iTunes:"


def folder_table(folder: Path, with_tags: bool) -> Table:
    """The audio files in and below a folder, one row each, in sorted order.

    Args:
        folder: if all folders in it are named after splits, they are the splits.
        with_tags: whether to read the tags: ID3, Vorbis comments, those of MP4 and APE.

    Raises:
        MissingPackageError: mutagen, which reads tags, is not installed.
    """
    paths, others = find_audio(folder)
    inside = [path.relative_to(folder) for path in paths]
    splits = name_splits({path.parts[0] for path in inside if len(path.parts) > 1})
    are_named = bool(splits) and all(splits.values()) and all(len(path.parts) > 1 for path in inside)
    rows = []
    for path, name in zip(paths, inside, strict=True):
        row = read_tags(path) if with_tags else {}
        row |= {FILE_COLUMN: name.as_posix()} | ({SPLIT_COLUMN: splits[name.parts[0]]} if are_named else {})
        rows.append(row)
    columns = tuple(dict.fromkeys([FILE_COLUMN, *(name for row in rows for name in row)]))
    return Table(
        folder, columns, rows, [row[FILE_COLUMN] for row in rows], notes=tuple(f"not audio: {o}" for o in others)
    )


def read_tags(path: Path) -> dict[str, Any]:
    """The tags of a file by their usual names in lower case, such as `title`; empty if it has none, or broken ones.

    Raises:
        MissingPackageError: mutagen is not installed.
    """
    try:
        import mutagen
    except ImportError as error:
        raise MissingPackageError("mutagen reads tags of audio files: pip install 'mulap-hf[tables]'") from error
    try:
        tags = getattr(mutagen.File(path), "tags", None)
    except Exception:  # of any kind that damaged tags provoke; whether the audio is fine is found out later
        return {}
    if not tags:
        return {}
    named = _read_id3(tags) if hasattr(tags, "getall") else _read_names(tags)
    return {name: cells[0] if len(cells) == 1 else cells for name, cells in named.items() if cells}


def _read_id3(tags: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for frame in tags.values():
        name = frame.desc.casefold() if frame.FrameID == "TXXX" else _ID3.get(frame.FrameID)
        if name and not (frame.FrameID == "COMM" and frame.desc):  # comments with a name are notes of programs
            found[name] = list(map(str, frame.genres if frame.FrameID == "TCON" else frame.text))
    return found


def _read_names(tags: Mapping[str, Any]) -> dict[str, list[str]]:
    """Vorbis comments, APE and MP4 tags: texts, or lists of them, by name."""
    found: dict[str, list[str]] = {}
    for key, values in dict(tags).items():
        name = _MP4.get(key, key.removeprefix(_MP4_FREE)).casefold()
        cells = values if isinstance(values, list) else [values]
        if all(isinstance(cell, str | int | bytes) or hasattr(cell, "value") for cell in cells):
            found[name] = [_text(cell) for cell in cells]
    return found


def _text(cell: Any) -> str:
    return bytes(cell).decode(errors="replace") if isinstance(cell, bytes) else str(cell)
