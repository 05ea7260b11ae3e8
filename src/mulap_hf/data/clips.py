"""Batches of decoded clips: what every collator does, whatever is learned from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from torch.utils.data import get_worker_info

from ..audio import Report, load_audio
from ..errors import AudioError
from .augmentation import Augmentation
from .schema import Skipped

MIN_SECONDS = 0.1  # models pad shorter clips, but shorter sounds are hardly music
INCOMPLETE = "incomplete, used as far as it can be read"  # a reason in `skipped`, although the row is used
SILENCE = 1e-4  # a clip that never exceeds -80 dB of full scale has nothing in it


class Unusable(AudioError):
    """A row that is not used: a reason that many rows may share, and the details of this row."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason, self.detail = reason, detail


@dataclass
class ClipCollator:
    """Collator of the rows of a `PairStream`: returns `ids`, `skipped`, `worker`, and the inputs of a model.

    Random crops and augmentation depend only on the seed, the epoch and the ids in the batch, not on workers, ranks or
    earlier batches. `skipped` also lists rows that are used although their audio is `INCOMPLETE`. A batch without
    usable rows has no ids and no tensors. A batch that this process does not use (`done`, `share`) is not decoded and
    has an entry `unwanted`.

    Args:
        sampling_rate: Sampling rate of the model in Hz.
        clip_seconds: Length of the crop of each track in seconds.
        random_crop: Crop at a random position; otherwise at the start.
        chunk_length: Length of a chunk of the model in samples.
        augmentation: Augmentation that is applied to each chunk independently; None for no augmentation.
        min_seconds: Shortest usable track in seconds.
        seed: Random seed.
        epoch: Number of the epoch; set by `begin`.
        done: Number of batches that each worker skips because they were used before an interruption; set by `begin`.
        share: `(i, n)`: of n processes that read the same batches, this one uses every n-th batch from the i-th on.
    """

    sampling_rate: int = 16000
    clip_seconds: float = 20.0
    random_crop: bool = True
    chunk_length: int = 48000
    augmentation: Augmentation | None = None
    min_seconds: float = MIN_SECONDS
    seed: int = 0
    epoch: int = 0
    done: tuple[int, ...] = ()
    share: tuple[int, int] = (0, 1)

    def __post_init__(self):
        self._calls = 0

    def begin(self, epoch: int, done: Sequence[int] = ()):
        """Start an epoch; call it before each pass over the data."""
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
            position = rng.random()  # drawn for every row, so that a broken row does not change the others
            problems: list[str] = []
            try:
                clips.append(self.augment(self.load(row, position, problems.append), rng))
                kept.append(row)
                if problems:
                    batch["skipped"].append(Skipped(row["id"], INCOMPLETE, "; ".join(problems)))
            except Unusable as error:
                batch["skipped"].append(Skipped(row["id"], error.reason, error.detail))
            except AudioError as error:
                batch["skipped"].append(Skipped(row["id"], "broken audio", str(error)))
        if not kept:
            return batch
        return batch | {"ids": [row["id"] for row in kept]} | self.make_inputs(kept, clips, rng)

    def augment(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Apply the augmentation to each chunk of a clip: `(samples,)` -> `(samples,)`."""
        if self.augmentation is None:
            return clip
        chunks = np.split(clip, range(self.chunk_length, len(clip), self.chunk_length))
        return np.concatenate([self.augmentation(chunk, rng, len(chunk)) for chunk in chunks])

    def make_inputs(self, rows: list[dict], clips: list[np.ndarray], rng: np.random.Generator) -> dict:
        """Return the inputs of the model for usable rows and their clips, `(samples,)` each."""
        raise NotImplementedError

    def load(self, row: dict, position: float, report: Report) -> np.ndarray:
        """Load the crop of a track, `(samples,)`; `report` is called as by `load_audio`.

        Raises:
            AudioError: The track cannot be decoded.
            Unusable: The row is not usable, or the crop is too short or silent.
        """
        if row["problem"]:
            raise Unusable(row["problem"])
        content, path = row["audio"]["bytes"], row["audio"]["path"]
        clip = load_audio(
            path if content is None else content,
            self.sampling_rate,
            duration=self.clip_seconds,
            position=position if self.random_crop else 0,
            report=report,
        )
        if len(clip) < self.min_seconds * self.sampling_rate:
            seconds = len(clip) / self.sampling_rate
            raise Unusable(f"shorter than --min_seconds {self.min_seconds:g}", f"{seconds:.2f} s")
        if np.abs(clip).max() < SILENCE:
            raise Unusable("the crop is silent")
        return clip
