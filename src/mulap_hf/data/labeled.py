"""Where labeled audio of a user comes from: folders of classes, tables, and HuggingFace datasets."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import AudioError, DataError
from .audio_cells import audio_of
from .described import TableOptions, locate_rows
from .hub_datasets import Rows, classes_of, name_classes, open_splits
from .labels import LabelOptions, read_number
from .paths import find_audio
from .recordings import audio_digest, file_recordings
from .schema import Example, Skipped
from .splits import name_splits, split_rows
from .tables import Table, clean_labels

FOLDER_LABEL = "label"  # name of the column and task of class folders
_SHOWN = 8
_SPLIT = "split of the dataset"


@dataclass(frozen=True)
class Labeled:
    """Audio with what is known of it.

    Attributes:
        items: a row each; of datasets their audio is empty, and `load` gives it.
        table: the cells that are known of each row.
        splits: of the rows; None where nothing says it.
        recordings: of the rows: equal for equal audio.
        notes: what was decided, for the card.
        messages: what else the user should know.
        load: gives the rows with their audio, in order.
    """

    items: list[Example | Skipped]
    table: Table
    splits: list[str | None]
    recordings: list[str]
    notes: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    load: Callable[[], Iterator[Example | Skipped]] | None = None


def read_folders(root: Path) -> Labeled:
    """Audio in folders named after its classes, which may lie in folders named after splits.

    Raises:
        DataError: no audio was found, it lies in no folders or in a single one, or only some folders name splits.
    """
    paths, others = find_audio(root)
    if not paths:
        found = f" (found {'; '.join(others)})" if others else ""
        raise DataError(f"{root}: there are no audio files in it{found}; expected a folder per class, or a table")
    root = _class_root(root, paths)
    names = [path.relative_to(root).parts for path in paths]
    first = sorted({parts[0] for parts in names if len(parts) > 1})
    splits = name_splits(first)
    named = [name for name in first if splits[name]]
    if named and len(named) < len(first):
        unnamed = [name for name in first if not splits[name]]
        raise DataError(
            f"{root}: the folders {_shown(named)} are named after splits, {_shown(unnamed)} are not; move what is not "
            "data away, or rename folders that are classes"
        )
    depth = 2 if named else 1
    if not any(len(parts) > depth for parts in names):
        raise DataError(
            f"{root}: its {len(paths):,} audio files do not lie in folders named after classes; move them there, "
            "or write a table with their names and labels (labels.csv: file_name, label)"
        )
    items: list[Example | Skipped] = []
    rows, places = [], []
    for path, parts in zip(paths, names, strict=True):
        name = "/".join(parts)
        in_class = len(parts) > depth
        items.append(Example(name, path) if in_class else Skipped(name, "lies in no folder of a class"))
        rows.append({FOLDER_LABEL: parts[depth - 1] if in_class else None})
        places.append(name)
    classes = {row[FOLDER_LABEL] for row in rows} - {None}
    if len(classes) < 2:
        raise DataError(f"{root}: there is a single folder with audio, {classes.pop()}; expected one per class")
    table = Table(root, (FOLDER_LABEL,), rows, places)
    given = [splits[parts[0]] if named else None for parts in names]
    notes = (f"Labels: the names of the folders {'in the folders of the splits' if named else ''}".rstrip() + ".",)
    return Labeled(items, table, given, file_recordings(paths), notes, tuple(f"not audio: {kind}" for kind in others))


def _class_root(root: Path, paths: Sequence[Path]) -> Path:
    """The first folder in which there is more than a single folder with audio."""
    while True:
        first = {path.relative_to(root).parts[0] for path in paths}
        inside = root / next(iter(first))
        if len(first) > 1 or not inside.is_dir():
            return root
        if all(len(path.relative_to(inside).parts) == 1 for path in paths):
            return root
        root = inside


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def read_tables(
    tables: Sequence[tuple[str | None, Table]],
    columns: TableOptions,
    labels: Sequence[str],
    how: LabelOptions,
    keep_split: Callable[[Table], bool],
) -> Labeled:
    """The rows of tables with a column of files; rows of one file become one, with all their labels.

    Args:
        tables: with their splits; None: a column may name the splits.
        columns: where files and captions are.
        labels: columns whose cells are joined where several rows are of one file.
        how: labels are read.
        keep_split: whether a table's column of splits names splits, rather than folds.

    Raises:
        DataError: a column is missing.
    """
    parts = []
    for split, table in tables:
        items, messages = locate_rows(table, columns)
        given: list[str | None] = [split] * len(items)
        notes: list[str] = []
        if split is None and keep_split(table):
            rows, missing, notes = split_rows(table, columns.split_column)
            for name, indices in rows.items() if notes else ():
                for index in indices:
                    given[index] = name
            for index in missing:
                items[index] = Skipped(items[index].id, "no split is named", table.place(index))
        if how.score_column:
            table = _keep_scored(table, labels, how.score_column, how.threshold)
        parts.append(Labeled(items, table, given, [], tuple(notes), (*table.notes, *messages)))
    return _join_rows(_concatenate(parts), labels)


def _keep_scored(table: Table, labels: Sequence[str], score_column: str, threshold: float) -> Table:
    """A table of a label and its score per row, without the labels whose score is too low."""
    column = table.find((score_column,), "--score_column")
    rows = []
    for index, row in enumerate(table.rows):
        score = read_number(row.get(column), table, index, column)
        kept = score is not None and score >= threshold
        rows.append(row | {name: clean_labels(row.get(name)) if kept else [] for name in labels})
    return replace(table, rows=rows)


def _concatenate(parts: Sequence[Labeled]) -> Labeled:
    if len(parts) == 1:
        return parts[0]
    rows = [row for part in parts for row in part.table.rows]
    places = [part.table.place(index) for part in parts for index in range(len(part.table.rows))]
    columns = tuple(dict.fromkeys(name for part in parts for name in part.table.columns))
    return Labeled(
        [item for part in parts for item in part.items],
        Table(parts[0].table.path.parent, columns, rows, places),
        [split for part in parts for split in part.splits],
        [],
        tuple(note for part in parts for note in part.notes),
        tuple(message for part in parts for message in part.messages),
    )


def _join_rows(data: Labeled, labels: Sequence[str]) -> Labeled:
    """One row per file and split, with the labels of all its rows."""
    first: dict[tuple, int] = {}
    joined: dict[int, list[int]] = defaultdict(list)
    for index, item in enumerate(data.items):
        key = (str(item.audio), data.splits[index]) if isinstance(item, Example) else (index,)
        joined[first.setdefault(key, index)].append(index)
    rows = []
    for index, others in joined.items():
        row = data.table.rows[index]
        if len(others) > 1:
            cells = {name: [data.table.rows[other].get(name) for other in others] for name in labels}
            found = {name: clean_labels(_flat(cell)) for name, cell in cells.items()}
            row = row | {
                name: cell[0] if len(cell) == 1 and not isinstance(row.get(name), list) else cell
                for name, cell in found.items()
            }
        rows.append(row)
    kept = list(joined)
    table = replace(data.table, rows=rows, places=[data.table.places[index] for index in kept], problems={})
    items = [data.items[index] for index in kept]
    paths = [str(item.audio) if isinstance(item, Example) else f"row {number}" for number, item in enumerate(items)]
    more = len(data.items) - len(kept)
    notes = (f"{more:,} rows name a file that another row names, too: their labels are joined.",) if more else ()
    splits = [data.splits[index] for index in kept]
    return replace(
        data, items=items, table=table, splits=splits, recordings=file_recordings(paths), notes=(*data.notes, *notes)
    )


def _flat(cells: Sequence[Any]) -> list[Any]:
    return [part for cell in cells for part in (cell if isinstance(cell, list) else [cell])]


def read_dataset(root: str, audio_column: str, config: str | None) -> Labeled:
    """A HuggingFace dataset with a column of audio, read twice: for labels and recordings, then for the audio.

    Raises:
        DataError: it cannot be loaded.
    """
    splits = open_splits(root, config, None, audio_column)
    load = partial(_dataset_items, splits, audio_column)
    items, rows, recordings = [], [], []
    for item in load():
        items.append(replace(item, audio=b"", fields={}) if isinstance(item, Example) else item)
        rows.append(dict(item.fields) if isinstance(item, Example) else {})
        recordings.append(_recording(item))
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    given = [row.pop(_SPLIT, None) for row in rows]
    if set(given) <= {"train", None}:
        given = [None] * len(given)  # "train" is what datasets calls a dataset without splits
    places = [item.id for item in items]
    return Labeled(items, Table(Path(root), columns, rows, places), given, recordings, load=load)


def _dataset_items(splits: Mapping[str, Rows], audio_column: str) -> Iterator[Example | Skipped]:
    for split, part in splits.items():
        classes = classes_of(part.dataset.features)
        for number, row in enumerate(part.dataset):
            name = str(row["id"]) if row.get("id") is not None else f"{part.split}-{number:07d}"
            named = {key: name_classes(row.get(key), names) for key, names in classes.items()}
            try:
                audio, file_name = audio_of(row.pop(audio_column, None), name)
            except AudioError as error:
                yield Skipped(name, "broken audio", str(error))
                continue
            if audio is None:
                yield Skipped(name, "no audio")
            else:
                yield Example(name, audio, file_name, fields=row | named | {_SPLIT: split})


def _recording(item: Example | Skipped) -> str:
    if isinstance(item, Example):
        return audio_digest(item.audio) if isinstance(item.audio, bytes) else str(item.audio)
    return item.id
