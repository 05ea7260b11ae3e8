"""Batches through a model in several threads."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from .modeling_mulap_threads import compute_alone


class ThreadedEncoder:
    """Encodes batches, on a CPU several at a time, each in one thread.

    Threads of torch share each operation instead: they wait for each other many times per batch, and read what other
    cores have written. Two take 1.1 to 2 times as long as two batches at a time.

    Args:
        encode: Features of a batch.
        device: Where it computes.

    To be used in a `with` statement, which sets torch's number of threads back.
    """

    def __init__(self, encode: Callable[[Any], Any], device: torch.device):
        self.threads = torch.get_num_threads() if device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(self.threads, initializer=compute_alone if self.threads > 1 else None)
        self._encode = encode
        self._given: deque[tuple[Any, Future]] = deque()

    def __enter__(self) -> "ThreadedEncoder":
        return self

    def __exit__(self, *_: object):
        self._pool.shutdown(cancel_futures=True)
        if self.threads > 1:  # those of the pool have set it for other parts of torch, too
            torch.set_num_threads(self.threads)

    def give(self, batch: Any, label: Any = None):
        """Encodes a batch as soon as a thread is free."""
        self._given.append((label, self._pool.submit(self._encode, batch)))

    def take(self, everything: bool) -> Iterator[tuple[Any, Any]]:
        """The label and the features of batches, in the order in which they were given.

        Args:
            everything: Wait for all of them, instead of for as many as there are threads to encode the others.
        """
        while self._given and (everything or len(self._given) > self.threads or self._given[0][1].done()):
            label, features = self._given.popleft()
            yield label, features.result()
