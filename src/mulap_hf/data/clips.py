"""Batches of decoded clips: what every collator does, whatever is learned from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from torch.utils.data import get_worker_info

from ..audio import load_audio
from ..errors import AudioError
from .augmentation import Augmentation
from .schema import Skipped

SILENCE = 1e-4  # a clip that never exceeds -80 dB of full scale has nothing in it


@dataclass
class ClipCollator:
    """Rows of a `PairStream` -> `ids`, `skipped` (list of `Skipped`), `worker`, and what a model takes.

    All randomness is keyed on the seed, the epoch and the ids in the batch: workers, ranks and what came before change
    nothing. A batch of which no row is usable has no ids and no tensors; one that is not wanted (`done`, `share`) has
    an entry `unwanted` instead and is not decoded.

    Args:
        sampling_rate: of the model, in Hz.
        clip_seconds: how much of each track is heard.
        random_crop: hear a random part; otherwise the first.
        chunk_length: samples per chunk of the model.
        augmentation: what is done to every chunk by itself, if anything.
        min_seconds: shorter tracks are skipped.
        seed: of everything random.
        epoch: set by `begin`.
        done: how many of its first batches each worker leaves out, because they have been used before; set by `begin`.
        share: (i, n): of n processes that read the same batches, the i-th wants every n-th from the i-th on.
    """

    sampling_rate: int = 16000
    clip_seconds: float = 20.0
    random_crop: bool = True
    chunk_length: int = 48000
    augmentation: Augmentation | None = None
    min_seconds: float = 0.5
    seed: int = 0
    epoch: int = 0
    done: tuple[int, ...] = ()
    share: tuple[int, int] = (0, 1)

    def __post_init__(self):
        self._calls = 0

    def begin(self, epoch: int, done: Sequence[int] = ()):
        """To be called before each pass over the data."""
        self.epoch, self.done, self._calls = epoch, tuple(done), 0

    def __call__(self, rows: list[dict]) -> dict:
        info = get_worker_info()
        worker = 0 if info is None else info.id
        number, self._calls = self._calls, self._calls + 1
        batch = {"ids": [], "skipped": [], "worker": worker}
        done = self.done[worker] if self.done else 0
        if number < done or number % self.share[1] != self.share[0]:
            return batch | {"unwanted": True}
        rng = np.random.default_rng([self.seed, self.epoch, *(crc32(row["id"].encode()) for row in rows)])
        clips, kept = [], []
        for row in rows:
            position = rng.random()  # drawn for every row, so that a broken one does not move the others
            try:
                clips.append(self.augment(self.load(row, position), rng))
                kept.append(row)
            except AudioError as error:
                batch["skipped"].append(Skipped(row["id"], str(error)))
        if not kept:
            return batch
        return batch | {"ids": [row["id"] for row in kept]} | self.make_inputs(kept, clips, rng)

    def augment(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """`(samples,)` -> `(samples,)`."""
        if self.augmentation is None:
            return clip
        chunks = np.split(clip, range(self.chunk_length, len(clip), self.chunk_length))
        return np.concatenate([self.augmentation(chunk, rng, len(chunk)) for chunk in chunks])

    def make_inputs(self, rows: list[dict], clips: list[np.ndarray], rng: np.random.Generator) -> dict:
        """What the model takes, of usable rows and their clips, each `(samples,)`."""
        raise NotImplementedError

    def load(self, row: dict, position: float) -> np.ndarray:
        """The part of a track that is heard, `(samples,)`; AudioError where there is nothing to learn from."""
        if row["problem"]:
            raise AudioError(row["problem"])
        content, path = row["audio"]["bytes"], row["audio"]["path"]
        clip = load_audio(
            path if content is None else content,
            self.sampling_rate,
            duration=self.clip_seconds,
            position=position if self.random_crop else 0,
        )
        if len(clip) < self.min_seconds * self.sampling_rate:
            raise AudioError(f"{path}: only {len(clip) / self.sampling_rate:.2f} s long")
        if np.abs(clip).max() < SILENCE:
            raise AudioError(f"{path}: the part that was drawn is silent")
        return clip
