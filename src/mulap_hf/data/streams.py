"""Described or labeled audio as a stream of rows, from wherever it lies: decoded only after the shuffle."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress, islice
from pathlib import Path
from zlib import crc32

import datasets
from datasets import Audio, Dataset, Features, IterableDataset, List, Value, load_dataset

from ..errors import AudioError, DataError
from .corpora.captioned import CAPTION_COLUMNS, METADATA_NAMES, WAVEFORM_SUFFIX, read_described
from .corpora.hub import audio_of
from .corpora.webdataset import read_archives
from .recordings import Groups, audio_digest, group_files, group_rows, is_drawn
from .schema import Example
from .shards import find_shards, read_column, read_recordings, readable, shards_of
from .tables import Skipped, clean_caption, clean_labels, find_column, read_rows

# datasets 5 sleeps 5 s whenever it has read several parquet files to their end, which is every epoch.
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0.1
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


@dataclass
class PairStream:
    """Described or labeled audio.

    dataset: rows of `id`, `audio` (a struct of `bytes` and `path`, one of them null), `caption` (null where there is
        none), `labels` (a list, empty without a label column), `group` (rows of one recording, or with the same value
        of the group column, have the same), and `problem`: why the row cannot be used, null where it can. In shards.
    skipped: what was left out of it from the start.
    ids, labels, texts: of all its rows, where they are known without reading the audio; texts are the captions.
    multi_label: whether the label column holds lists of labels, rather than one label per row.
    find_groups: what gives the group of each row, where ids are known. It may open files: it is called to draw only.
    notes: what was found in drawing, a sentence each.
    """

    dataset: IterableDataset
    skipped: list[Skipped] = field(default_factory=list)
    ids: list[str] | None = None
    labels: list[list[str]] | None = None
    texts: list[str | None] | None = None
    multi_label: bool = False
    find_groups: Callable[[], Groups] | None = None
    notes: tuple[str, ...] = ()

    @property
    def num_pairs(self) -> int | None:
        return None if self.ids is None else len(self.ids)

    @property
    def fingerprint(self) -> int | None:
        """Equal as long as the same rows come in the same order; None where that cannot be known."""
        return None if self.ids is None else crc32("\n".join(self.ids).encode())

    def captions(self, most: int = 100_000) -> list[str]:
        """The first captions, to train a tokenizer on."""
        if self.texts is not None:
            return [text for text in self.texts[:most] if text]
        rows = islice(self.dataset.select_columns(["caption", "problem"]), most)
        return [row["caption"] for row in rows if row["problem"] is None and row["caption"]]

    def label_counts(self) -> dict[str, int]:
        """How many rows have each label: the most frequent first, equally frequent ones by name.

        Where the labels are not known otherwise, all rows are read once, without decoding their audio.
        """
        labels = self.labels
        if labels is None:
            rows = self.dataset.select_columns(["labels", "problem"])
            labels = [row["labels"] for row in rows if row["problem"] is None]
        counts = Counter(label for row in labels for label in row)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def hold_out(self, fraction: float) -> tuple["PairStream", "PairStream"]:
        """Splits it in two by recordings: whoever reads it in whatever order finds the same.

        All rows of a recording, of its exact copies, and with the same value of the group column are on one side.

        Args:
            fraction: of the groups that go into the second.

        Raises:
            DataError: one of the two would be empty.
        """
        drawn, rest = self._draw(fraction, salt="")
        parts = rest, replace(drawn, skipped=[], notes=())
        for part, use in zip(parts, ("train", "validate"), strict=True):
            if part.ids == []:
                raise DataError(
                    f"--validation_share {fraction} of {self.num_pairs} pairs leaves none to {use} on: pass "
                    "--validation_data, or another --validation_share"
                )
        return parts

    def take_fraction(self, fraction: float) -> "PairStream":
        """A part of it, chosen by recordings; a smaller part is contained in a larger one.

        Args:
            fraction: of the groups, over 0 and at most 1.

        Raises:
            DataError: nothing would be left.
        """
        if fraction == 1:
            return self
        part = self._draw(fraction, salt="share ")[0]
        if not 0 < fraction <= 1 or part.ids == []:
            raise DataError(
                f"--train_share {fraction} of {self.num_pairs} pairs leaves none to train on; expected a number over "
                "0 and at most 1"
            )
        return part

    def _draw(self, fraction: float, salt: str) -> tuple["PairStream", "PairStream"]:
        """A fraction of the groups, and the others."""
        if self.ids is None:
            draws = (partial(_is_drawn, fraction=fraction, salt=salt, expected=side) for side in (True, False))
            return tuple(replace(self, dataset=self.dataset.filter(draw, input_columns=["group"])) for draw in draws)
        groups = self.find_groups()
        ids = frozenset(
            name for name, group in zip(self.ids, groups.names, strict=True) if is_drawn(group, fraction, salt)
        )
        whole = replace(self, find_groups=partial(Groups, groups.names), notes=(*self.notes, *groups.notes))
        return whole.select(ids.__contains__), whole.select(partial(_is_outside, ids))

    def select(self, belongs: Callable[[str], bool]) -> "PairStream":
        """The rows whose ids belong; the function can be pickled."""
        kept = [belongs(name) for name in self.ids or ()]
        known = {"ids": self.ids, "labels": self.labels, "texts": self.texts}
        known = {name: None if values is None else list(compress(values, kept)) for name, values in known.items()}
        find_groups = self.find_groups and partial(_kept_groups, self.find_groups, kept)
        dataset = self.dataset.filter(belongs, input_columns=["id"])
        return replace(self, dataset=dataset, find_groups=find_groups, **known)


def _is_drawn(group: str, fraction: float, salt: str, expected: bool) -> bool:
    return is_drawn(group, fraction, salt) == expected


def _kept_groups(find: Callable[[], Groups], kept: list[bool]) -> Groups:
    return Groups(list(compress(find().names, kept)))


def _is_outside(names: frozenset[str], name: str) -> bool:
    return name not in names


@dataclass(frozen=True)
class _Columns:
    """Where captions (the first that exists), labels and groups are, and whether rows without a caption are of use."""

    captions: tuple[str, ...]
    labels: str | None
    groups: str | None
    needs_captions: bool

    @property
    def kept(self) -> tuple[str, ...]:
        """What is read besides the caption."""
        return tuple(dict.fromkeys(filter(None, (self.labels, self.groups))))


def open_pairs(
    source: str | Path,
    split: str = "train",
    caption_column: str | None = None,
    label_column: str | None = None,
    needs_captions: bool | None = None,
    group_column: str | None = None,
) -> PairStream:
    """Opens described or labeled audio of any of these forms:

    * a folder with `metadata.jsonl` or `metadata.csv` (columns `file_name`, relative to the folder, and a caption);
    * a published MuLaP JSON (`audio_id`, `caption`, `audio_path` relative to it), or a folder with just that;
    * a folder of parquet files, prepared by `training/prepare_dataset.py` or with an audio and a caption column;
    * a WebDataset tar, or a folder of them;
    * a dataset on the Hub with an audio and a caption column, by its name.

    Args:
        source: one of them, or a folder with one of them per split (`train/`, `validation/`).
        split: which, where there are several.
        caption_column: where the captions are; default: the first of "caption", "text" and "description" there is.
        label_column: where the labels are, a list of them or a single one; in tars, a key of the .json members.
        needs_captions: leave out rows without a caption; default: only where no labels are asked for.
        group_column: what must not be on both sides of a split, such as the artist; recordings never are.

    Raises:
        DataError: there is no such thing, a column is missing, or no usable pair is in it.
    """
    path = Path(source)
    captions = (caption_column,) if caption_column else CAPTION_COLUMNS
    needs_captions = label_column is None if needs_captions is None else needs_captions
    columns = _Columns(captions, label_column, group_column, needs_captions)
    if not path.exists():
        if str(source).count("/") == 1 and not str(source).startswith((".", "/", "~")):
            return _open_hub(str(source), columns, split)
        raise DataError(f"{source} does not exist; described audio is a folder, a JSON or tar file, or a Hub dataset")
    if path.is_file() and path.suffix == ".tar":
        return _open_archives(path, {path.stem: path}, columns)
    if _has_folder(path, split):
        path = path / split
    if path.is_dir() and not _has_metadata(path):
        if shards := shards_of(path, split):
            return _open_shards(shards, columns)
        if archives := sorted(path.rglob("*.tar")):
            named = {archive.relative_to(path).with_suffix("").as_posix(): archive for archive in archives}
            return _open_archives(path, named, columns)
    return _open_table(_find_metadata(path), columns)


def has_split(source: str | Path, split: str) -> bool:
    """Whether a folder has a part of that name, as prepared datasets and the synthetic corpus have."""
    path = Path(source)
    return _has_folder(path, split) or (path.is_dir() and not _has_metadata(path) and split in find_shards(path))


def _has_folder(path: Path, split: str) -> bool:
    """A folder per split; where there is metadata above, a folder of that name is just one with audio in it."""
    return (path / split).is_dir() and not _has_metadata(path)


def _has_metadata(folder: Path) -> bool:
    return any((folder / name).is_file() for name in METADATA_NAMES)


def _open_table(metadata: Path, columns: _Columns) -> PairStream:
    rows, skipped = [], []
    table = read_rows(metadata)
    _check_columns(table, metadata, columns)
    groups = []
    for item in read_described(
        metadata,
        table,
        ("file_name", "audio_path"),
        columns.captions,
        columns.kept,
        needs_captions=columns.needs_captions,
    ):
        if isinstance(item, Skipped):
            skipped.append(item)
        elif item.audio.suffix == WAVEFORM_SUFFIX:
            skipped.append(Skipped(item.id, "a .npy waveform: prepare it with training/prepare_dataset.py mulap_json"))
        elif not os.path.isfile(item.audio):  # which, unlike Path's own, takes names of any length
            skipped.append(Skipped(item.id, "no such file", str(item.audio)))
        else:
            rows.append(_row(item, columns))
            groups.append(_group(item, columns))
    if not rows:
        reasons = ", ".join(sorted({item.reason for item in skipped}))
        raise DataError(f"{metadata}: none of its {len(table)} rows can be used ({reasons})")
    dataset = Dataset.from_list(rows, features=_FEATURES).to_iterable_dataset(num_shards=min(TABLE_SHARDS, len(rows)))
    multi_label = any(isinstance(row.get(columns.labels), list) for row in table)
    ids, labels, texts = ([row[name] for row in rows] for name in ("id", "labels", "caption"))
    find_groups = partial(group_files, ids, [row["audio"]["path"] for row in rows], groups)
    return PairStream(dataset, skipped, ids, labels, texts, multi_label, find_groups)


def _check_columns(rows: Sequence[dict], where: Path, columns: _Columns):
    for name, what in ((columns.labels, "the labels (--label_column)"), (columns.groups, "--group_column")):
        if name:
            find_column(rows, (name,), where, what)


def _open_archives(source: Path, archives: dict[str, Path], columns: _Columns) -> PairStream:
    shards = {"archives": [(name, str(path)) for name, path in archives.items()]}  # a list is what is sharded
    rows = partial(_archive_items, columns=columns)
    first = None
    if columns.labels:
        items = (item for item in rows(**shards) if isinstance(item, Example))
        first = next((cell for item in items if (cell := item.fields[columns.labels]) is not None), None)
        if first is None:
            raise DataError(
                f"{source}: no .json member has the key {columns.labels!r} for the labels (--label_column)"
            )
    dataset = IterableDataset.from_generator(
        partial(_archive_rows, columns=columns), gen_kwargs=shards, features=_FEATURES
    )
    return PairStream(dataset, multi_label=isinstance(first, list))


def _archive_items(archives: list[tuple[str, str]], columns: _Columns) -> Iterator[Example | Skipped]:
    named = {name: Path(path) for name, path in archives}
    return read_archives(named, columns.captions, columns.kept, columns.needs_captions)


def _archive_rows(archives: list[tuple[str, str]], columns: _Columns) -> Iterator[dict]:
    for item in _archive_items(archives, columns):
        yield _row(item, columns)


def _open_hub(name: str, columns: _Columns, split: str) -> PairStream:
    try:
        dataset = load_dataset(name, streaming=True, split=split)
    except Exception as error:  # of many kinds: network, authorization, layout
        raise DataError(
            f"{name}: there is no such folder here, and as a dataset of the Hub it could not be opened: {error}"
        ) from error
    return _open_dataset(dataset, Path(name), columns)


def _open_shards(shards: list[Path], columns: _Columns) -> PairStream:
    shards, broken = readable(shards)
    dataset = load_dataset("parquet", data_files=list(map(str, shards)), split="train", streaming=True)
    return replace(_open_dataset(dataset, shards[0], columns, shards), skipped=broken)


def _open_dataset(dataset: IterableDataset, where: Path, columns: _Columns, shards: Sequence[Path] = ()) -> PairStream:
    """`where` the dataset is, for errors; `shards`: the parquet files that it is in, if it is."""
    sample = dataset.features or next(iter(dataset), {})
    find_column([sample], ("audio",), where, "the audio")
    caption = find_column([sample], columns.captions, where, "the caption (--caption_column)", columns.needs_captions)
    _check_columns([sample], where, columns)
    if isinstance(sample["audio"], Audio):
        dataset = dataset.cast_column("audio", Audio(decode=False))
    classes = _class_names(sample.get(columns.labels))
    read = partial(_dataset_row, caption=caption, columns=columns, classes=classes)
    dataset = dataset.map(read, remove_columns=list(sample), features=_FEATURES)
    stream = PairStream(dataset, multi_label=isinstance(sample.get(columns.labels), list | List))
    if (ids := read_column(shards, "id")) is not None:
        stream.ids = [str(name) for name in ids]
        if (labels := read_column(shards, columns.labels)) is not None:
            stream.labels = [_name_labels(cell, classes) for cell in labels]
        if (texts := read_column(shards, caption)) is not None:
            stream.texts = [clean_caption(text) for text in texts]
        stream.find_groups = partial(_group_shards, stream.ids, shards, columns.groups)
    return stream


def _group_shards(ids: list[str], shards: Sequence[Path], group_column: str | None) -> Groups:
    keys = [ids, read_recordings(shards)]
    if group_column:
        keys.append([clean_caption(cell) or None for cell in read_column(shards, group_column)])
    return Groups(group_rows(ids, *keys))


def _class_names(feature) -> list[str] | None:
    """What the numbers in a column of `ClassLabel`, or of lists of them, stand for."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _name_labels(cell, classes: list[str] | None) -> list[str]:
    if classes is None or cell is None:
        return clean_labels(cell)
    return [classes[number] for number in (cell if isinstance(cell, list) else [cell]) if number >= 0]  # -1: unknown


