"""Handcrafted audio features for the probes: statistics of log-mel, MFCC, chroma and rhythm."""

from functools import cache

import numpy as np
from scipy import fft

__all__ = ["FEATURE_GROUPS", "audio_features", "rotate_chroma"]

_SAMPLING_RATE = 16_000
_HOP = 512
_WINDOW = 1_024
_CHROMA_WINDOW = 4_096
_CHROMA_HOP = 2_048
_NUM_MELS = 64
_NUM_CEPSTRA = 20
_RHYTHM_LAGS = 64  # up to 2 s

FEATURE_GROUPS: dict[str, slice] = {
    "mel": slice(0, 192),  # mean, standard deviation, mean absolute difference of each band
    "mfcc": slice(192, 252),  # the same of each coefficient
    "chroma": slice(252, 276),  # mean, standard deviation of each pitch class
    "rhythm": slice(276, 340),  # autocorrelation of the onset strength
}


def _power_spectrogram(audio: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Power of each frame and frequency: (frames, window // 2 + 1)."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, window)[::hop]
    return np.abs(fft.rfft(frames * np.hanning(window).astype(np.float32), axis=1)) ** 2


@cache
def _mel_filters() -> np.ndarray:
    """Triangular filters on the mel scale: (frequencies, bands)."""
    edges_mel = np.linspace(0, 2595 * np.log10(1 + _SAMPLING_RATE / 2 / 700), _NUM_MELS + 2)
    edges = 700 * (10 ** (edges_mel / 2595) - 1)
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / _SAMPLING_RATE)[:, None]
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - low) / (center - low), (high - frequencies) / (high - center)
    filters = np.maximum(0, np.minimum(rising, falling))
    return (filters / np.maximum(filters.sum(axis=0), 1e-9)).astype(np.float32)


@cache
def _chroma_filters() -> np.ndarray:
    """Assigns the frequencies from 60 Hz to 2 kHz to pitch classes: (frequencies, 12)."""
    frequencies = np.fft.rfftfreq(_CHROMA_WINDOW, 1 / _SAMPLING_RATE)
    usable = (frequencies > 60) & (frequencies < 2000)
    pitches = 69 + 12 * np.log2(np.where(usable, frequencies, 440) / 440)
    filters = np.zeros((len(frequencies), 12), dtype=np.float32)
    for pitch_class in range(12):
        distance = (pitches - pitch_class + 6) % 12 - 6
        filters[:, pitch_class] = usable * np.exp(-0.5 * (distance / 0.35) ** 2)
    return filters


def _statistics(series: np.ndarray) -> list[np.ndarray]:
    return [series.mean(axis=0), series.std(axis=0), np.abs(np.diff(series, axis=0)).mean(axis=0)]


def _chroma(audio: np.ndarray) -> list[np.ndarray]:
    energy = np.sqrt(_power_spectrogram(audio, _CHROMA_WINDOW, _CHROMA_HOP)) @ _chroma_filters()
    chroma = energy / (energy.sum(axis=1, keepdims=True) + 1e-6)
    return [chroma.mean(axis=0), chroma.std(axis=0)]


def _rhythm(log_mel: np.ndarray) -> np.ndarray:
    """Autocorrelation of the onset strength for the lags of one to `_RHYTHM_LAGS` frames."""
    onsets = np.maximum(np.diff(log_mel, axis=0), 0).mean(axis=1)
    onsets -= onsets.mean()
    spectrum = np.abs(fft.rfft(onsets, 2 * len(onsets))) ** 2
    correlation = fft.irfft(spectrum)[: _RHYTHM_LAGS + 1]
    padded = np.zeros(_RHYTHM_LAGS + 1)
    padded[: len(correlation)] = correlation
    return padded[1:] / (correlation[0] + 1e-9)


def audio_features(audio: np.ndarray) -> np.ndarray:
    """Features of a clip of at least 0.5 s at 16 kHz, level removed; the groups are in `FEATURE_GROUPS`."""
    audio = audio / (np.sqrt(np.mean(audio**2)) + 1e-9)
    log_mel = np.log(_power_spectrogram(audio, _WINDOW, _HOP) @ _mel_filters() + 1e-3)
    cepstra = fft.dct(log_mel, axis=1, norm="ortho")[:, 1 : _NUM_CEPSTRA + 1]
    parts = [*_statistics(log_mel), *_statistics(cepstra), *_chroma(audio), _rhythm(log_mel)]
    return np.concatenate(parts).astype(np.float32)


def rotate_chroma(features: np.ndarray, semitones: int) -> np.ndarray:
    """The chroma features of clips (clips, 24) as they would be if the music were transposed."""
    return np.concatenate([np.roll(half, semitones, axis=1) for half in np.split(features, 2, axis=1)], axis=1)
