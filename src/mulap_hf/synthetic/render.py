"""Rendering of songs: the `Renderer` interface, loudness calibration of presets, mixing, and audibility of tracks."""

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
    "to_corpus_rate",
]

SAMPLING_RATE = 16_000

_FRAME = 1_600  # 0.1 s
_AUDIBLE_RANGE_DB = 15.0
_AUDIBLE_FRACTION = 0.10


class Renderer(Protocol):
    """Interface of the renderers, which turn tracks into audio.

    Attributes:
        name: Name in the ground truth.
        sampling_rate: Sampling rate of the stems in Hz.
    """

    name: str
    sampling_rate: int

    def stems(self, tracks: list[Track], duration: float, rng: np.random.Generator) -> np.ndarray:
        """Render each track to its own stem.

        Args:
            tracks: Tracks with their notes.
            duration: Length in seconds.
            rng: Random generator of the variations of the sound.

        Returns:
            float32 array `(tracks, samples)`. All presets have the same calibrated loudness; the gains of the tracks
            are applied.
        """
        ...

    def can_play(self, track: Track) -> bool:
        """Return whether the renderer has the preset of the track; otherwise it plays a similar one."""
        ...


def calibration_track(instrument: str, program: int) -> Track:
    """Return 1.5 s of notes in a typical range, for measuring the loudness of a preset."""
    if instrument == "drums":
        pitches = (36, 38, 42)
    elif "bass" in instrument or instrument == "cello":
        pitches = (36, 40, 45)
    else:
        pitches = (57, 64, 72)
    notes = [Note(0.5 * i, 0.5 * i + 0.4, pitch, 90) for i, pitch in enumerate(pitches)]
    return Track("calibration", instrument, program, notes=notes)


def calibration_gain(stem: np.ndarray, is_drums: bool) -> float:
    """Return the gain from a rendered calibration track to the common loudness, limited to +-30 dB."""
    level = 20 * np.log10(np.sqrt(np.mean(np.square(stem, dtype=np.float64))) + 1e-9)
    target = -29.0 if is_drums else -26.0
    return float(10 ** (np.clip(target - level, -30, 30) / 20))


@dataclass(frozen=True)
class Rendering:
    """A rendered song.

    Attributes:
        stems: Float32 audio of each track at the sampling rate of the renderer, `(tracks, samples)`.
        audio: Mono float32 mix at `SAMPLING_RATE`, `(samples,)`.
        audible: The audible tracks, see `render`.
    """

    stems: np.ndarray
    audio: np.ndarray
    audible: list[Track]


def _frame_power(signal: np.ndarray, frame: int) -> np.ndarray:
    usable = signal.shape[-1] // frame * frame
    frames = signal[..., :usable].reshape(*signal.shape[:-1], -1, frame)
    return np.einsum("...n,...n->...", frames, frames) / frame


def silent_fraction(audio: np.ndarray, sampling_rate: int = SAMPLING_RATE) -> float:
    """Return the fraction of frames (0.1 s) that lie more than 40 dB below the mean power."""
    power = _frame_power(audio, sampling_rate // 10)
    return float(np.mean(power <= 1e-4 * power.mean() + 1e-12))


def mix_stems(stems: np.ndarray, renderer: Renderer) -> np.ndarray:
    """Return the sum of the stems of a renderer, resampled to `SAMPLING_RATE`: `(samples,)`."""
    return to_corpus_rate(stems.sum(axis=0), renderer.sampling_rate)


def to_corpus_rate(audio: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Return audio `(samples,)` resampled to `SAMPLING_RATE`."""
    return audio if sampling_rate == SAMPLING_RATE else soxr.resample(audio, sampling_rate, SAMPLING_RATE)


def render(renderer: Renderer, song: Song, rng: np.random.Generator) -> Rendering:
    """Render a song, and determine its audible tracks.

    A track is audible if its power is within 15 dB of the power of the mix in at least 10 % of the frames (0.1 s).
    """
    stems = renderer.stems(song.tracks, song.duration, rng)
    frame = renderer.sampling_rate // 10
    stem_power, mix_power = _frame_power(stems, frame), _frame_power(stems.sum(axis=0), frame)
    present = (stem_power > mix_power * 10 ** (-_AUDIBLE_RANGE_DB / 10)) & (mix_power > 1e-4 * mix_power.mean())
    audible = present.mean(axis=1) >= _AUDIBLE_FRACTION
    return Rendering(stems, mix_stems(stems, renderer), [song.tracks[index] for index in np.flatnonzero(audible)])
