"""Audio files as chunks, decoded in a thread or in other processes while the model computes.

The processes are plain ones with a connection each. When a worker of torch's DataLoader crashes, the error does not
say at which file, and the iteration ends. Here the file is known, and another process continues after it.
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

    number: Of the file.
    path: Of the file.
    chunks: The next ones, each `(samples,)`.
    seconds: Length of the file.
    error: Why it cannot be used; its earlier chunks do not count then.
    problems: What is missing from a file that can be used, a sentence each.
    """

    number: int
    path: str | os.PathLike
    chunks: Sequence[np.ndarray] = ()
    seconds: float | None = None
    error: AudioError | None = None
    problems: Sequence[str] = ()

    @property
    def last(self) -> bool:
        return self.seconds is not None or self.error is not None


def prefetch(items: Iterable[Item], ahead: int = 1) -> Iterator[Item]:
    """The same items; a thread makes the next `ahead` meanwhile."""
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

    A file shorter than a chunk is padded with silence; of longer ones, a last incomplete chunk is dropped. A file that
    cannot be used gives its error. With workers, that includes a file that crashes the decoder.

    Args:
        paths: Audio files.
        sampling_rate: Of the chunks, in Hz.
        chunk_length: In samples.
        workers: Number of processes; 0 decodes in this one, when the next piece is asked for.

    Yields:
        The pieces of each file in their order. With several workers, pieces of different files are interleaved.
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
    """A process that decodes files; `files` are those that it was given and has not finished."""

    def __init__(self, sampling_rate: int, chunk_length: int):
        # A fork starts at once and shares this process's memory; a fresh interpreter would import torch, which takes
        # seconds and most of a gigabyte. A fork is safe although this process has threads, because the child calls
        # only decoders, soxr and numpy's loops, none of which holds locks or has threads before the fork.
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
        with suppress(OSError):  # the process has crashed; `receive` reports it
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
    """What a process does until it is stopped, or the process that started it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one handles it
    others_end.close()  # open here, it would hide that the other process has ended
    with suppress(EOFError, OSError):
        while True:
            for piece in _decode(connection.recv(), sampling_rate, chunk_length):
                connection.send(piece)


def _decode(file: File, sampling_rate: int, chunk_length: int) -> Iterator[Piece]:
    number, path = file
    samples, problems = 0, []
    rest = np.zeros(0, dtype=np.float32)
    try:
        for block in stream_audio(path, sampling_rate, report=problems.append):
            samples += len(block)
            rest = np.concatenate([rest, block])
            whole = len(rest) - len(rest) % chunk_length
            if whole:
                yield Piece(number, path, rest[:whole].reshape(-1, chunk_length))
            rest = rest[whole:]
    except Exception as error:  # whatever a damaged file causes, it must not end a long run
        known = isinstance(error, AudioError)
        yield Piece(number, path, error=error if known else AudioError(f"{path}: {error!r}"))
        return
    missing = chunk_length - samples
    last = [np.pad(rest, (0, missing))] if missing > 0 else ()
    yield Piece(number, path, last, samples / sampling_rate, problems=problems)
