"""Rows of tables as described audio: the one way in which `prepare_dataset.py` and `pretrain.py` read them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import DataError
from ..settings import CORPUS_SETTINGS
from .audio_tags import folder_table
from .captions import Captions
from .paths import FileFinder, Unresolved, find_folder
from .schema import Example, Skipped
from .splits import name_splits, order_splits, split_named, split_rows
from .tables import TABLE_SUFFIXES, Table, clean_text, is_missing, read_table
from .templates import Template

FILE_COLUMNS = (
    "file_name", "audio_path", "path", "file", "audio", "file_path", "audio_file", "audio_filename", "track_path",
    "location", "wav", "mp3",
)  # fmt: skip
ID_COLUMNS = ("audio_id", "clip_id", "id")
METADATA_STEM = "metadata"
OWN_COLUMNS = ("id", "audio", "recording", "caption")  # of every prepared dataset
_OWN_FILES = ("tasks.json", "prepare.json", CORPUS_SETTINGS, "dataset_infos.json", "config.json")


@dataclass(frozen=True)
class TableOptions:
    """How a user says that tables are to be read; None is for what is usual or detected.

    Attributes:
        file_column: column of the audio files, or a text with columns in braces.
        caption_column: column of the captions.
        caption: text with columns in braces that captions are composed of.
        label_column: column of the labels.
        group_column: column of what must not be on both sides of a split.
        split_column: column of the splits; "none": there is none.
        keep_columns: further columns to carry over as they are.
        audio_dir: folder that the files are relative to; None: that of the table.
        delimiter: between the cells of a text file.
        encoding: of a text file.
        sheet: of an XLSX file.
        needs_captions: whether rows without a caption are left out.
    """

    file_column: str | None = None
    caption_column: str | None = None
    caption: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    split_column: str | None = None
    keep_columns: Sequence[str] = ()
    audio_dir: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    needs_captions: bool = True

    def __post_init__(self):
        if self.caption and self.caption_column:
            raise DataError("--caption composes captions and --caption_column names them: pass one of the two")
        for name in self.keep_columns:
            if name in OWN_COLUMNS:
                raise DataError(f"--keep_columns {name}: a prepared dataset has a column of that name in any case")

    @property
    def kept(self) -> dict[str, str]:
        """Columns that are read besides file and caption, and what they are for, for messages."""
        named = {self.label_column: "the labels (--label_column)", self.group_column: "--group_column"}
        return dict.fromkeys(self.keep_columns, "--keep_columns") | {name: named[name] for name in named if name}

    def read(self, path: Path) -> Table:
        """A table, as these options say."""
        return read_table(path, self.delimiter, self.encoding, self.sheet)

    def captions(self, table: Table) -> Captions:
        """Where the captions of a table are, of which the columns are looked at only."""
        return Captions.find(table, self.caption_column, self.caption, self.needs_captions)


@dataclass(frozen=True)
class Described:
    """What tables say about audio.

    Attributes:
        splits: examples, and what is left out, by split.
        named: whether anything names splits; otherwise all is in "train".
        tables: that were read.
        notes: what was decided in reading, a sentence each.
    """

    splits: dict[str, list[Example | Skipped]]
    named: bool = True
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


def find_tables(source: Path) -> dict[str | None, Path]:
    """The tables that describe the audio of a folder.

    Args:
        source: a table; a folder with `metadata.csv` or the like in it, or in its folders train, validation and test;
            with tables named after splits; or with a single table.

    Returns:
        Tables by split, or one under None that may have a column for splits; nothing without a table.

    Raises:
        DataError: it is not clear which table is meant.
    """
    if source.is_file():
        return {None: source}
    tables = [path for path in sorted(source.iterdir()) if _is_table(path)]
    if metadata := [path for path in tables if path.stem.lower() == METADATA_STEM]:
        return {None: _only(metadata)}
    folders = [path for path in sorted(source.iterdir()) if path.is_dir()]
    found: dict[str | None, Path] = {}
    splits = name_splits(path.name for path in folders)
    for folder in folders:
        inside = [path for path in folder.iterdir() if _is_table(path) and path.stem.lower() == METADATA_STEM]
        if splits[folder.name] and inside:
            _add(found, splits[folder.name], _only(sorted(inside)))
    if found:
        return {split: found[split] for split in order_splits(found)}
    tables = [path for path in tables if path.suffix.lower() != ".json"] or tables
    splits = name_splits(path.stem for path in tables)
    for path in tables:
        if splits[path.stem]:
            _add(found, splits[path.stem], path)
    if len(tables) == 1:
        return {None: tables[0]}
    if tables and not found:
        names = ", ".join(path.name for path in tables)
        raise DataError(
            f"{source}: expected one table, or several named after train, validation and test; found "
            f"{names}: name the table itself"
        )
    return {split: found[split] for split in order_splits(found)}


def open_tables(source: Path, options: TableOptions) -> dict[str | None, Table]:
    """The tables of a folder, read; of a folder of audio without a table, its files, and their tags as columns.

    Raises:
        DataError: neither a table nor audio exists; or neither gives captions, although captions are needed.
    """
    found = find_tables(source)
    if found:
        return {split: options.read(path) for split, path in found.items()}
    if options.needs_captions and not options.caption:
        raise DataError(
            f"{source}: no table was found; expected metadata.csv, metadata.jsonl or another table with the columns "
            "file_name and caption, in this folder or in its folders train, validation and test; or compose captions "
            "of the tags in the audio files with --caption '{title}. {genre}'"
        )
    table = folder_table(source, with_tags=bool(options.caption or options.kept))
    if not table.rows:
        raise DataError(f"{source}: no table and no audio files were found; check the path")
    return {None: table}


def _is_table(path: Path) -> bool:
    return (
        path.suffix.lower() in TABLE_SUFFIXES
        and path.name not in _OWN_FILES
        and not path.name.startswith(".")
        and path.is_file()
    )


def _only(tables: Sequence[Path]) -> Path:
    if len(tables) > 1:
        raise DataError(
            f"{' and '.join(map(str, tables))} are beside each other: name the one to read, or remove the others"
        )
    return tables[0]


def _add(tables: dict[str | None, Path], split: str, table: Path):
    if split in tables:
        raise DataError(f"{tables[split]} and {table} are both of the split {split}: make one of them")
    tables[split] = table


def read_described(source: Path, options: TableOptions) -> Described:
    """The rows of a user's tables by split, with the files that they lead to.

    Ids are those of the table, or else the file names; the second and third of the same get `#2` and `#3`.

    Raises:
        DataError: the table is missing, it cannot be read, or a column is missing.
    """
    tables = open_tables(source, options)
    splits: dict[str, list[Example | Skipped]] = {}
    notes: list[str] = []
    named = None not in tables
    for given, table in tables.items():
        notes += table.notes
        items, found = locate_rows(table, options)
        notes += found
        if given is None:
            rows, missing, found = split_rows(table, options.split_column)
            named = bool(found)
            notes += found
            for split, indices in rows.items():
                splits[split] = [items[index] for index in indices]
            unsplit = [Skipped(items[index].id, "no split is named", table.place(index)) for index in missing]
            splits[next(iter(splits))] += unsplit
        else:
            _check_split_cells(table, given)
            splits[given] = items
    return Described(splits, named, tuple(tables.values()), tuple(notes))


def splits_in(source: Path, options: TableOptions) -> list[str]:
    """The splits that a user's tables have; raises as `read_described` does, but looks at no captions and files."""
    tables: Mapping[str | None, Any] = find_tables(source)
    if tables and None not in tables:
        return list(tables)
    table = options.read(tables[None]) if tables else folder_table(source, with_tags=False)
    return list(split_rows(table, options.split_column)[0])


