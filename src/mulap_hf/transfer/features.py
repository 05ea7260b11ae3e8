"""Frozen features on disk: what a backbone hears in every track, computed once, in an order of its own, resumable."""

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
from ..data.tables import Skipped
from ..decoding import prefetch
from ..embedding import Embedder
from ..errors import AudioError, DataError
from ..files import make_folder
from .degradations import degrade
from .handcrafted import handcrafted_features
from .tasks import PreparedData

HANDCRAFTED = "handcrafted"
_BATCH_SECONDS = 600  # of audio that go through the backbone together


class Extractor(Protocol):
    """What makes features of waveforms.

    sampling_rate: that it takes, in Hz.
    feature_size: of one chunk.
    fingerprint: another one for other features.
    """

    sampling_rate: int
    feature_size: int
    fingerprint: str

    def chunk_features(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Mono waveforms `(samples,)` -> float32 `(chunks, features)` of each."""


class HandcraftedExtractor:
    """Statistics of log-mel, MFCC, chroma and onsets of the whole track: one chunk."""

    sampling_rate = 16_000
    fingerprint = f"{HANDCRAFTED} 1"  # to be raised whenever they change

    def __init__(self):
        self.feature_size = len(handcrafted_features(np.zeros(self.sampling_rate, dtype=np.float32)))

    def chunk_features(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        return [handcrafted_features(waveform)[None] for waveform in waveforms]


def open_extractor(model: str | Path, device: str | None = None) -> Extractor:
    """The backbone of a MuLaP folder or Hub name; or "handcrafted".

    Raises:
        ModelError: it cannot be found, or is no MuLaP.
    """
    return HandcraftedExtractor() if str(model) == HANDCRAFTED else Embedder(model, device)


@dataclass(frozen=True)
class Features:
    """The features of some tracks.

    ids: of the tracks.
    starts, counts: `(tracks,)`, which chunks are whose.
    values: `(chunks, features)`, float32; of a cache, on disk.
    skipped: tracks without features, and why.
    """

    ids: list[str]
    starts: np.ndarray
    counts: np.ndarray
    values: np.ndarray
    skipped: list[Skipped]

    def select(self, ids: list[str]) -> "Features":
        """These tracks in this order; the values stay where they are."""
        position = {name: index for index, name in enumerate(self.ids)}
        rows = np.array([position[name] for name in ids], dtype=np.int64)
        return Features(list(ids), self.starts[rows], self.counts[rows], self.values, self.skipped)

    def batch(self, tracks: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Some tracks' chunks one after another, `(chunks, features)`, and which of the tracks each is of,
        `(chunks,)`."""
        counts = self.counts[tracks]
        owners = np.repeat(np.arange(len(tracks)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self.starts[tracks][owners] + within
        return torch.from_numpy(self.values[rows]), torch.from_numpy(owners)

    def means(self) -> "Features":
        """One chunk per track: the mean of its chunks."""
        means = np.empty((len(self.ids), self.values.shape[1]), dtype=np.float32)
        for index, (start, count) in enumerate(zip(self.starts, self.counts, strict=True)):
            means[index] = self.values[start : start + count].mean(axis=0)
        tracks = np.arange(len(self.ids))
        return Features(self.ids, tracks, np.ones_like(tracks), means, self.skipped)


class FeatureCache:
    """Features by extractor, data and condition in folders of a directory; several processes may share it.

    A folder has `about.json`, `features.f32` (chunk after chunk) and `index.jsonl` (a line per finished track). A
    track counts once its line is there, so an interrupted extraction goes on where it stopped. Files that the data
    name by path and that could not be heard are tried again each time: they may have been mended, or their disk found.

    Args:
        directory: made if it is not there.
        progress: show bars.
    """

    def __init__(self, directory: str | Path, progress: bool = True):
        self.directory = Path(directory)
        self.progress = progress

    def features(self, extractor: Extractor, data: PreparedData, split: str, condition: str | None = None) -> Features:
        """The features of a split, from disk as far as they are there.

        Args:
            extractor: makes them.
            data: says which tracks, and how much of each is heard.
            split: of the data.
            condition: a name in `DEGRADATIONS`: how the audio is degraded first.

        Raises:
            DataError: not one track can be heard.
        """
        about = {
            "extractor": extractor.fingerprint,
            "data": data.fingerprint(split),
            "seconds": data.seconds,
            "condition": condition,
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
            heard = {name: line for name, line in index.items() if "chunks" in line}
            if len(heard) < len(index) and not data.is_synthetic(split):
                index = heard
            if len(index) < len(ids):
                label = f"{split} {condition or ''}".strip()
                self._extract(extractor, data, split, condition, folder, index, label)
        return _load(folder, index, ids, extractor.feature_size)

    def _extract(
        self,
        extractor: Extractor,
        data: PreparedData,
        split: str,
        condition: str | None,
        folder: Path,
        index: dict[str, dict[str, Any]],
        label: str,
    ):
        """Appends the missing tracks to the two files and to `index`."""
        heard = sum(line.get("chunks", 0) for line in index.values())
        rows = (row for row in data.rows(split) if row["id"] not in index)
        hear_row = partial(hear, rate=extractor.sampling_rate, seconds=data.seconds, condition=condition)
        bar = tqdm(total=len(data.ids(split)), initial=len(index), unit="track", desc=label, disable=not self.progress)
        # Lines are what counts: bytes beyond them, and a line that was not finished, are of an interrupted run.
        (folder / "index.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in index.values()), encoding="utf-8"
        )
        with (
            bar,
            (folder / "features.f32").open("ab") as values,
            (folder / "index.jsonl").open("a", encoding="utf-8") as lines,
        ):
            values.truncate(heard * extractor.feature_size * 4)
            for batch in _batches(prefetch(map(hear_row, rows), ahead=16), _BATCH_SECONDS * extractor.sampling_rate):
                usable = [heard for heard in batch if isinstance(heard[1], np.ndarray)]
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


def hear(
    row: dict[str, Any], rate: int, seconds: float | None, condition: str | None = None
) -> tuple[str, np.ndarray | AudioError]:
    """What is heard of a row, or why nothing."""
    content, path = row["audio"]["bytes"], row["audio"]["path"]
    try:
        waveform = load_audio(path if content is None else content, rate, duration=seconds)
        return row["id"], waveform if condition is None else degrade(waveform, condition, row["id"])
    except AudioError as error:
        return row["id"], error


def _batches(heard: Iterator[tuple], most: int) -> Iterator[list[tuple]]:
    """Groups of at most so many samples, if they have more than one track."""
    batch, samples = [], 0
    for item in heard:
        size = len(item[1]) if isinstance(item[1], np.ndarray) else 0
        if batch and samples + size > most:
            yield batch
            batch, samples = [], 0
        batch.append(item)
        samples += size
    if batch:
        yield batch


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    """The finished lines, by id."""
    if not path.exists():
        return {}
    index = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # cut off
            break
        index[line["id"]] = line
    return index


def _load(folder: Path, index: dict[str, dict[str, Any]], ids: list[str], feature_size: int) -> Features:
    counts = np.array([line.get("chunks", 0) for line in index.values()], dtype=np.int64)
    if not counts.sum():
        reasons = sorted({line["reason"] for line in index.values()})
        raise DataError(
            f"not one of {len(ids)} tracks can be heard; the first reason: {reasons[0] if reasons else ''}"
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
