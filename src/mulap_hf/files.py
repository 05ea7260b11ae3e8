"""Files that are whole or not there, and tables in Markdown."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any):
    """Replaces a file at once: after a crash it is the old one or the new one, never a part of it."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


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
