"""Embeddings of whole audio files: one row per track, or one per chunk."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from .audio import AudioError, load_audio
from .feature_extraction_mulap import MulapFeatureExtractor
from .initialization import backbone_fingerprint, open_backbone
from .modeling_mulap_audio import MulapAudioModel

_ROWS_PER_PART = 200

Item, Result = TypeVar("Item"), TypeVar("Result")


def prefetch(function: Callable[[Item], Result], items: Iterable[Item], ahead: int = 1) -> Iterator[Result]:
    """`map(function, items)`, of which the next `ahead` results are computed meanwhile, in order, in a thread."""
    items = iter(items)
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = deque(pool.submit(function, item) for item in islice(items, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(items, 1))
            yield result


@dataclass(frozen=True)
class TrackEmbedding:
    """A file's embedding.

    path: of the file.
    seconds: its length.
    track: `(features,)`, mean over its chunks.
    chunks: `(chunks, features)`; chunk i starts at i * `MulapAudioConfig.chunk_seconds`.
    """

    path: str
    seconds: float
    track: np.ndarray
    chunks: np.ndarray


class Embedder:
    """A backbone that takes files.

    Args:
        model: folder or Hub name of any MuLaP model, or a `MulapAudioModel`.
        device: where to compute; default: the GPU if there is one.

    Raises:
        ConversionError: the model cannot be found, or is no MuLaP.
    """

    def __init__(self, model: str | Path | MulapAudioModel, device: str | None = None):
        if not isinstance(model, MulapAudioModel):
            model = open_backbone(model)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()
        self.feature_extractor = MulapFeatureExtractor(sampling_rate=model.config.sampling_rate)

    @property
    def sampling_rate(self) -> int:
        return self.feature_extractor.sampling_rate

    @property
    def feature_size(self) -> int:
        return self.model.config.feature_size

    @cached_property
    def fingerprint(self) -> str:
        """Another one for a model that hears anything else."""
        return backbone_fingerprint(self.model)

    def embed(self, path: str | os.PathLike) -> TrackEmbedding:
        """Embeds a whole file.

        Args:
            path: an audio file.

        Raises:
            AudioError: the file cannot be read or has NaN samples.
        """
        return self._embed(path, load_audio(path, self.sampling_rate))

    def embed_all(self, paths: Iterable[str | os.PathLike]) -> Iterator[TrackEmbedding | AudioError]:
        """Embeds files in order; the next ones are decoded meanwhile. A file that fails gives its error instead."""

        def load(path) -> tuple[str | os.PathLike, np.ndarray | AudioError]:
            try:
                return path, load_audio(path, self.sampling_rate)
            except AudioError as error:
                return path, error

        for path, waveform in prefetch(load, paths):
            try:
                yield waveform if isinstance(waveform, AudioError) else self._embed(path, waveform)
            except AudioError as error:
                yield error

    def _embed(self, path: str | os.PathLike, waveform: np.ndarray) -> TrackEmbedding:
        try:
            chunks = self.chunk_features([waveform])[0]
        except ValueError as error:
            raise AudioError(f"{path}: {error}") from error
        return TrackEmbedding(str(path), len(waveform) / self.sampling_rate, chunks.mean(axis=0), chunks)

    @torch.inference_mode()
    def chunk_features(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Mono waveforms `(samples,)` at the model's rate -> float32 `(chunks, features)` of each.

        Raises:
            ValueError: one of them is empty or has NaN samples.
        """
        inputs = self.feature_extractor(
            waveforms,
            sampling_rate=self.sampling_rate,
            return_attention_mask=len(waveforms) > 1,  # of one, it is all ones, and as large as the track
            return_tensors="pt",
        )
        output = self.model(**inputs.to(self.device))
        features = output.last_hidden_state.float().cpu().numpy()  # (tracks, chunks, features)
        return [track[:count] for track, count in zip(features, output.chunk_mask.sum(dim=1).tolist(), strict=True)]


