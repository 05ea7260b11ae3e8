"""Speed of `mulap embed --ray` on this machine alone, compared with the same command without Ray."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..cluster import connect
from ..configuration_mulap import MulapConfig
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
        make_files(Path(folder, "music"), files, file_seconds, "mp3", 44100, 2)
        ray = connect(None)
        for preset in presets:
            model = Path(folder, preset)
            MulapAudioModel(MulapConfig.from_preset(preset).audio_config).save_pretrained(model)
            output_options = ["--output", f"{folder}/embeddings/", "--overwrite"]
            command = ["embed", f"{folder}/music", "--model", str(model), *output_options]
            variants = make_variants(command, ray.get_runtime_context().gcs_address, files * file_seconds)
            measurements = measure(variants, rounds)
            for measurement in measurements:
                measurement.peak_mib = None  # it is that of this process, which only waits
            notes = [
                f"Embedding of {files} files of {file_seconds:g} s (mp3, 44.1 kHz, stereo) by a backbone of preset "
                f"`{preset}`, into a folder of parquet files. Whole commands, with the start of Python, torch and the "
                "model."
            ]
            title = f"Speed of `mulap embed --ray` on one machine, preset {preset}"
            report = make_report(title, measurements, "seconds of audio", [LOCAL], None, notes)
            reports.append(write_report(output / f"cluster-{preset}", report))
        ray.shutdown()
    return "\n".join(reports)


def make_variants(command: Sequence[str], address: str, units: float) -> list[Variant]:
    """Return the variants: without Ray, with a cluster that has to be started, and with one that is running.

    Args:
        command: Arguments of `mulap`.
        address: Of the cluster that is running.
        units: Seconds of audio.
    """

    def run_with(*options: str):
        arguments = [sys.executable, "-m", "mulap_hf.cli", *command, *options]
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{arguments} failed with exit status {done.returncode}: {done.stderr}")

    return [
        Variant(LOCAL, run_with, units),
        Variant("Ray, with the start of its cluster", lambda: run_with("--ray"), units),
        Variant("Ray, its cluster is running", lambda: run_with("--ray", address), units),
    ]
