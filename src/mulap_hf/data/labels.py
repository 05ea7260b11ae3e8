"""Columns of a user's table as tasks: classes, tags, and numbers."""

import ast
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..errors import DataError
from .schema import Kind, Task
from .tables import Table, clean_labels, clean_text, is_missing

LABEL_COLUMNS = (
    "label", "labels", "class", "classes", "tag", "tags", "genre", "genres", "instrument", "instruments", "mood",
    "moods", "style", "styles", "category", "categories", "emotion", "target",
)  # fmt: skip
SEPARATORS = (";", "|", ",")
_LIST = re.compile(r"\[.*\]", re.DOTALL)
_RANGE = ".."  # between the first and the last of several columns
_YES = ("true", "yes", "x")
_NO = ("false", "no")


@dataclass(frozen=True)
class LabelOptions:
    """How labels and splits are read; `corpora.CORPORA["labeled"].options` says what each is."""

    label_columns: Sequence[str] = ()
    tag_columns: Sequence[str] = ()
    value_columns: Sequence[str] = ()
    kind: str | None = None
    separator: str | None = None
    threshold: float = 0.5
    score_column: str | None = None
    min_count: int | None = None
    test_folds: Sequence[str] = ()
    validation_folds: Sequence[str] = ()
    split_lists: str | None = None
    group_pattern: str | None = None
    test_fraction: float = 0.1
    validation_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self):
        for name in ("test_fraction", "validation_fraction"):
            if not 0 < getattr(self, name) < 0.5:
                raise DataError(f"--{name} {getattr(self, name)}: expected a number between 0 and 0.5")


@dataclass(frozen=True)
class Labels:
    """A task and the truth about each row.

    Attributes:
        task: what is predicted.
        columns: Arrow types of the columns of the task.
        cells: the cells of these columns, by row; None where a row says nothing.
        groups: labels of each row, by which it is drawn into a split.
        notes: what was decided, a sentence each.
    """

    task: Task
    columns: dict[str, pa.DataType]
    cells: list[dict[str, Any]]
    groups: list[list[str]]
    notes: tuple[str, ...] = ()


def read_labels(
    name: str,
    table: Table,
    cells: Sequence[Any],
    groups: Sequence[str],
    kind: Kind | None = None,
    separator: str | None = None,
    min_count: int = 1,
) -> Labels:
    """A column of classes or tags.

    Args:
        name: of the column, and of the task.
        table: where the rows are, for messages.
        cells: a class, a list of tags, or a text of tags, per row.
        groups: of the rows, such as their recordings.
        kind: "single_label" or "multi_label"; None: tags where any row has several.
        separator: of tags in a text; None: `;` or `|` if any cell has one, a comma if what is between commas recurs.
        min_count: labels of fewer groups are left out.

    Raises:
        DataError: the cells are fractions, or too few labels are left.
    """
    notes = []
    first = next((index for index, cell in enumerate(cells) if _fraction(cell)), None)
    if first is not None:
        raise DataError(
            f"{table.place(first)}: the column {name!r} holds numbers ({cells[first]!r}), not labels; pass "
            f"--value_columns {name} to predict numbers"
        )
    if kind != "single_label":
        cells, how = _split_cells(name, cells, separator)
        notes += how
    labels = [clean_labels(cell) for cell in cells]
    if kind is None:
        kind = "multi_label" if any(isinstance(cell, list) for cell in cells) else "single_label"
    if kind == "single_label" and any(len(row) > 1 for row in labels):
        index = next(index for index, row in enumerate(labels) if len(row) > 1)
        raise DataError(f"{table.place(index)}: {labels[index]} are several labels; drop --kind single_label")
    found = {(group, label) for group, row in zip(groups, labels, strict=True) for label in row}
    counts = Counter(label for _, label in found)
    rare = {label for label, count in counts.items() if count < min_count}
    if rare:
        shown = ", ".join(sorted(rare)[:10]) + (", ..." if len(rare) > 10 else "")
        notes.append(f"{len(rare)} labels of {name!r} with fewer than {min_count} recordings are left out: {shown}")
    classes = sorted(counts.keys() - rare, key=_natural)
    if len(classes) < 2:
        raise DataError(
            f"the column {name!r} has {len(classes)} labels with {min_count} or more recordings; a task needs two"
        )
    labels = [[label for label in row if label not in rare] for row in labels]
    if kind == "multi_label":
        values = [None if is_missing(cell) else row for cell, row in zip(cells, labels, strict=True)]
    else:
        values = [row[0] if row else None for row in labels]
    column = pa.list_(pa.string()) if kind == "multi_label" else pa.string()
    task = Task(name, kind, (name,), tuple(classes))
    return Labels(task, {name: column}, [{name: value} for value in values], labels, tuple(notes))


