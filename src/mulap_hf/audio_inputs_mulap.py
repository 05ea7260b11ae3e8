"""Audio in whatever form people have it, as mono waveforms: what feature extractor, processor and pipelines accept."""

import io
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException
from numbers import Number
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np
import torch

from .errors import AudioError
from .sampling_rate import parse_rate
from .waveform_mulap import resample, to_mono

DOWNLOAD_TIMEOUT = 20  # seconds without an answer
LARGEST_DOWNLOAD = 500_000_000  # bytes


def is_audio(value: Any) -> bool:
    """Whether a value is one input, and not several: anything but a list of clips, a column or an iterator."""
    if isinstance(value, np.ndarray):
        return value.dtype != object or value.ndim == 0
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(isinstance(item, Number) or _is_scalar(item) for item in value[:1])
    single = (str, os.PathLike, bytes, bytearray, memoryview, Mapping, torch.Tensor)
    if isinstance(value, single) or hasattr(value, "read") or hasattr(value, "get_all_samples"):
        return True
    return (hasattr(value, "__array__") and not _holds_objects(value)) or not isinstance(value, Iterable)


def read_audio(audio: Any, name: str, target_rate: int, array_rate: Any) -> tuple[np.ndarray, int | float]:
    """An input as a mono float32 waveform `(samples,)`, and its rate in Hz.

    Args:
        audio: a path, an http(s) URL, the bytes of a file, an open binary file; samples as `to_mono` takes them; a
            dict `{"array" or "raw", "sampling_rate"}`, `{"bytes", "path"}` or with one of these under "audio", as
            `datasets` gives them; a decoder of torchcodec.
        name: what a message calls the input.
        target_rate: rate in Hz in which files and decoders are returned.
        array_rate: rate in Hz of samples that come without one; a number or its digits.

    Raises:
        AudioError: it cannot be read, or holds no usable samples; the message names it.
        ImportError: this is a file, and soundfile or soxr is not installed.
        TypeError: this is not audio.
    """
    source, rate = _find_source(audio, name, target_rate, array_rate)
    if rate is not None:
        return to_mono(source, name), rate
    # Here, because soundfile and soxr are needed for files only.
    from .audio import load_audio

    return load_audio(source, target_rate), target_rate


def stream_input(audio: Any, name: str, target_rate: int, array_rate: Any) -> Iterator[np.ndarray]:
    """`read_audio` block by block, each `(samples,)` at `target_rate`: a file of any length in little memory.

    Raises:
        AudioError, ImportError, TypeError: as `read_audio`, when the first block is asked for, or the broken one.
    """
    source, rate = _find_source(audio, name, target_rate, array_rate)
    if rate is not None:
        yield resample(to_mono(source, name), rate, target_rate)
        return
    from .audio import stream_audio

    yield from stream_audio(source, target_rate)


def audio_path(audio: Any) -> str | None:
    """The path or URL of an input; None where it has none."""
    if isinstance(audio, Mapping):
        return audio_path(audio.get("audio", audio.get("path")))
    return os.fspath(audio) if isinstance(audio, (str, os.PathLike)) else None


def download(url: str) -> bytes:
    """The content of an http(s) address, of `LARGEST_DOWNLOAD` bytes at most.

    Raises:
        AudioError: it cannot be had, breaks off, or is larger.
    """
    try:
        # Spaces and umlauts are common in the names of music files.
        request = Request(quote(url, safe=":/?#[]@!$&'()*+,;=%~"), headers={"User-Agent": "mulap-hf"})
        with urlopen(request, timeout=DOWNLOAD_TIMEOUT) as response:
            length = int(response.headers.get("Content-Length", 0))
            content = b"" if length > LARGEST_DOWNLOAD else response.read(LARGEST_DOWNLOAD + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise AudioError(f"{url} cannot be downloaded: {error}") from error
    if max(length, len(content)) > LARGEST_DOWNLOAD:
        raise AudioError(f"{url} is larger than {LARGEST_DOWNLOAD:,} bytes: download it, and pass the file")
    if len(content) < length:
        raise AudioError(f"{url} broke off after {len(content):,} of {length:,} bytes: try again")
    return content


def _find_source(audio: Any, name: str, target_rate: int, array_rate: Any) -> tuple[Any, int | float | None]:
    """Samples and their rate; or a file as a path, or open, and None."""
    if isinstance(audio, Mapping):
        samples = audio.get("array", audio.get("raw"))
        if samples is not None:
            _refuse_files(samples, name)
            return samples, parse_rate(audio.get("sampling_rate"), name)
        inner = next((audio[key] for key in ("audio", "bytes", "path") if audio.get(key) is not None), None)
        if inner is None:
            raise AudioError(
                f'{name} is a dict with {sorted(map(str, audio))}: it needs "array" or "raw" and "sampling_rate", or '
                '"bytes", "path" or "audio"'
            )
        return _find_source(inner, name, target_rate, array_rate)
    if hasattr(audio, "get_all_samples"):  # torchcodec's decoder, which is what datasets gives
        samples = audio.get_all_samples()
        rate = parse_rate(samples.sample_rate, name)
        return resample(to_mono(samples.data, name), rate, target_rate), target_rate
    if isinstance(audio, str) and audio.lower().startswith(("http://", "https://")):
        audio = download(audio)
    if isinstance(audio, (bytes, bytearray, memoryview)):
        audio = io.BytesIO(audio)
        audio.name = name  # in messages
    if isinstance(audio, (str, os.PathLike)) or hasattr(audio, "read"):
        return audio, None
    _refuse_files(audio, name)
    return audio, parse_rate(array_rate, name)


def _is_scalar(item: Any) -> bool:
    return isinstance(item, (np.ndarray, torch.Tensor)) and item.ndim == 0


def _holds_objects(value: Any) -> bool:
    """Of a pandas Series or the like: whether its items are clips, not samples."""
    return getattr(getattr(value, "dtype", None), "kind", "O") == "O"


def _refuse_files(samples: Any, name: str):
    """Where samples are expected, a path is not opened: an "array" may come from anyone."""
    if samples is None:
        raise TypeError(f"{name} is None: it has no audio; drop it")
    if isinstance(samples, (str, bytes, Mapping)) or not (
        isinstance(samples, (np.ndarray, torch.Tensor, list, tuple)) or hasattr(samples, "__array__")
    ):
        raise TypeError(
            f"{name} is {reprlib.repr(samples)} ({type(samples).__name__}), not audio: pass a path, a URL, the bytes "
            'of a file, a waveform, or {"array": waveform, "sampling_rate": Hz}'
        )
