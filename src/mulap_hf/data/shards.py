"""The parquet files of a folder: which split each is of, and which of them can be read."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import DataError
from ..remote import explained, is_address, open_filesystem
from .paths import walk
from .recordings import audio_digest
from .schema import SETTINGS_FILE, Skipped
from .splits import name_splits, split_named
from .tables import parse_json, read_text

Shard = TypeVar("Shard", Path, str)  # here, or at an address
Files = TypeVar("Files")
# train-00000-of-00012.parquet, train-000000-000250.parquet, train-00000-of-00001-a1b2c3d4.parquet
_SHARD_NAME = re.compile(r"(\w+)-\d+(-of)?-\d+(-\w+)?\.parquet")


def find_shards(folder: Path) -> dict[str | None, list[Path]]:
    """The parquet files in and below a folder by split, without hidden ones.

    A file's split is the first word of a name such as `test_presets-00000-of-00012.parquet`; or else what its name
    (`test.parquet`), or the folder that it is in (`test/0000.parquet`), is named after; None where neither says.

    Raises:
        DataError: the folder is being prepared, or was until that was interrupted.
    """
    settings = folder / SETTINGS_FILE
    if settings.is_file() and parse_json(read_text(settings), settings).get("finished") is None:
        raise DataError(f"{folder} is prepared in part only: repeat the command of training/prepare_dataset.py")
    return by_split({path: path.relative_to(folder) for path in walk(folder) if path.suffix == ".parquet"})


def by_split(files: Mapping[Shard, PurePath]) -> dict[str | None, list[Shard]]:
    """Parquet files by split, see `find_shards`.

    Args:
        files: with their paths in the folder.
    """
    stems = name_splits(inside.stem for inside in files.values())
    folders = name_splits({inside.parent.name for inside in files.values()})
    shards: dict[str | None, list[Shard]] = {}
    for file, inside in files.items():
        split = _SHARD_NAME.fullmatch(inside.name)
        name = (split_named(split[1]) or split[1]) if split else stems[inside.stem] or folders[inside.parent.name]
        shards.setdefault(name, []).append(file)
    return shards


def shards_of(folder: Path, split: str) -> list[Path]:
    """The parquet files of a split; all there are, where nothing tells of splits.

    Raises:
        DataError: there are other splits, but not this one; or see `find_shards`.
    """
    return in_split(find_shards(folder), split, folder)


def in_split(shards: Mapping[str | None, Files], split: str, folder: Path | str) -> Files:
    """What there is of a split; all there is, where nothing tells of splits.

    Raises:
        DataError: there are other splits, but not this one.
    """
    named = [name for name in shards if name]
    if named and split not in named:
        raise DataError(f"{folder}: it has no split {split!r}; there are {', '.join(sorted(named))}")
    return shards[split if named else None]


@contextmanager
def opened(shard: Shard) -> Iterator[pq.ParquetFile]:
    """A parquet file, here or at an address.

    Raises:
        MulapError: it is at an address and cannot be read.
        OSError: it is here and cannot be read.
    """
    if not is_address(shard):
        yield pq.ParquetFile(shard)
        return
    filesystem, path = open_filesystem(shard)
    with explained(shard, "it cannot be read", passing=(pa.ArrowException,)), filesystem.open(path, "rb") as file:
        yield pq.ParquetFile(file)


def readable(shards: list[Shard]) -> tuple[list[Shard], list[Skipped]]:
    """Those that are parquet files from start to end, and the others.

    Raises:
        DataError: none is.
    """
    kept, broken = [], []
    for shard in shards:
        try:
            with opened(shard):
                kept.append(shard)
        except (pa.ArrowException, OSError) as error:
            broken.append(Skipped(PurePath(shard).name, "broken parquet file", f"{shard}: {error}"))
    if not kept:
        raise DataError(f"{broken[0].detail}: not one of the {len(shards)} parquet files can be read")
    return kept, broken


def has_column(shards: Sequence[Shard], name: str | None) -> bool:
    """Whether all of some parquet files have a column."""
    for shard in shards:
        with opened(shard) as file:
            if name not in file.schema_arrow.names:
                return False
    return bool(shards)


def read_column(shards: Sequence[Shard], name: str | None) -> list | None:
    """A column of parquet files, without their audio; None where there is none."""
    if not has_column(shards, name):
        return None
    cells = []
    for shard in shards:
        with opened(shard) as file:
            cells += file.read([name])[name].to_pylist()
    return cells


def read_recordings(shards: Sequence[Shard]) -> list[str]:
    """What identifies the recording of each row: equal for rows with the same audio.

    It is read from the column `recording` of prepared datasets. Where that is missing, all audio is read once.
    """
    stored = read_column(shards, "recording")
    if stored is not None:
        return stored
    recordings = []
    for shard in shards:
        with opened(shard) as file:
            for batch in file.iter_batches(batch_size=16, columns=["audio"]):
                recordings += map(_recording, batch["audio"].to_pylist())
    return recordings


def _recording(cell: dict | bytes | str | None) -> str:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes):
        return audio_digest(content)
    path = str(cell.get("path") if isinstance(cell, dict) else cell)
    return audio_digest(Path(path)) if os.path.isfile(path) else path
