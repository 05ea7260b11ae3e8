"""Cells of tables as captions and labels, and what a cell holds where nothing is known."""

import math
from typing import Any

# What programs write for a missing value: pandas' list, and the signs that people type.
PLACEHOLDERS = frozenset(
    ("", "nan", "-nan", "null", "none", "na", "n/a", "#n/a", "#na", "<na>", "nil", "-", "--", "---", "?", ".", "...")
)


def is_missing(cell: Any) -> bool:
    """Whether a cell says nothing: it is empty, NaN, or a placeholder such as `NULL` or `N/A`."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and cell.strip().casefold() in PLACEHOLDERS)


def clean_text(cell: Any) -> str:
    """A cell as text: several texts become one, and what is missing becomes an empty text.

    Numbers are written without a needless fraction (`120`, not `120.0`).
    """
    if isinstance(cell, list | tuple):
        return " ".join(filter(None, map(clean_text, cell)))
    if is_missing(cell):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    # JSON may have half a surrogate pair, which UTF-8 cannot write.
    return str(cell).encode(errors="replace").decode().strip()


def caption_problem(cell: Any) -> str | None:
    """Why a cell is not a caption: it holds no text, or something else than text; None if it is one."""
    if isinstance(cell, list | tuple):
        return next(filter(None, map(caption_problem, filter(None, cell))), None) or (
            None if clean_text(cell) else "no caption"
        )
    if is_missing(cell):
        return "no caption"
    return None if isinstance(cell, str) else f"the caption is a {_kind(cell)}, not text"


def clean_labels(cell: Any) -> list[str]:
    """A cell as labels, each once: a list of them, a single one, or none for what is missing."""
    cells = cell if isinstance(cell, list | tuple) else [cell]
    return list(dict.fromkeys(filter(None, map(clean_text, cells))))


def _kind(cell: Any) -> str:
    if isinstance(cell, bool):
        return "truth value"
    if isinstance(cell, int | float):
        return "number"
    return {dict: "JSON object", bytes: "byte string"}.get(type(cell), type(cell).__name__)
