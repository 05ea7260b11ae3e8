"""Speed of `mulap embed --ray` on this machine alone, compared with the same command without Ray."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..configuration_mulap import MulapConfig
from ..embedding import Embedder
from ..embedding_files import write_embeddings
from ..embedding_ray import RayEmbedder, connect
from ..modeling_mulap_audio import MulapAudioModel
from .folder import make_files
from .measure import Variant, measure
from .report import make_report, write_report

LOCAL = "without Ray"


def run(output: Path, rounds: int, presets: Sequence[str], files: int = 500, file_seconds: float = 180.0) -> str:
    """Measure the embedding of mp3 files into a folder of parquet files; write `OUTPUT/cluster-PRESET.*`.

    Args:
        output: Folder of the reports.
        rounds: Number of measured rounds.
        presets: Presets of the backbone, see `MulapConfig.from_preset`; the weights are random.
        files: Number of files.
        file_seconds: Length of a file in seconds.

    Returns:
        The Markdown reports.
    """
    reports = []
    with TemporaryDirectory() as folder:
        music = make_files(Path(folder, "music"), files, file_seconds, "mp3", 44100, 2)
        for preset in presets:
            variants = make_variants(preset, music, Path(folder, "embeddings"), files * file_seconds)
            measurements = measure(variants, rounds)
            notes = [
                f"Embedding of {files} files of {file_seconds:g} s (mp3, 44.1 kHz, stereo) by a backbone of preset "
                f"`{preset}`, into a folder of parquet files. With Ray, the model starts in another process in each "
                "run. Memory is that of the main process."
            ]
            title = f"Speed of `mulap embed --ray` on one machine, preset {preset}"
            report = make_report(title, measurements, "seconds of audio", [LOCAL], None, notes)
            reports.append(write_report(output / f"cluster-{preset}", report))
    return "\n".join(reports)


def make_variants(preset: str, music: Sequence[Path], table: Path, units: float) -> list[Variant]:
    """Return the variants: without Ray, with a cluster that is running, and with one that has to be started."""
    model = MulapAudioModel(MulapConfig.from_preset(preset).audio_config)
    workers = min(8, os.cpu_count() or 1)  # as `mulap embed` takes by default

    def embed(embedder: Embedder):
        shutil.rmtree(table, ignore_errors=True)
        report = write_embeddings(embedder, music, f"{table}/", workers=workers, progress=False)
        assert not report.failed

    def start_and_embed():
        connect(None).shutdown()
        embed(RayEmbedder(model, device="cpu"))

    return [
        Variant(LOCAL, lambda: embed(Embedder(model, "cpu")), units),
        Variant("Ray, with the start of its cluster", start_and_embed, units),
        Variant("Ray, its cluster is running", lambda: embed(RayEmbedder(model, device="cpu")), units),
    ]
