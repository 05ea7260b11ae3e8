"""Described audio as a stream of (id, audio, caption), from wherever it lies: decoded only after the shuffle."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from zlib import crc32

import pyarrow.parquet as pq
from datasets import Audio, Dataset, Features, IterableDataset, Value, load_dataset

from .corpora.captioned import CAPTION_COLUMNS, METADATA_NAMES, read_described
from .corpora.hub import audio_of
from .corpora.webdataset import read_archives
from .schema import Example
from .tables import DataError, Skipped, clean_caption, read_rows

TABLE_SHARDS = 64  # of a table of files: enough for all ranks and workers
_SHARD = re.compile(r"(\w+)-\d+(-of)?-\d+\.parquet")  # train-00000-of-00012.parquet
_FEATURES = Features(
    {
        "id": Value("string"),
        "audio": {"bytes": Value("binary"), "path": Value("string")},
        "caption": Value("string"),
        "problem": Value("string"),
    }
)


@dataclass
class PairStream:
    """Described audio.

    dataset: rows of `id`, `audio` (a struct of `bytes` and `path`, one of them null), `caption`, and `problem`: why
        the row cannot be used, null where it can. In shards.
    skipped: what was left out of it from the start.
    ids: of all its rows, where they are known without reading the audio.
    """

    dataset: IterableDataset
    skipped: list[Skipped] = field(default_factory=list)
    ids: list[str] | None = None

    @property
    def num_pairs(self) -> int | None:
        return None if self.ids is None else len(self.ids)

    @property
    def fingerprint(self) -> int | None:
        """Equal as long as the same rows come in the same order; None where that cannot be known."""
        return None if self.ids is None else crc32("\n".join(self.ids).encode())

    def captions(self, most: int = 100_000) -> list[str]:
        """The first captions, to train a tokenizer on."""
        rows = islice(self.dataset.select_columns(["caption", "problem"]), most)
        return [row["caption"] for row in rows if row["problem"] is None]

    def hold_out(self, share: float) -> tuple["PairStream", "PairStream"]:
        """Splits it in two by the pairs' ids: whoever reads it in whatever order finds the same.

        Args:
            share: of the pairs that go into the second.

        Raises:
            DataError: one of the two would be empty.
        """
        parts = []
        for held_out in (False, True):
            belongs = partial(_is_held_out, share=share, expected=held_out)
            ids = None if self.ids is None else [name for name in self.ids if belongs(name)]
            if ids == []:
                raise DataError(
                    f"a validation share of {share} of {self.num_pairs} pairs leaves none to "
                    f"{'validate' if held_out else 'train'} on: pass validation data, or another share"
                )
            dataset = self.dataset.filter(belongs, input_columns=["id"])
            parts.append(PairStream(dataset, [] if held_out else self.skipped, ids))
        return parts[0], parts[1]


def _is_held_out(name: str, share: float, expected: bool) -> bool:
    return (crc32(name.encode()) % 10_000 < share * 10_000) == expected


def open_pairs(source: str | Path, split: str = "train", caption_column: str | None = None) -> PairStream:
    """Opens described audio of any of these forms:

    * a folder with `metadata.jsonl` or `metadata.csv` (columns `file_name`, relative to the folder, and a caption);
    * a published MuLaP JSON (`audio_id`, `caption`, `audio_path` relative to it), or a folder with just that;
    * a folder of parquet files, prepared by `training/prepare_dataset.py` or with an audio and a caption column;
    * a WebDataset tar, or a folder of them;
    * a dataset on the Hub with an audio and a caption column, by its name.

    Args:
        source: one of them, or a folder with one of them per split (`train/`, `validation/`).
        split: which, where there are several.
        caption_column: where the captions are; default: the first of "caption", "text" and "description" there is.

    Raises:
        DataError: there is no such thing, a column is missing, or no usable pair is in it.
    """
    path = Path(source)
    captions = (caption_column,) if caption_column else CAPTION_COLUMNS
    if not path.exists():
        if str(source).count("/") == 1 and not str(source).startswith((".", "/", "~")):
            return _open_dataset(str(source), captions, split=split)
        raise DataError(f"{source} does not exist; described audio is a folder, a JSON or tar file, or a Hub dataset")
    if path.is_file() and path.suffix == ".tar":
        return _open_archives({path.stem: path}, captions)
    if _has_folder(path, split):
        path = path / split
    if path.is_dir():
        shards = _shards_of(path, split)
        if shards:
            stream = _open_dataset("parquet", captions, data_files=[str(shard) for shard in shards], split="train")
            stream.ids = _read_ids(shards)
            return stream
        archives = sorted(path.rglob("*.tar"))
        if archives and not any((path / name).is_file() for name in METADATA_NAMES):
            named = {archive.relative_to(path).with_suffix("").as_posix(): archive for archive in archives}
            return _open_archives(named, captions)
    return _open_table(_find_metadata(path), captions)


def has_split(source: str | Path, split: str) -> bool:
    """Whether a folder has a part of that name, as prepared datasets and the embedded corpus have."""
    path = Path(source)
    return _has_folder(path, split) or any(_SHARD.match(file.name) for file in path.glob(f"{split}-*.parquet"))


def _has_folder(path: Path, split: str) -> bool:
    """A folder per split; where there is metadata above, a folder of that name is just one with audio in it."""
    return (path / split).is_dir() and not any((path / name).is_file() for name in METADATA_NAMES)


def _shards_of(folder: Path, split: str) -> list[Path]:
    """The parquet files of a split; all there are, where their names tell of no splits.

    Raises:
        DataError: there are other splits, but not this one.
    """
    files = sorted(folder.rglob("*.parquet"))
    splits = {match[1] for file in files if (match := _SHARD.match(file.name))}
    if splits and split not in splits:
        raise DataError(f"{folder}: there is no split {split!r}; there are {', '.join(sorted(splits))}")
    return [file for file in files if not splits or file.name.startswith(f"{split}-")]


def _open_table(metadata: Path, captions: tuple[str, ...]) -> PairStream:
    rows, skipped = [], []
    table = read_rows(metadata)
    for item in read_described(metadata, table, ("file_name", "audio_path"), captions):
        if isinstance(item, Skipped):
            skipped.append(item)
        elif isinstance(item.audio, bytes):
            skipped.append(Skipped(item.id, "a .npy waveform: prepare it with training/prepare_dataset.py mulap_json"))
        elif not item.audio.is_file():
            skipped.append(Skipped(item.id, "no such file", str(item.audio)))
        else:
            rows.append(_row(item))
    if not rows:
        reasons = ", ".join(sorted({item.reason for item in skipped}))
        raise DataError(f"{metadata}: none of its {len(table)} rows can be used ({reasons})")
    dataset = Dataset.from_list(rows, features=_FEATURES).to_iterable_dataset(num_shards=min(TABLE_SHARDS, len(rows)))
    return PairStream(dataset, skipped, [row["id"] for row in rows])


def _open_archives(archives: dict[str, Path], captions: tuple[str, ...]) -> PairStream:
    shards = {"archives": [(name, str(path)) for name, path in archives.items()]}  # a list is what is sharded
    dataset = IterableDataset.from_generator(
        partial(_archive_rows, captions=captions), gen_kwargs=shards, features=_FEATURES
    )
    return PairStream(dataset)


def _archive_rows(archives: list[tuple[str, str]], captions: tuple[str, ...]) -> Iterator[dict]:
    for item in read_archives({name: Path(archive) for name, archive in archives}, captions):
        yield _row(item)


def _open_dataset(name: str, captions: tuple[str, ...], **options) -> PairStream:
    try:
        dataset = load_dataset(name, streaming=True, **options)
    except Exception as error:  # of many kinds: network, authorisation, layout
        raise DataError(f"{name}: datasets.load_dataset could not open it: {error}") from error
    columns = dataset.column_names or list(next(iter(dataset), {}))
    caption = next((column for column in captions if column in columns), None)
    if caption is None or "audio" not in columns:
        missing = "'audio'" if caption else " or ".join(map(repr, captions))
        where = options.get("data_files", [name])[0]
        raise DataError(f"{where}: no column {missing}; its columns are {', '.join(columns)}")
    if isinstance((dataset.features or {}).get("audio"), Audio):
        dataset = dataset.cast_column("audio", Audio(decode=False))
    dataset = dataset.map(partial(_dataset_row, caption=caption), remove_columns=columns, features=_FEATURES)
    return PairStream(dataset)


def _read_ids(shards: list[Path]) -> list[str] | None:
    if not all("id" in pq.read_schema(shard).names for shard in shards):
        return None
    return [str(name) for shard in shards for name in pq.read_table(shard, columns=["id"])["id"].to_pylist()]


def _dataset_row(row: dict, caption: str) -> dict:
    audio, file_name = audio_of(row["audio"], "")
    text = clean_caption(row[caption])
    # Without ids, the content is the name: shards are read in any order by any number of processes.
    default = file_name or (f"{crc32(audio):08x}" if isinstance(audio, bytes) else str(audio))
    name = str(row["id"]) if row.get("id") is not None else default
    if audio is None or not text:
        return _row(Skipped(name, "no caption" if audio is not None else "no audio"))
    return _row(Example(name, audio, file_name or name, text))


def _row(item: Example | Skipped) -> dict:
    row = {"id": item.id, "audio": {"bytes": None, "path": None}, "caption": None, "problem": None}
    if isinstance(item, Skipped):
        return row | {"problem": item.reason}
    if isinstance(item.audio, bytes):
        audio = {"bytes": item.audio, "path": item.name}
    else:
        audio = {"bytes": None, "path": str(item.audio)}
    return row | {"audio": audio, "caption": item.caption}


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
