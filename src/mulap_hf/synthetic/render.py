"""What all renderers share: their interface, a common loudness for all presets, and which tracks can be heard."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import soxr

from .song import Note, Song, Track

__all__ = [
    "SAMPLING_RATE",
    "Renderer",
    "Rendering",
    "calibration_gain",
    "calibration_track",
    "mix_stems",
    "render",
    "silent_fraction",
]

SAMPLING_RATE = 16_000

_FRAME = 1_600  # 0.1 s
_AUDIBLE_RANGE_DB = 15.0
_AUDIBLE_SHARE = 0.10


class Renderer(Protocol):
    """Turns songs into sound.

    Attributes:
        name: Name in the ground truth.
        sampling_rate: Rate of the stems in Hz.
    """

    name: str
    sampling_rate: int

    def stems(self, tracks: list[Track], duration: float, rng: np.random.Generator) -> np.ndarray:
        """Renders tracks one by one.

        Args:
            tracks: What is played.
            duration: Length in seconds.
            rng: Source of the liberties of the renderer.

        Returns:
            float32 array (tracks, samples); presets are calibrated to a common loudness, and the gains of the tracks
            are applied.
        """
        ...


def calibration_track(instrument: str, program: int) -> Track:
    """A few notes in a usual range, by which the loudness of a preset is measured (1.5 s)."""
    if instrument == "drums":
        pitches = (36, 38, 42)
    elif "bass" in instrument or instrument == "cello":
        pitches = (36, 40, 45)
    else:
        pitches = (57, 64, 72)
    notes = [Note(0.5 * i, 0.5 * i + 0.4, pitch, 90) for i, pitch in enumerate(pitches)]
    return Track("calibration", instrument, program, notes=notes)


def calibration_gain(stem: np.ndarray, is_drums: bool) -> float:
    """Gain that brings a rendered calibration track to the common loudness; limited for presets that barely sound."""
    level = 20 * np.log10(np.sqrt(np.mean(np.square(stem, dtype=np.float64))) + 1e-9)
    target = -29.0 if is_drums else -26.0
    return float(10 ** (np.clip(target - level, -30, 30) / 20))


@dataclass(frozen=True)
class Rendering:
    """A rendered song.

    Attributes:
        audio: Mono float32 at `SAMPLING_RATE`.
        audible: The tracks that can be heard in it.
    """

    audio: np.ndarray
    audible: list[Track]


def _frame_power(signal: np.ndarray, frame: int) -> np.ndarray:
    usable = signal.shape[-1] // frame * frame
    frames = signal[..., :usable].reshape(*signal.shape[:-1], -1, frame)
    return np.einsum("...n,...n->...", frames, frames) / frame


def silent_fraction(audio: np.ndarray, sampling_rate: int = SAMPLING_RATE) -> float:
    """Share of the frames (0.1 s) that lie more than 40 dB under the mean level."""
    power = _frame_power(audio, sampling_rate // 10)
    return float(np.mean(power <= 1e-4 * power.mean() + 1e-12))


def mix_stems(stems: np.ndarray, renderer: Renderer) -> np.ndarray:
    """The sum of the stems of a renderer, at `SAMPLING_RATE`."""
    mix = stems.sum(axis=0)
    if renderer.sampling_rate == SAMPLING_RATE:
        return mix
    return soxr.resample(mix, renderer.sampling_rate, SAMPLING_RATE)


def render(renderer: Renderer, song: Song, rng: np.random.Generator) -> Rendering:
    """Mixes the stems of a song and tells which tracks can be heard.

    A track can be heard if it comes within 15 dB of the mix in at least 10 % of the frames (0.1 s).
    """
    stems = renderer.stems(song.tracks, song.duration, rng)
    frame = renderer.sampling_rate // 10
    stem_power, mix_power = _frame_power(stems, frame), _frame_power(stems.sum(axis=0), frame)
    heard = (stem_power > mix_power * 10 ** (-_AUDIBLE_RANGE_DB / 10)) & (mix_power > 1e-4 * mix_power.mean())
    audible = [track for track, share in zip(song.tracks, heard.mean(axis=1), strict=True) if share >= _AUDIBLE_SHARE]
    return Rendering(mix_stems(stems, renderer), audible)
