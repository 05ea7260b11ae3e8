"""Any table as rows: CSV, TSV, JSON, JSON Lines, parquet and XLSX, recognized by content where the suffix is wrong."""

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import DataError
from .delimited import AUDIO_NAME, read_delimited
from .table import Table
from .text import decode, parse_json

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".tab")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".xlsx", ".json", ".tab")
# What other programs save, and what to export from them instead.
_OTHER_FORMATS = {
    (".xls", ".xlsm", ".xlsb", ".ods", ".numbers"): "save the sheet as .xlsx or .csv",
    (".m3u", ".m3u8", ".pls", ".xspf", ".cue"): (
        "a playlist names files without describing them; export a CSV file from your player, or read the tags of the "
        "files with --caption '{title}. {genre}'"
    ),
    (".xml", ".nml", ".als", ".plist"): (
        "libraries of Rekordbox, iTunes and Traktor are not read; export the collection or playlist as a text file "
        "(.txt or .csv) with the columns that you need"
    ),
    (".db", ".sqlite", ".sqlite3"): "export the table as .csv",
}


def read_table(
    path: Path, delimiter: str | None = None, encoding: str | None = None, sheet: str | None = None
) -> Table:
    """The rows of a table.

    Args:
        path: a .csv, .tsv, .txt, .json (a list of objects), .jsonl, .parquet or .xlsx file.
        delimiter: between the cells of a text file; None: detected.
        encoding: of a text file; None: detected.
        sheet: of an XLSX file; None: the first that has rows.

    Raises:
        DataError: it cannot be read without a guess, or has no rows; the message names the file, the line, and what
            to do.
    """
    suffix = path.suffix.lower()
    for suffixes, remedy in _OTHER_FORMATS.items():
        if suffix in suffixes:
            raise DataError(f"{path}: {suffix} is not a table that can be read; {remedy}")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if start == b"PK\x03\x04":
        table = _read_xlsx(path, sheet)
    elif start == b"PAR1":
        table = _read_parquet(path)
    elif suffix in (".jsonl", ".ndjson", ".json"):
        table = _read_json(path, encoding, by_line=suffix != ".json")
    elif suffix in TEXT_SUFFIXES:
        table = _read_text(path, delimiter, encoding)
    else:
        raise DataError(f"{path}: expected a .csv, .tsv, .jsonl, .json, .parquet or .xlsx file, not {suffix!r}")
    if not table.rows:
        raise DataError(f"{path}: there are no rows in it")
    return table


def read_rows(path: Path, required: Sequence[str] = ()) -> list[dict]:
    """The rows of a published table.

    Raises:
        DataError: it cannot be read, has no rows, or lacks a required column.
    """
    table = read_table(path)
    for name in required:
        table.find((name,), "this corpus")
    return table.rows


def _read_text(path: Path, delimiter: str | None, encoding: str | None) -> Table:
    lines, notes = read_delimited(path, delimiter, encoding)
    if not lines:
        return Table(path, (), [], [])
    (number, header), *lines = lines
    columns = tuple(map(str.strip, header))
    for cell in columns:
        if AUDIO_NAME.fullmatch(cell):
            raise DataError(
                f"{path}, line {number}: {cell!r} is an audio file, not the name of a column; put a line with the "
                "names of the columns, such as file_name and caption, above it"
            )
    rows, problems = [], {}
    for index, (_, cells) in enumerate(lines):
        if any(map(str.strip, cells[len(columns) :])):
            problems[index] = "more cells than the table has columns"
        cells = cells + [""] * (len(columns) - len(cells))
        rows.append(dict(zip(columns, cells, strict=False)))
    return Table(path, columns, rows, [f"line {number}" for number, _ in lines], problems, tuple(notes))


def _read_json(path: Path, encoding: str | None, by_line: bool) -> Table:
    text, note = decode(path.read_bytes(), path, encoding)
    if by_line:
        # Not splitlines, which splits at line separators inside of strings, too.
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        rows = [parse_json(line, path, number) for number, line in lines]
        places = [f"line {number}" for number, _ in lines]
    else:
        rows = parse_json(text, path)
        places = [f"item {number}" for number in range(1, len(rows) + 1)] if isinstance(rows, list) else []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: expected one object per item, each with an audio file and a caption or labels")
    return Table(path, _names(rows), rows, places, notes=(note,) if note else ())


def _read_parquet(path: Path) -> Table:
    try:
        schema = pq.read_schema(path)
        # Audio is not a cell of a table; what it is in is read as a dataset.
        columns = [field.name for field in schema if not _holds_bytes(field.type)]
        rows = pq.ParquetFile(path).read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from error
    return Table(path, tuple(columns), rows, _numbered("row", rows))


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _read_xlsx(path: Path, sheet: str | None) -> Table:
    try:
        import openpyxl
    except ImportError as error:
        raise DataError(
            f"{path}: XLSX files are read with openpyxl: pip install openpyxl, or save it as CSV"
        ) from error
    try:
        with path.open("rb") as file:  # openpyxl refuses paths with another suffix
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheets = {name: list(book[name].iter_rows(values_only=True)) for name in book.sheetnames}
    except Exception as error:  # of any kind that a damaged archive or its XML provokes
        raise DataError(f"{path}: cannot be read as XLSX: {error}; save it as CSV") from error
    filled = {
        name: rows for name, rows in sheets.items() if any(any(cell is not None for cell in row) for row in rows)
    }
    if sheet is not None and sheet not in sheets:
        raise DataError(f"--sheet {sheet}: {path} has the sheets {', '.join(sheets)}")
    name = sheet if sheet is not None else next(iter(filled), None)
    if name not in filled:
        return Table(path, (), [], [])
    notes = (f"{path.name}: sheet {name!r} is read; pass --sheet for another",) if len(filled) > 1 else ()
    lines = [(number, list(map(_plain, row))) for number, row in enumerate(filled[name], start=1) if _has_cells(row)]
    (_, header), *lines = lines
    width = max(index for index, cell in enumerate(header) if cell is not None) + 1
    columns = tuple("" if cell is None else str(cell).strip() for cell in header[:width])
    rows, problems = [], {}
    for index, (_, cells) in enumerate(lines):
        rows.append(dict(zip(columns, cells, strict=False)))
        if any(cell is not None for cell in cells[width:]):
            problems[index] = "more cells than the table has columns"
    return Table(path, columns, rows, [f"row {number}" for number, _ in lines], problems, notes)


def _has_cells(row: Sequence) -> bool:
    return any(cell is not None for cell in row)


def _plain(cell: Any) -> Any:
    """A cell of a sheet as it would be in a CSV file, but numbers stay numbers."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return cell.isoformat() if isinstance(cell, datetime.date | datetime.time) else cell


def _names(rows: Iterable[dict]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for row in rows for name in row))


def _numbered(unit: str, rows: Sequence) -> list[str]:
    return [f"{unit} {number}" for number in range(1, len(rows) + 1)]
