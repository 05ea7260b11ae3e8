"""Handcrafted features of a track: statistics of log-mel, MFCC, chroma and onsets, with nothing learned."""

from collections.abc import Callable
from functools import cache

import numpy as np
import scipy  # its parts load when they are used

__all__ = ["FEATURE_GROUPS", "handcrafted_features", "rotate_chroma"]

_SAMPLING_RATE = 16_000
_HOP = 512
_WINDOW = 1_024
_CHROMA_WINDOW = 4_096
_CHROMA_HOP = 2_048
_NUM_MELS = 64
_NUM_CEPSTRA = 20
_RHYTHM_LAGS = 64  # up to 2 s
_BLOCK = 256  # frames that are transformed at once
# An onset is a peak of the onset strength this far above what lies within half a second of it: white noise has one in
# ten seconds.
_ONSET_PROMINENCE = 0.3
_ONSET_NEIGHBORS = 33  # frames

FEATURE_GROUPS: dict[str, slice] = {
    "mel": slice(0, 192),  # mean, standard deviation, mean absolute difference of each band
    "mfcc": slice(192, 252),  # the same of each coefficient
    "chroma": slice(252, 276),  # mean, standard deviation of each pitch class
    "rhythm": slice(276, 340),  # autocorrelation of the onset strength: peaks at the beat and its multiples
    "onsets": slice(340, 343),  # mean, standard deviation of the onset strength; onsets per second
}


def _power_spectrogram(
    waveform: np.ndarray, level: float, window: int, hop: int, reduce: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Apply `reduce` to the power spectrogram, (frames, window // 2 + 1), of the waveform scaled to a level of 1."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, window)[::hop]
    taper = (np.hanning(window) / level).astype(np.float32)
    blocks = (frames[start : start + _BLOCK] * taper for start in range(0, len(frames), _BLOCK))
    return np.concatenate([reduce(np.abs(scipy.fft.rfft(block, axis=1)) ** 2) for block in blocks])


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
    """Weights of the frequencies from 60 Hz to 2 kHz for each pitch class: (frequencies, 12)."""
    frequencies = np.fft.rfftfreq(_CHROMA_WINDOW, 1 / _SAMPLING_RATE)
    usable = (frequencies > 60) & (frequencies < 2000)
    pitches = 69 + 12 * np.log2(np.where(usable, frequencies, 440) / 440)
    filters = np.zeros((len(frequencies), 12), dtype=np.float32)
    for pitch_class in range(12):
        distance = (pitches - pitch_class + 6) % 12 - 6
        filters[:, pitch_class] = usable * np.exp(-0.5 * (distance / 0.35) ** 2)
    return filters


def _mean(series: np.ndarray) -> np.ndarray:
    return series.mean(axis=0, dtype=np.float64)  # numpy adds float32 rows one by one, and an hour has 100,000


def _deviation(series: np.ndarray) -> np.ndarray:
    return series.std(axis=0, dtype=np.float64)


def _statistics(series: np.ndarray) -> list[np.ndarray]:
    return [_mean(series), _deviation(series), _mean(np.abs(np.diff(series, axis=0)))]


def _log_mel(power: np.ndarray) -> np.ndarray:
    return np.log(power @ _mel_filters() + 1e-3)


def _chroma(power: np.ndarray) -> np.ndarray:
    energy = np.sqrt(power) @ _chroma_filters()
    return energy / (energy.sum(axis=1, keepdims=True) + 1e-6)


def _rhythm(onsets: np.ndarray) -> np.ndarray:
    """Autocorrelation of the onset strength for the lags of one to `_RHYTHM_LAGS` frames."""
    onsets = onsets - onsets.mean()
    spectrum = np.abs(scipy.fft.rfft(onsets, 2 * len(onsets))) ** 2
    correlation = scipy.fft.irfft(spectrum)[: _RHYTHM_LAGS + 1]
    padded = np.zeros(_RHYTHM_LAGS + 1)
    padded[: len(correlation)] = correlation
    return padded[1:] / (correlation[0] + 1e-9)


def _onset_statistics(onsets: np.ndarray) -> np.ndarray:
    peaks, _ = scipy.signal.find_peaks(onsets, prominence=_ONSET_PROMINENCE, wlen=_ONSET_NEIGHBORS)
    return np.array([onsets.mean(), onsets.std(), len(peaks) / (len(onsets) * _HOP / _SAMPLING_RATE)])


def handcrafted_features(waveform: np.ndarray, sampling_rate: int = _SAMPLING_RATE) -> np.ndarray:
    """Features of a track, independent of its level; their groups are in `FEATURE_GROUPS`.

    Frames of 64 ms every 32 ms, for chroma 256 ms every 128 ms. Onset strength is the mean increase of the log-mel
    bands (spectral flux: Böck et al., "Evaluating the online capabilities of onset detection methods", ISMIR 2012,
    section 2).

    Args:
        waveform: `(samples,)`, mono; padded with silence if shorter than a chroma frame. An hour takes 120 MB in
            addition to the waveform.
        sampling_rate: Sampling rate of the waveform in Hz.

    Returns:
        `(features,)`, float32; finite also for silence.

    Raises:
        ValueError: The rate is not 16 kHz, or the waveform is not mono, is empty, or is not finite.
    """
    if sampling_rate != _SAMPLING_RATE:
        raise ValueError(f"sampling_rate={sampling_rate}: handcrafted features take {_SAMPLING_RATE} Hz; resample it")
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 1 or waveform.size == 0 or not np.isfinite(waveform).all():
        raise ValueError(
            f"waveform of shape {waveform.shape}: handcrafted features take (samples,), mono, not empty, all finite"
        )
    level = np.sqrt(np.einsum("i,i", waveform, waveform, dtype=np.float64) / len(waveform)) + 1e-9
    if len(waveform) < _CHROMA_WINDOW:
        waveform = np.pad(waveform, (0, _CHROMA_WINDOW - len(waveform)))
    log_mel = _power_spectrogram(waveform, level, _WINDOW, _HOP, _log_mel)
    cepstra = scipy.fft.dct(log_mel, axis=1, norm="ortho")[:, 1 : _NUM_CEPSTRA + 1]
    chroma = _power_spectrogram(waveform, level, _CHROMA_WINDOW, _CHROMA_HOP, _chroma)
    onsets = np.maximum(np.diff(log_mel, axis=0), 0).mean(axis=1)
    parts = [
        *_statistics(log_mel),
        *_statistics(cepstra),
        _mean(chroma),
        _deviation(chroma),
        _rhythm(onsets),
        _onset_statistics(onsets),
    ]
    return np.concatenate(parts).astype(np.float32)


def rotate_chroma(features: np.ndarray, semitones: int) -> np.ndarray:
    """Chroma features of clips, (clips, 24), after a transposition of the music."""
    return np.concatenate([np.roll(half, semitones, axis=1) for half in np.split(features, 2, axis=1)], axis=1)
