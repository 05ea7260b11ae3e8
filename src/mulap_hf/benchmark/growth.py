"""Growth of time and memory with the length of a track, the number of files, and the sizes of batches and texts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile as sf
import soxr
import torch
from tqdm import tqdm

from ..configuration_mulap import MulapConfig
from ..files import markdown_table
from ..modeling_mulap import MulapModel
from ..modeling_mulap_audio import MulapAudioModel
from ..synthetic import CorpusConfig, make_clip
from .folder import make_files
from .measure import Measurement, Variant, measure
from .processes import run_embed
from .report import machine, plain_log_ticks

CLIP_SECONDS = 10.0
_PROCESS = "the memory of a new process and its workers, including imports"
_INCREASE = "the increase over the memory in use before the forward pass"


@dataclass(frozen=True)
class Kind:
    """One kind of growth.

    Attributes:
        size: The quantity that varies.
        unit: Unit of work in the plural.
        what: A sentence about the measured computation.
        memory: The definition of the peak memory.
    """

    size: str
    unit: str
    what: str
    memory: str


KINDS = {
    "track": Kind(
        "length of the track (s)",
        "seconds of audio",
        "`mulap embed` embeds one FLAC file (44.1 kHz, stereo) of increasing length.",
        _PROCESS,
    ),
    "folder": Kind(
        "number of files",
        "seconds of audio",
        f"`mulap embed` embeds a folder of MP3 files of {CLIP_SECONDS:g} s each.",
        _PROCESS,
    ),
    "batch": Kind(
        "clips in a batch",
        "clips",
        f"`MulapAudioModel` embeds a batch of clips of {CLIP_SECONDS:g} s each.",
        _INCREASE,
    ),
    "text": Kind(
        "tokens in a text",
        "tokens",
        f"`MulapModel` scores 4 clips of {CLIP_SECONDS:g} s against 4 texts of increasing length.",
        _INCREASE,
    ),
    "pairs": Kind(
        "number of clips and of texts",
        "pairs",
        f"`MulapModel` scores all pairs of clips of {CLIP_SECONDS:g} s and texts of 16 tokens.",
        _INCREASE,
    ),
}
SIZES = {
    "track": (10, 60, 600, 3600, 7200),
    "folder": (10, 100, 1000, 10_000),
    "batch": (1, 2, 4, 8, 16, 32, 64),
    "text": (8, 16, 32, 64, 128, 256, 512),
    "pairs": (1, 2, 4, 8, 16, 32),
}


def run(
    output: Path,
    rounds: int,
    preset: str = "tiny",
    sizes: Mapping[str, Sequence[int]] = SIZES,
    options: Sequence[str] = (),
) -> str:
    """Measure each kind of growth; write `OUTPUT/growth-KIND-PRESET.*`.

    Args:
        output: Folder of the reports.
        rounds: Number of measurements of each size.
        preset: Preset of the model, see `MulapConfig.from_preset`; the weights are random.
        sizes: Ascending sizes by kind; texts that are too long for the preset are skipped.
        options: Options of `mulap embed`, for example `["--workers", "2"]`.

    Returns:
        The Markdown reports.
    """
    config = MulapConfig.from_preset(preset)
    reports = []
    for kind, values in sizes.items():
        if kind in ("track", "folder"):
            measurements = embed_in_processes(kind, config, values, rounds, options)
        else:
            with torch.inference_mode():
                measurements = measure(make_variants(kind, config, values), rounds)
        report = make_growth_report(kind, preset, measurements)
        reports.append(write_growth(output / f"growth-{kind}-{preset}", report))
    return "\n".join(reports)


def make_variants(kind: str, config: MulapConfig, sizes: Sequence[int]) -> list[Variant]:
    """Return forward passes on random waveforms of `CLIP_SECONDS` and random texts, one variant per size."""
    model = MulapModel(config).eval()
    samples = round(CLIP_SECONDS * config.audio_config.sampling_rate)

    def clips(count: int) -> torch.Tensor:
        return 0.1 * torch.randn(count, samples)

    def texts(count: int, tokens: int) -> torch.Tensor:
        return torch.randint(5, config.text_config.vocab_size, (count, tokens))

    if kind == "text":
        audio, longest = clips(4), config.text_config.max_position_embeddings
        inputs = {
            size: (model, {"input_values": audio, "input_ids": texts(4, size)}) for size in sizes if size <= longest
        }
        units = dict(zip(inputs, inputs, strict=True))
    elif kind == "pairs":
        inputs = {size: (model, {"input_values": clips(size), "input_ids": texts(size, 16)}) for size in sizes}
        units = {size: size**2 for size in sizes}
    else:
        inputs = {size: (model.audio_model, {"input_values": clips(size)}) for size in sizes}
        units = dict(zip(sizes, sizes, strict=True))
    return [
        Variant(str(size), lambda module=module, tensors=tensors: module(**tensors), units[size])
        for size, (module, tensors) in inputs.items()
    ]


def embed_in_processes(
    kind: str, config: MulapConfig, sizes: Sequence[int], rounds: int, options: Sequence[str] = ()
) -> list[Measurement]:
    """Measure `mulap embed` on a track or a folder of each size, in interleaved rounds, each in a new process."""
    measurements = []
    with TemporaryDirectory() as folder:
        MulapAudioModel(config.audio_config).save_pretrained(Path(folder, "model"))
        for size in sizes:
            place = Path(folder, str(size))
            if kind == "track":
                make_track(place / "track.flac", size)
                measurements.append(Measurement(str(size), size))
            else:
                make_files(place, size, CLIP_SECONDS, "mp3", 44100, 2)
                measurements.append(Measurement(str(size), size * CLIP_SECONDS))
        with tqdm(total=rounds * len(sizes), unit="measurement") as bar:
            for number in range(rounds):
                for measurement in measurements:
                    music, table = Path(folder, measurement.name), Path(folder, f"{number}-{measurement.name}.parquet")
                    seconds, peak = run_embed(music, "--model", Path(folder, "model"), "--output", table, *options)
                    measurement.seconds.append(seconds)
                    if peak is not None:
                        measurement.peak_mib = max(peak, measurement.peak_mib or 0.0)
                    bar.update()
    return measurements


def make_track(path: Path, seconds: float):
    """Write a stereo track at 44.1 kHz that repeats a minute of generated music."""
    clip = make_clip(CorpusConfig(clip_seconds=min(60.0, seconds)), "train", 0)["audio"]
    samples = soxr.resample(clip, 16000, 44100)
    samples = np.stack([samples, 0.8 * samples], axis=1)
    path.parent.mkdir(parents=True)
    with sf.SoundFile(path, "w", 44100, 2) as file:
        missing = round(seconds * 44100)
        while missing:
            file.write(samples[:missing])
            missing -= min(missing, len(samples))


def make_growth_report(kind: str, preset: str, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return a report as JSON values.

    Args:
        kind: A key of `KINDS`.
        preset: Preset of the model.
        measurements: One per size, with the size as name, in ascending order.
    """
    return {
        "machine": machine(),
        "kind": kind,
        "preset": preset,
        "unit": KINDS[kind].unit,
        "sizes": [asdict(measurement) for measurement in measurements],
    }


