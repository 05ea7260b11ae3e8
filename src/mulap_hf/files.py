"""Files that are whole or not there, and tables in Markdown."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import MulapError


def make_folder(path: str | os.PathLike, option: str = "") -> Path:
    """Creates a folder for output, with its parents, unless it exists.

    Args:
        path: the folder.
        option: the command-line option that names it, if there is one, for the error.

    Raises:
        MulapError: it cannot be created, or cannot be written to.
    """
    path = Path(path)
    name = f"{option} {path}".lstrip()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MulapError(f"{name} cannot be created: {error.strerror}: choose another folder") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise MulapError(f"{name} cannot be written to: choose another folder, or change its permissions")
    return path


@contextmanager
def replacing(path: Path, scratch: Path | None = None, durable: bool = False) -> Iterator[Path]:
    """A temporary path to write to, which replaces `path` when the block ends without an error.

    Whoever reads `path` finds the old file or the new one, never a part of it, also after the process was killed.

    Args:
        path: The file to replace or create, in an existing folder.
        scratch: Folder of the temporary file, on the same disk. Default: the folder of `path`.
        durable: Wait until the file is on the disk, so that a power failure does no harm either.
    """
    temporary = (scratch or path.parent) / f"{path.name}.tmp"
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any):
    """Replaces a JSON file at once and durably, see `replacing`."""
    with replacing(path, durable=True) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sync(path: Path):
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def markdown_table(header: Sequence, rows: Iterable[Sequence]) -> str:
    """Cells as text; what is None is unknown, and what would break the table is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ((printable(known(cell)).replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def format_interval(metric: Mapping[str, float | None]) -> str:
    """`value` and, if there is one, the interval from `low` to `high`."""
    if metric["value"] is None:
        return "unknown"
    interval = "" if metric["low"] is None else f" ({metric['low']:.3f} to {metric['high']:.3f})"
    return f"{metric['value']:.3f}{interval}"


def known(value: Any) -> str:
    return "unknown" if value is None else str(value)


def printable(text: str) -> str:
    """With escapes for line breaks, control characters, changes of direction, and bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
