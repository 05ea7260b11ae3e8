"""Degradations of test audio that should not change the predictions of a model."""

import difflib
import io
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import scipy  # its parts load when they are used
import soundfile as sf

__all__ = ["DEGRADATIONS", "Degradation", "degrade"]

_SAMPLING_RATE = 16_000
_FRAME = 320  # 20 ms
_ACTIVE = 1e-4  # frames with less than this fraction of the power of the loudest (40 dB) are rests between notes
_AUDIBLE_HERTZ = 20
# libsndfile's scale from the highest rate (0: 160 kbit/s at 16 kHz) to the lowest (1: 8 kbit/s): this is 16 kbit/s.
_MP3_COMPRESSION = 0.95
# Samples, of LAME and of the decoder (576 + 529). LAME writes it into a header, and decoders then take it out, but not
# at 32 kbit/s and less: frames are too short for the header there.
_MP3_DELAY = 1105


@dataclass(frozen=True)
class Degradation:
    """A degradation of audio.

    Attributes:
        description: A few words for tables.
        function: Degrades a waveform `(samples,)` at 16 kHz, with a random generator; returns `(samples,)`.
    """

    description: str
    function: Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _add_noise(waveform: np.ndarray, rng: np.random.Generator, decibels: float) -> np.ndarray:
    noise = _pink_noise(len(waveform), rng)
    power = np.mean(np.square(noise, dtype=np.float64))
    return waveform + noise * np.sqrt(_active_power(waveform) / power * 10 ** (-decibels / 10))


