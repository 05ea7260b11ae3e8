"""Features of a frozen backbone for all tracks of a split, computed once and cached on disk."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from filelock import FileLock
from tqdm import tqdm

from ..audio import load_audio
from ..data.schema import Skipped
from ..decoding import prefetch
from ..embedding import Embedder
from ..errors import AudioError, DataError
from ..files import make_folder
from ..loading import open_backbone
from .degradations import degrade
from .handcrafted import handcrafted_features

HANDCRAFTED = "handcrafted"
TIMBRE = "timbre:"
_BATCH_SECONDS = 600  # of audio in one batch


class Extractor(Protocol):
    """Interface of feature extractors: a backbone, or handcrafted features.

    Attributes:
        sampling_rate: Sampling rate of the input in Hz.
        feature_size: Number of features of a chunk.
        fingerprint: Identifier of the features; it changes whenever they change.
    """

    sampling_rate: int
    feature_size: int
    fingerprint: str

    def chunk_features(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Return the features of each mono waveform `(samples,)`: float32 `(chunks, features)`."""


class AudioRows(Protocol):
    """Interface of datasets without labels; `tasks.PreparedData` describes the members.

    A row has `id` and `audio`, a struct of `bytes` and `path`. `offset` and `seconds` may limit it to a part.
    """

    @property
    def folder(self) -> Path: ...

    @property
    def seconds(self) -> float | None: ...

    def ids(self, split: str) -> list[str]: ...

    def rows(self, split: str) -> Iterator[dict[str, Any]]: ...

    def stores_audio(self, split: str) -> bool: ...

    def fingerprint(self, split: str) -> str: ...


