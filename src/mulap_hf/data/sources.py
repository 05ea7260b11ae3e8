"""Described audio on disk as a table of (audio file, caption) pairs."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

CAPTION_COLUMNS = ("caption", "text", "description")
METADATA_NAMES = ("metadata.jsonl", "metadata.csv")


class DataError(ValueError):
    """A corpus that cannot be read; the message names the file and the mend."""


@dataclass(frozen=True)
class Skipped:
    """An item that was left out, and why."""

    id: str
    reason: str


@dataclass
class Pairs:
    """Described audio: a table with the columns `id`, `audio` (path) and `caption`, and what was left out of it."""

    table: Dataset
    skipped: list[Skipped]


def read_pairs(source: str | Path, caption_column: str | None = None) -> Pairs:
    """Reads a folder of audio with metadata, or a published MuLaP JSON.

    Args:
        source: a folder with `metadata.jsonl` or `metadata.csv` (a column `file_name` relative to the folder, and a
            caption), or a JSON file: a list of `{"audio_id", "caption", "audio_path"}`, paths relative to the file.
            A folder without metadata but with exactly one JSON file is read by that file.
        caption_column: where the captions are; default: the first of "caption", "text" and "description" there is.

    Raises:
        DataError: there is no metadata, it cannot be parsed, a column is missing, or no usable pair is left.
    """
    metadata = find_metadata(Path(source))
    rows = _read_rows(metadata)
    file_column = _column(rows, ("file_name", "audio_path"), metadata, "the audio file")
    caption_column = _column(
        rows, (caption_column,) if caption_column else CAPTION_COLUMNS, metadata, "the caption (--caption_column)"
    )
    pairs, skipped = [], []
    for number, row in enumerate(rows):
        given = (row.get(column) for column in ("audio_id", "clip_id", file_column))
        name = str(next((value for value in given if value not in (None, "")), f"row {number + 1}"))
        caption = str(row.get(caption_column) or "").strip()
        path = metadata.parent / str(row.get(file_column) or "")
        if not caption:
            skipped.append(Skipped(name, "no caption"))
        elif not path.is_file():
            skipped.append(Skipped(name, f"no such file: {path}"))
        else:
            pairs.append({"id": name, "audio": str(path), "caption": caption})
    if not pairs:
        reasons = ", ".join(sorted({item.reason for item in skipped})[:3])
        raise DataError(f"{metadata}: none of its {len(rows)} rows can be used ({reasons})")
    return Pairs(Dataset.from_list(pairs), skipped)


def find_metadata(source: Path) -> Path:
    """The metadata file of a folder, or the file itself.

    Raises:
        DataError: there is none, or it is not clear which.
    """
    if source.is_file():
        return source
    if not source.is_dir():
        raise DataError(f"{source} does not exist; --train_data wants a folder of audio with metadata or a JSON file")
    for name in METADATA_NAMES:
        if (source / name).is_file():
            return source / name
    candidates = sorted(source.glob("*.json"))
    if len(candidates) == 1:
        return candidates[0]
    found = f"{len(candidates)} JSON files" if candidates else "none"
    raise DataError(
        f"{source}: no metadata.jsonl or metadata.csv (columns file_name, caption) and not exactly one JSON file "
        f"(found {found}): add one, or name the JSON file itself"
    )


def _read_rows(path: Path) -> list[dict]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    if path.suffix == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
    elif path.suffix == ".jsonl":
        rows = [_parse(line, path, number) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    elif path.suffix == ".json":
        rows = _parse(text, path, None)
    else:
        raise DataError(f"{path}: metadata is .jsonl, .csv or .json, not {path.suffix!r}")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: expected one object per item, each with an audio file and a caption")
    if not rows:
        raise DataError(f"{path}: there are no rows in it")
    return rows


def _parse(text: str, path: Path, line: int | None):
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {line or error.lineno}: not valid JSON: {error.msg}") from error


def _column(rows: list[dict], names: Sequence[str], path: Path, what: str) -> str:
    present = list(dict.fromkeys(key for row in rows for key in row))
    for name in names:
        if name in present:
            return name
    raise DataError(f"{path}: no column {' or '.join(map(repr, names))} for {what}; its columns are {present}")
