"""Embeddings of many files as one parquet file; an interrupted run loses at most a minute of work."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from .embedding import Embedder, TrackEmbedding
from .errors import AudioError
from .files import make_folder, replacing, write_json
from .settings import check_settings

# A part is written when it is this old or has this many rows: what a crash may cost, and what memory must hold.
_PART_SECONDS = 60
_PART_ROWS = 10_000
METADATA = "mulap"  # key of the table's metadata
# Tracks whose rows are kept one by one. Many small objects that stay, between buffers of audio that come and go,
# fragment the memory: the process would grow by half a megabyte with every file.
_SCATTERED = 32


@dataclass(frozen=True)
class EmbeddingReport:
    """What `write_embeddings` could not do.

    failed: Files that could not be embedded, with the reasons.
    partial: What is missing from files that were embedded, a sentence each.
    """

    failed: list[AudioError]
    partial: list[str]


def write_embeddings(
    embedder: Embedder,
    paths: Iterable[str | os.PathLike],
    output: str | os.PathLike,
    per_chunk: bool = False,
    workers: int = 0,
    progress: bool = True,
) -> EmbeddingReport:
    """Embeds files into one parquet file; an interrupted run resumes where it stopped.

    Columns per track: `path`, `seconds`, `embedding`; per chunk: `path`, `chunk`, `start`, `end` (s), `embedding`.
    Rows are in the order of `paths`, and each path is taken once. Until all rows are there, they are kept in
    `OUTPUT.parts/`. A file that has changed since then is embedded again, and one that is not in `paths` any more is
    left out. Bytes of a name that are not UTF-8 are written as escapes. With a joint space, tracks also have a
    `joint_embedding`. The table's metadata, "mulap", name the model and the fingerprint of each column of embeddings.

    Args:
        embedder: The model.
        paths: Audio files.
        output: Parquet file to write.
        per_chunk: Write one row per chunk instead of one per track.
        workers: Processes that decode, as in `Embedder.embed_all`.
        progress: Show a progress bar.

    Returns:
        Which files failed, and from which something is missing.

    Raises:
        DataError: The output has parts of a run with another model or other settings.
        MulapError: The folder of the output cannot be created or written to.
    """
    names = {_name(path): path for path in paths}
    parts = _Parts(Path(output), embedder, per_chunk)
    parts.drop_changed(names)
    todo = [path for name, path in names.items() if name not in parts.rows]
    failed: list[AudioError] = []
    seconds, started = 0.0, time.monotonic()
    with tqdm(total=len(names), initial=len(names) - len(todo), unit="track", disable=not progress) as bar:
        try:
            for result in embedder.embed_all(todo, workers):
                if isinstance(result, AudioError):
                    failed.append(result)
                else:
                    parts.add(result)
                    seconds += result.seconds
                    bar.set_postfix_str(f"{seconds / 60 / (time.monotonic() - started):.2g} h of audio/min", False)
                bar.update()
        finally:
            parts.flush()
    partial = [problem for name in names for problem in parts.problems.get(name, ())]
    parts.join(names)
    return EmbeddingReport(failed, partial)


class _Parts:
    """The rows of an unfinished table, as parquet files in a folder beside it.

    Attributes:
        rows: Where the rows of a file are, by its name: the part, the first row and how many.
        problems: What is missing from files, by their names.
    """

    def __init__(self, output: Path, embedder: Embedder, per_chunk: bool):
        """Raises:
        DataError: The parts that are there are of another model or other settings.
        """
        self.output = output
        self.folder = output.with_name(output.name + ".parts")
        self.per_chunk, self.chunk_seconds = per_chunk, embedder.model.config.chunk_seconds
        self.schema = _schema(embedder, per_chunk)
        self.rows: dict[str, tuple[Path, int, int]] = {}
        self.waiting: list[pa.RecordBatch] = []
        self.flushed = time.monotonic()
        self.settings = self.folder / "settings.json"
        settings = {"model": embedder.fingerprint, "per_chunk": per_chunk}
        if "joint_embedding" in self.schema.names:
            settings["joint"] = embedder.fingerprints["joint_embedding"]
        if not self.settings.exists():
            make_folder(self.folder, "--output")
            write_json(self.settings, settings)
        found = json.loads(self.settings.read_text(encoding="utf-8"))
        what, remedy = f"{self.folder} holds parts of an interrupted run", "remove it, or choose another output"
        check_settings(found, settings, what, remedy)
        self.problems_file = self.folder / "problems.json"
        has_problems = self.problems_file.exists()
        self.problems: dict[str, list[str]] = (
            json.loads(self.problems_file.read_text(encoding="utf-8")) if has_problems else {}
        )
        self.files = sorted(self.folder.glob("*.parquet"))
        for file in self.files:
            self._index(file, pq.ParquetFile(file).read(["path"])["path"])

    def drop_changed(self, names: dict[str, str | os.PathLike]):
        """Forgets the rows of files that are newer than their rows, or no longer exist."""
        for name in self.rows.keys() & names.keys():
            path, written = names[name], self.rows[name][0].stat().st_mtime
            if not os.path.exists(path) or os.stat(path).st_mtime > written:
                del self.rows[name]
        self.problems = {name: problems for name, problems in self.problems.items() if name in self.rows}

    def add(self, result: TrackEmbedding):
        """Adds the rows of a file; they are on the disk after the next `flush`, which happens once a minute."""
        if result.problems:
            self.problems[_name(result.path)] = list(result.problems)
        self.waiting.append(_rows(result, self.schema, self.per_chunk, self.chunk_seconds))
        if len(self.waiting) > _SCATTERED:
            self.waiting = pa.Table.from_batches(self.waiting).combine_chunks().to_batches()
        old = time.monotonic() - self.flushed >= _PART_SECONDS
        if old or sum(batch.num_rows for batch in self.waiting) >= _PART_ROWS:
            self.flush()

    def flush(self):
        self.flushed = time.monotonic()
        if not self.waiting:
            return
        if self.problems:
            write_json(self.problems_file, self.problems)
        number = int(self.files[-1].stem) + 1 if self.files else 0
        file, table = self.folder / f"{number:06d}.parquet", pa.Table.from_batches(self.waiting, self.schema)
        with _whole_file(file, self.schema) as writer:
            writer.write_table(table)
        self.files.append(file)
        self._index(file, table["path"])
        self.waiting = []

    def join(self, names: Iterable[str]):
        """Writes the table, in the order of the names that have rows, part by part, and removes the parts."""
        read = lru_cache(maxsize=2)(lambda file: pq.ParquetFile(file).read())  # neighbors may be in different parts
        places = (self.rows[name] for name in names if name in self.rows)
        with _whole_file(self.output, self.schema) as writer:
            group = []
            for file, tracks in groupby(places, key=lambda place: place[0]):
                rows = np.concatenate([np.arange(start, start + count) for _, start, count in tracks])
                group.append(read(file).take(rows))
                if sum(table.num_rows for table in group) >= _PART_ROWS:
                    writer.write_table(pa.concat_tables(group))
                    group = []
            if group:
                writer.write_table(pa.concat_tables(group))
        for file in sorted(self.folder.iterdir(), key=lambda file: file == self.settings):  # the settings last
            file.unlink()
        self.folder.rmdir()

    def _index(self, file: Path, paths: pa.ChunkedArray):
        start = 0
        for entry in pc.value_counts(paths).to_pylist():  # in their order; the rows of a file are together
            self.rows[entry["values"]] = (file, start, entry["counts"])
            start += entry["counts"]


def _name(path: str | os.PathLike) -> str:
    """A path as text that parquet can store."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


def _schema(embedder: Embedder, per_chunk: bool) -> pa.Schema:
    fields = [("path", pa.string())]
    if per_chunk:
        fields += [("chunk", pa.int32()), ("start", pa.float64()), ("end", pa.float64())]
    else:
        fields += [("seconds", pa.float64())]
    fields += [("embedding", pa.list_(pa.float32(), embedder.feature_size))]
    if embedder.joint is not None and not per_chunk:
        fields += [("joint_embedding", pa.list_(pa.float32(), embedder.joint.config.projection_size))]
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
        embeddings = [result.track] if result.joint is None else [result.track, result.joint]
    lists = [pa.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[-1]) for rows in embeddings]
    return pa.record_batch([[_name(result.path)] * count, *columns, *lists], schema)


@contextmanager
def _whole_file(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Writes a table that replaces `path` when the block ends."""
    with (
        replacing(path, durable=True) as temporary,
        pq.ParquetWriter(temporary, schema, use_dictionary=["path"]) as writer,  # embeddings do not repeat
    ):
        yield writer
