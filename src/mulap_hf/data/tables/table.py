"""A table that a user has: its rows, where they are in the file, and its columns by the names they usually have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError

_SHOWN_COLUMNS = 30
_SPACES = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        path: of the file.
        columns: names of the columns as the file has them; a name can be there twice.
        rows: cells by the name of their column.
        places: where each row begins, for messages: "line 7", or "row 7" of a sheet.
        problems: why a row cannot be used, by its index.
        notes: what was decided in reading, a sentence each.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    places: Sequence[str]
    problems: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def find(self, names: Sequence[str], what: str, required: bool = True) -> str | None:
        """The first of some names that is a column, whatever its case, spaces, hyphens and underscores.

        Args:
            names: in the order of preference.
            what: what the column is for and how to name it, for the error: "the caption (--caption_column)".
            required: whether there must be one; otherwise None is returned if there is none.

        Raises:
            DataError: there is none, or several columns have the name.
        """
        for name in names:
            alike = [column for column in self.columns if column == name] or [
                column for column in self.columns if fold(column) == fold(name)
            ]
            if len(alike) > 1:
                shown = ", ".join(map(repr, alike))
                raise DataError(f"{self.path}: several columns can be {what}: {shown}; rename or remove all but one")
            if alike:
                return alike[0]
        if not required:
            return None
        more = len(self.columns) - _SHOWN_COLUMNS
        shown = ", ".join(map(repr, self.columns[:_SHOWN_COLUMNS])) + (f" and {more} more" if more > 0 else "")
        wanted = " or ".join(map(repr, names))
        raise DataError(f"{self.path}: no column {wanted} for {what}; its columns are {shown}")

    def values(self, column: str | None) -> list[Any]:
        """The cells of a column, None where a row has none."""
        return [row.get(column) for row in self.rows]

    def place(self, index: int) -> str:
        """Where a row is, for messages: the file and the line."""
        return f"{self.path.name}, {self.places[index]}"


def fold(name: str) -> str:
    """A name without case, spaces, hyphens and underscores."""
    return _SPACES.sub("", name.casefold())
