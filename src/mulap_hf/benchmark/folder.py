"""Speed of `mulap embed` on a folder of files, compared with embedding one file at a time."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..audio import load_audio, stream_audio
from ..configuration_mulap import MulapConfig
from ..decoding import decode_files, prefetch
from ..embedding import Embedder
from ..embedding_files import write_embeddings
from ..files import markdown_table
from ..modeling_mulap_audio import MulapAudioModel
from ..synthetic import CorpusConfig, make_clip
from .data import write_audio
from .measure import Measurement, Variant, measure
from .report import make_report, write_report

FORMATS = [  # suffix, sampling rate, channels
    ("wav", 16000, 1),
    ("flac", 44100, 2),
    ("ogg", 44100, 2),
    ("mp3", 44100, 2),
]
SEQUENTIAL = "one file at a time"
DECODING, MODEL = "decoding alone", "model alone"
_CLIPS = 10


def run(
    output: Path,
    rounds: int,
    presets: Sequence[str],
    files: int = 60,
    file_seconds: float = 30.0,
    workers: Sequence[int] = (0, 1, 2),
    formats: Sequence[tuple[str, int, int]] = FORMATS,
    device: str = "cpu",
) -> str:
    """Measure the embedding of audio files to a parquet file; write `OUTPUT/folder-PRESET-SUFFIX.*`.

    Args:
        output: Folder of the reports.
        rounds: Number of measured rounds.
        presets: Presets of the backbone, see `MulapConfig.from_preset`; the weights are random.
        files: Number of files of each format.
        file_seconds: Length of a file in seconds.
        workers: Numbers of decoding processes to measure.
        formats: Suffix, sampling rate in Hz and number of channels of each format.
        device: Device of the model.

    Returns:
        The Markdown reports.
    """
    reports = []
    with TemporaryDirectory() as folder:
        for suffix, rate, channels in formats:
            music = make_files(Path(folder, suffix), files, file_seconds, suffix, rate, channels)
            for preset in presets:
                embedder = Embedder(MulapAudioModel(MulapConfig.from_preset(preset).audio_config), device)
                variants = make_variants(embedder, music, Path(folder, "embeddings.parquet"), file_seconds, workers)
                measurements = measure(variants, rounds, device)
                notes = [
                    f"Embedding of {files} files of {file_seconds:g} s ({suffix}, {rate / 1000:g} kHz, "
                    f"{'stereo' if channels == 2 else 'mono'}) to a parquet file, by a backbone of the preset "
                    f"`{preset}`. Memory is that of the main process.",
                    _bound(measurements),
                ]
                title = f"Embedding speed of `mulap embed`: {suffix} files, preset {preset}"
                report = make_report(title, measurements, "seconds of audio", [SEQUENTIAL], None, notes, device)
                profile = measure(make_stages(embedder, music, Path(folder, "embeddings.parquet")), rounds, device)
                report["profile"] = _profile(profile, files * file_seconds)
                reports.append(write_report(output / f"folder-{preset}-{suffix}", report, render_profile(report)))
    return "\n".join(reports)


def make_variants(
    embedder: Embedder, music: Sequence[Path], table: Path, file_seconds: float, workers: Sequence[int]
) -> list[Variant]:
    """Return the variants: one file at a time, the pipeline of `mulap embed` for each number of workers, and its two
    parts alone: decoding with the most workers, and the model on chunks in memory.
    """
    units = len(music) * file_seconds
    decode = partial(decode_files, music, embedder.sampling_rate, embedder.model.config.chunk_length, max(workers))
    chunks = np.concatenate(_batches(embedder, music))

    def pipeline(number: int) -> Variant:
        return Variant(
            f"pipeline, workers={number}",
            lambda: write_embeddings(embedder, music, table, workers=number, progress=False),
            units,
        )

    return [
        Variant(SEQUENTIAL, lambda: one_by_one(embedder, music, table), units),
        *map(pipeline, workers),
        Variant(DECODING, lambda: deque(decode(), maxlen=0), units),
        Variant(MODEL, lambda: embedder.encode_all(chunks), units),
    ]


def _batches(embedder: Embedder, music: Sequence[Path]) -> list[np.ndarray]:
    """The chunks of files as the model gets them, `(chunks, samples)` each."""
    config = embedder.model.config
    pieces = decode_files(music, embedder.sampling_rate, config.chunk_length)
    chunks = [chunk for piece in pieces for chunk in piece.chunks]
    size = config.chunk_batch_size
    return [np.stack(chunks[start : start + size]) for start in range(0, len(chunks), size)]


def make_stages(embedder: Embedder, music: Sequence[Path], table: Path) -> list[Variant]:
    """Return what the stages of the pipeline add up to, one after the other, with the processor cores as units."""
    threads = torch.get_num_threads() if embedder.device.type == "cpu" else 1  # which share each operation
    batches = _batches(embedder, music)
    inputs = [torch.from_numpy(batch).to(embedder.device) for batch in batches]
    row = embedder.encode(batches[0])[0]
    rows = [{"path": str(path), "seconds": 1.0, "embedding": row} for path in music]

    def decode(rate: int | None):
        for path in music:
            deque(stream_audio(path, rate), maxlen=0)

    return [
        Variant("open, decode", lambda: decode(None), 1),
        Variant("open, decode, resample", lambda: decode(embedder.sampling_rate), 1),
        Variant("log-mel", lambda: deque(map(embedder.model.log_mel, inputs), maxlen=0), threads),
        Variant("log-mel, network", lambda: deque(map(embedder.encode, batches), maxlen=0), threads),
        Variant("write", lambda: pq.write_table(pa.Table.from_pylist(rows), table), 1),
    ]


def _profile(stages: Sequence[Measurement], audio_seconds: float) -> dict[str, float]:
    """Processor time of each stage in seconds per hour of audio."""
    taken = {stage.name: stage.units * median(stage.seconds) * 3600 / audio_seconds for stage in stages}
    taken["resample"] = max(0.0, taken.pop("open, decode, resample") - taken["open, decode"])
    taken["network"] = taken.pop("log-mel, network") - taken["log-mel"]
    return {name: taken[name] for name in ("open, decode", "resample", "log-mel", "network", "write")}


def render_profile(report: Mapping[str, Any]) -> str:
    """A table of the processor time of each stage."""
    taken = report["profile"]
    rows = [(name, f"{seconds:.2f}", f"{seconds / sum(taken.values()):.0%}") for name, seconds in taken.items()]
    return (
        "\nWhere the time goes, measured stage by stage: processor time (of a GPU, its time) per hour of audio.\n\n"
        + markdown_table(("stage", "seconds", "fraction"), rows)
        + "\n"
    )


def _bound(measurements: Sequence[Measurement]) -> str:
    """What the pipeline would reach if the cores did nothing but decoding and the model's work."""
    rates = {measurement.name: measurement.rate for measurement in measurements}
    allowed = 1 / (1 / rates.pop(DECODING) + 1 / rates.pop(MODEL))
    best = max(rates, key=rates.get)
    return (
        f"Decoding and model share the cores: at the rates that each has alone, they allow {allowed:,.0f} seconds of "
        f"audio per second. {best.capitalize()} reaches {rates[best] / allowed:.0%} of that."
    )


def make_files(
    folder: Path, count: int, seconds: float, suffix: str, rate: int, channels: int, clips: int = _CLIPS
) -> list[Path]:
    """Write files of generated music; all files after the first `clips` are hard links to these."""
    folder.mkdir(parents=True)
    config = CorpusConfig(clip_seconds=seconds)
    paths = [folder / f"{index:06d}.{suffix}" for index in range(count)]
    for index, path in enumerate(paths):
        if index < clips:
            write_audio(path, make_clip(config, "train", index)["audio"], rate, channels)
        else:
            path.hardlink_to(paths[index % clips])
    return paths


def one_by_one(embedder: Embedder, paths: Iterable[Path], output: Path):
    """Embed one file at a time, while a thread decodes the next one; write the table at the end."""
    rows = []
    for path, waveform in prefetch((path, load_audio(path, embedder.sampling_rate)) for path in paths):
        chunks = embedder.chunk_features([waveform])[0]
        seconds = len(waveform) / embedder.sampling_rate
        rows.append({"path": str(path), "seconds": seconds, "embedding": chunks.mean(axis=0)})
    pq.write_table(pa.Table.from_pylist(rows), output)
