"""Embeddings of many files as one file, or as a folder of parquet files; an interrupted run resumes."""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.lib import format as npy
from tqdm import tqdm

from .embedding import Embedder
from .embedding_shards import METADATA, EmbeddingShards, clear_shards, row_name
from .errors import AudioError, MulapError
from .files import replacing
from .remote import is_address

__all__ = ["FOLDER", "FORMATS", "METADATA", "EmbeddingReport", "output_format", "write_embeddings"]

FOLDER = "folder"


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
    format: str | None = None,
    modified: Mapping[str, float] | None = None,
) -> EmbeddingReport:
    """Embeds files into one file, or into a folder of parquet files; an interrupted run resumes where it stopped.

    Columns per track: `path`, `seconds`, `embedding`; per chunk: `path`, `chunk`, `start`, `end` (s), `embedding`.
    Each path is taken once. Bytes of a name that are not UTF-8 are written as escapes. With a joint space, tracks also
    have a `joint_embedding`. The tables' metadata, "mulap", name the model and the fingerprint of each column of
    embeddings.

    One file has the rows in the order of `paths`. Until all are there, they are kept in `OUTPUT.parts/`; rows of
    files that are not in `paths` any more are left out. A folder (see `EmbeddingShards`) has them in the order in
    which they were computed, and keeps the rows of files that are not in `paths`. In both, a file that has changed is
    embedded again, and one that failed is tried again.

    Args:
        embedder: The model.
        paths: Audio files, here or by address.
        output: File to write, or a folder if it ends with `/` or is an address such as `s3://bucket/embeddings`.
        per_chunk: Write one row per chunk instead of one per track.
        workers: Processes that decode, as in `Embedder.embed_all`.
        progress: Show a progress bar.
        format: One of `FORMATS`; by default, that of the name of `output`, or parquet.
        modified: When files were modified, by their paths, where that is known of files that are not here.

    Returns:
        Which files failed, and from which something is missing.

    Raises:
        DataError: The output has rows of a run with another model or other settings.
        MulapError: The output cannot be created or written to, or not in this format.
    """
    format = output_format(output, format)
    names = {row_name(path): path for path in paths}
    parts = output if format == FOLDER else f"{os.fspath(output)}.parts"
    shards = EmbeddingShards(parts, embedder, per_chunk)
    shards.drop_changed(names, modified or {})
    todo = [path for name, path in names.items() if name not in shards.rows]
    failed: list[AudioError] = []
    seconds, started = 0.0, time.monotonic()
    with tqdm(total=len(names), initial=len(names) - len(todo), unit="track", disable=not progress) as bar:
        try:
            for result in embedder.embed_all(todo, workers):
                shards.add(result)
                if isinstance(result, AudioError):
                    failed.append(result)
                else:
                    seconds += result.seconds
                rate = f"{seconds / 60 / (time.monotonic() - started):.2g} h of audio/min"
                bar.set_postfix_str(f"{rate}, {len(failed)} failed" if failed else rate, False)
                bar.update()
        finally:
            shards.flush()
    partial = [problem for name in names for problem in shards.problems.get(name, ())]
    if format != FOLDER:
        with replacing(Path(output), durable=True) as temporary:
            FORMATS[format](shards, names, temporary)
        if format == "npy":
            _write_rows(shards, names, Path(output).with_suffix(".jsonl"))
        clear_shards(parts)
    return EmbeddingReport(failed, partial)


def output_format(output: str | os.PathLike, format: str | None = None) -> str:
    """In which format to write: one of `FORMATS`, or `FOLDER`; see `write_embeddings`.

    Raises:
        MulapError: The output cannot have this format.
    """
    name = os.fspath(output)
    if name.endswith(("/", os.sep)) or is_address(name):
        if format not in (None, "parquet"):
            raise MulapError(f"{name} is a folder of parquet files: for format={format!r}, name one local file")
        return FOLDER
    return format or {".npy": "npy", ".jsonl": "jsonl"}.get(Path(name).suffix, "parquet")


def _write_parquet(shards: EmbeddingShards, names: Iterable[str], file: Path):
    with pq.ParquetWriter(file, shards.schema, use_dictionary=["path"]) as writer:  # embeddings do not repeat
        for table in shards.tables(names):
            writer.write_table(table.cast(shards.schema))


def _write_jsonl(shards: EmbeddingShards, names: Iterable[str], file: Path):
    with file.open("w", encoding="utf-8") as lines:
        for table in shards.tables(names):
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())


def _write_npy(shards: EmbeddingShards, names: Iterable[str], file: Path):
    """A float32 matrix `(rows, features)`."""
    rows = sum(shards.rows[name][2] for name in names if name in shards.rows)
    shape = (rows, shards.schema.field("embedding").type.list_size)
    with file.open("wb") as matrix:
        npy.write_array_header_1_0(matrix, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for table in shards.tables(names):
            for embeddings in table["embedding"].chunks:
                matrix.write(np.ascontiguousarray(embeddings.flatten(), dtype="<f4").tobytes())


def _write_rows(shards: EmbeddingShards, names: Iterable[str], output: Path):
    """The other columns of the rows of a matrix, as JSON Lines."""
    with replacing(output, durable=True) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for table in shards.tables(names):
            rows = table.drop_columns("embedding").to_pylist()
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


FORMATS: dict[str, Callable[[EmbeddingShards, Iterable[str], Path], None]] = {
    "parquet": _write_parquet,
    "npy": _write_npy,
    "jsonl": _write_jsonl,
}
"""What writes the rows of the files of some names, in their order, to one file."""
