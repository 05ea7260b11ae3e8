"""Where the captions of a row are: in a column, or composed of several."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from .tables import Table, caption_problem, clean_text, is_missing
from .templates import Template

CAPTION_COLUMNS = ("caption", "text", "description", "captions", "texts", "descriptions")


@dataclass(frozen=True)
class Captions:
    """Gives the caption of a row.

    Attributes:
        column: that has the captions, if one has.
        template: that they are composed by, if they are.
    """

    column: str | None = None
    template: Template | None = None

    @classmethod
    def find(
        cls, table: Table, column: str | None = None, template: str | None = None, required: bool = True
    ) -> "Captions":
        """The captions of a table, of which the columns are looked at only.

        Args:
            table: its columns are looked for.
            column: name of the column; None: the first usual one that exists.
            template: text with columns in braces, instead.
            required: whether there must be captions.

        Raises:
            DataError: a column is missing.
        """
        if template:
            text = Template(template, "--caption")
            return cls(template=text.rename(lambda name: table.find((name,), f"--caption {template!r}")))
        names = (column,) if column else CAPTION_COLUMNS
        return cls(column=table.find(names, "the caption (--caption_column)", required))

    @property
    def columns(self) -> tuple[str, ...]:
        """What must be read of a row."""
        return self.template.fields if self.template else tuple(filter(None, (self.column,)))

    def of(self, row: Mapping[str, Any]) -> tuple[str, str | None]:
        """The caption of a row, empty if there is none, and then the reason."""
        if self.template:
            text = self.template.compose(row)
            return text, None if text else "no caption"
        cell = row.get(self.column)
        problem = caption_problem(cell)
        return ("" if problem else clean_text(cell)), problem

    def check(self, table: Table):
        """Raises:
        DataError: all captions are numbers, so that another column is meant.
        """
        if self.column is None:
            return
        cells = ((index, cell) for index, cell in enumerate(table.values(self.column)) if not is_missing(cell))
        first = next(cells, None)
        if first and _is_number(first[1]) and all(_is_number(cell) for _, cell in cells):
            raise DataError(
                f"{table.place(first[0])}: the column {self.column!r} holds numbers ({first[1]!r}), not captions; "
                "pass another --caption_column, or compose captions with --caption"
            )


def named_columns(where: str | Path, names: Iterable[str]) -> Table:
    """The columns of something else than a table, to look for captions in."""
    return Table(Path(where), tuple(names), [], [])


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True
