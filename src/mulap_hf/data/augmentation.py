"""Augmented views of a clip, for contrastive training."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch

# What stays more than 60 dB under the loudest sample counts as silence.
_AUDIBLE = 1e-3
# 64 ms at 16 kHz with 75 % overlap: shorter windows blur the bass, longer ones the onsets.
_WINDOW, _HOP = 1024, 256
_FILTERS = ("low_pass", "high_pass", "band_pass")


@dataclass
class Augmentation:
    """A random view of a clip (the chain of CLMR: Spijkervet & Burgoyne, ISMIR 2021, section 3, without its delay and
    reverb).

    A random part of the clip, then, each with its own probability and in this order: pitch shift, filter, noise,
    inverted polarity, gain. Numbers are drawn uniformly from their ranges.

    The pitch shift keeps tempo and level: a phase vocoder stretches the clip, which is then resampled to its length
    by a ratio of small integers, at most 9 cents off. It softens onsets, as `torchaudio.functional.pitch_shift` does,
    which takes seconds because it resamples by the ratio of two large sampling rates. A mere change of speed would
    take 1 ms, but train the model to ignore tempo. A view of 9 s at 16 kHz takes 8 ms of one thread on average, of
    which the pitch shift takes 17 ms in three views of ten.

    Attributes:
        sampling_rate: of the clips, in Hz.
        pitch: probability of a pitch shift.
        pitch_semitones: by how much.
        filter: probability of a filter of 12 dB per octave: low-pass, high-pass or band-pass (two octaves wide),
            equally likely. One that would leave nothing audible is left out.
        low_pass_hertz: its cutoff.
        high_pass_hertz: its cutoff.
        band_pass_hertz: its center.
        noise: probability of white noise.
        noise_decibels: signal-to-noise ratio.
        polarity: probability of inverted polarity.
        gain: probability of another level.
        gain_decibels: by how much.

    Raises:
        ValueError: a probability is outside 0 to 1, a range is upside down, or a frequency is outside 0 to half the
            sampling rate.
        ImportError: torchaudio, which the pitch shift and the filters need, cannot be imported.
    """

    sampling_rate: int = 16000
    pitch: float = 0.3
    pitch_semitones: tuple[float, float] = (-5.0, 5.0)
    filter: float = 0.5
    low_pass_hertz: tuple[float, float] = (2200.0, 4000.0)
    high_pass_hertz: tuple[float, float] = (200.0, 1200.0)
    band_pass_hertz: tuple[float, float] = (400.0, 2000.0)
    noise: float = 0.3
    noise_decibels: tuple[float, float] = (15.0, 50.0)
    polarity: float = 0.5
    gain: float = 0.5
    gain_decibels: tuple[float, float] = (-12.0, 0.0)

    def __post_init__(self):
        for name, value in vars(self).items():
            if isinstance(value, (tuple, list)):
                if not value[0] <= value[1]:
                    raise ValueError(f"{name}={value} must be (lowest, highest)")
                if name.endswith("_hertz") and not 0 < value[0] <= value[1] < self.sampling_rate / 2:
                    raise ValueError(f"{name}={value} must lie within 0 and half of {self.sampling_rate} Hz")
            elif name != "sampling_rate" and not 0 <= value <= 1:
                raise ValueError(f"{name}={value} is a probability: 0 to 1")
        if self.pitch or self.filter:
            _torchaudio()  # here, once, rather than in every worker

    def __call__(self, clip: np.ndarray, rng: np.random.Generator, samples: int) -> np.ndarray:
        """A view of a clip; a clip that is not silent gives no silent view.

        Args:
            clip: `(any number of samples,)`, mono, finite, in [-1, 1]. One shorter than the view is repeated: silence
                in its place would tell which views are of the same clip by its length alone.
            rng: of everything random.
            samples: length of the view.

        Returns:
            `(samples,)`, float32; peaks may exceed those of the clip.

        Raises:
            ValueError: the clip is not mono, empty, or not finite.
        """
        if clip.ndim != 1 or clip.size == 0 or not np.isfinite(clip).all():
            raise ValueError(f"clip of shape {clip.shape}: augmentation takes (samples,), mono, not empty, all finite")
        view = _crop(clip, rng, samples).astype(np.float32)  # a copy
        if rng.random() < self.pitch:
            view = shift_pitch(view, rng.uniform(*self.pitch_semitones))
        if rng.random() < self.filter:
            view = self._filter(view, rng)
        if rng.random() < self.noise:
            view = _add_noise(view, rng.uniform(*self.noise_decibels), rng)
        if rng.random() < self.polarity:
            view = -view
        if rng.random() < self.gain:
            view = view * np.float32(10 ** (rng.uniform(*self.gain_decibels) / 20))
        return view

    def weakened(self, strength: float) -> "Augmentation":
        """This augmentation with other probabilities of pitch shifts, filters and noise.

        Args:
            strength: factor on them, 0 to 1; level and polarity stay.
        """
        names = ("pitch", "filter", "noise")
        return replace(self, **{name: strength * getattr(self, name) for name in names})

    def _filter(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        kind = _FILTERS[rng.integers(len(_FILTERS))]
        frequency = rng.uniform(*getattr(self, f"{kind}_hertz"))
        biquad = getattr(_torchaudio(), f"{kind.replace('_', '')}_biquad")
        # torchaudio clips what filters give to [-1, 1]: a filtered peak may be higher.
        filtered = biquad(torch.from_numpy(view / 8), self.sampling_rate, frequency).numpy() * 8
        return filtered if np.abs(filtered).max() > _AUDIBLE * np.abs(view).max() else view


def shift_pitch(clip: np.ndarray, semitones: float) -> np.ndarray:
    """`(samples,)`, float32, at another pitch (at most 9 cents off), at the same tempo and level.

    Raises:
        ImportError: torchaudio cannot be imported.
    """
    ratio = Fraction(2 ** (semitones / 12)).limit_denominator(100)
    longer = _vocode(clip, float(1 / ratio))
    return _fit(_torchaudio().resample(longer, ratio.numerator, ratio.denominator), len(clip), clip)


def change_tempo(clip: np.ndarray, factor: float) -> np.ndarray:
    """`(samples,)`, float32, becomes `(samples / factor,)` of the same pitch and level; a factor over 1 is faster.

    Raises:
        ImportError: torchaudio cannot be imported.
    """
    return _fit(_vocode(clip, factor), max(1, round(len(clip) / factor)), clip)


def _vocode(clip: np.ndarray, factor: float) -> torch.Tensor:
    """At another tempo, at a lower level, and up to a window shorter than it should be."""
    samples = torch.from_numpy(np.pad(clip, (0, max(0, _WINDOW - len(clip)))))
    window = torch.hann_window(_WINDOW)
    spectrum = torch.stft(samples, _WINDOW, _HOP, window=window, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, np.pi * _HOP, _WINDOW // 2 + 1)[:, None]
    return torch.istft(_torchaudio().phase_vocoder(spectrum, factor, advance), _WINDOW, _HOP, window=window)


def _fit(vocoded: torch.Tensor, samples: int, clip: np.ndarray) -> np.ndarray:
    """`(samples,)` at the level of the clip: the vocoder's bins lose their common phase, and with it up to 4 dB."""
    fitted = vocoded[:samples].numpy()
    fitted = np.pad(fitted, (0, samples - len(fitted)))
    return fitted * np.float32(_rms(clip) / max(_rms(fitted), 1e-12))


def _crop(clip: np.ndarray, rng: np.random.Generator, samples: int) -> np.ndarray:
    """A random part; around the loudest sample where the one drawn is silent."""
    if len(clip) < samples:
        return np.resize(np.roll(clip, -rng.integers(len(clip))), samples)
    start = rng.integers(len(clip) - samples + 1)
    loudness = np.abs(clip)
    loudest = loudness.argmax()
    if loudness[start : start + samples].max() <= _AUDIBLE * loudness[loudest]:
        start = min(max(0, loudest - samples // 2), len(clip) - samples)
    return clip[start : start + samples]


def _add_noise(view: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(len(view), dtype=np.float32)
    return view + noise * np.float32(_rms(view) / _rms(noise) * 10 ** (-decibels / 20))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _torchaudio():
    """torchaudio's functions, imported only where they are needed: not every torchaudio fits every torch."""
    try:
        from torchaudio import functional
    except (ImportError, OSError, RuntimeError) as error:
        raise ImportError(
            f"augmentation filters and shifts pitch with torchaudio, which cannot be imported next to torch "
            f"{torch.__version__} ({error}): pip install -U 'torch>=2.11,<2.15' 'torchaudio>=2.11'"
        ) from error
    return functional
