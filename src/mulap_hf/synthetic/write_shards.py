"""The synthetic corpus on disk as parquet shards."""

import io
import os
import re
import shutil
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from ..files import make_folder
from .effects import Effects
from .generate import CorpusConfig, make_clip, players_for
from .parallel import run_in_processes
from .production import Production
from .write import SCRATCH_FOLDER, check_number, claim_folder, encoded, write_whole

if TYPE_CHECKING:
    import pyarrow

__all__ = ["write_parquet", "written_shards"]

_CLIPS_PER_ROW_GROUP = 50


def _parquet_schema(config: CorpusConfig) -> "pyarrow.Schema":
    """Return the schema of the parquet shards: the columns of `make_clip`, with the audio as FLAC bytes.

    Args:
        config: Settings of the corpus; the chain decides on the fields of `effects`, and varied songs have `sections`.
    """
    import pyarrow as pa

    text, texts, real, whole = pa.string(), pa.list_(pa.string()), pa.float64(), pa.int64()
    track = pa.struct(
        {"role": text, "instrument": text, "program": whole, "notes": whole, "audible": pa.bool_()}.items()
    )

    def type_of(setting: Field) -> pa.DataType:
        if setting.type in (str, str | None):
            return text
        return pa.list_(real) if "tuple" in str(setting.type) else real

    effects = [
        (setting.name, type_of(setting))
        for setting in fields(Production if config.production == "varied" else Effects)
    ]
    columns = {
        "clip_id": text,
        "audio": pa.struct([("bytes", pa.binary()), ("path", text)]),
        "sampling_rate": whole,
        "duration": real,
        "caption": text,
        "style": text,
        "instruments": texts,
        "tags": texts,
        "tempo": real,
        "key": text,
        "mode": text,
        "arousal": real,
        "valence": real,
        "caption_right": texts,
        "caption_wrong": texts,
        "beats_per_bar": whole,
        "groove": text,
        "progression": text,
        "renderer": text,
        "tracks": pa.list_(track),
        "effects": pa.struct(effects),
    }
    if config.composition == "varied":
        columns["sections"] = pa.list_(pa.struct({"kind": text, "start": real, "end": real}.items()))
    return pa.schema(columns.items())


def _write_shard(
    config: CorpusConfig, split: str, bounds: list[tuple[int, int]], directory: Path, scratch: Path, shard: int
) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    rows = []
    for index in range(*bounds[shard]):
        row, flac = encoded(make_clip, config, split, index)
        rows.append({**row, "audio": {"bytes": flac, "path": f"{row['clip_id']}.flac"}})
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=_parquet_schema(config))
    pyarrow.parquet.write_table(table, buffer, row_group_size=_CLIPS_PER_ROW_GROUP)
    write_whole(_shard_path(directory, split, *bounds[shard]), buffer.getvalue(), scratch)


def _shard_path(directory: Path, split: str, first: int, end: int) -> Path:
    return directory / f"{split}-{first:06d}-{end:06d}.parquet"


def write_parquet(
    config: CorpusConfig,
    split: str,
    num_clips: int,
    directory: str | os.PathLike,
    clips_per_shard: int = 250,
    num_workers: int | None = None,
    progress: bool = True,
) -> list[Path]:
    """Write a split as parquet shards `directory/<split>-<first clip>-<end>.parquet`.

    The columns are those of `make_clip`; `audio` is a struct of `bytes` (a FLAC file) and `path`.

    Finished shards are never made again, so an interrupted call can be repeated. At the end, shards of the split with
    other bounds (from a call with another number of clips) are deleted.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`.
        num_clips: Number of clips.
        directory: Folder of the corpus; all splits of one configuration may share it.
        clips_per_shard: Number of clips per shard; 250 clips of 20 s are about 0.1 GB.
        num_workers: Number of processes; see `write_corpus`.
        progress: Show a progress bar.

    Returns:
        The paths of the shards.

    Raises:
        DataError: The folder holds a corpus with other settings, or a number is below 1.
    """
    check_number(num_clips, "clips")
    check_number(clips_per_shard, "clips of a shard")
    players_for(config, split)  # raises before anything is written
    directory = Path(directory)
    make_folder(directory)
    with FileLock(directory / ".lock"):
        claim_folder(config, split, directory)
        bounds = [(first, min(first + clips_per_shard, num_clips)) for first in range(0, num_clips, clips_per_shard)]
        paths = [_shard_path(directory, split, *shard) for shard in bounds]
        missing = [shard for shard, path in enumerate(paths) if not path.exists()]
        scratch = directory / f"{SCRATCH_FOLDER}-{split}"
        scratch.mkdir(exist_ok=True)
        if missing:
            task = partial(_write_shard, config, split, bounds, directory, scratch)
            run_in_processes(task, missing, num_workers, progress, unit="shard")
        shutil.rmtree(scratch)
        for path in written_shards(directory, split):
            if path not in paths:
                path.unlink()
    return paths


def written_shards(directory: Path, split: str) -> list[Path]:
    """Return the sorted shards that `write_parquet` wrote for a split; other parquet files are ignored."""
    pattern = re.compile(rf"{split}-\d{{6,}}-\d{{6,}}\.parquet")
    return sorted(path for path in directory.glob("*.parquet") if pattern.fullmatch(path.name))
