"""Embedding a folder of files: the pipeline of `mulap embed` beside one file after the other."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from ..audio import load_audio
from ..configuration_mulap import MulapConfig
from ..decoding import prefetch
from ..embedding import Embedder
from ..embedding_files import write_embeddings
from ..modeling_mulap_audio import MulapAudioModel
from ..synthetic import CorpusConfig, make_clip
from .data import write_audio
from .measure import Variant, measure
from .report import write_report

FORMATS = [("wav", 16000, 1), ("flac", 44100, 2), ("mp3", 44100, 2)]  # suffix, sampling rate, channels
FORMER = "one file after the other"
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
    """Seconds of audio per second from files to a parquet file; writes `OUTPUT/folder-PRESET-SUFFIX.*`.

    Args:
        output: folder.
        rounds: measurements of each variant.
        presets: of `MulapConfig.from_preset`; the weights of the backbones are random.
        files: how many there are of each format.
        file_seconds: their length.
        workers: numbers of decoding processes to try.
        formats: each a suffix, a sampling rate in Hz and a number of channels.
        device: where the model computes.
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
                    f"{files} files of {file_seconds:g} s, {suffix}, {rate / 1000:g} kHz, {channels} channels, to a "
                    f"parquet file; backbone of the preset `{preset}`. Memory is that of the main process."
                ]
                path = output / f"folder-{preset}-{suffix}"
                reports.append(
                    write_report(path, measurements, "seconds of audio", [FORMER], notes=notes, device=device)
                )
    return "\n".join(reports)


def make_variants(
    embedder: Embedder, music: Sequence[Path], table: Path, file_seconds: float, workers: Sequence[int]
) -> list[Variant]:
    """The former way, and what `mulap embed` does with so many workers."""
    units = len(music) * file_seconds

    def pipeline(number: int) -> Variant:
        return Variant(
            f"pipeline, {number} workers",
            lambda: write_embeddings(embedder, music, table, workers=number, progress=False),
            units,
        )

    return [Variant(FORMER, lambda: one_by_one(embedder, music, table), units), *map(pipeline, workers)]


def make_files(
    folder: Path, count: int, seconds: float, suffix: str, rate: int, channels: int, clips: int = _CLIPS
) -> list[Path]:
    """Generated music; all but the first `clips` files are links to them."""
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
    """A track at a time through the model, while a thread decodes the next; the table is written at the end."""
    rows = []
    for path, waveform in prefetch((path, load_audio(path, embedder.sampling_rate)) for path in paths):
        chunks = embedder.chunk_features([waveform])[0]
        seconds = len(waveform) / embedder.sampling_rate
        rows.append({"path": str(path), "seconds": seconds, "embedding": chunks.mean(axis=0)})
    pq.write_table(pa.Table.from_pylist(rows), output)
