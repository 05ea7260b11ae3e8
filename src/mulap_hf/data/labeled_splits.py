"""The splits of labeled audio: those that are given by names, folds or lists, and those that are drawn."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError
from .described import TableOptions
from .labeled import Labeled
from .labels import LabelOptions, Labels
from .recordings import group_rows
from .schema import Example, Skipped
from .splits import draw_splits, name_splits, split_named
from .tables import Table, clean_text, is_missing, read_cells

_NUMBERED = re.compile(r"\D*\d+(\.0)?")


def names_splits(table: Table, columns: TableOptions) -> bool:
    """Whether the column of splits, if there is one, has names of splits, rather than folds.

    Without --split_column, folds are numbers.
    """
    name = _split_column(table, columns)
    cells = [str(cell).strip() for cell in table.values(name) if not is_missing(cell)] if name else []
    are_folds = columns.split_column is not None or all(map(_NUMBERED.fullmatch, cells))
    return not are_folds or all(map(split_named, cells))


def _split_column(table: Table, columns: TableOptions) -> str | None:
    if columns.split_column == "none":
        return None
    if columns.split_column:
        return table.find((columns.split_column,), "the splits (--split_column)")
    return table.find(("split",), "the splits", required=False) or table.find(
        ("fold", "folds"), "the folds", required=False
    )


def given_splits(
    data: Labeled, how: LabelOptions, columns: TableOptions
) -> tuple[list[str | None], tuple[str, ...], list[str]]:
    """The splits that are given; which of them are to be drawn; and notes."""
    splits, notes = list(data.splits), []
    if how.split_lists:
        splits = _listed_splits(data, Path(how.split_lists))
        notes.append(f"Splits: the lists in {Path(how.split_lists).name}.")
    elif not any(splits):
        splits, note = _fold_splits(data.table, how, columns)
        notes += note
    present = {split for split in splits if split}
    if not present:
        return [None] * len(splits), ("train", "validation", "test"), notes
    missing = tuple(split for split in ("validation", "test") if split not in present)
    return splits, missing, notes


def _fold_splits(table: Table, how: LabelOptions, columns: TableOptions) -> tuple[list[str | None], list[str]]:
    """Splits by the numbers of folds: the last one is the test split, the one before validates, or as is asked for."""
    name = _split_column(table, columns)
    nothing: list[str | None] = [None] * len(table.rows)
    if name is None:
        if how.test_folds or how.validation_folds:
            raise DataError(f"{table.path}: --test_folds and --validation_folds need --split_column")
        return nothing, []
    cells = ["" if is_missing(cell) else clean_text(cell) for cell in table.values(name)]
    folds = sorted(set(filter(None, cells)), key=lambda fold: (len(fold), fold))
    if len(folds) < 2:
        return nothing, []
    test = tuple(how.test_folds) or ((folds[-1],) if not how.validation_folds or len(folds) > 1 else ())
    rest = [fold for fold in folds if fold not in test]
    validation = tuple(how.validation_folds) or ((rest[-1],) if len(rest) > 1 else ())
    for fold in (*test, *validation):
        if fold not in folds:
            raise DataError(f"{table.path}: {name!r} has no fold {fold!r}; there are {', '.join(folds)}")
    note = f"Splits: the folds of {name!r}: test {', '.join(test)}; validation {', '.join(validation) or 'drawn'}."
    by_fold = dict.fromkeys(folds, "train") | dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    return [by_fold.get(cell) for cell in cells], [note]


def _listed_splits(data: Labeled, folder: Path) -> list[str | None]:
    """Splits by lists of names, with or without suffix and folders: in files that are named after splits."""
    if not folder.is_dir():
        raise DataError(f"--split_lists {folder} does not exist; expected one with train.txt, test.txt, ...")
    files = {path: split for path in sorted(folder.iterdir()) if path.is_file() for split in [path.stem]}
    splits = {path: split for path, stem in files.items() if (split := name_splits(files.values())[stem])}
    listed: dict[str, str] = {}
    for path, split in splits.items():
        for cells in read_cells(path, "\t" if path.suffix == ".tsv" else ","):
            for name in {cells[0].strip(), Path(cells[0].strip()).stem}:
                if listed.setdefault(name, split) != split:
                    raise DataError(f"{path}: {name} is in the list of {listed[name]}, too")
    if not listed:
        raise DataError(f"--split_lists {folder}: no file in it is named after train, validation or test")
    return [next((listed[name] for name in _names_of(item) if name in listed), None) for item in data.items]


def _names_of(item: Example | Skipped) -> list[str]:
    path = item.audio if isinstance(item, Example) and isinstance(item.audio, Path) else Path(item.id)
    return [item.id, "/".join(path.parts[-2:]), path.name, path.stem]


def group_items(data: Labeled, how: LabelOptions, columns: TableOptions) -> list[str]:
    """What must stay together: recordings, a column, and what a pattern finds in the names of files."""
    names = [f"{number} {item.id}" for number, item in enumerate(data.items)]
    keys: list[Sequence[str | None]] = [data.recordings]
    if columns.group_column:
        cells = data.table.values(data.table.find((columns.group_column,), "--group_column"))
        keys.append([clean_text(cell) or None for cell in cells])
    if how.group_pattern:
        try:
            pattern = re.compile(how.group_pattern)
        except re.error as error:
            raise DataError(f"--group_pattern {how.group_pattern}: not a regular expression: {error}") from error
        found = [pattern.search(item.id) for item in data.items]
        keys.append([match and (match[1] if pattern.groups else match[0]) for match in found])
    return group_rows(names, *keys)


def draw_missing(
    splits: list[str | None],
    groups: Sequence[str],
    labels: Sequence[Labels],
    items: Sequence[Example | Skipped],
    how: LabelOptions,
    drawn: tuple[str, ...],
) -> tuple[list[str | None], str]:
    """Draws what is missing: all splits, or some from the rows of train; and a note."""
    wanted = {"validation": how.validation_fraction, "test": how.test_fraction}
    fractions = {split: wanted[split] for split in drawn if split != "train"}
    fractions = {"train": 1 - sum(fractions.values()), **fractions}
    rows = [
        index
        for index, split in enumerate(splits)
        if split == "train" or ("train" in drawn and isinstance(items[index], Example))
    ]
    keys = [[f"{task.task.name} {label}" for task in labels for label in task.groups[index]] for index in rows]
    found = draw_splits([groups[index] for index in rows], keys, fractions, how.seed)
    for index, split in zip(rows, found, strict=True):
        splits[index] = split
    counts = Counter(found)
    shown = ", ".join(f"{split} {counts[split]:,}" for split in fractions)
    return splits, f"Splits: drawn with seed {how.seed}, by recording, stratified by label: {shown}."
