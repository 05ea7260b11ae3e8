"""Metadata files as rows: CSV, TSV, JSON and JSON lines, with errors that name file, line and mend."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError

csv.field_size_limit(2**24)  # artist biographies in FMA's tracks.csv are longer than the 128 KiB of the default

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


SURPLUS = None
"""Not a name that a column can have."""


@dataclass(frozen=True)
class Skipped:
    """An item that was left out, and why: a reason that many items may share, and what it was in this case."""

    id: str
    reason: str
    detail: str = ""

    def __str__(self):
        return f"{self.id}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


def find_path(root: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of some usual places, relative to the root of a corpus, that is there.

    Args:
        root: folder of the corpus as it was unpacked.
        candidates: paths relative to it; "." is the root itself.
        what: what is looked for, for the error.

    Raises:
        DataError: none is there; the message names every place.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    looked = " or ".join(str(root / candidate) for candidate in candidates)
    missing = "" if root.exists() else f" ({root} does not exist)"
    raise DataError(f"{what} was not found: looked for {looked}{missing}; is --root right?")


def find_folder(given: str | None, root: Path, candidates: Sequence[str], what: str) -> Path:
    """A folder that was named, or else the first of some usual places below the root of a corpus.

    Raises:
        DataError: it is not there; the message names every place.
    """
    if given is None:
        return find_path(root, candidates, what)
    if not Path(given).is_dir():
        raise DataError(f"{what}: there is no folder {given}")
    return Path(given)


def split_of(name: str) -> str | None:
    """The split that a folder or file is named after ("train", "validation" or "test"), if it is."""
    words = name.lower().replace("-", " ").replace("_", " ").replace(".", " ").split()
    for split, names in SPLIT_NAMES.items():
        if any(word in names for word in words):
            return split
    return None


def clean_caption(value: Any) -> str:
    """A cell as a caption: several texts as one, and nothing at all for what is missing."""
    if isinstance(value, list | tuple):
        return " ".join(filter(None, map(clean_caption, value)))
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    # Half a surrogate pair, which JSON may have, cannot be written.
    return "" if missing else str(value).encode(errors="replace").decode().strip()


def clean_labels(value: Any) -> list[str]:
    """A cell as labels, each once: a list of them, a single one, or none at all for what is missing."""
    cells = value if isinstance(value, list | tuple) else [value]
    return list(dict.fromkeys(filter(None, map(clean_caption, cells))))


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def read_cells(path: Path, delimiter: str = ",") -> Iterator[list[str]]:
    """The lines of a CSV or TSV file, header included; quoted cells may have line breaks in them.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.reader(file, delimiter=delimiter)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text in columns: {error}") from error


def read_rows(path: Path, required: Sequence[str] = ()) -> list[dict]:
    """The rows of a table, by the suffix of its file: .csv, .tsv, .jsonl, or .json with a list of objects.

    Cells that a line of a CSV or TSV file lacks are empty; those that it has too many are in its column `SURPLUS`.

    Args:
        path: the file.
        required: columns that it must have.

    Raises:
        DataError: it cannot be parsed, has no rows, or lacks a column.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        lines = (line for line in read_cells(path, "," if suffix == ".csv" else "\t") if any(line))
        header = next(lines, [])
        rows = [_row(header, line) for line in lines]
    elif suffix == ".jsonl":
        lines = enumerate(read_text(path).split("\n"), start=1)
        rows = [parse_json(line, path, number) for number, line in lines if line.strip()]
    elif suffix == ".json":
        rows = parse_json(read_text(path), path)
    else:
        raise DataError(f"{path}: metadata is .jsonl, .csv, .tsv or .json, not {path.suffix!r}")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: expected one object per item, each with an audio file and a caption")
    if not rows:
        raise DataError(f"{path}: there are no rows in it")
    for name in required:
        find_column(rows, (name,), path, "this corpus")
    return rows


def _row(header: list[str], line: list[str]) -> dict[str | None, Any]:
    surplus = line[len(header) :]
    filled = line + [""] * (len(header) - len(line))
    return dict(zip(header, filled, strict=False)) | ({SURPLUS: surplus} if any(surplus) else {})


def find_column(
    rows: Sequence[dict], names: Sequence[str], path: Path, what: str, required: bool = True
) -> str | None:
    """The first of some names that is a column; None if none is and none is required.

    Raises:
        DataError: none is; the message names the columns there are.
    """
    present = list(dict.fromkeys(key for row in rows for key in row if key is not SURPLUS))
    for name in names:
        if name in present:
            return name
    if not required:
        return None
    shown = ", ".join(map(repr, present[:30])) + (f" and {len(present) - 30} more" if len(present) > 30 else "")
    raise DataError(f"{path}: no column {' or '.join(map(repr, names))} for {what}; its columns are {shown}")


def parse_json(text: str, path: Path, line: int | None = None):
    """A JSON text that comes from a file.

    Raises:
        DataError: it is not valid; the message names the file and the line.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {line or error.lineno}: not valid JSON: {error.msg}") from error