def read_tags(
    table: Table, columns: Sequence[str], groups: Sequence[str], threshold: float = 0.5, min_count: int = 1
) -> Labels:
    """A column per tag, with 0 and 1 or a score.

    Args:
        table: with the columns.
        columns: their names; `first..last` stands for all columns from one to the other.
        groups: of the rows, such as their recordings.
        threshold: a tag is there if its score is this large.
        min_count: tags of fewer groups are left out.

    Raises:
        DataError: a column is missing, a cell is not a number, or too few tags are left.
    """
    names: list[str] = []
    for name in columns:
        ends = [table.columns.index(table.find((end,), "the tags (--tag_columns)")) for end in name.split(_RANGE)]
        names += table.columns[ends[0] : ends[-1] + 1]
    cells = [
        [name for name in names if _score(row.get(name), table, index, name) >= threshold] if row else None
        for index, row in enumerate(table.rows)
    ]
    return read_labels("tags", table, cells, groups, "multi_label", None, min_count)


def read_values(table: Table, columns: Sequence[str]) -> Labels:
    """Columns of numbers, as one task of regression.

    Raises:
        DataError: a column is missing, or a cell is neither empty nor a number.
    """
    names = [table.find((name,), "the numbers (--value_columns)") for name in columns]
    rows = [
        {name: read_number(row.get(name), table, index, name) for name in names}
        for index, row in enumerate(table.rows)
    ]
    task = Task(names[0] if len(names) == 1 else "values", "regression", tuple(names))
    return Labels(task, dict.fromkeys(names, pa.float32()), rows, _bins([row[names[0]] for row in rows]))


def _split_cells(name: str, cells: Sequence[Any], separator: str | None) -> tuple[list[Any], list[str]]:
    """Texts of several tags as lists, and how they were recognized."""
    texts = [cell for cell in cells if isinstance(cell, str) and not is_missing(cell)]
    if texts and separator is None and all(_LIST.fullmatch(text.strip()) for text in texts):
        return [_parse_list(cell) for cell in cells], [f"the cells of {name!r} are read as lists, such as {texts[0]}"]
    found = separator or _detect(texts)
    if found is None:
        return list(cells), []
    example = next((text for text in texts if found in text), "")
    notes = (
        [
            f"the labels in the cells of {name!r} are separated by {found!r}, as in {example!r}; pass --kind "
            "single_label if a cell is one label"
        ]
        if separator is None
        else []
    )
    return [cell.split(found) if isinstance(cell, str) and not is_missing(cell) else cell for cell in cells], notes


def _detect(texts: Sequence[str]) -> str | None:
    for separator in SEPARATORS[:2]:
        if any(separator in text for text in texts):
            return separator
    # Tags come in many combinations; a class with a comma in its name comes as a whole.
    cells = [{part.strip() for part in text.split(",")} for text in set(texts)]
    counts = Counter(part for parts in cells for part in parts)
    parts = {part for parts in cells if len(parts) > 1 for part in parts}
    return "," if parts and 2 * sum(counts[part] > 1 for part in parts) >= len(parts) else None


def _parse_list(cell: Any) -> Any:
    if not isinstance(cell, str) or is_missing(cell):
        return cell
    try:
        return list(ast.literal_eval(cell))
    except (ValueError, SyntaxError, TypeError):
        return [part.strip(" '\"") for part in cell.strip()[1:-1].split(",")]


def _fraction(cell: Any) -> bool:
    number = _float(cell)
    return number is not None and math.isfinite(number) and not number.is_integer()


def _float(cell: Any) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    text = cell.strip() if isinstance(cell, str) else cell
    if isinstance(text, str) and re.fullmatch(r"[+-]?\d+,\d+", text):
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None


def read_number(cell: Any, table: Table, index: int, name: str) -> float | None:
    """A cell as a number, None if it is empty; a comma may be the decimal point.

    Raises:
        DataError: it is something else.
    """
    if is_missing(cell):
        return None
    number = _float(cell)
    if number is None or not math.isfinite(number):
        raise DataError(f"{table.place(index)}: the column {name!r} has {cell!r}; expected a number or an empty cell")
    return number


def _score(cell: Any, table: Table, index: int, name: str) -> float:
    """A score; 0 where nothing is said."""
    if clean_text(cell).casefold() in (*_YES, *_NO):
        return float(clean_text(cell).casefold() in _YES)
    return read_number(cell, table, index, name) or 0.0


def _bins(values: Sequence[float | None], count: int = 5) -> list[list[str]]:
    """Which fifth of all values each is in: by that, numbers are drawn into splits."""
    known = sorted(value for value in values if value is not None)
    edges = [known[len(known) * number // count] for number in range(1, count)] if known else []
    return [[] if value is None else [str(sum(value >= edge for edge in edges))] for value in values]


def _natural(label: str) -> tuple:
    """Numbers by their size, then names."""
    number = _float(label)
    return (0, number, "") if number is not None else (1, 0.0, label)
