"""Measures this machine, variants side by side in one run, and writes a table, the raw numbers and a plot.

python training/benchmark.py data      # does the input pipeline feed clips faster than the models consume them?
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile as sf
import soxr
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from mulap_hf import MulapConfig, MulapFeatureExtractor, MulapForPreTraining, MulapProcessor
from mulap_hf.corpus import CorpusConfig, make_clip
from mulap_hf.data import PreTrainingCollator, open_pairs
from mulap_hf.tokenization import train_tokenizer

CLIP_SECONDS = 20.0
# What catalogues hold, as (suffix, sampling rate, channels).
FORMATS = [("wav", 16000, 1), ("flac", 16000, 1)] + [(suffix, 44100, 2) for suffix in ("wav", "flac", "ogg", "mp3")]
BATCH = 8
MODEL_BATCHES = {"tiny": 8, "published": 2}


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["data"], help="what to measure")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark"), help="folder of the report")
    parser.add_argument("--rounds", type=int, default=5, help="measurements per variant, interleaved; default: 5")
    parser.add_argument("--batches", type=int, default=8, help=f"batches of {BATCH} clips per measurement; default: 8")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="loading processes; default: 0 1 2")
    parser.add_argument(
        "--presets", nargs="+", choices=list(MODEL_BATCHES), default=list(MODEL_BATCHES), help="models to compare with"
    )
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    loaders = make_loaders(args.output / "audio", args.batches, args.workers)
    variants = {f"{name}, {workers} workers": make_feed(loader) for (name, workers), loader in loaders.items()}
    for preset in args.presets:
        variants[f"{preset} model, training"] = make_step(preset, MODEL_BATCHES[preset])
    rates = measure(variants, args.rounds)
    write_report(args.output / "data", rates)


def measure(variants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Clips per second of each variant, one round after the other, after a first that does not count."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    with tqdm(total=(rounds + 1) * len(variants), unit="measurement") as bar:
        for number in range(rounds + 1):
            for name, run in variants.items():
                rate = run()
                if number:
                    rates[name].append(rate)
                bar.update()
    return rates


def make_loaders(folder: Path, batches: int, workers: list[int]) -> dict[tuple[str, int], DataLoader]:
    """The pipeline of `training/pretrain.py` on a minute of music in every format, for every number of workers."""
    config = CorpusConfig(clip_seconds=60.0)
    clips = [make_clip(config, "train", index) for index in range(BATCH)]
    processor = MulapProcessor(MulapFeatureExtractor(), train_tokenizer([clip["caption"] for clip in clips]))
    chunk_length = MulapConfig().audio_config.chunk_length
    loaders = {}
    for suffix, rate, channels in FORMATS:
        name = f"{suffix} {rate / 1000:g} kHz {'stereo' if channels == 2 else 'mono'}"
        place = folder / name.replace(" ", "_")
        place.mkdir(parents=True, exist_ok=True)
        rows = []
        for index, clip in enumerate(clips):
            write_audio(place / f"{index}.{suffix}", clip["audio"], rate, channels)
            rows += [{"file_name": f"{index}.{suffix}", "caption": clip["caption"]}] * batches
        (place / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for number in workers:
            loaders[name, number] = DataLoader(
                open_pairs(place).dataset.shuffle(seed=0, buffer_size=256),
                batch_size=BATCH,
                num_workers=number,
                persistent_workers=number > 0,
                collate_fn=PreTrainingCollator(
                    processor=processor, chunk_length=chunk_length, clip_seconds=CLIP_SECONDS
                ),
            )
    return loaders


def write_audio(path: Path, waveform: np.ndarray, rate: int, channels: int):
    samples = soxr.resample(waveform, 16000, rate) if rate != 16000 else waveform
    samples = np.stack([samples, 0.8 * samples][:channels], axis=1)
    with sf.SoundFile(path, "w", rate, channels) as file:
        for start in range(0, len(samples), rate):  # libsndfile's ogg encoder crashes on long blocks
            file.write(samples[start : start + rate])


def make_feed(loader: DataLoader) -> Callable[[], float]:
    def feed() -> float:
        started = time.perf_counter()  # persistent workers have started in the round that does not count
        clips = sum(len(batch["ids"]) for batch in loader)
        return clips / (time.perf_counter() - started)

    return feed


def make_step(preset: str, batch: int) -> Callable[[], float]:
    """Training steps on clips of `CLIP_SECONDS`: forward, backward, optimiser."""
    model = MulapForPreTraining(MulapConfig.from_preset(preset)).train()
    optimizer = torch.optim.AdamW(model.parameters())
    samples = round(CLIP_SECONDS * model.config.audio_config.sampling_rate)
    chunks = samples // model.config.audio_config.chunk_length
    inputs = {
        "input_values": torch.randn(batch, samples) * 0.1,
        "input_ids": torch.randint(5, 1000, (batch, 24)),
        "masked_chunks": torch.rand(batch, chunks) < 0.15,
        "matching_labels": torch.arange(batch) % 2,
    }
    inputs["mlm_labels"] = torch.where(torch.rand(batch, 24) < 0.15, inputs["input_ids"], -100)

    def step() -> float:
        started = time.perf_counter()
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return batch / (time.perf_counter() - started)

    return step


def write_report(path: Path, rates: dict[str, list[float]]):
    """`PATH.md`, `PATH.json` and `PATH.png`: medians with their spread, and ratios to what the models consume."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    models = [name for name in rates if name.endswith("training")]
    heads = [f"x {name.split()[0]}" for name in models]
    lines = [
        f"Clips of {CLIP_SECONDS:g} s per second on {torch.get_num_threads()} cores: median (lowest to highest) of "
        f"{len(next(iter(rates.values())))} interleaved rounds, and the ratio to each model's own rate in training.",
        "",
        f"| variant | clips/s | {' | '.join(heads)} |",
        "|---|---|" + "---|" * len(heads),
    ]
    for name, values in rates.items():
        ratios = " | ".join(f"{medians[name] / medians[model]:.1f}" for model in models)
        lines.append(f"| {name} | {medians[name]:.1f} ({min(values):.1f} to {max(values):.1f}) | {ratios} |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    raw = {"clip_seconds": CLIP_SECONDS, "clips_per_second": rates}
    path.with_suffix(".json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    figure, axes = plt.subplots(figsize=(9, 0.3 * len(rates) + 1.2))
    names = list(rates)[::-1]
    colours = ["tab:orange" if name in models else "tab:blue" for name in names]
    axes.barh(names, [medians[name] for name in names], color=colours)
    for name in models:
        axes.axvline(medians[name], color="tab:orange", linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlabel(f"clips of {CLIP_SECONDS:g} s per second (log scale); dashed: what the models consume")
    figure.tight_layout()
    figure.savefig(path.with_suffix(".png"), dpi=120)
    print("\n".join(lines))
    print(f"Written to {path}.md, .json and .png")


if __name__ == "__main__":
    main()