def _check_split_cells(table: Table, split: str):
    """A column that contradicts the name of the file or folder must not be ignored."""
    column = table.find(("split",), "the splits", required=False)
    for index, cell in enumerate(table.values(column) if column else ()):
        if not is_missing(cell) and split_named(str(cell)) not in (split, None):
            raise DataError(
                f"{table.place(index)}: the column {column!r} says {cell!r}, the name of the file or folder {split}; "
                "remove one of the two"
            )


def locate_rows(table: Table, options: TableOptions) -> tuple[list[Example | Skipped], list[str]]:
    """All rows of a table, in order, with the files that they lead to, and how these were found."""
    names = _file_names(table, options.file_column)
    captions = options.captions(table)
    if options.needs_captions:
        captions.check(table)
    kept = {name: table.find((name,), what) for name, what in options.kept.items()}
    ids = _ids(table, names)
    near = table.path if table.path.is_dir() else table.path.parent
    folder = find_folder(options.audio_dir, Path(), (), "--audio_dir") if options.audio_dir else near
    finder = FileFinder(folder)
    items = []
    for index, (row, name, file) in enumerate(zip(table.rows, ids, names, strict=True)):
        caption, problem = captions.of(row)
        place = table.place(index)
        found = finder.find(file) if file else None
        if index in table.problems:
            items.append(Skipped(name, table.problems[index], f"{place}; put cells with a delimiter in quotes"))
        elif problem and options.needs_captions:
            items.append(Skipped(name, problem, place))
        elif found is None:
            items.append(Skipped(name, "no audio file is named", place))
        elif isinstance(found, Unresolved):
            items.append(Skipped(name, found.reason, f"{found.detail}; {place}"))
        else:
            fields = {name: row.get(column) for name, column in kept.items()}
            items.append(Example(name, found, caption=caption or None, fields=fields))
    return items, finder.notes()


def _file_names(table: Table, column: str | None) -> list[str]:
    """The file that each row names; an empty text where it names none."""
    what = "the audio file (--file_column)"
    if column and "{" in column:
        template = Template(column, "--file_column").rename(lambda name: table.find((name,), what))
        return [template.fill(row) or "" for row in table.rows]
    return list(map(clean_text, table.values(table.find((column,) if column else FILE_COLUMNS, what))))


def _ids(table: Table, files: Sequence[str]) -> list[str]:
    columns = [table.find((name,), "the ids", required=False) for name in ID_COLUMNS]
    seen: Counter[str] = Counter()
    ids = []
    for index, (row, file) in enumerate(zip(table.rows, files, strict=True)):
        given = (clean_text(row.get(column)) for column in columns if column)
        name = next(filter(None, given), file or f"row {index + 1}")
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")  # several captions of a file are several pairs
    return ids


def column_type(name: str, cells: Sequence[Any]) -> pa.DataType:
    """The Arrow type of a column that is carried over.

    Raises:
        DataError: its cells are of several kinds.
    """
    try:
        return pa.array(cells).type
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"--keep_columns {name}: its cells are not of one kind ({error})") from error
