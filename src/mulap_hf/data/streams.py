"""Opens described or labeled audio as a stream of rows, from wherever it lies: decoded only after the shuffle."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from zlib import crc32

import datasets
from datasets import Audio, Dataset, Features, IterableDataset, List, Value, load_dataset
from huggingface_hub import HfApi

from ..errors import AudioError, DataError
from ..remote import is_address, list_files, version_of
from .archives import archives_by_split, column_of, find_archives, is_archive, read_archives
from .audio_cells import audio_of
from .captions import Captions, named_columns
from .described import Described, TableOptions, find_tables, read_described, splits_in
from .hub_datasets import check_caption_feature, classes_of, name_classes
from .pairs import PairStream
from .paths import WAVEFORM_SUFFIX, has_audio_suffix, is_hidden, walk
from .recordings import Groups, audio_digest, group_files, group_rows
from .schema import Example, Skipped
from .shards import by_split, find_shards, has_column, in_split, read_column, read_recordings, readable, shards_of
from .tables import clean_labels, clean_text

__all__ = ["PairStream", "has_split", "open_pairs"]

# datasets 5 sleeps 5 s whenever it has read several parquet files to their end, which is every epoch.
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0.1
_UNKNOWN_VERSION = "{}: whether it has changed cannot be found out: a run that is resumed is exact only if it has not"
TABLE_SHARDS = 64  # of a table of files: enough for all ranks and workers
_FEATURES = Features(
    {
        "id": Value("string"),
        "audio": {"bytes": Value("binary"), "path": Value("string")},
        "caption": Value("string"),
        "labels": List(Value("string")),
        "group": Value("string"),
        "problem": Value("string"),
    }
)


def open_pairs(
    source: str | Path,
    split: str = "train",
    caption_column: str | None = None,
    label_column: str | None = None,
    needs_captions: bool | None = None,
    **more: str | None,
) -> PairStream:
    """Opens described or labeled audio of any of these forms:

    * a table of files (CSV, TSV, JSON, JSON Lines, XLSX, parquet), or a folder with one (see `described`);
    * a folder of audio files, if captions are not needed or are composed of the tags in the files;
    * a folder of parquet files, prepared by `training/prepare_dataset.py` or with an audio and a caption column;
    * a WebDataset tar, or a folder of them;
    * parquet files or tars on other storage, by their address: `s3://bucket/folder`, `hf://datasets/org/name`;
    * a dataset on the Hub with an audio and a caption column, by its name.

    Args:
        source: one of them, or a folder with one of them per split (`train/`, `validation/`).
        split: which, where there are several.
        caption_column: where the captions are; default: the first usual name that there is, such as "caption".
        label_column: where the labels are, a list of them or a single one; in tars, a key of the .json members.
        needs_captions: leave out rows without a caption; default: only where no labels are asked for.
        more: other fields of `described.TableOptions`.

    Raises:
        DataError: the source does not exist, a column is missing, or no usable pair is in it.
    """
    if needs_captions is None:
        needs_captions = label_column is None
    options = TableOptions(
        caption_column=caption_column, label_column=label_column, needs_captions=needs_captions, **more
    )
    if is_address(source):
        return _open_remote(source, options, split)
    path = Path(source)
    if not path.exists():
        if str(source).count("/") == 1 and not str(source).startswith((".", "/", "~")):
            return _open_hub(str(source), options, split)
        raise DataError(
            f"{source} does not exist; expected a folder, a table, a tar file, or a dataset of the Hub (owner/name)"
        )
    kind, path = _recognize(path, split)
    if kind == "shards":
        return _open_shards([path] if path.is_file() else shards_of(path, split), options)
    if kind == "archives":
        return _open_archives(path, in_split(find_archives(path), split, path), options)
    described = read_described(path, options)
    split = split if described.named else "train"
    if split not in described.splits:
        raise DataError(f"{path}: it has no split {split!r}; there are {', '.join(described.splits)}")
    return _open_table(described, split, options)


def has_split(source: str | Path, split: str, **options: str | None) -> bool:
    """Whether a folder or table has a part of that name; of what has no splits, all is the split "train".

    Args:
        source: as `open_pairs` takes it.
        split: for instance "validation".
        options: fields of `described.TableOptions`.
    """
    if is_address(source):
        return split in _remote_files(source)[1]
    path = Path(source)
    if not path.exists():
        return False
    kind, place = _recognize(path, split)
    if place != path:
        return True
    if kind == "shards":
        return path.is_dir() and split in find_shards(path)
    if kind == "archives":
        return split in find_archives(path)
    return split in splits_in(path, TableOptions(**options))


def _recognize(path: Path, split: str) -> tuple[str, Path]:
    """What a source is ("table", "shards" or "archives"), and the folder of the split, if it has one.

    A table of metadata comes before parquet files and tars beside it, and these before other tables.

    Raises:
        DataError: it is neither.
    """
    if path.is_file():
        if is_archive(path):
            return "archives", path
        return "shards" if path.suffix == ".parquet" and has_column([path], "audio") else "table", path
    tables = find_tables(path)
    if any(table.stem.lower() == "metadata" for table in tables.values()):
        return "table", path
    if (path / split).is_dir() and not tables:
        return _recognize(path / split, split)[0], path / split
    if find_shards(path):
        return "shards", path
    if find_archives(path):
        return "archives", path
    if tables:
        return "table", path
    if any(has_audio_suffix(file.name) for file in walk(path)):
        return "table", path
    raise DataError(
        f"{path}: no table (metadata.csv with the columns file_name and caption, or the like), no parquet or tar "
        "files, and no audio files; check the path"
    )


def _remote_files(address: str) -> tuple[str, dict[str | None, Any], int | None]:
    """The parquet files, or else the tars, at an address by split, and their version.

    Raises:
        MulapError: it cannot be listed, or there are neither.
    """
    files = list_files(address)
    root = address.rstrip("/")
    inside = {file: PurePosixPath(file.removeprefix(root).lstrip("/") or PurePosixPath(file).name) for file in files}
    shards = {file: path for file, path in inside.items() if path.suffix == ".parquet" and not is_hidden(path)}
    archives = {file: path for file, path in inside.items() if is_archive(path) and not is_hidden(path)}
    used = shards or archives
    if not used:
        raise DataError(f"{address}: no parquet or tar files there; other forms of data must be on this machine")
    version = version_of({file: files[file] for file in used})
    return "shards" if shards else "archives", by_split(shards) if shards else archives_by_split(archives), version


def _open_remote(address: str, options: TableOptions, split: str) -> PairStream:
    kind, found, version = _remote_files(address)
    files = in_split(found, split, address)
    pairs = _open_shards(files, options) if kind == "shards" else _open_archives(address, files, options)
    pairs = replace(pairs, version=version)
    return pairs if pairs.fingerprint is not None else replace(pairs, notes=(_UNKNOWN_VERSION.format(address),))


def _open_table(described: Described, split: str, options: TableOptions) -> PairStream:
    rows, groups, skipped = [], [], []
    for item in described.splits[split]:
        if isinstance(item, Skipped):
            skipped.append(item)
        elif item.audio.suffix == WAVEFORM_SUFFIX:
            skipped.append(Skipped(item.id, "a .npy waveform: prepare it with training/prepare_dataset.py mulap_json"))
        else:
            rows.append(_row(item, options))
            groups.append(_group(item, options))
    if not rows:
        reasons = ", ".join(sorted({item.reason for item in skipped}))
        first = f"; the first: {skipped[0]}" if skipped else ""
        where = ", ".join(str(table.path) for table in described.tables)
        raise DataError(f"{where}: none of its {len(skipped)} rows can be used ({reasons}){first}")
    dataset = Dataset.from_list(rows, features=_FEATURES).to_iterable_dataset(num_shards=min(TABLE_SHARDS, len(rows)))
    multi_label = any(
        isinstance(item.fields.get(options.label_column), list)
        for items in described.splits.values()
        for item in items
        if isinstance(item, Example)
    )
    ids, labels, texts = ([row[name] for row in rows] for name in ("id", "labels", "caption"))
    find_groups = partial(group_files, ids, [row["audio"]["path"] for row in rows], groups)
    return PairStream(dataset, skipped, ids, labels, texts, multi_label, find_groups, described.notes)


def _open_archives(source: Path | str, archives: dict[str, Path | str], options: TableOptions) -> PairStream:
    shards = [(name, str(path)) for name, path in archives.items()]  # a list is what is sharded
    first = None
    if options.label_column:
        first = column_of(_archive_items(shards, options), options.label_column)
        if first is None:
            raise DataError(
                f"{source}: no .json member has the key {options.label_column!r} for the labels (--label_column)"
            )
    dataset = IterableDataset.from_generator(
        partial(_archive_rows, options=options), gen_kwargs={"archives": shards}, features=_FEATURES
    )
    return PairStream(dataset, multi_label=isinstance(first, list))


def _archive_items(archives: list[tuple[str, str]], options: TableOptions) -> Iterator[Example | Skipped]:
    return read_archives(dict(archives), options)


def _archive_rows(archives: list[tuple[str, str]], options: TableOptions) -> Iterator[dict]:
    for item in _archive_items(archives, options):
        yield _row(item, options)


def _open_hub(name: str, options: TableOptions, split: str) -> PairStream:
    try:
        dataset = load_dataset(name, streaming=True, split=split)
    except Exception as error:  # of many kinds: network, authorization, layout
        raise DataError(
            f"{name} does not exist here as a folder, and could not be opened as a dataset of the Hub: {error}"
        ) from error
    pairs = _open_dataset(dataset, name, options)
    with suppress(Exception):  # the revision is for resuming only
        return replace(pairs, version=crc32(HfApi().dataset_info(name).sha.encode()))
    return replace(pairs, notes=(_UNKNOWN_VERSION.format(name),))


def _open_shards(shards: list[Path] | list[str], options: TableOptions) -> PairStream:
    shards, broken = readable(shards)
    dataset = load_dataset("parquet", data_files=list(map(str, shards)), split="train", streaming=True)
    return replace(_open_dataset(dataset, shards[0], options, shards), skipped=broken)


@dataclass(frozen=True)
class _DatasetColumns:
    """Where a row of a dataset has its captions, labels and groups; `classes` are the names of label numbers."""

    captions: Captions
    labels: str | None
    groups: str | None
    classes: Mapping[str, list[str]]
    needs_captions: bool


def _open_dataset(
    dataset: IterableDataset, where: str | Path, options: TableOptions, shards: Sequence[Path] = ()
) -> PairStream:
    """`where` the dataset is, for errors; `shards`: the parquet files that it is in, if it is."""
    sample = dataset.features or next(iter(dataset), {})
    table = named_columns(where, sample)
    audio = table.find(("audio",), "the audio")
    captions = options.captions(table)
    labels, groups = (
        table.find((name,), what) if name else None
        for name, what in (
            (options.label_column, "the labels (--label_column)"),
            (options.group_column, "--group_column"),
        )
    )
    classes = classes_of(sample)
    check_caption_feature(captions, sample, where)
    if isinstance(sample[audio], Audio):
        dataset = dataset.cast_column(audio, Audio(decode=False))
    columns = _DatasetColumns(captions, labels, groups, classes, options.needs_captions)
    read = partial(_dataset_row, audio_column=audio, columns=columns)
    dataset = dataset.map(read, remove_columns=list(sample), features=_FEATURES)
    stream = PairStream(dataset, multi_label=isinstance(sample.get(labels), list | List))
    if (ids := read_column(shards, "id")) is not None:
        stream.ids = [str(name) for name in ids]
        if (cells := read_column(shards, labels)) is not None:
            stream.labels = [clean_labels(name_classes(cell, classes.get(labels))) for cell in cells]
        if (texts := read_column(shards, captions.column)) is not None:
            stream.texts = [captions.of({captions.column: text})[0] for text in texts]
        stream.find_groups = partial(_group_shards, stream.ids, shards, groups)
    return stream


def _group_shards(ids: list[str], shards: Sequence[Path], group_column: str | None) -> Groups:
    keys = [ids, read_recordings(shards)]
    if group_column:
        keys.append([clean_text(cell) or None for cell in read_column(shards, group_column)])
    return Groups(group_rows(ids, *keys))


def _dataset_row(row: dict, audio_column: str, columns: _DatasetColumns) -> dict:
    given = str(row["id"]) if row.get("id") is not None else None
    try:
        audio, file_name = audio_of(row[audio_column], "")
    except AudioError as error:
        return _skipped_row(Skipped(given or "unnamed", "broken audio", str(error)))
    named = {name: name_classes(row.get(name), classes) for name, classes in columns.classes.items()}
    text, problem = columns.captions.of(row | named)
    # Without ids, the content is the name: shards are read in any order by any number of processes.
    name = given or file_name or (f"{crc32(audio):08x}" if isinstance(audio, bytes) else str(audio))
    if audio is None or (columns.needs_captions and problem):
        return _skipped_row(Skipped(name, "no audio" if audio is None else problem))
    labels = (row | named).get(columns.labels)
    group = clean_text((row | named).get(columns.groups)) or None
    return _pair_row(Example(name, audio, file_name or name, text or None), labels, group)


def _row(item: Example | Skipped, options: TableOptions) -> dict:
    if isinstance(item, Skipped):
        return _skipped_row(item)
    return _pair_row(item, item.fields.get(options.label_column), _group(item, options))


def _group(item: Example, options: TableOptions) -> str | None:
    return clean_text(item.fields.get(options.group_column)) or None


def _skipped_row(item: Skipped) -> dict:
    audio = {"bytes": None, "path": None}
    return {"id": item.id, "audio": audio, "caption": None, "labels": [], "group": item.id, "problem": item.reason}


def _pair_row(item: Example, labels: Any, group: str | None) -> dict:
    is_file = isinstance(item.audio, Path)
    return {
        "id": item.id,
        "audio": {"bytes": None, "path": str(item.audio)} if is_file else {"bytes": item.audio, "path": item.name},
        "caption": item.caption,
        "labels": clean_labels(labels),
        "group": group or (str(item.audio) if is_file else audio_digest(item.audio)),
        "problem": None,
    }
