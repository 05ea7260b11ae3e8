"""Arrays of audio samples as mono float32 waveforms."""

import reprlib

import numpy as np
import torch
from transformers.utils import logging

from .errors import AudioError

logger = logging.get_logger(__name__)

_LOUD = 16  # float samples lie in [-1, 1]; a few programs write peaks somewhat above
_LARGEST = 2.0**31  # nothing records larger samples, and the log-mel of much larger ones overflows

Samples = np.ndarray | torch.Tensor | list | tuple


def to_mono(samples: Samples, name: str) -> np.ndarray:
    """Samples in any form as a contiguous mono float32 waveform `(samples,)`.

    The result may share memory with the argument, which is never changed.

    Args:
        samples: `(samples,)`, `(channels, samples)` or `(samples, channels)` with one or two channels: an array, a
            tensor or a list. Floats of any precision and byte order are taken as they are and should lie in [-1, 1];
            int16, int32 and uint8 are scaled to it.
        name: what a message calls the clip.

    Raises:
        AudioError: there are no samples, or they are NaN, infinite, out of every range or of another shape.
        TypeError: these are not samples.
    """
    array = _to_array(samples, name)
    if array.size == 0:
        raise AudioError(f"{name} is empty (shape {array.shape}): drop it")
    if array.ndim == 2 and min(array.shape) <= 2:
        channels = int(np.argmin(array.shape))
        first, *second = np.moveaxis(_to_float(array, name), channels, 0)
        with np.errstate(over="ignore"):  # what overflows is refused as infinite
            array = (first + second[0]) / 2 if second else first  # 40 times as fast as `mean`
    elif array.ndim != 1:
        raise AudioError(
            f"{name} has shape {array.shape}; a clip is mono (samples,) or stereo (2, samples) or (samples, 2). "
            "Pass a batch as a list of clips, and mix more than two channels down"
        )
    waveform = np.ascontiguousarray(_to_float(array, name))
    _check_values(waveform, name)
    return waveform


def resample(waveform: np.ndarray, source_rate: float, target_rate: float) -> np.ndarray:
    """A mono waveform `(samples,)` at another rate, float32.

    Raises:
        ImportError: soxr is not installed.
    """
    if source_rate == target_rate:
        return waveform
    try:
        import soxr
    except ImportError as error:
        raise ImportError("resampling needs soxr: pip install soxr") from error
    return soxr.resample(waveform, source_rate, target_rate).astype(np.float32, copy=False)


def _to_array(samples: Samples, name: str) -> np.ndarray:
    """A numpy array of numbers."""
    if isinstance(samples, torch.Tensor):
        samples = samples.detach().cpu()
        array = (samples.float() if samples.dtype == torch.bfloat16 else samples).numpy()
    else:
        try:
            array = np.asarray(samples)
        except ValueError as error:
            raise AudioError(f"{name} is a list of lists of different lengths, not one waveform: {error}") from error
    if array.dtype.name == "bfloat16":  # of the package ml_dtypes
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiu":
        kinds = array.dtype
        if array.dtype == object:
            kinds = next((type(item).__name__ for item in array.flat if not isinstance(item, (int, float))), "int")
        raise TypeError(
            f"{name} holds {kinds} values ({reprlib.repr(samples)}), not samples of a waveform: pass one clip, or a "
            "list of clips that is not nested"
        )
    return array


def _to_float(array: np.ndarray, name: str) -> np.ndarray:
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is refused as infinite
            return array.astype(np.float32, copy=False)
    if dtype == np.uint8:  # the one unsigned format of wav files, silent at 128
        return (array.astype(np.float32) - 128) / 128
    if dtype in (np.int16, np.int32):
        return array.astype(np.float32) / -float(np.iinfo(dtype).min)
    raise AudioError(f"{name} holds {dtype}, whose full scale is unknown: cast it to int16, int32 or float32")


def _check_values(waveform: np.ndarray, name: str):
    # A sum meets every sample without a temporary as large as the track.
    if not np.isfinite(waveform.sum(dtype=np.float64)):
        bad = np.flatnonzero(~np.isfinite(waveform))
        count = f"{len(bad)} samples that are" if len(bad) > 1 else "1 sample that is"
        raise AudioError(f"{name} has {count} NaN or infinite, the first at index {bad[0]}: repair or drop the clip")
    peak = max(waveform.max(), -waveform.min())
    if peak > _LARGEST:
        raise AudioError(f"{name} peaks at {peak:.1e}, but samples should lie in [-1, 1]: repair or drop the clip")
    if peak > _LOUD:
        logger.warning_once(
            f"{name} peaks at {peak:.0f}; float samples should lie in [-1, 1]. If they are int16 values, divide by "
            "32768 or keep them as integers."
        )