def _dataset_row(row: dict, caption: str | None, columns: _Columns, classes: list[str] | None) -> dict:
    given = str(row["id"]) if row.get("id") is not None else None
    try:
        audio, file_name = audio_of(row["audio"], "")
    except AudioError as error:
        return _row(Skipped(given or "unnamed", "broken audio", str(error)), columns)
    text = clean_caption(row.get(caption))
    # Without ids, the content is the name: shards are read in any order by any number of processes.
    name = given or file_name or (f"{crc32(audio):08x}" if isinstance(audio, bytes) else str(audio))
    if audio is None or (columns.needs_captions and not text):
        return _row(Skipped(name, "no caption" if audio is not None else "no audio"), columns)
    fields = {columns.groups: row.get(columns.groups), columns.labels: _name_labels(row.get(columns.labels), classes)}
    return _row(Example(name, audio, file_name or name, text or None, fields), columns)


def _row(item: Example | Skipped, columns: _Columns) -> dict:
    nothing = {"audio": {"bytes": None, "path": None}, "caption": None, "labels": [], "group": item.id}
    if isinstance(item, Skipped):
        return {"id": item.id, **nothing, "problem": item.reason}
    is_file = isinstance(item.audio, Path)
    group = _group(item, columns) or (str(item.audio) if is_file else audio_digest(item.audio))
    return {
        "id": item.id,
        "audio": {"bytes": None, "path": str(item.audio)} if is_file else {"bytes": item.audio, "path": item.name},
        "caption": item.caption,
        "labels": clean_labels(item.fields.get(columns.labels)),
        "group": group,
        "problem": None,
    }


def _group(item: Example, columns: _Columns) -> str | None:
    return clean_caption(item.fields.get(columns.groups)) or None


def _find_metadata(source: Path) -> Path:
    """The metadata file of a folder, or the file itself."""
    if source.is_file():
        return source
    for name in METADATA_NAMES:
        if (source / name).is_file():
            return source / name
    candidates = sorted(source.glob("*.json"))
    if len(candidates) == 1:
        return candidates[0]
    found = f"{len(candidates)} JSON files" if candidates else "none"
    raise DataError(
        f"{source}: no metadata.jsonl or metadata.csv (columns file_name, caption), no parquet or tar files, and not "
        f"exactly one JSON file (found {found}): add one, or name the JSON file itself"
    )
