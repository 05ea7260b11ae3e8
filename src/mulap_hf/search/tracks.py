"""The tracks of an index: tables that `mulap embed` wrote, joined with metadata, as Arrow files."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from ..embedding_files import METADATA
from ..errors import DataError

FAILED = "failed.parquet"  # beside the shards of `mulap embed`
_ROWS = 1 << 16  # of a batch
_READERS = {
    ".parquet": pq.read_table,
    ".csv": pyarrow.csv.read_csv,
    ".tsv": lambda path: pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter="\t")),
    ".jsonl": pyarrow.json.read_json,
}


def is_embedding(field: pa.Field) -> bool:
    """Whether a column of a table has embeddings: "embedding", "joint_embedding" or any other "*_embedding"."""
    lists = pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
    return f"_{field.name}".endswith("_embedding") and (lists or pa.types.is_fixed_size_list(field.type))


@dataclass(frozen=True)
class Embeddings:
    """The tables of a run of `mulap embed`.

    path: What the user named.
    files: The tables.
    schema: Of the first of them.
    model: Name of the model; None if it is unknown.
    fingerprints: Of the model, by column of embeddings.
    """

    path: Path
    files: list[Path]
    schema: pa.Schema
    model: str | None
    fingerprints: dict[str, str]

    @property
    def columns(self) -> list[str]:
        """The columns of embeddings."""
        return [field.name for field in self.schema if is_embedding(field)]

    def paths(self) -> pa.ChunkedArray:
        """The paths of all tracks.

        Raises:
            DataError: There are no tracks, or a path is there twice.
        """
        paths = pa.concat_tables([pq.ParquetFile(file).read(["path"]) for file in self.files])["path"]
        if not len(paths):
            raise DataError(f"{self.path} has no tracks: embed audio files with `mulap embed` first")
        if pc.count_distinct(paths).as_py() < len(paths):
            counts = pc.value_counts(paths)
            twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))[0]
            raise DataError(f"{self.path}: {twice} is there more than once: embed each file once")
        return paths

    def batches(self) -> Iterator[pa.RecordBatch]:
        for file in self.files:
            yield from pq.ParquetFile(file).iter_batches(_ROWS)


def open_embeddings(path: Path) -> Embeddings:
    """What `mulap embed` wrote: a parquet file, or a folder of them.

    Raises:
        DataError: There are none, they cannot be read, have no embeddings of tracks, or are of different models.
    """
    files = [path]
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*.parquet")) if file.name != FAILED]
    if not files or not path.exists():
        raise DataError(f"{path}: no parquet file there: pass what `mulap embed` wrote, a file or a folder")
    try:
        schemas = [pq.read_schema(file) for file in files]
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet files of `mulap embed`: {error}") from error
    first = schemas[0]
    if "chunk" in first.names:
        raise DataError(f"{path} has one row per chunk: embed the tracks without --per_chunk")
    if "path" not in first.names or not any(map(is_embedding, first)):
        raise DataError(f"{path} has no columns `path` and `embedding`: pass what `mulap embed` wrote")
    about = _about(first)
    for file, schema in zip(files, schemas, strict=True):
        if not schema.equals(first) or _about(schema) != about:
            raise DataError(f"{file} is of another model or has other columns than {files[0]}: index them separately")
    return Embeddings(path, files, first, about.get("model"), about.get("fingerprints", {}))


def _about(schema: pa.Schema) -> dict:
    return json.loads((schema.metadata or {}).get(METADATA.encode(), b"{}"))


def read_metadata(path: Path) -> pa.Table:
    """A table with a column `path` and others.

    Raises:
        DataError: It cannot be read, lacks the column, or has a path twice.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"--metadata {path}: pass a table that ends in {', '.join(_READERS)}")
    try:
        table = reader(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"--metadata {path} cannot be read: {error}") from error
    if "path" not in table.column_names or len(set(table.column_names)) < table.num_columns:
        raise DataError(f"--metadata {path}: one column must be `path`, and none may be there twice")
    taken = [name for name in table.column_names if name == "seconds" or f"_{name}".endswith("_embedding")]
    if taken:
        raise DataError(f"--metadata {path}: rename the column {taken[0]}, which the embeddings have, too")
    if pc.count_distinct(table["path"]).as_py() < len(table):
        raise DataError(f"--metadata {path}: a path is there more than once: leave one row per track")
    return table.set_column(table.column_names.index("path"), "path", table["path"].cast(pa.string()))


