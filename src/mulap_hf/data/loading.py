"""From a stream of rows to an endless stream of batches that knows where it is."""

import multiprocessing
import signal
from collections.abc import Iterator
from functools import partial
from zlib import crc32

import numpy as np
import torch
from datasets import IterableDataset
from torch.utils.data import DataLoader

from ..errors import DataError
from .clips import ClipCollator
from .schema import Skipped
from .streams import PairStream

GROUPED_BATCHES = 8  # rows of that many batches are sorted by length together
WORKER_SECONDS = 1800  # for one batch


def training_loader(
    pairs: PairStream, collator: ClipCollator, batch_size: int, num_workers: int, shuffle_buffer: int
) -> DataLoader:
    """Shuffled batches of captions of similar length; `set_epoch` of their dataset reshuffles.

    Clips are not grouped: the backbone computes nothing for padded chunks.

    Args:
        pairs: what to read.
        collator: makes batches of rows; its seed is that of the order, too.
        batch_size: rows per batch.
        num_workers: processes that read and decode.
        shuffle_buffer: rows, undecoded, among which the next is drawn.
    """
    dataset = pairs.dataset.shuffle(seed=collator.seed, buffer_size=shuffle_buffer)
    return make_loader(group_by_length(dataset, batch_size), collator, batch_size, num_workers)


def make_loader(dataset: IterableDataset, collator: ClipCollator, batch_size: int, num_workers: int) -> DataLoader:
    """Batches of rows in the order they come in; see `training_loader`."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        collate_fn=collator,
        num_workers=num_workers,
        # A worker forked from a process with threads may hang; waiting for ever would lose a night.
        timeout=WORKER_SECONDS if num_workers else 0,
        worker_init_fn=_outlive_signals,
        # Its own: the loader must not draw from the generator that dropout draws from.
        generator=torch.Generator().manual_seed(collator.seed),
    )


def _outlive_signals(worker: int):
    """Who stops a run may signal all its processes: the main one still needs batches, to end its step and save."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def group_by_length(dataset: IterableDataset, batch_size: int) -> IterableDataset:
    """Reorders rows nearby, so that the captions of `batch_size` consecutive ones have similar lengths."""
    # Workers that are not forked (macOS, Windows, Python 3.14) get it pickled: no local function.
    reorder = partial(_reorder, batch_size=batch_size)
    return dataset.map(reorder, batched=True, batch_size=GROUPED_BATCHES * batch_size, features=dataset.features)


def _reorder(rows: dict[str, list], batch_size: int) -> dict[str, list]:
    lengths = [len(caption or "") for caption in rows["caption"]]
    order = np.argsort(lengths, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    rng = np.random.default_rng([crc32(name.encode()) for name in rows["id"]])
    # An incomplete batch stays last, or the later ones would straddle two lengths.
    complete = [batch for batch in batches if len(batch) == batch_size]
    shuffled = [complete[index] for index in rng.permutation(len(complete))] + batches[len(complete) :]
    return {name: [values[row] for row in np.concatenate(shuffled)] for name, values in rows.items()}


def batches_of(loader: DataLoader) -> Iterator[dict]:
    """Its batches.

    Raises:
        DataError: for half an hour there came none.
    """
    try:
        yield from loader
    except RuntimeError as error:
        if "timed out" not in str(error):
            raise
        # They would be waited for at the exit, and torch would raise once more because they end.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for worker in multiprocessing.active_children():
            worker.kill()
        raise DataError(
            f"the {loader.num_workers} processes that load audio have given nothing for {WORKER_SECONDS} s: repeat "
            "the command to resume from the last checkpoint; if it happens again, check that the storage answers, or "
            "load in the main process with --num_workers 0"
        ) from error


class BatchStream:
    """The batches of one process, epoch after epoch, without end; can resume where another one stopped.

    torchdata's `StatefulDataLoader` would not resume exactly: it stores the state of the dataset, which for `datasets`
    does not include the rows in a shuffle buffer. Counting batches needs no state of the dataset.

    Args:
        loader: as prepared by accelerate.
        collator: that of the loader.
    """

    def __init__(self, loader: DataLoader, collator: ClipCollator):
        self.loader = loader
        self.collator = collator
        self.epoch = 0
        self.skipped: dict[str, Skipped] = {}
        self._done = [0] * max(1, loader.num_workers)  # batches of this epoch that each worker has given

    def __iter__(self) -> Iterator[dict]:
        """Batches with ids, of any epoch.

        Raises:
            DataError: nothing of a whole epoch can be used, or the workers hang.
        """
        while True:
            usable = any(self._done)
            self.collator.begin(self.epoch, self._done)
            self.loader.set_epoch(self.epoch)
            for batch in batches_of(self.loader):
                worker, skipped = batch.pop("worker"), batch.pop("skipped")
                if batch.pop("unwanted", False):
                    continue
                self._done[worker] += 1
                self.skipped.update({item.id: item for item in skipped})
                if batch["ids"]:
                    usable = True
                    yield batch
            if not usable:
                reason = next(iter(self.skipped.values()), None)
                raise DataError(f"no item of a whole epoch could be used; the first reason: {reason}")
            self.epoch += 1
            self._done = [0] * len(self._done)

    def state_dict(self) -> dict:
        """Where the stream is, as JSON: to be taken between two batches."""
        skipped = [(item.id, item.reason, item.detail) for item in self.skipped.values()]
        return {"epoch": self.epoch, "done": self._done, "skipped": skipped}

    def load_state_dict(self, state: dict):
        """Before the first batch: what was given before is read again, but not decoded."""
        self.epoch, self._done = state["epoch"], list(state["done"])
        self.skipped = {item[0]: Skipped(*item) for item in state["skipped"]}
