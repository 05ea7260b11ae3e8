"""What MuLaP's pipelines have in common: audio in whatever form users have it."""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import BatchFeature, Pipeline

from .audio import FASTEST_RATE, SLOWEST_RATE, load_audio
from .errors import AudioError

DOWNLOAD_TIMEOUT = 20  # seconds without an answer
LARGEST_DOWNLOAD = 500_000_000  # bytes


class NamedAudio(NamedTuple):
    """One of several inputs, with what an error calls it."""

    audio: Any
    name: str


class _NamedDataset(Dataset):
    def __init__(self, inputs: Sequence):
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> NamedAudio:
        return NamedAudio(self.inputs[index], f"input {index}")


class MulapAudioPipeline(Pipeline):
    """What the pipelines have in common: they take audio.

    One input is a path, an http(s) URL, the bytes of a file, an open binary file, a waveform (numpy array, tensor or
    list; mono or stereo; at the model's rate, or `sampling_rate=`), a dict `{"array" or "raw", "sampling_rate"}` or
    `{"bytes", "path"}`, a decoder of torchcodec, or a row of a dataset with one of these under "audio". Files are wav,
    flac, ogg or mp3, of any rate and length; neither ffmpeg nor torchaudio is needed.

    A list gives a list; a dataset, a column of one, or a generator gives an iterator. With `batch_size` so many are
    computed at once, padded to the longest of them; results do not depend on it.

    Raises:
        AudioError: (a ValueError) an input cannot be read or is no audio; the message names it.
        TypeError: an input is of another type, or an argument is unknown.
    """

    _load_feature_extractor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_processor = False

    def __init__(self, *args, **kwargs):
        for name in ("local_files_only", "torch_dtype"):  # transformers.pipeline has used them, and passes them on
            kwargs.pop(name, None)
        super().__init__(*args, **kwargs)

    def __call__(self, inputs, **kwargs):
        if isinstance(inputs, (list, tuple)):
            return list(super().__call__(_NamedDataset(inputs), **kwargs))
        if not is_audio(inputs) and hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__"):
            inputs = _NamedDataset(inputs)
        elif not is_audio(inputs) and isinstance(inputs, Iterable):
            inputs = (NamedAudio(audio, f"input {index}") for index, audio in enumerate(inputs))
        return super().__call__(inputs, **kwargs)

    def preprocess(self, audio, sampling_rate: float | None = None) -> BatchFeature:
        audio, name = audio if isinstance(audio, NamedAudio) else (audio, "the input")
        name = audio_path(audio) or name
        extractor = self.feature_extractor
        array_rate = extractor.sampling_rate if sampling_rate is None else sampling_rate
        samples, rate = read_audio(audio, name, extractor.sampling_rate, array_rate)
        if not isinstance(samples, (np.ndarray, torch.Tensor, list, tuple)):
            raise TypeError(
                f"{name} is {type(samples).__name__}, not audio: pass a path, a URL, the bytes of a file, a waveform, "
                'or {"array": waveform, "sampling_rate": Hz}'
            )
        if not isinstance(rate, (int, float, np.number)) or not SLOWEST_RATE <= rate <= FASTEST_RATE:
            raise AudioError(
                f"{name} has sampling_rate={rate!r}: it must be a number of Hz from {SLOWEST_RATE:,} to "
                f"{FASTEST_RATE:,}"
            )
        try:
            return extractor(
                [samples], sampling_rate=rate, resample=True, return_attention_mask=True, return_tensors="pt"
            )
        except (TypeError, ValueError) as error:
            raise AudioError(f"{name}: {error}".replace(": clip 0 ", " ", 1)) from error


def audio_path(audio) -> str | None:
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


def read_audio(audio, name: str, target_rate: int, array_rate: float):
    """An input's samples and their rate: of files `target_rate`, of plain waveforms `array_rate`."""
    if isinstance(audio, Mapping):
        samples = audio.get("array", audio.get("raw"))
        if samples is not None:
            return samples, audio.get("sampling_rate")
        inner = next((audio[key] for key in ("audio", "bytes", "path") if audio.get(key) is not None), None)
        if inner is None:
            raise AudioError(
                f'{name} is a dict with {sorted(map(str, audio))}: it needs "array" or "raw" and "sampling_rate", or '
                '"bytes", "path" or "audio"'
            )
        return read_audio(inner, name, target_rate, array_rate)
    if hasattr(audio, "get_all_samples"):  # torchcodec's decoder, which is what datasets gives
        samples = audio.get_all_samples()
        return samples.data, samples.sample_rate
    if isinstance(audio, str) and audio.lower().startswith(("http://", "https://")):
        audio = download(audio)
    if isinstance(audio, (bytes, bytearray, memoryview)):
        audio = io.BytesIO(audio)
        audio.name = name  # in messages
    if isinstance(audio, (str, os.PathLike)) or hasattr(audio, "read"):
        return load_audio(audio, target_rate), target_rate
    return audio, array_rate


def is_audio(inputs) -> bool:
    """One input, and not several."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Mapping, np.ndarray, torch.Tensor)
    return isinstance(inputs, kinds) or hasattr(inputs, "read") or hasattr(inputs, "get_all_samples")


def given(**options) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
