"""Excerpts of the recordings, and the features of a model for them: computed once per model and file, and cached."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import audio_seconds
from ..data.schema import Skipped
from ..errors import AudioError
from ..transfer.features import Extractor, FeatureCache, Features
from .layout import NOTES, Part, Recording

_NOTE_SECONDS = 6.0
_TRACK_SECONDS = 30.0


@dataclass(frozen=True)
class PartFeatures:
    """The features of a model for the excerpts of a part.

    Attributes:
        recordings: The recordings whose excerpts could all be decoded.
        features: Features of the excerpts, those of each recording in a row.
        excerpts: Number of excerpts per recording.
        skipped: Recordings that cannot be decoded, with the reasons.
    """

    recordings: list[Recording]
    features: Features
    excerpts: int
    skipped: list[Skipped]

    def pooled(self, pooling: str) -> np.ndarray:
        """Return one vector per excerpt: float64 `(recordings, excerpts, dimensions)`.

        Args:
            pooling: Statistics over the chunks of an excerpt joined by "+": "mean", "max", "deviation".
        """
        statistics = [_STATISTICS[name] for name in pooling.split("+")]
        vectors = []
        for start, count in zip(self.features.starts, self.features.counts, strict=True):
            chunks = np.asarray(self.features.values[start : start + count], dtype=np.float64)
            vectors.append(np.concatenate([statistic(chunks, axis=0) for statistic in statistics]))
        return np.array(vectors).reshape(len(self.recordings), self.excerpts, -1)


_STATISTICS = {"mean": np.mean, "max": np.max, "deviation": np.std}


@dataclass(frozen=True)
class Excerpts:
    """The excerpts of a part as data of a `FeatureCache`: an `AudioRows` with one split, the name of the part.

    The first 6 s of a note; two excerpts of at most 30 s of a track, centered at a quarter and at three quarters, that
    never overlap. A row is identified by the name, size and time of its file, so that features are computed again only
    for files that are new or have changed.

    Attributes:
        part: The recordings.
        folder: Folder of the recordings.
        seconds: None: each row has its length.
        skipped: Recordings that cannot be read.
    """

    part: Part
    folder: Path
    seconds: float | None = None
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def per_recording(self) -> int:
        return 1 if self.part.name == NOTES else 2

    @cached_property
    def by_recording(self) -> dict[Recording, list[dict[str, Any]]]:
        """The rows of each recording that can be read; fills `skipped`."""
        found = {}
        for recording in self.part.recordings:
            try:
                found[recording] = _rows(recording, self.per_recording)
            except (AudioError, OSError) as error:
                self.skipped.append(Skipped(recording.name, "cannot be decoded", str(error)))
        return found

    def ids(self, split: str) -> list[str]:
        return [row["id"] for row in self.rows(split)]

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        return (row for rows in self.by_recording.values() for row in rows)

    def stores_audio(self, split: str) -> bool:
        return False

    def fingerprint(self, split: str) -> str:
        return f"excerpts of {split}"

    def features(self, extractor: Extractor, cache: FeatureCache) -> PartFeatures:
        """Return the features of a model, computing those that are not in the cache.

        Raises:
            DataError: None of the recordings can be decoded.
        """
        found = cache.features(extractor, self, self.part.name)
        decoded, reasons = set(found.ids), {item.id: item.reason for item in found.skipped}
        kept, ids, skipped = [], [], list(self.skipped)
        for recording, rows in self.by_recording.items():
            failed = [reasons[row["id"]] for row in rows if row["id"] not in decoded]
            if failed:
                skipped.append(Skipped(recording.name, "cannot be decoded", failed[0]))
            else:
                kept.append(recording)
                ids += [row["id"] for row in rows]
        return PartFeatures(kept, found.select(ids), self.per_recording, skipped)


def _rows(recording: Recording, excerpts: int) -> list[dict[str, Any]]:
    status = recording.path.stat()
    identity = f"{recording.name} {status.st_size} {status.st_mtime_ns}"
    audio = {"bytes": None, "path": str(recording.path)}
    if excerpts == 1:
        return [{"id": f"{identity} 0", "audio": audio, "seconds": _NOTE_SECONDS}]
    whole = audio_seconds(recording.path)
    if whole <= 0:
        raise AudioError(f"{recording.path} has no samples: replace it")
    seconds = min(_TRACK_SECONDS, whole / excerpts)
    starts = [(index + 0.5) * whole / excerpts - seconds / 2 for index in range(excerpts)]
    return [
        {"id": f"{identity} {index}", "audio": audio, "offset": start, "seconds": seconds}
        for index, start in enumerate(starts)
    ]
