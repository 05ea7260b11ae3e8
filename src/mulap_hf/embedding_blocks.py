"""What the workers of a Ray cluster do with blocks of files: decode them, and compute features of their chunks.

Workers that decode import this module, and should not import torch, which takes seconds and half a gigabyte.
"""

import os
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .decoding import Piece, decode_files
from .scripts import free_waiting_threads, keep_freed_memory

if TYPE_CHECKING:
    from .embedding import Embedder

_BLOCK_BYTES = 8 * 2**20  # of samples, from decoding to the model
_FILES = pa.schema([("number", pa.int64()), ("path", pa.binary())])
_ENDS = pa.schema(
    [
        ("number", pa.int64()),  # of the file
        ("start", pa.int64()),  # number of the first chunk in the file
        ("count", pa.int64()),  # of chunks
        ("end", pa.binary()),  # the last `Piece` of the file, pickled, without its chunks
    ]
)
_VALUES = pa.field("values", pa.binary())  # float32 samples, or features, of the chunks


def file_block(files: list[tuple[int, str | os.PathLike]]) -> pa.Table:
    """Numbers and paths of files as the input of `decode_block`."""
    rows = [{"number": number, "path": os.fsencode(path)} for number, path in files]
    return pa.Table.from_pylist(rows, _FILES)


def decode_block(files: pa.Table, run: str, sampling_rate: int, chunk_length: int) -> Iterator[pa.Table]:
    """The chunks of files, some megabytes at a time.

    They are decoded in this process, which saves sending the samples between two. If a file crashes the decoder, Ray
    repeats the task, now with another process that decodes, so that the file fails alone.

    Args:
        files: From `file_block`.
        run: Name of the run, so that a task knows its earlier attempts.
        sampling_rate: Of the chunks, in Hz.
        chunk_length: In samples.
    """
    with _earlier_attempt(f"{run}-{files['number'][0]}") as failed:
        yield from _decode_block(files, sampling_rate, chunk_length, workers=int(failed))


@contextmanager
def _earlier_attempt(task: str) -> Iterator[bool]:
    """Whether a process of this machine has ended in the middle of this task."""
    begun = Path(tempfile.gettempdir(), f"mulap-embed-{task}")
    failed = begun.exists()
    begun.touch()
    try:
        yield failed
    finally:
        begun.unlink(missing_ok=True)


def _decode_block(files: pa.Table, sampling_rate: int, chunk_length: int, workers: int) -> Iterator[pa.Table]:
    keep_freed_memory()
    numbers = files["number"].to_pylist()
    paths = [os.fsdecode(path) for path in files["path"].to_pylist()]
    rows: list[dict[str, Any]] = []
    chunks: list[np.ndarray] = []
    size, start = 0, 0
    for piece in decode_files(paths, sampling_rate, chunk_length, workers):
        end = pickle.dumps(replace(piece, chunks=())) if piece.last else None
        place = {"number": numbers[piece.number], "start": start, "count": len(piece.chunks)}
        rows.append({**place, "end": end})
        chunks.append(np.asarray(piece.chunks, dtype=np.float32))
        start = 0 if piece.last else start + len(piece.chunks)
        size += chunks[-1].nbytes
        if size >= _BLOCK_BYTES:
            yield _piece_block(rows, chunks)
            rows, chunks, size = [], [], 0
    yield _piece_block(rows, chunks)


def _piece_block(rows: list[dict[str, Any]], values: Sequence[np.ndarray]) -> pa.Table:
    return pa.Table.from_pylist(rows, _ENDS).append_column(_VALUES, _binary_array(values))


def _binary_array(values: Sequence[np.ndarray]) -> pa.Array:
    """Each float32 array as a row; pyarrow's own conversion takes several times as long as this copy."""
    ends = np.cumsum([0, *(array.nbytes for array in values)]).astype(np.int32)
    data = np.concatenate([array.reshape(-1) for array in values]) if values else np.zeros(0, dtype=np.float32)
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(data)])


class EncodeBlock:
    """The model in an actor: see `encode_block`.

    Args:
        model: Reference to the backbone in Ray's object store.
        device: Where to compute.
        threads: Of torch, on a CPU.
    """

    def __init__(self, model: Any, device: str, threads: int):
        free_waiting_threads()
        keep_freed_memory()
        import ray
        import torch

        from .embedding import Embedder

        torch.set_num_threads(threads)
        self.embedder = Embedder(ray.get(model), device)

    def __call__(self, pieces: pa.Table) -> pa.Table:
        return encode_block(self.embedder, pieces)


def encode_block(embedder: "Embedder", pieces: pa.Table) -> pa.Table:
    """Features in the place of the samples of each piece of a block from `decode_block`."""
    chunks = _joined(pieces["values"]).reshape(-1, embedder.model.config.chunk_length)
    features = embedder.encode_all(chunks)
    rows = np.split(features, np.cumsum(pieces["count"].to_numpy())[:-1])
    return pieces.drop_columns(_VALUES.name).append_column(_VALUES, _binary_array(rows))


def _joined(values: pa.ChunkedArray) -> np.ndarray:
    """The float32 numbers of all rows one after the other, as they lie in memory."""
    array = values.combine_chunks()
    _, offsets, data = array.buffers()
    if data is None:  # all rows are empty
        return np.zeros(0, dtype=np.float32)
    first, *_, end = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data[first:end], dtype=np.float32)


def read_pieces(pieces: pa.Table) -> Iterator[tuple[int, int, list[np.ndarray], Piece | None]]:
    """Of each piece: the number of its file, that of its first chunk, its features, and the end if it is the last.

    Args:
        pieces: From `EncodeBlock`.
    """
    for row in pieces.to_pylist():
        values = np.frombuffer(row["values"], dtype=np.float32)
        features = list(values.reshape(row["count"], -1)) if row["count"] else []
        yield row["number"], row["start"], features, pickle.loads(row["end"]) if row["end"] else None