class HandcraftedExtractor:
    """Statistics of log-mel, MFCC, chroma and onsets over the whole track, as a single chunk."""

    sampling_rate = 16_000
    fingerprint = f"{HANDCRAFTED} 1"  # increase the number with every change of the features

    def __init__(self):
        self.feature_size = len(handcrafted_features(np.zeros(self.sampling_rate, dtype=np.float32)))

    def chunk_features(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        return [handcrafted_features(waveform)[None] for waveform in waveforms]


def open_extractor(model: str | Path, device: str | None = None) -> Extractor:
    """Open the backbone of a model, or the extractor of handcrafted features.

    Args:
        model: Folder or Hub name of a MuLaP model; timbre:MODEL for its features without those of pitch; or
            "handcrafted".
        device: Device of the backbone; None for a GPU if one is available, else the CPU.

    Raises:
        ModelError: The model cannot be found, or is not a MuLaP model.
    """
    if str(model) == HANDCRAFTED:
        return HandcraftedExtractor()
    if str(model).startswith(TIMBRE):
        return Embedder(open_backbone(str(model).removeprefix(TIMBRE), pitch=False), device)
    return Embedder(model, device)


@dataclass(frozen=True)
class Features:
    """The features of tracks.

    Attributes:
        ids: Ids of the tracks.
        starts, counts: First chunk and number of chunks of each track, `(tracks,)`.
        values: Features of all chunks, float32 `(chunks, features)`; memory-mapped if they are cached.
        skipped: Tracks without features, with the reasons.
    """

    ids: list[str]
    starts: np.ndarray
    counts: np.ndarray
    values: np.ndarray
    skipped: list[Skipped]

    def select(self, ids: list[str]) -> "Features":
        """Return the features of some tracks in the given order, without copying the values."""
        position = {name: index for index, name in enumerate(self.ids)}
        rows = np.array([position[name] for name in ids], dtype=np.int64)
        return Features(list(ids), self.starts[rows], self.counts[rows], self.values, self.skipped)

    def batch(self, tracks: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the concatenated chunks of some tracks.

        Args:
            tracks: Indices of the tracks.

        Returns:
            The features, `(chunks, features)`, and the position in `tracks` of the track of each chunk, `(chunks,)`.
        """
        counts = self.counts[tracks]
        owners = np.repeat(np.arange(len(tracks)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self.starts[tracks][owners] + within
        return torch.from_numpy(self.values[rows]), torch.from_numpy(owners)

    def means(self) -> "Features":
        """Return features with one chunk per track: the mean of its chunks."""
        means = np.empty((len(self.ids), self.values.shape[1]), dtype=np.float32)
        for index, (start, count) in enumerate(zip(self.starts, self.counts, strict=True)):
            means[index] = self.values[start : start + count].mean(axis=0)
        tracks = np.arange(len(self.ids))
        return Features(self.ids, tracks, np.ones_like(tracks), means, self.skipped)


class FeatureCache:
    """A directory of cached features, with one folder per extractor, data and degradation.

    A folder has `about.json`, `features.f32` (all chunks) and `index.jsonl` (one line per finished track). An
    interrupted extraction resumes after the last line. Several processes can share the directory. Audio files that
    could not be read are tried again each time.

    Args:
        directory: Path of the directory; it is created if necessary.
        progress: Show progress bars.
    """

    def __init__(self, directory: str | Path, progress: bool = True):
        self.directory = Path(directory)
        self.progress = progress

    def features(self, extractor: Extractor, data: AudioRows, split: str, degradation: str | None = None) -> Features:
        """Return the features of a split, computing those that are not in the cache.

        Args:
            extractor: The feature extractor.
            data: The dataset, with the tracks and the length of the input.
            split: Name of the split.
            degradation: Name of a degradation of the audio in `DEGRADATIONS`; None for clean audio.

        Raises:
            DataError: No track of the split can be decoded.
        """
        about = {
            "extractor": extractor.fingerprint,
            "data": data.fingerprint(split),
            "seconds": data.seconds,
            "condition": degradation,
            "folder": str(data.folder),
            "split": split,
        }
        identity = {name: about[name] for name in ("extractor", "data", "seconds", "condition")}
        folder = self.directory / sha256(json.dumps(identity).encode()).hexdigest()[:16]
        make_folder(folder, "--cache_dir")
        ids = data.ids(split)
        with FileLock(folder / ".lock"):
            (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            index = _read_index(folder / "index.jsonl")
            decoded = {name: line for name, line in index.items() if "chunks" in line}
            if len(decoded) < len(index) and not data.stores_audio(split):
                index = decoded
            if not index.keys() >= set(ids):
                label = f"{split} {degradation or ''}".strip()
                self._extract(extractor, data, split, degradation, folder, index, label)
        return _load(folder, index, ids, extractor.feature_size)

    def _extract(
        self,
        extractor: Extractor,
        data: AudioRows,
        split: str,
        degradation: str | None,
        folder: Path,
        index: dict[str, dict[str, Any]],
        label: str,
    ):
        """Compute the missing tracks, and append them to the two files and to `index`."""
        num_chunks = sum(line.get("chunks", 0) for line in index.values())
        rows = (row for row in data.rows(split) if row["id"] not in index)
        load_row = partial(load_waveform, rate=extractor.sampling_rate, seconds=data.seconds, degradation=degradation)
        ids = data.ids(split)
        done = sum(name in index for name in ids)  # the index may have rows of an earlier, larger or smaller split
        bar = tqdm(total=len(ids), initial=done, unit="track", desc=label, disable=not self.progress)
        # The lines of the index decide. Surplus features and an incomplete line are from an interrupted run.
        (folder / "index.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in index.values()), encoding="utf-8"
        )
        with (
            bar,
            (folder / "features.f32").open("ab") as values,
            (folder / "index.jsonl").open("a", encoding="utf-8") as lines,
        ):
            values.truncate(num_chunks * extractor.feature_size * 4)
            for batch in _batches(prefetch(map(load_row, rows), ahead=16), _BATCH_SECONDS * extractor.sampling_rate):
                usable = [item for item in batch if isinstance(item[1], np.ndarray)]
                features = extractor.chunk_features([waveform for _, waveform in usable]) if usable else []
                new = [{"id": name, "reason": str(error)} for name, error in batch if isinstance(error, AudioError)]
                for (name, _), chunks in zip(usable, features, strict=True):
                    values.write(np.ascontiguousarray(chunks, dtype=np.float32).tobytes())
                    new.append({"id": name, "chunks": len(chunks)})
                values.flush()
                lines.writelines(json.dumps(line) + "\n" for line in new)
                lines.flush()
                index.update({line["id"]: line for line in new})
                bar.update(len(new))


def load_waveform(
    row: dict[str, Any], rate: int, seconds: float | None, degradation: str | None = None
) -> tuple[str, np.ndarray | AudioError]:
    """Decode the audio of a row.

    Args:
        row: A row of `AudioRows.rows`.
        rate: Sampling rate of the waveform in Hz.
        seconds: Length of the waveform, unless the row has one; None for all of the audio.
        degradation: Name of a degradation in `DEGRADATIONS`; None for clean audio.

    Returns:
        The id of the row, and the mono waveform `(samples,)` or the error.
    """
    content, path = row["audio"]["bytes"], row["audio"]["path"]
    try:
        source, duration = path if content is None else content, row.get("seconds", seconds)
        waveform = load_audio(source, rate, row.get("offset", 0.0), duration)
        return row["id"], waveform if degradation is None else degrade(waveform, degradation, row["id"])
    except AudioError as error:
        return row["id"], error


def _batches(tracks: Iterator[tuple], most: int) -> Iterator[list[tuple]]:
    """Group tracks into batches of at most `most` samples; a longer track is a batch of one."""
    batch, samples = [], 0
    for item in tracks:
        size = len(item[1]) if isinstance(item[1], np.ndarray) else 0
        if batch and samples + size > most:
            yield batch
            batch, samples = [], 0
        batch.append(item)
        samples += size
    if batch:
        yield batch


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    """Return the complete lines of an index by id."""
    if not path.exists():
        return {}
    index = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # an incomplete line
            break
        index[line["id"]] = line
    return index


def _load(folder: Path, index: dict[str, dict[str, Any]], ids: list[str], feature_size: int) -> Features:
    counts = np.array([line.get("chunks", 0) for line in index.values()], dtype=np.int64)
    if not counts.sum():
        reasons = sorted({line["reason"] for line in index.values()})
        raise DataError(
            f"none of {len(ids)} tracks can be decoded: {reasons[0] if reasons else 'no rows'}; check the audio files"
        )
    starts = dict(zip(index, np.cumsum(counts) - counts, strict=True))
    kept = [name for name in ids if "chunks" in index[name]]
    return Features(
        ids=kept,
        starts=np.array([starts[name] for name in kept], dtype=np.int64),
        counts=np.array([index[name]["chunks"] for name in kept], dtype=np.int64),
        values=np.memmap(folder / "features.f32", dtype=np.float32, mode="r", shape=(int(counts.sum()), feature_size)),
        skipped=[Skipped(name, index[name]["reason"]) for name in ids if "reason" in index[name]],
    )
