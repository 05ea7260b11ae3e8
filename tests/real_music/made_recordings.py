"""Notes and tracks in the layout of the benchmark."""

from pathlib import Path

import numpy as np
import scipy
import soundfile as sf
from helpers import RATE

PITCHES = ("C", "Cs", "D", "Ds", "E", "F", "Fs", "G", "Gs", "A", "As", "B")
# Partials of the instruments, and cutoff of the noise of the games: what a probe has to find.
INSTRUMENTS = {"flute": (1.0,), "oboe": (1.0, 0.8, 0.6, 0.6, 0.5), "tuba": (0.1, 1.0)}
GAMES = {"bright": 0.0, "dark": 0.9}


def write_note(path: Path, pitch: int, partials: tuple[float, ...], rng: np.random.Generator):
    time = np.arange(round(0.4 * RATE)) / RATE
    frequency = 220 * 2 ** (pitch / 12)
    tone = sum(level * np.sin(2 * np.pi * frequency * (n + 1) * time) for n, level in enumerate(partials))
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, (0.1 * tone * np.exp(-3 * time) + rng.normal(0, 1e-3, len(time))).astype(np.float32), RATE)


def write_track(path: Path, smoothing: float, rng: np.random.Generator):
    noise = rng.normal(0, 0.1, round(1.5 * RATE))
    hum = 0.2 * np.sin(2 * np.pi * rng.uniform(200, 2000) * np.arange(len(noise)) / RATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, hum + scipy.signal.lfilter([1 - smoothing], [1, -smoothing], noise), RATE)
