"""How time and memory grow with the work: longer tracks, more files, larger batches, longer texts, more pairs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

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
from .report import machine

CLIP_SECONDS = 10.0
_IN_PROCESS = "Peak memory of a fresh process and its workers, imports included."
_ABOVE = "Peak memory above what was in use before."
# What is varied, the unit of work, and what is measured.
KINDS = {
    "track": (
        "length of a track (s)",
        "seconds of audio",
        f"`mulap embed` of a flac, 44.1 kHz, stereo. {_IN_PROCESS}",
    ),
    "folder": ("files", "seconds of audio", f"`mulap embed` of mp3s of {CLIP_SECONDS:g} s. {_IN_PROCESS}"),
    "batch": ("clips", "clips", f"`MulapAudioModel` of a batch of clips of {CLIP_SECONDS:g} s. {_ABOVE}"),
    "text": ("tokens", "tokens", f"`MulapModel` of 4 clips of {CLIP_SECONDS:g} s and 4 texts. {_ABOVE}"),
    "pairs": ("clips, and texts", "pairs", f"`MulapModel` of all pairs of clips and texts of 16 tokens. {_ABOVE}"),
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
    """Measures each kind of growth; writes `OUTPUT/growth-KIND-PRESET.*`: a table, the raw numbers and a plot.

    Args:
        output: folder.
        rounds: measurements of each size.
        preset: of `MulapConfig.from_preset`; the weights are random.
        sizes: which kinds, and how much of each, ascending; texts as long as the preset takes them.
        options: of `mulap embed`, for instance `["--workers", "2"]`.
    """
    config = MulapConfig.from_preset(preset)
    reports = []
    for kind, values in sizes.items():
        if kind in ("track", "folder"):
            measurements = embed_in_processes(kind, config, values, rounds, options)
        else:
            with torch.inference_mode():
                measurements = measure(make_variants(kind, config, values), rounds)
        reports.append(write_growth(output / f"growth-{kind}-{preset}", kind, measurements, f"Preset `{preset}`"))
    return "\n".join(reports)


def make_variants(kind: str, config: MulapConfig, sizes: Sequence[int]) -> list[Variant]:
    """Forward passes on random waveforms of `CLIP_SECONDS` and random texts, one variant per size."""
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
    """`mulap embed` of a track of so many seconds, or of so many files: a fresh process each time, interleaved."""
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
    """A minute of generated music, again and again, as stereo at 44.1 kHz."""
    clip = make_clip(CorpusConfig(clip_seconds=min(60.0, seconds)), "train", 0)["audio"]
    samples = soxr.resample(clip, 16000, 44100)
    samples = np.stack([samples, 0.8 * samples], axis=1)
    path.parent.mkdir(parents=True)
    with sf.SoundFile(path, "w", 44100, 2) as file:
        missing = round(seconds * 44100)
        while missing:
            file.write(samples[:missing])
            missing -= min(missing, len(samples))


def write_growth(path: Path, kind: str, measurements: Sequence[Measurement], about: str) -> str:
    """Writes `PATH.md`, `PATH.json` and `PATH.png`; returns the Markdown.

    Args:
        path: without suffix.
        kind: a key of `KINDS`.
        measurements: with the sizes as names, ascending.
        about: a sentence without its full stop, for instance which preset it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    size, unit, what = KINDS[kind]
    sizes = [int(row.name) for row in measurements]
    medians = [median(row.seconds) for row in measurements]
    place = machine()
    text = (
        f"{what} {about}. {place['device']}, {place['threads']} threads, torch {place['torch']}; median (lowest to "
        f"highest) of {len(measurements[0].seconds)} measurements.\n\n"
    )
    if len(sizes) > 1:
        units = [row.units for row in measurements]
        exponent = np.log(medians[-1] / medians[-2]) / np.log(units[-1] / units[-2])
        text += f"Between the last two rows time grows as (number of {unit}) to the power of {exponent:.2f}.\n\n"
    text += markdown_table(
        [size, "seconds", f"{unit} per second", f"ms per 1000 {unit}", "peak memory"],
        [
            [
                row.name,
                f"{middle:.3g} ({min(row.seconds):.3g} to {max(row.seconds):.3g})",
                f"{row.rate:.4g}",
                f"{1e6 * middle / row.units:.4g}",
                None if row.peak_mib is None else f"{row.peak_mib:.0f} MiB",
            ]
            for row, middle in zip(measurements, medians, strict=True)
        ],
    )
    path.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    raw = {"machine": place, "kind": kind, "unit": unit, "sizes": [asdict(row) for row in measurements]}
    path.with_suffix(".json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    plot_growth(path.with_suffix(".png"), measurements, size, unit)
    return text + "\n"


def plot_growth(path: Path, measurements: Sequence[Measurement], size: str, unit: str):
    """Time and memory over the units, both logarithmic, and the line of proportional time through the last point."""
    units = np.array([row.units for row in measurements])
    seconds = np.array([median(row.seconds) for row in measurements])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    left.loglog(units, units * seconds[-1] / units[-1], "--", color="0.6", label="slope one")
    left.loglog(units, seconds, "o-", label="measured")
    left.set(xlabel=unit, ylabel="seconds")
    left.legend()
    right.semilogx(units, [np.nan if row.peak_mib is None else row.peak_mib for row in measurements], "o-")
    right.set(xlabel=unit, ylabel="peak memory, MiB")
    right.set_ylim(bottom=0)
    figure.suptitle(size)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
