"""The mastering chain: reverb, equalizers, band limits, saturation, noise and level, independent of the song."""

from dataclasses import dataclass

import numpy as np
import scipy  # submodules are imported on first use

from .render import SAMPLING_RATE

__all__ = ["Effects", "bell", "colored_noise", "draw_effects", "limit", "log_uniform", "master", "rms", "shelf"]

_PEAK_LIMIT = 0.97
_LIMITER_THRESHOLD = 0.7


@dataclass(frozen=True)
class Effects:
    """Settings of the mastering chain; None turns an effect off.

    Attributes:
        reverb_time: Reverberation time in seconds (decay by 60 dB).
        reverb_delay: Pre-delay of the reverberation in seconds.
        reverb_level: Fraction of reverberation in the mix.
        reverb_color: Low-pass frequency of the reverberation in Hz.
        low_shelf: Frequency in Hz and gain in dB of the low shelf.
        high_shelf: Frequency in Hz and gain in dB of the high shelf.
        peak: Frequency in Hz, gain in dB and quality factor of the peak filter.
        low_pass: Cutoff frequency in Hz.
        high_pass: Cutoff frequency in Hz.
        drive: Amount of saturation.
        snr: Signal-to-noise ratio in dB.
        noise_color: Low-pass frequency of the noise in Hz.
        crackles: Number of vinyl clicks.
        level: RMS level in dB relative to full scale.
    """

    reverb_time: float | None
    reverb_delay: float | None
    reverb_level: float | None
    reverb_color: float | None
    low_shelf: tuple[float, float] | None
    high_shelf: tuple[float, float] | None
    peak: tuple[float, float, float] | None
    low_pass: float | None
    high_pass: float | None
    drive: float | None
    snr: float | None
    noise_color: float | None
    crackles: int | None
    level: float


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_effects(rng: np.random.Generator, strength: float) -> Effects:
    """Draw the settings of the mastering chain.

    The draw is independent of the song, so that effects carry no information about the labels.

    Args:
        rng: Random generator of the draw.
        strength: Factor on the probability and the amount of the effects; 0 leaves only a fixed level.
    """
    if strength == 0:
        return Effects(*[None] * 13, level=-20.0)
    reverb, low_pass, high_pass, drive, noise, crackles = rng.random(6) < np.array(
        [0.75, 0.18 * strength, 0.10 * strength, 0.30 * strength, 0.50 * strength, 0.06 * strength]
    )
    return Effects(
        reverb_time=log_uniform(rng, 0.15, 2.4) if reverb else None,
        reverb_delay=rng.uniform(0, 0.03) if reverb else None,
        reverb_level=min(0.9, rng.uniform(0.04, 0.38) * strength) if reverb else None,
        reverb_color=rng.uniform(1500, 5500) if reverb else None,
        low_shelf=(rng.uniform(90, 300), rng.normal(0, 3 * strength)),
        high_shelf=(rng.uniform(1800, 5000), rng.normal(0, 2.5 * strength)),
        peak=(rng.uniform(250, 3500), rng.normal(0, 3.5 * strength), rng.uniform(0.5, 1.6)),
        low_pass=rng.uniform(2500, 6000) if low_pass else None,
        high_pass=rng.uniform(90, 260) if high_pass else None,
        drive=rng.uniform(1, 4) if drive else None,
        snr=rng.uniform(18, 48) if noise else None,
        noise_color=rng.uniform(800, 7000) if noise else None,
        crackles=int(rng.integers(40, 400)) if crackles else None,
        level=rng.uniform(-27, -13),
    )


def shelf(frequency: float, gain: float, high: bool) -> np.ndarray:
    """Return the second-order section of a shelving filter (Bristow-Johnson, Audio EQ Cookbook, slope 1)."""
    root = 10 ** (gain / 40)
    angle = 2 * np.pi * frequency / SAMPLING_RATE
    cosine, sine = np.cos(angle), np.sin(angle)
    if high:
        cosine = -cosine
    width = np.sqrt(2 * root) * sine
    plus, minus = root + 1, root - 1
    turn = -1 if high else 1
    numerator = (
        root * (plus - minus * cosine + width),
        turn * 2 * root * (minus - plus * cosine),
        root * (plus - minus * cosine - width),
    )
    denominator = (
        plus + minus * cosine + width,
        turn * -2 * (minus + plus * cosine),
        plus + minus * cosine - width,
    )
    return np.array([*numerator, *denominator]) / denominator[0]