def locate_metadata(table: pa.Table, path: Path, tracks: pa.ChunkedArray) -> tuple[pa.Table, str]:
    """A table of metadata with the paths as the tracks have them, and a sentence on what matches.

    Paths of the table are as in the embeddings, or else relative to the folder of the table.

    Raises:
        DataError: No row is of a track.
    """
    absolute = {os.path.abspath(name): name for name in tracks.to_pylist()}
    folder = os.path.abspath(path.parent)
    beside = [absolute.get(os.path.join(folder, name or "")) for name in table["path"].to_pylist()]
    for names in (table["path"], pa.array(beside, pa.string())):
        matches = pc.sum(pc.is_in(names, value_set=tracks.combine_chunks())).as_py() or 0
        if matches:
            table = table.set_column(table.column_names.index("path"), "path", names)
            rest = len(table) - matches
            unused = f"; {rest} of its rows are of no track" if rest else ""
            return table, f"{path}: metadata of {matches} of {len(tracks)} tracks{unused}"
    raise DataError(
        f"--metadata {path}: none of its paths, such as {table['path'][0]}, is of a track, such as {tracks[0]}: write "
        "them as in the embeddings, or relative to the folder of the table"
    )


def write_tracks(embeddings: Embeddings, metadata: pa.Table | None, output: Path, schema: pa.Schema | None = None):
    """Writes an Arrow file, which can be mapped into memory: the rows of the embeddings with their metadata.

    Args:
        embeddings: What to write.
        metadata: `path` and other columns; what it lacks is null. None for no more columns.
        output: The file to write.
        schema: Of the file; what is missing is null. None for that of the embeddings and the metadata.

    Raises:
        DataError: Vectors of a column have different sizes or numbers that are not finite, or a value does not fit
            into its column.
    """
    writer = None
    try:
        for batch in filter(len, embeddings.batches()):
            columns = {
                name: _vectors(batch, name, embeddings.path) if name in embeddings.columns else batch[name]
                for name in batch.schema.names
            }
            if metadata is not None:
                rows = pc.index_in(batch["path"], value_set=metadata["path"].combine_chunks())
                columns |= {
                    name: _plain(metadata[name].take(rows)) for name in metadata.column_names if name != "path"
                }
            for field in schema or ():
                columns.setdefault(field.name, pa.nulls(len(batch), field.type))
            table = pa.table(columns) if schema is None else pa.table(columns).select(schema.names).cast(schema)
            writer = writer or pa.ipc.new_stream(output, table.schema)
            writer.write_table(table)
    except pa.ArrowInvalid as error:
        raise DataError(f"{embeddings.path}: a value does not fit into its column of the index: {error}") from error
    finally:
        if writer is not None:
            writer.close()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of metadata, as texts where its type is unknown or a dictionary."""
    kind = column.type
    return column.cast(pa.string()) if pa.types.is_null(kind) or pa.types.is_dictionary(kind) else column


def _vectors(batch: pa.RecordBatch, name: str, path: Path) -> pa.Array:
    """A column of embeddings as lists of one size, float32."""
    lists = batch[name]
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    size = len(values) // len(lists)
    if lists.null_count or pc.any(pc.not_equal(pc.list_value_length(lists), size)).as_py():
        raise DataError(f"{path}: the vectors of {name} have different sizes: embed all files with one model")
    broken = np.flatnonzero(~np.isfinite(values.reshape(-1, size)).all(axis=1))
    if len(broken):
        raise DataError(f"{path}: {name} of {batch['path'][int(broken[0])]} is not finite: embed the file again")
    return pa.FixedSizeListArray.from_arrays(values, size)
