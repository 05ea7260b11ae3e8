"""The input pipeline beside the models that consume what it delivers."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from torch.utils.data import DataLoader

from ..configuration_mulap import MulapConfig
from ..data import PreTrainingCollator, open_pairs
from ..feature_extraction_mulap import MulapFeatureExtractor
from ..modeling_mulap import MulapForPreTraining
from ..processing_mulap import MulapProcessor
from ..synthetic import CorpusConfig, make_clip
from ..tokenization import train_tokenizer
from .measure import Variant, measure
from .report import write_report
from .training import make_batch, make_step

CLIP_SECONDS = 20.0
FILE_SECONDS = 60.0
# What catalogs hold, as (suffix, sampling rate, channels).
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
    """Clips per second from files of every format, and of every preset's training; writes `OUTPUT/data.*`.

    Args:
        output: folder; the audio files are put into its `audio/`.
        rounds: measurements of each.
        model_batches: clips in a training batch of each preset.
        batches: batches of `BATCH` clips in a measurement.
        workers: numbers of loading processes to try.
        file_seconds: length of the files.
    """
    variants = [
        Variant(name, make_feed(loader), batches * BATCH)
        for name, loader in make_loaders(output / "audio", batches, workers, file_seconds)
    ]
    models = {}
    for preset, batch in model_batches.items():
        config = MulapConfig.from_preset(preset)
        step = make_step(MulapForPreTraining(config).train(), make_batch(config, batch, CLIP_SECONDS))
        models[f"{preset} model, training"] = Variant(f"{preset} model, training", step, batch)
    measurements = measure([*variants, *models.values()], rounds)
    notes = [
        f"Clips of {CLIP_SECONDS:g} s from files of {file_seconds:g} s through the pipeline of training/pretrain.py, "
        "and what the models consume in training."
    ]
    return write_report(output / "data", measurements, "clips", list(models), notes=notes)


def make_loaders(
    folder: Path, batches: int, workers: Sequence[int], file_seconds: float
) -> Iterator[tuple[str, DataLoader]]:
    """The pipeline of `training/pretrain.py` on music in every format, for every number of workers."""
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
                f"{name}, {number} workers",
                DataLoader(
                    open_pairs(place).dataset.shuffle(seed=0, buffer_size=256),
                    batch_size=BATCH,
                    num_workers=number,
                    persistent_workers=number > 0,  # they start in the round that does not count
                    collate_fn=PreTrainingCollator(
                        processor=processor, chunk_length=chunk_length, clip_seconds=CLIP_SECONDS
                    ),
                ),
            )


def write_audio(path: Path, waveform: np.ndarray, rate: int, channels: int):
    """Writes 16 kHz mono `(samples,)` at another rate, and with the second channel at 80 %."""
    samples = soxr.resample(waveform, 16000, rate) if rate != 16000 else waveform
    samples = np.stack([samples, 0.8 * samples][:channels], axis=1)
    with sf.SoundFile(path, "w", rate, channels) as file:
        for start in range(0, len(samples), rate):  # libsndfile's ogg encoder crashes on long blocks
            file.write(samples[start : start + rate])


def make_feed(loader: DataLoader) -> Callable[[], object]:
    def feed():
        for _ in loader:
            pass

    return feed
