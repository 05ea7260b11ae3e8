"""Embeddings of many files as a folder of parquet files; an interrupted run loses at most a minute of work."""

import io
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .embedding import Embedder, TrackEmbedding
from .errors import AudioError
from .remote import Folder, is_address
from .settings import check_settings

# A shard is written when it is this old or has this many rows: what a crash may cost, and what memory must hold.
SHARD_SECONDS = 60
SHARD_ROWS = 10_000
# Tracks whose rows are kept one by one. Many small objects that stay, between buffers of audio that come and go,
# fragment the memory: the process would grow by half a megabyte with every file.
_SCATTERED = 32
_SETTINGS, _PROBLEMS, _FAILED = "settings.json", "problems.json", "failed.parquet"
_SHARD = re.compile(r"embeddings-(\d+)\.parquet")
_WRITTEN = b"mulap_written"
METADATA = "mulap"
"""Key of the tables' metadata: JSON with the model and the fingerprint of each column of embeddings."""
_FAILED_SCHEMA = pa.schema([("path", pa.string()), ("reason", pa.string())])


class EmbeddingShards:
    """The rows of embedded files, as parquet files in a folder.

    The folder has `embeddings-000000.parquet` and so on, and `failed.parquet` (`path`, `reason`) if files failed. Each
    path is in one of them, once. Only one run at a time may write to a folder.

    Args:
        folder: Path or address of the folder.
        embedder: The model.
        per_chunk: One row per chunk instead of one per track.

    Attributes:
        rows: Where the rows of a file are, by its name: the shard, the first row and how many.
        problems: What is missing from files that were embedded, by their names.
        failed: Why files could not be embedded, by their names.

    Raises:
        DataError: The folder has rows of another model or with other settings.
        MulapError: The folder cannot be created or written to.
    """

    def __init__(self, folder: str | os.PathLike, embedder: Embedder, per_chunk: bool):
        self.folder = Folder(folder, "--output")
        self.per_chunk, self.chunk_seconds = per_chunk, embedder.model.config.chunk_seconds
        self.schema = _schema(embedder, per_chunk)
        self.rows: dict[str, tuple[str, int, int]] = {}
        self._waiting: list[pa.RecordBatch] = []
        self._flushed = time.monotonic()
        self._written: dict[str, float] = {}  # when each shard was written, in seconds since 1970
        self._totals: dict[str, int] = {}  # rows of each shard
        names = set(self.folder.names())
        settings = {"model": embedder.fingerprint, "per_chunk": per_chunk}
        if "joint_embedding" in self.schema.names:
            settings["joint"] = embedder.fingerprints["joint_embedding"]
        elif embedder.more_sizes:
            settings["factors"] = embedder.fingerprints["melody_embedding"]
        found = json.loads(self.folder.read(_SETTINGS)) if _SETTINGS in names else None
        if found is not None:
            remedy = "remove it, or choose another output"
            check_settings(found, settings, f"{self.folder} holds embeddings of an earlier run", remedy)
        else:
            self._write_json(_SETTINGS, settings)
        self.problems: dict[str, list[str]] = json.loads(self.folder.read(_PROBLEMS)) if _PROBLEMS in names else {}
        self.failed: dict[str, str] = {}
        if _FAILED in names:
            failures = pq.read_table(io.BytesIO(self.folder.read(_FAILED))).to_pydict()
            self.failed = dict(zip(failures["path"], failures["reason"], strict=True))
        self._stored = {_FAILED: dict(self.failed), _PROBLEMS: dict(self.problems)}
        for shard in sorted(filter(_SHARD.fullmatch, names)):
            with self.folder.open(shard) as file:
                table = pq.ParquetFile(file).read(["path"])
            self._written[shard] = float((table.schema.metadata or {}).get(_WRITTEN, 0))
            self._index(shard, table["path"])

    def drop_changed(self, names: dict[str, str | os.PathLike], modified: Mapping[str, float]):
        """Removes the rows of files that were modified after they were embedded.

        Args:
            names: Paths of the files of this run, by their names.
            modified: When files were modified, in seconds since 1970; of others, those that are here are looked up.
        """
        for name in self.rows.keys() & names.keys():
            when = modified.get(name)
            if when is None:
                try:
                    when = os.stat(names[name]).st_mtime
                except OSError:  # an address, or it no longer exists
                    when = 0 if is_address(names[name]) else float("inf")
            if when > self._written[self.rows[name][0]]:
                del self.rows[name]
        self._remove_forgotten()
        self.problems = {name: problems for name, problems in self.problems.items() if name in self.rows}

    def add(self, result: TrackEmbedding | AudioError):
        """Adds the rows of a file; they are stored by the next `flush`, which happens once a minute."""
        name = row_name(result.path)
        if isinstance(result, AudioError):
            self.failed[name] = str(result).removeprefix(f"{result.path}: ")
            return
        self.failed.pop(name, None)
        if result.problems:
            self.problems[name] = list(result.problems)
        self._waiting.append(_rows(result, self.schema, self.per_chunk, self.chunk_seconds))
        if len(self._waiting) > _SCATTERED:
            self._waiting = pa.Table.from_batches(self._waiting).combine_chunks().to_batches()
        old = time.monotonic() - self._flushed >= SHARD_SECONDS
        if old or sum(batch.num_rows for batch in self._waiting) >= SHARD_ROWS:
            self.flush()

    def flush(self):
        """Stores what was added."""
        self._flushed = time.monotonic()
        for name, content in ((_FAILED, self.failed), (_PROBLEMS, self.problems)):
            if content == self._stored[name]:
                continue
            if not content:
                self.folder.remove(name)
            elif name == _FAILED:
                self._write(name, pa.table([list(content), list(content.values())], schema=_FAILED_SCHEMA))
            else:
                self._write_json(name, content)
            self._stored[name] = dict(content)
        if not self._waiting:
            return
        last = max(self._written, default=None)
        number = int(_SHARD.fullmatch(last)[1]) + 1 if last else 0
        shard, now = f"embeddings-{number:06d}.parquet", time.time()
        table = pa.Table.from_batches(self._waiting, self.schema)
        self._write(shard, table.replace_schema_metadata({**self.schema.metadata, _WRITTEN: str(now)}))
        self._written[shard] = now
        self._index(shard, table["path"])
        self._waiting = []

    def tables(self, names: Iterable[str]) -> Iterator[pa.Table]:
        """The rows of the files of these names that have any, in their order, some thousands at a time."""
        read = lru_cache(maxsize=2)(self._read)  # neighbors may be in different shards
        places = (self.rows[name] for name in names if name in self.rows)
        group = []
        for shard, tracks in groupby(places, key=lambda place: place[0]):
            rows = np.concatenate([np.arange(start, start + count) for _, start, count in tracks])
            group.append(read(shard).take(rows))
            if sum(table.num_rows for table in group) >= SHARD_ROWS:
                yield pa.concat_tables(group)
                group = []
        if group:
            yield pa.concat_tables(group)

    def _index(self, shard: str, paths: pa.ChunkedArray):
        start = 0
        self._totals[shard] = len(paths)
        for entry in pc.value_counts(paths).to_pylist():  # in their order; the rows of a file are together
            self.rows[entry["values"]] = (shard, start, entry["counts"])
            start += entry["counts"]

    def _remove_forgotten(self):
        """Removes from the shards what `rows` does not name, such as older rows of a file."""
        kept: dict[str, list[tuple[int, int]]] = {shard: [] for shard in self._written}
        for shard, start, count in self.rows.values():
            kept[shard].append((start, count))
        for shard, places in kept.items():
            if sum(count for _, count in places) == self._totals[shard]:
                continue
            if not places:
                self.folder.remove(shard)
                del self._written[shard]
                continue
            rows = np.concatenate([np.arange(start, start + count) for start, count in sorted(places)])
            table = self._read(shard).take(rows)
            self._write(shard, table)
            self._index(shard, table["path"])

    def _read(self, shard: str) -> pa.Table:
        with self.folder.open(shard) as file:
            return pq.ParquetFile(file).read()

    def _write(self, name: str, table: pa.Table):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, use_dictionary=["path"])  # embeddings do not repeat
        self.folder.write(name, buffer.getvalue())

    def _write_json(self, name: str, content: dict):
        self.folder.write(name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def clear_shards(folder: str | os.PathLike):
    """Removes what a run writes to a folder of embeddings, the settings last, and the folder if it is empty then."""
    place = Folder(folder, "--output")
    for name in sorted(place.names(), key=lambda name: name == _SETTINGS):
        whole = name.removesuffix(".tmp")
        if whole in (_PROBLEMS, _FAILED, _SETTINGS) or _SHARD.fullmatch(whole):
            place.remove(name)
    if place.path is not None and not place.names():
        place.path.rmdir()


def row_name(path: str | os.PathLike) -> str:
    """A path as text that parquet can store: bytes that are not UTF-8 become escapes."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


def _schema(embedder: Embedder, per_chunk: bool) -> pa.Schema:
    fields = [("path", pa.string())]
    if per_chunk:
        fields += [("chunk", pa.int32()), ("start", pa.float64()), ("end", pa.float64())]
    else:
        fields += [("seconds", pa.float64())]
    fields += [("embedding", pa.list_(pa.float32(), embedder.feature_size))]
    if not per_chunk:
        fields += [(name, pa.list_(pa.float32(), size)) for name, size in embedder.more_sizes.items()]
    names = [name for name, _ in fields]
    fingerprints = {name: value for name, value in embedder.fingerprints.items() if name in names}
    about = {"model": embedder.name, "fingerprints": fingerprints}
    return pa.schema(fields, {METADATA: json.dumps(about)})


def _rows(result: TrackEmbedding, schema: pa.Schema, per_chunk: bool, chunk_seconds: float) -> pa.RecordBatch:
    count = len(result.chunks) if per_chunk else 1
    if per_chunk:
        chunk = np.arange(count)
        columns = [chunk, chunk * chunk_seconds, np.minimum((chunk + 1) * chunk_seconds, result.seconds)]
        embeddings = [result.chunks]
    else:
        columns = [[result.seconds]]
        embeddings = [result.track, *result.more.values()]
    lists = [pa.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[-1]) for rows in embeddings]
    return pa.record_batch([[row_name(result.path)] * count, *columns, *lists], schema)
