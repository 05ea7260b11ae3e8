"""The parquet files of a folder: which split each is of, and which of them can be read."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import DataError
from .paths import walk
from .recordings import audio_digest
from .schema import SETTINGS_FILE, Skipped
from .splits import name_splits, split_named
from .tables import parse_json, read_text

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
    paths = [path for path in walk(folder) if path.suffix == ".parquet"]
    inside = {path: path.relative_to(folder) for path in paths}
    files = name_splits(path.stem for path in paths)
    folders = name_splits({path.parent.name for path in inside.values()})
    shards: dict[str | None, list[Path]] = {}
    for path in paths:
        split = _SHARD_NAME.fullmatch(path.name)
        name = (split_named(split[1]) or split[1]) if split else files[path.stem] or folders[inside[path].parent.name]
        shards.setdefault(name, []).append(path)
    return shards


def shards_of(folder: Path, split: str) -> list[Path]:
    """The parquet files of a split; all there are, where nothing tells of splits.

    Raises:
        DataError: there are other splits, but not this one; or see `find_shards`.
    """
    shards = find_shards(folder)
    named = [name for name in shards if name]
    if named and split not in named:
        raise DataError(f"{folder}: it has no split {split!r}; there are {', '.join(sorted(named))}")
    return shards.get(split if named else None, [])


def readable(shards: list[Path]) -> tuple[list[Path], list[Skipped]]:
    """Those that are parquet files from start to end, and the others.

    Raises:
        DataError: none is.
    """
    kept, broken = [], []
    for shard in shards:
        try:
            pq.read_schema(shard)
            kept.append(shard)
        except (pa.ArrowException, OSError) as error:
            broken.append(Skipped(shard.name, "broken parquet file", f"{shard}: {error}"))
    if not kept:
        raise DataError(f"{broken[0].detail}: not one of the {len(shards)} parquet files can be read")
    return kept, broken


def has_column(shards: Sequence[Path], name: str | None) -> bool:
    """Whether all of some parquet files have a column."""
    return bool(shards) and all(name in pq.read_schema(shard).names for shard in shards)


def read_column(shards: Sequence[Path], name: str | None) -> list | None:
    """A column of parquet files, without their audio; None where there is none."""
    if not has_column(shards, name):
        return None
    return [cell for shard in shards for cell in pq.read_table(shard, columns=[name])[name].to_pylist()]


def read_recordings(shards: Sequence[Path]) -> list[str]:
    """What identifies the recording of each row: equal for rows with the same audio.

    It is read from the column `recording` of prepared datasets. Where that is missing, all audio is read once.
    """
    stored = read_column(shards, "recording")
    if stored is not None:
        return stored
    cells = (
        cell
        for shard in shards
        for batch in pq.ParquetFile(shard).iter_batches(batch_size=16, columns=["audio"])
        for cell in batch["audio"].to_pylist()
    )
    return [_recording(cell) for cell in cells]


def _recording(cell: dict | bytes | str | None) -> str:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes):
        return audio_digest(content)
    path = str(cell.get("path") if isinstance(cell, dict) else cell)
    return audio_digest(Path(path)) if os.path.isfile(path) else path
