"""Audio files as chunks, decoded while something else is computed: in a thread, or in processes of their own.

The processes are plain ones with a connection each, and not torch's DataLoader, whose error does not say which file a
worker was at when it crashed, and ends the iteration. Here that file is known, and another process goes on behind it.
"""

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import Connection, wait
from typing import TypeVar

import numpy as np

from .audio import stream_audio
from .errors import AudioError

_FILES_AHEAD = 2  # given to a process at a time: the next one is there when it is done with the first

Item = TypeVar("Item")
File = tuple[int, str | os.PathLike]


@dataclass(frozen=True)
class Piece:
    """A part of a file; its last piece has its length or its error.

    number: of the file.
    path: of the file.
    chunks: the next ones, each `(samples,)`.
    seconds: the file's length.
    error: why it cannot be used; its earlier chunks do not count then.
    """

    number: int
    path: str | os.PathLike
    chunks: Sequence[np.ndarray] = ()
    seconds: float | None = None
    error: AudioError | None = None

    @property
    def last(self) -> bool:
        return self.seconds is not None or self.error is not None


def prefetch(items: Iterable[Item], ahead: int = 1) -> Iterator[Item]:
    """The same items, of which the next `ahead` are made meanwhile, in a thread."""
    iterator, end = iter(items), object()
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        waiting = deque(pool.submit(next, iterator, end) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def decode_files(
    paths: Iterable[str | os.PathLike], sampling_rate: int, chunk_length: int, workers: int = 0
) -> Iterator[Piece]:
    """Files as chunks without overlap, in the memory of about a minute of audio per worker, however long they are.

    A file shorter than a chunk is filled up with silence; elsewhere a last incomplete chunk is dropped. A file that
    cannot be used gives its error, also one that crashes the decoder, if that is in a process of its own.

    Args:
        paths: audio files.
        sampling_rate: of the chunks, in Hz.
        chunk_length: in samples.
        workers: processes; 0: all is decoded here, when the next piece is asked for.

    Yields:
        The pieces of each file in their order. With several workers those of different files come interleaved.
    """
    files = enumerate(paths)
    if not workers:
        for file in files:
            yield from _decode(file, sampling_rate, chunk_length)
        return
    decoders = [_Decoder(sampling_rate, chunk_length) for _ in range(workers)]
    try:
        while True:
            for decoder in decoders:
                while len(decoder.files) < _FILES_AHEAD and (file := next(files, None)) is not None:
                    decoder.give(file)
            busy = {decoder.connection: decoder for decoder in decoders if decoder.files}
            if not busy:
                return
            for connection in wait(busy):
                decoder = busy[connection]
                piece = decoder.receive()
                yield piece
                if piece.last:
                    decoder.files.popleft()
                if decoder.connection.closed:
                    files = chain(decoder.files, files)
                    decoders[decoders.index(decoder)] = _Decoder(sampling_rate, chunk_length)
    finally:
        for decoder in decoders:
            decoder.stop()


class _Decoder:
    """A process that decodes files, and the `files` it was given and is not done with."""

    def __init__(self, sampling_rate: int, chunk_length: int):
        # A fork starts at once and shares this process's memory; a fresh interpreter would import torch, which takes
        # seconds and most of a gigabyte. It is safe although this process has threads, because the child calls
        # nothing but libsndfile, soxr and numpy's loops, none of which take locks or threads along.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self.files: deque[File] = deque()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, self.connection, sampling_rate, chunk_length), daemon=True
        )
        self.process.start()
        theirs.close()

    def give(self, file: File):
        self.files.append(file)
        with suppress(OSError):  # it has crashed; `receive` says so
            self.connection.send(file)

    def receive(self) -> Piece:
        """The next piece; the error of the file that it is at if it has crashed."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            self.connection.close()
            code = self.process.exitcode
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
            number, path = self.files[0]
            return Piece(number, path, error=AudioError(f"{path}: the process that decoded it was ended {how}"))

    def stop(self):
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, others_end: Connection, sampling_rate: int, chunk_length: int):
    """What a process does until it is stopped, or the one that started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; it is the first one's to answer
    others_end.close()  # held here, it would hide that the other one is gone
    with suppress(EOFError, OSError):
        while True:
            for piece in _decode(connection.recv(), sampling_rate, chunk_length):
                connection.send(piece)


def _decode(file: File, sampling_rate: int, chunk_length: int) -> Iterator[Piece]:
    number, path = file
    samples = bad = 0
    rest = np.zeros(0, dtype=np.float32)
    try:
        for block in stream_audio(path, sampling_rate):
            samples += len(block)
            bad += np.count_nonzero(~np.isfinite(block))
            rest = np.concatenate([rest, block])
            whole = len(rest) - len(rest) % chunk_length
            if whole and not bad:
                yield Piece(number, path, rest[:whole].reshape(-1, chunk_length))
            rest = rest[whole:]
        if bad:
            raise AudioError(f"{path}: {bad} samples are NaN or infinite: mend or drop it")
    except Exception as error:  # whatever a broken file provokes, it must not end a long run
        known = isinstance(error, AudioError)
        yield Piece(number, path, error=error if known else AudioError(f"{path}: {error!r}"))
        return
    missing = chunk_length - samples
    yield Piece(number, path, [np.pad(rest, (0, missing))] if missing > 0 else (), samples / sampling_rate)