def write_growth(path: Path, report: Mapping[str, Any]) -> str:
    """Write a report to `PATH.json`, `PATH.md` and `PATH.png`; return the Markdown page.

    Args:
        path: Path without suffix.
        report: The result of `make_growth_report`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = render_growth(report)
    path.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    plot_growth(path.with_suffix(".png"), report)
    return text


def render_growth(report: Mapping[str, Any]) -> str:
    """Return the Markdown page of a report."""
    kind, about = KINDS[report["kind"]], report["machine"]
    rows = [Measurement(**row) for row in report["sizes"]]
    medians = [median(row.seconds) for row in rows]
    table = markdown_table(
        [kind.size, "seconds", f"{kind.unit} per second", f"ms per 1,000 {kind.unit}", "peak memory"],
        [
            [
                row.name,
                f"{middle:.3g} ({min(row.seconds):.3g} to {max(row.seconds):.3g})",
                f"{row.rate:.4g}",
                f"{1e6 * middle / row.units:,.0f}",
                None if row.peak_mib is None else f"{row.peak_mib:.0f} MiB",
            ]
            for row, middle in zip(rows, medians, strict=True)
        ],
    )
    sections = [
        f"# Growth of time and memory: {kind.size}",
        f"{kind.what} The model has the preset `{report['preset']}` and random weights.",
    ]
    if len(rows) > 1:
        exponent = np.log(medians[-1] / medians[-2]) / np.log(rows[-1].units / rows[-2].units)
        sections.append(
            f"Between the last two rows, the time grows with the number of {kind.unit} to the power of {exponent:.2f}."
        )
    items = (
        f"* Machine: {about['device']}, {about['threads']} threads, torch {about['torch']}.\n"
        f"* Times are medians over {len(rows[0].seconds)} measurements. In brackets: the lowest and the highest.\n"
        f"* Peak memory is {kind.memory}."
    )
    return "\n\n".join([*sections, table, items]) + "\n"


def plot_growth(path: Path, report: Mapping[str, Any]):
    """Plot time and memory over the amount of work, beside linear growth through the last measurement."""
    kind, rows = KINDS[report["kind"]], [Measurement(**row) for row in report["sizes"]]
    units = np.array([row.units for row in rows])
    seconds = np.array([median(row.seconds) for row in rows])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    left.loglog(units, units * seconds[-1] / units[-1], "--", color="0.6", label="linear growth")
    left.loglog(units, seconds, "o-", label="measured")
    left.set(xlabel=kind.unit, ylabel="time (s)")
    left.legend()
    right.semilogx(units, [np.nan if row.peak_mib is None else row.peak_mib for row in rows], "o-")
    right.set(xlabel=kind.unit, ylabel="peak memory (MiB)")
    right.set_ylim(0, 1.1 * right.get_ylim()[1])
    for axis in (left.xaxis, left.yaxis, right.xaxis):
        plain_log_ticks(axis)
    figure.suptitle(f"{kind.size}, preset {report['preset']}")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
