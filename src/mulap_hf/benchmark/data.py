"""Speed of the input pipeline of training, compared with the training speed of the models."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from torch.utils.data import DataLoader

from ..configuration_mulap import MulapConfig
from ..data.collator import PreTrainingCollator
from ..data.streams import open_pairs
from ..feature_extraction_mulap import MulapFeatureExtractor
from ..modeling_mulap import MulapForPreTraining
from ..processing_mulap import MulapProcessor
from ..synthetic import CorpusConfig, make_clip
from ..tokenization import train_tokenizer
from .measure import Variant, measure
from .report import make_report, write_report
from .training import make_batch, make_step

CLIP_SECONDS = 20.0
FILE_SECONDS = 60.0
# Audio formats of music catalogs: suffix, sampling rate in Hz, channels.
FORMATS = [("wav", 16000, 1), ("flac", 16000, 1)] + [(suffix, 44100, 2) for suffix in ("wav", "flac", "ogg", "mp3")]
BATCH = 8


def run(
    output: Path,
    rounds: int,
    model_batches: dict[str, int],
    batches: int = 8,
    workers: Sequence[int] = (0, 1, 2),
    file_seconds: float = FILE_SECONDS,
) -> str:
    """Measure the loading of clips from each format and the training of each preset; write `OUTPUT/data.*`.

    Args:
        output: Folder of the report; the audio files go to its subfolder `audio`.
        rounds: Number of measured rounds.
        model_batches: Number of clips per training batch, by preset.
        batches: Number of batches of `BATCH` clips in a measurement.
        workers: Numbers of loading processes to measure.
        file_seconds: Length of the files in seconds.

    Returns:
        The Markdown report.
    """
    variants = [
        Variant(name, make_feed(loader), batches * BATCH)
        for name, loader in make_loaders(output / "audio", batches, workers, file_seconds)
    ]
    models = {}
    for preset, batch in model_batches.items():
        config = MulapConfig.from_preset(preset)
        step = make_step(MulapForPreTraining(config).train(), make_batch(config, batch, CLIP_SECONDS))
        name = f"training of the {preset} model"
        models[name] = Variant(name, step, batch)
    measurements = measure([*variants, *models.values()], rounds)
    notes = [
        f"The input pipeline of training/pretrain.py loads clips of {CLIP_SECONDS:g} s from files of "
        f"{file_seconds:g} s. A speedup above 1 over the training of a model means that the pipeline is not the "
        "bottleneck."
    ]
    report = make_report("Speed of the input pipeline of training", measurements, "clips", list(models), None, notes)
    return write_report(output / "data", report)


def make_loaders(
    folder: Path, batches: int, workers: Sequence[int], file_seconds: float
) -> Iterator[tuple[str, DataLoader]]:
    """Yield the name and the loader of the input pipeline for each format and number of workers."""
    config = CorpusConfig(clip_seconds=file_seconds)
    clips = [make_clip(config, "train", index) for index in range(BATCH)]
    processor = MulapProcessor(MulapFeatureExtractor(), train_tokenizer([clip["caption"] for clip in clips]))
    chunk_length = MulapConfig().audio_config.chunk_length
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
            yield (
                f"{name}, workers={number}",
                DataLoader(
                    open_pairs(place).dataset.shuffle(seed=0, buffer_size=256),
                    batch_size=BATCH,
                    num_workers=number,
                    persistent_workers=number > 0,  # workers start in the warm-up round
                    collate_fn=PreTrainingCollator(
                        processor=processor, chunk_length=chunk_length, clip_seconds=CLIP_SECONDS
                    ),
                ),
            )


def write_audio(path: Path, waveform: np.ndarray, rate: int, channels: int):
    """Write a waveform at 16 kHz, `(samples,)`, at another sampling rate; a second channel has 80 % of the level."""
    samples = soxr.resample(waveform, 16000, rate) if rate != 16000 else waveform
    samples = np.stack([samples, 0.8 * samples][:channels], axis=1)
    with sf.SoundFile(path, "w", rate, channels) as file:
        for start in range(0, len(samples), rate):  # the Ogg encoder of libsndfile crashes on long blocks
            file.write(samples[start : start + rate])


def make_feed(loader: DataLoader) -> Callable[[], object]:
    """Return a function that reads all batches of a loader."""

    def feed():
        for _ in loader:
            pass

    return feed
