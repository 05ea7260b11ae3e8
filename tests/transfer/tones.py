"""A prepared dataset of low, middle and high tones, small enough to learn in a second."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf
from helpers import RATE

from mulap_hf.data.schema import AUDIO_TYPE, Task, write_tasks

PITCHES = {"low": 150.0, "middle": 600.0, "high": 2400.0}
TASKS = (
    Task("register", "single_label", ("register",), tuple(PITCHES)),
    Task("sound", "multi_label", ("sound",), ("loud", "quiet", "noisy", "never")),
    Task("pitch", "regression", ("octave", "level")),
)
SIZES = {"train": 30, "validation": 12, "test": 18}


def tone(rng: np.random.Generator, register: str) -> tuple[np.ndarray, dict]:
    seconds = rng.uniform(0.3, 1.2)
    frequency = PITCHES[register] * 2 ** rng.uniform(-0.4, 0.4)
    level, noisy = rng.choice([0.05, 0.4]), bool(rng.random() < 0.5)
    time = np.arange(round(seconds * RATE)) / RATE
    samples = level * np.sin(2 * np.pi * frequency * time)
    samples += rng.normal(0, 0.3 * level if noisy else 1e-4, len(time))
    sound = ["loud" if level > 0.1 else "quiet"] + ["noisy"] * noisy
    # Values far from 0 and of different sizes, as users have them.
    truth = {"octave": 40 + 3 * np.log2(frequency / 150), "level": 1000 * level}
    return samples.astype(np.float32), {"register": register, "sound": sound, **truth}


def flac(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, RATE, format="FLAC")
    return buffer.getvalue()


SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "audio": AUDIO_TYPE,
        "caption": pa.string(),
        "register": pa.string(),
        "sound": pa.list_(pa.string()),
        "octave": pa.float32(),
        "level": pa.float32(),
    }
)


def write_split(folder: Path, split: str, rows: list[dict]):
    """In two shards, as the larger ones are."""
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        pq.write_table(pa.Table.from_pylist(part, SCHEMA), folder / f"{split}-{number:05d}-of-00002.parquet")


def make_rows(split: str, number: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng([seed, len(split)])
    rows = []
    for index in range(number):
        samples, truth = tone(rng, list(PITCHES)[index % 3])
        name = f"{split}-{index:03d}"
        caption = f"a {truth['register']} tone, {' and '.join(truth['sound'])}"
        rows.append(
            {"id": name, "audio": {"bytes": flac(samples), "path": f"{name}.flac"}, "caption": caption} | truth
        )
    return rows


def write_dataset(folder: Path, sizes: dict[str, int] = SIZES, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for split, number in sizes.items():
        write_split(folder, split, make_rows(split, number, seed))
    write_tasks(folder, TASKS)
    return folder