def write_embeddings(
    embedder: Embedder, paths: list[Path], output: Path, per_chunk: bool = False, progress: bool = True
) -> list[AudioError]:
    """Embeds files into one parquet file; an interrupted run goes on where it stopped.

    Columns per track: `path`, `seconds`, `embedding`; per chunk: `path`, `chunk`, `start`, `end` (s), `embedding`.
    Finished rows are kept in `OUTPUT.parts/` until all are there.

    Args:
        embedder: the model.
        paths: audio files.
        output: parquet file to write.
        per_chunk: one row per chunk instead of one per track.
        progress: show a bar.

    Returns:
        The files that could not be embedded, with their reasons.

    Raises:
        ValueError: the parts that lie there are of another model or of other settings.
    """
    parts = output.with_name(output.name + ".parts")
    output.parent.mkdir(parents=True, exist_ok=True)
    done = _resume(parts, embedder, per_chunk)
    todo = [path for path in paths if str(path) not in done]
    failed: list[AudioError] = []
    rows: list[dict] = []
    tracks = 0

    def flush():
        if rows:
            number = len(list(parts.glob("*.parquet")))
            _write_table(pa.Table.from_pylist(rows, _schema(embedder, per_chunk)), parts / f"{number:06d}.parquet")
            rows.clear()

    bar = tqdm(total=len(paths), initial=len(paths) - len(todo), unit="track", disable=not progress)
    try:
        for result in embedder.embed_all(todo):
            bar.update()
            if isinstance(result, AudioError):
                failed.append(result)
                continue
            rows.extend(_rows(result, embedder.model.config.chunk_seconds, per_chunk))
            tracks += 1
            if tracks % _ROWS_PER_PART == 0:
                flush()
    finally:
        flush()
        bar.close()
    files = sorted(parts.glob("*.parquet"))
    tables = [pq.read_table(file) for file in files]
    _write_table(pa.concat_tables(tables) if tables else _schema(embedder, per_chunk).empty_table(), output)
    for file in (*files, parts / "settings.json"):
        file.unlink()
    parts.rmdir()
    return failed


def _rows(result: TrackEmbedding, chunk_seconds: float, per_chunk: bool) -> list[dict]:
    if not per_chunk:
        return [{"path": result.path, "seconds": result.seconds, "embedding": result.track}]
    return [
        {
            "path": result.path,
            "chunk": index,
            "start": index * chunk_seconds,
            "end": min((index + 1) * chunk_seconds, result.seconds),
            "embedding": feature,
        }
        for index, feature in enumerate(result.chunks)
    ]


def _schema(embedder: Embedder, per_chunk: bool) -> pa.Schema:
    embedding = ("embedding", pa.list_(pa.float32(), embedder.model.config.feature_size))
    if per_chunk:
        times = [("chunk", pa.int32()), ("start", pa.float64()), ("end", pa.float64())]
        return pa.schema([("path", pa.string()), *times, embedding])
    return pa.schema([("path", pa.string()), ("seconds", pa.float64()), embedding])


def _write_table(table: pa.Table, path: Path):
    """Never half a file."""
    temporary = path.with_name(path.name + ".tmp")
    pq.write_table(table, temporary)
    temporary.replace(path)


def _resume(parts: Path, embedder: Embedder, per_chunk: bool) -> set[str]:
    """Which files an interrupted run has embedded; starts a new folder of parts where there is none."""
    settings = {"model": embedder.fingerprint, "per_chunk": per_chunk}
    file = parts / "settings.json"
    if file.exists():
        if json.loads(file.read_text(encoding="utf-8")) != settings:
            raise ValueError(
                f"{parts} holds parts of an interrupted run with another model or other settings: remove it, or "
                "choose another output"
            )
    else:
        parts.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings), encoding="utf-8")
    return {
        path for part in parts.glob("*.parquet") for path in pq.read_table(part, columns=["path"])["path"].to_pylist()
    }