def _pink_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise `(samples,)` of the same power in every octave from 20 Hz up."""
    size = scipy.fft.next_fast_len(max(samples, _SAMPLING_RATE), real=True)
    frequencies = scipy.fft.rfftfreq(size, 1 / _SAMPLING_RATE)
    spectrum = rng.standard_normal(2 * len(frequencies), dtype=np.float32).view(np.complex64)
    spectrum *= (frequencies >= _AUDIBLE_HERTZ) / np.sqrt(np.maximum(frequencies, _AUDIBLE_HERTZ))
    return scipy.fft.irfft(spectrum, size)[:samples]


def _active_power(waveform: np.ndarray) -> float:
    """Mean square of the frames that are not silent, so that rests do not make the noise softer."""
    starts = np.arange(0, len(waveform), _FRAME)
    energies = np.add.reduceat(np.square(waveform, dtype=np.float64), starts)
    sizes = np.diff(starts, append=len(waveform))
    powers = energies / sizes
    active = powers >= _ACTIVE * powers.max()
    return energies[active].sum() / sizes[active].sum()


def _mp3(waveform: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    sf.write(
        file,
        waveform,
        _SAMPLING_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=_MP3_COMPRESSION,
    )
    file.seek(0)
    decoded, _ = sf.read(file, dtype="float32")
    return decoded[_MP3_DELAY:][: len(waveform)]


def _gain(waveform: np.ndarray, decibels: float) -> np.ndarray:
    return np.clip(waveform * 10 ** (decibels / 20), -1, 1)


def _cut(waveform: np.ndarray, kind: str, hertz: float) -> np.ndarray:
    """Butterworth filter of 24 dB per octave, -3 dB at the frequency."""
    return scipy.signal.sosfilt(scipy.signal.butter(4, hertz, kind, fs=_SAMPLING_RATE, output="sos"), waveform)


def _tilt(waveform: np.ndarray, decibels: float, hertz: float) -> np.ndarray:
    """Raises what is far below the frequency and lowers what is far above, by 6 dB per octave at most."""
    gain = 10 ** (decibels / 20)
    pivot = 2 * _SAMPLING_RATE * np.tan(np.pi * hertz / _SAMPLING_RATE)  # as the bilinear transform bends it
    return scipy.signal.lfilter(*scipy.signal.bilinear([1, pivot * gain], [gain, pivot], fs=_SAMPLING_RATE), waveform)


# Pink, not white: half of white noise at 16 kHz lies above 4 kHz, where music has little to hide, while pink noise
# masks every octave alike. And augmentation in training adds white noise (`Augmentation`): that would favor some.
def _shift_pitch(waveform: np.ndarray, semitones: float) -> np.ndarray:
    from ..data.augmentation import shift_pitch  # imports torch

    return shift_pitch(waveform, semitones)


def _change_tempo(waveform: np.ndarray, factor: float) -> np.ndarray:
    from ..data.augmentation import change_tempo  # imports torch

    return change_tempo(waveform, factor)


DEGRADATIONS: dict[str, Degradation] = {
    "noise_20db": Degradation("pink noise, 20 dB below the music", lambda clip, rng: _add_noise(clip, rng, 20)),
    "noise_10db": Degradation("pink noise, 10 dB below the music", lambda clip, rng: _add_noise(clip, rng, 10)),
    "noise_0db": Degradation("pink noise, as loud as the music", lambda clip, rng: _add_noise(clip, rng, 0)),
    "mp3_16kbps": Degradation("mp3 of 16 kbit/s, there and back", lambda clip, _: _mp3(clip)),
    "gain_down_20db": Degradation("20 dB softer", lambda clip, _: _gain(clip, -20)),
    "gain_up_6db": Degradation("6 dB louder, clipped at full scale", lambda clip, _: _gain(clip, 6)),
    "low_pass_3khz": Degradation("nothing above 3 kHz", lambda clip, _: _cut(clip, "lowpass", 3000)),
    "high_pass_200hz": Degradation("nothing below 200 Hz", lambda clip, _: _cut(clip, "highpass", 200)),
    "tilt_6db": Degradation("bass up and treble down by 6 dB, about 1 kHz", lambda clip, _: _tilt(clip, 6, 1000)),
    "pitch_down_2": Degradation("2 semitones lower, same tempo", lambda clip, _: _shift_pitch(clip, -2)),
    "pitch_down_1": Degradation("1 semitone lower, same tempo", lambda clip, _: _shift_pitch(clip, -1)),
    "pitch_up_1": Degradation("1 semitone higher, same tempo", lambda clip, _: _shift_pitch(clip, 1)),
    "pitch_up_2": Degradation("2 semitones higher, same tempo", lambda clip, _: _shift_pitch(clip, 2)),
    "tempo_down_10": Degradation("tempo times 0.9, same pitch", lambda clip, _: _change_tempo(clip, 0.9)),
    "tempo_up_10": Degradation("tempo times 1.1, same pitch", lambda clip, _: _change_tempo(clip, 1.1)),
}


def degrade(waveform: np.ndarray, degradation: str, seed_name: str) -> np.ndarray:
    """Degrade a waveform. The same waveform, degradation and name give the same result.

    Length and alignment stay the same (filters delay by up to 3 ms), except for the two changes of tempo. Silence
    stays silence, also with noise, whose level is relative to the music. Peaks may exceed 1. The phase vocoder of the
    changes of pitch and tempo also softens onsets, about as much as noise of 20 dB does.

    Args:
        waveform: `(samples,)`, mono at 16 kHz.
        degradation: Name in `DEGRADATIONS`.
        seed_name: Id of the clip, the seed of its noise: the noise is the same at every level and for every model.

    Returns:
        A copy, `(samples,)`, float32 at 16 kHz; for changes of tempo, the length is divided by the factor.

    Raises:
        ValueError: The degradation does not exist, or the waveform is not mono, is empty, or is not finite.
        ImportError: torchaudio, which changes of pitch and tempo need, cannot be imported.
    """
    if degradation not in DEGRADATIONS:
        close = difflib.get_close_matches(degradation, DEGRADATIONS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(DEGRADATIONS)}"
        raise ValueError(f"unknown degradation {degradation!r}; {hint}")
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 1 or waveform.size == 0 or not np.isfinite(waveform).all():
        raise ValueError(
            f"{seed_name}: waveform of shape {waveform.shape}: expected (samples,), mono, not empty, all finite"
        )
    rng = np.random.default_rng(crc32(seed_name.encode()))
    return DEGRADATIONS[degradation].function(waveform, rng).astype(np.float32)