def bell(frequency: float, gain: float, quality: float) -> np.ndarray:
    """Return the second-order section of a peak filter (Bristow-Johnson, Audio EQ Cookbook)."""
    root = 10 ** (gain / 40)
    angle = 2 * np.pi * frequency / SAMPLING_RATE
    width = np.sin(angle) / (2 * quality)
    middle = -2 * np.cos(angle)
    section = np.array([1 + width * root, middle, 1 - width * root, 1 + width / root, middle, 1 - width / root])
    return section / section[3]


def _equalize(audio: np.ndarray, effects: Effects, brightness: float) -> np.ndarray:
    """Apply all linear filters in one pass, starting with the spectral tilt of the song."""
    sections = [shelf(1800, brightness, high=True)]
    if effects.low_shelf:
        sections.append(shelf(*effects.low_shelf, high=False))
    if effects.high_shelf:
        sections.append(shelf(*effects.high_shelf, high=True))
    if effects.peak:
        sections.append(bell(*effects.peak))
    if effects.low_pass:
        sections.extend(scipy.signal.butter(2, effects.low_pass, fs=SAMPLING_RATE, output="sos"))
    if effects.high_pass:
        sections.extend(scipy.signal.butter(2, effects.high_pass, "high", fs=SAMPLING_RATE, output="sos"))
    return scipy.signal.sosfilt(np.array(sections), audio)


def colored_noise(rng: np.random.Generator, samples: int, color: float) -> np.ndarray:
    sections = scipy.signal.butter(1, color, fs=SAMPLING_RATE, output="sos")
    return scipy.signal.sosfilt(sections, rng.standard_normal(samples))


def _reverberate(audio: np.ndarray, effects: Effects, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(int(effects.reverb_time * SAMPLING_RATE)) / SAMPLING_RATE
    tail = colored_noise(rng, len(time), effects.reverb_color) * np.exp(-6.9 * time / effects.reverb_time)
    tail /= np.sqrt(np.sum(tail**2))
    response = np.concatenate([np.zeros(int(effects.reverb_delay * SAMPLING_RATE)), tail])
    wet = scipy.signal.oaconvolve(audio, response)[: len(audio)]
    return (1 - effects.reverb_level) * audio + effects.reverb_level * wet


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(audio**2))) + 1e-9


def limit(audio: np.ndarray) -> np.ndarray:
    """Compress peaks above the threshold so that no sample clips."""
    size = np.abs(audio)
    if size.max() <= _PEAK_LIMIT:
        return audio
    room = _PEAK_LIMIT - _LIMITER_THRESHOLD
    bent = _LIMITER_THRESHOLD + room * np.tanh((size - _LIMITER_THRESHOLD) / room)
    return np.where(size > _LIMITER_THRESHOLD, np.sign(audio) * bent, audio)


def master(audio: np.ndarray, effects: Effects, brightness: float, rng: np.random.Generator) -> np.ndarray:
    """Return the mastered audio of a clip.

    Args:
        audio: Dry mono audio at 16 kHz, `(samples,)`.
        effects: Settings of the chain.
        brightness: Spectral tilt of the song in dB.
        rng: Random generator of noise and reverberation.

    Returns:
        Mono float32 audio of the same length with samples in [-1, 1].
    """
    audio = audio.astype(np.float64)
    audio *= 0.1 / rms(audio)
    if effects.reverb_time:
        audio = _reverberate(audio, effects, rng)
    audio = _equalize(audio, effects, brightness)
    if effects.drive:
        amount = 3 * effects.drive
        audio = np.tanh(audio * amount) / amount
    if effects.snr:
        noise = colored_noise(rng, len(audio), effects.noise_color)
        audio += noise * (rms(audio) / rms(noise) * 10 ** (-effects.snr / 20))
    if effects.crackles:
        clicks = rng.integers(0, len(audio), effects.crackles)
        audio[clicks] += rng.normal(0, 0.05, effects.crackles)
    audio *= 10 ** (effects.level / 20) / rms(audio)
    return limit(audio).astype(np.float32)
