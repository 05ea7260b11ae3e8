"""Labeled audio of any user: folders of classes, tables with columns of labels, and HuggingFace datasets."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...errors import DataError
from ..audio_cells import load_waveforms
from ..described import TableOptions, column_type, find_tables
from ..labeled import FOLDER_LABEL, Labeled, read_dataset, read_folders, read_tables
from ..labeled_splits import draw_missing, given_splits, group_items, names_splits
from ..labels import LABEL_COLUMNS, LabelOptions, Labels, read_labels, read_tags, read_values
from ..paths import walk
from ..schema import Example, Reading, Skipped
from ..splits import name_splits, order_splits
from ..tables import Table

MIN_DRAWN = 3  # recordings of a class whose splits are drawn: one for each


def read_labeled(
    root: str | Path,
    tables: Sequence[str] = (),
    audio_column: str = "audio",
    config: str | None = None,
    **options: Any,
) -> Reading:
    """Labeled audio: class folders, tables with a column of files, or a dataset with audio, each with its splits.

    Args:
        root: a folder, a table, or the name of a dataset on the Hub.
        tables: files below the root with the same columns, if not those that `described.find_tables` finds.
        audio_column: of a dataset.
        config: of a dataset.
        options: fields of `LabelOptions` and `described.TableOptions`.

    Raises:
        DataError: there are no labels, a column is missing, or what is found contradicts itself.
    """
    given = {name: value for name, value in options.items() if value is not None}
    names = {field.name for field in fields(LabelOptions)}
    how = LabelOptions(**{name: value for name, value in given.items() if name in names})
    columns = TableOptions(**{name: value for name, value in given.items() if name not in names}, needs_captions=False)
    data = _open(root, tables, audio_column, config, how, columns)
    return _assemble(data, how, columns)


def _open(
    root: str | Path,
    tables: Sequence[str],
    audio_column: str,
    config: str | None,
    how: LabelOptions,
    columns: TableOptions,
) -> Labeled:
    path = Path(root).resolve()
    if not path.exists():
        if str(root).count("/") == 1 and not str(root).startswith((".", "/", "~")):
            return read_dataset(str(root), audio_column, config)
        raise DataError(f"{root} does not exist; expected a folder of class folders, or a table with labels")
    found = _named_tables(path, tables) if tables else list(find_tables(path).items())
    if not found and path.is_dir() and any(file.suffix == ".parquet" for file in walk(path)):
        return read_dataset(str(path), audio_column, config)
    read = [(split, columns.read(table)) for split, table in found]
    needed = bool(tables) or path.is_file()
    if read and (needed or all(_has_labels(table, how) for _, table in read)):
        if columns.audio_dir is None and tables:
            columns = replace(columns, audio_dir=str(path))
        labels = how.label_columns or [name for _, table in read if (name := _label_column(table))]
        return read_tables(
            read, columns, tuple(dict.fromkeys(labels)), how, keep_split=partial(names_splits, columns=columns)
        )
    data = read_folders(path)
    ignored = ", ".join(table.name for _, table in found)
    message = f"{ignored} has no column of labels that is known: the labels are the names of the folders"
    return replace(data, messages=(*data.messages, message)) if ignored else data


def _named_tables(root: Path, names: Sequence[str]) -> list[tuple[str | None, Path]]:
    """The tables of --tables with the splits that they are named after; if only some are, none counts as named."""
    paths = [root / name for name in names]
    splits = name_splits(path.stem for path in paths)
    are_named = all(splits[path.stem] for path in paths)
    return [(splits[path.stem] if are_named else None, path) for path in paths]


def _has_labels(table: Table, how: LabelOptions) -> bool:
    return bool(how.label_columns or how.tag_columns or how.value_columns or _label_column(table))


def _label_column(table: Table) -> str | None:
    return table.find(LABEL_COLUMNS, "the labels", required=False)


def _assemble(data: Labeled, how: LabelOptions, columns: TableOptions) -> Reading:
    """Tasks, splits and examples of what was read."""
    known = [row if isinstance(item, Example) else {} for item, row in zip(data.items, data.table.rows, strict=True)]
    data = replace(data, table=replace(data.table, rows=known))
    splits, drawn, notes = given_splits(data, how, columns)
    groups = group_items(data, how, columns)
    labels = _read_tasks(data, how, groups, how.min_count or (MIN_DRAWN if drawn else 1))
    if drawn:
        splits, note = draw_missing(splits, groups, labels, data.items, how, drawn)
        notes.append(note)
    kept = {name: data.table.values(data.table.find((name,), "--keep_columns")) for name in columns.keep_columns}
    types = {name: kind for task in labels for name, kind in task.columns.items()}
    types |= {name: column_type(name, cells) for name, cells in kept.items()}
    if any(isinstance(item, Example) and item.caption for item in data.items):
        types["caption"] = pa.string()
    cells = [
        {name: cell for task in labels for name, cell in task.cells[index].items()}
        | {name: values[index] for name, values in kept.items()}
        for index in range(len(data.items))
    ]
    stream = data.load
    load = (lambda: enumerate(stream())) if stream else partial(_shuffled, data.items, how.seed)
    found = order_splits({split for split in splits if split})
    notes += [*data.notes, *(note for task in labels for note in task.notes)]
    return Reading(
        {split: load_waveforms(_of_split(load(), splits, split, cells, labels, first=found[0])) for split in found},
        types,
        tuple(task.task for task in labels),
        notes=tuple(notes),
        messages=data.messages,
    )


def _shuffled(items: Sequence[Example | Skipped], seed: int) -> Iterator[tuple[int, Example | Skipped]]:
    """Items with their numbers, in an order that mixes the classes: folders come sorted, and streams read in order."""
    order = sorted(range(len(items)), key=lambda index: sha256(f"{seed} {items[index].id}".encode()).digest())
    return ((index, items[index]) for index in order)


def _of_split(
    items: Iterable[tuple[int, Example | Skipped]],
    splits: Sequence[str | None],
    split: str,
    cells: Sequence[dict],
    labels: Sequence[Labels],
    first: str,
) -> Iterator[Example | Skipped]:
    """The items of a split; what is in no split is left out of the first one."""
    names = [name for task in labels for name in task.columns]
    for index, item in items:
        found, row = splits[index], cells[index]
        if (found or first) != split:
            continue
        if isinstance(item, Skipped):
            yield item
        elif all(row[name] is None for name in names):
            yield Skipped(item.id, "no label, or one of too few items")
        elif found is None:
            yield Skipped(item.id, "in no split")
        else:
            yield replace(item, fields=row)


def _read_tasks(data: Labeled, how: LabelOptions, groups: Sequence[str], min_count: int) -> list[Labels]:
    table, tasks = data.table, []
    if how.tag_columns:
        tasks.append(read_tags(table, how.tag_columns, groups, how.threshold, min_count))
    if how.value_columns:
        tasks.append(read_values(table, how.value_columns))
    names = list(how.label_columns)
    if not tasks and not names:
        names = [table.find((FOLDER_LABEL, *LABEL_COLUMNS), "the labels (--label_columns)")]
    for given in names:
        name = table.find((given,), "the labels (--label_columns)")
        tasks.append(read_labels(name, table, table.values(name), groups, how.kind, how.separator, min_count))
    return tasks
