"""CSV and its relatives: the delimiter is detected, and quotes that are not closed are found."""

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ...audio_limits import AUDIO_EXTENSIONS, FFMPEG_EXTENSIONS
from ...errors import DataError
from .text import decode, read_text

csv.field_size_limit(2**24)  # artist biographies in FMA's tracks.csv are longer than the 128 KiB of the default

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SAMPLE = 200  # lines that are looked at to find the delimiter
_SUFFIXES = "|".join(suffix[1:] for suffix in AUDIO_EXTENSIONS + FFMPEG_EXTENSIONS)
AUDIO_NAME = re.compile(rf"[^\n]*\.({_SUFFIXES})", re.IGNORECASE)
_SEPARATOR_LINE = re.compile(r'\A"?sep=(.)"?\r?\n', re.IGNORECASE)

Line = tuple[int, list[str]]


def read_cells(path: Path, delimiter: str = ",") -> Iterator[list[str]]:
    """The lines of a CSV or TSV file in UTF-8, header included; quoted cells may have line breaks in them.

    Raises:
        DataError: it cannot be read, or a quote is not closed.
    """
    for _, cells in parse_lines(read_text(path), delimiter, path):
        yield cells


def read_delimited(
    path: Path, delimiter: str | None = None, encoding: str | None = None
) -> tuple[list[Line], list[str]]:
    """The lines of a CSV or TSV file, each with its number in the file, header first, and notes on how it is read.

    Args:
        path: the file.
        delimiter: a character, or "tab"; None: that of an Excel line `sep=;`, or the one that fits the lines best.
        encoding: as `text.decode` takes it.

    Raises:
        DataError: it cannot be read, no delimiter fits, or a quote is not closed.
    """
    text, note = decode(_read(path), path, encoding)
    notes = [note] if note else []
    if text.lstrip()[:1] == "<":
        raise DataError(
            f"{path}, line 1: this is an HTML or XML page, not a table; download or export the table again"
        )
    given = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if given is not None and (len(given) != 1 or given in '"\r\n'):
        raise DataError(f"--delimiter {delimiter}: expected a single character, or tab")
    first = 1
    if match := _SEPARATOR_LINE.match(text):
        text, first = text[match.end() :], 2
        given = given or match[1]
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    found = given or _detect(text, path, usual)
    if given is None and found != usual:
        notes.append(f"{path.name} is separated by {DELIMITERS[found]}")
    return list(parse_lines(text, found, path, first)), notes


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _detect(text: str, path: Path, usual: str) -> str:
    """The delimiter that splits the header, and the lines most often into as many cells as the header."""
    fits = {}
    for delimiter in DELIMITERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        widths = [len(cells) for cells in islice(rows, _SAMPLE) if any(cells)]
        if widths and widths[0] > 1:
            fits[delimiter] = sum(width == widths[0] for width in widths) / len(widths)
    best = [delimiter for delimiter, fit in fits.items() if fit == max(fits.values())]
    if usual in best or not best:
        return usual
    if len(best) > 1:
        names = " and by ".join(DELIMITERS[delimiter] for delimiter in best)
        raise DataError(f"{path}, line 1: can be separated by {names} alike; pass --delimiter")
    return best[0]


def parse_lines(text: str, delimiter: str, path: Path, first: int = 1) -> Iterator[Line]:
    """The lines that have anything in them, as cells, each with the number of the line that it begins in.

    Args:
        text: of the file.
        delimiter: between the cells.
        path: of the file, for messages.
        first: the number of the first line of `text` in the file.

    Raises:
        DataError: a quote is not closed, or closed too early.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    row_start = re.compile(rf'^"?[^\n{re.escape(delimiter)}]*\.({_SUFFIXES})"?\s*{re.escape(delimiter)}', re.I | re.M)
    while True:
        start = first + reader.line_num
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {start}: {_explain(error)}") from error
        if cells is None:
            return
        for cell in cells:
            if "\n" in cell and row_start.search(cell.partition("\n")[2]):
                raise DataError(
                    f"{path}, line {start}: a cell that begins here goes over several lines that look like rows of "
                    'their own; close its quote, or write "" for a quote inside a cell'
                )
        if any(map(str.strip, cells)):
            yield start, cells


def _explain(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return 'a quote that is opened here is never closed; close it, or write "" for a quote inside a cell'
    if "expected after" in str(error):
        return 'there is text after a closing quote; write "" for a quote inside a cell in quotes'
    return f"cannot be read as a table ({error})"
