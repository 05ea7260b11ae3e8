"""The base class of MuLaP's pipelines: reads audio in any form."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import torch
from torch.utils.data import Dataset
from transformers import BatchFeature, Pipeline

from .audio_inputs_mulap import audio_path, is_audio, read_audio
from .errors import AudioError


class NamedAudio(NamedTuple):
    """One of several inputs, and its name in error messages."""

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
    """Base of all pipelines that take audio.

    One input is a path, an http(s) URL, the bytes of a file, an open binary file, a waveform (numpy array, tensor or
    list; mono or stereo; at the model's rate, or `sampling_rate=`), a dict `{"array" or "raw", "sampling_rate"}` or
    `{"bytes", "path"}`, a decoder of torchcodec, or a row of a dataset with one of these under "audio". Files are wav,
    flac, ogg or mp3, of any rate and length; neither FFmpeg nor torchaudio is needed.

    For a list of inputs the result is a list; for a dataset, a column of a dataset, or a generator it is an iterator.
    `batch_size` inputs are computed at once, padded to the longest of them; results do not depend on it.

    Raises:
        AudioError: (a ValueError) an input cannot be read as audio; the message names it.
        TypeError: an input has another type, or an argument is unknown.
    """

    _load_feature_extractor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_processor = False

    def __init__(self, *args, **kwargs):
        for name in ("local_files_only", "torch_dtype"):  # passed on by transformers.pipeline after use
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
        waveform, rate = read_audio(audio, name, extractor.sampling_rate, array_rate)
        try:
            return extractor(
                [waveform], sampling_rate=rate, resample=True, return_attention_mask=True, return_tensors="pt"
            )
        except AudioError as error:
            raise AudioError(f"{name}: {error}".replace(": clip 0 ", " ", 1)) from error


class MulapRankingPipeline(MulapAudioPipeline):
    """Base of the pipelines that rank recordings: the path of each goes through with its samples."""

    def _sanitize_parameters(self, sampling_rate: float | None = None):
        return given(sampling_rate=sampling_rate), {}, {}

    def preprocess(self, audio, sampling_rate: float | None = None) -> BatchFeature:
        features = super().preprocess(audio, sampling_rate)
        features["path"] = audio_path(audio.audio if isinstance(audio, NamedAudio) else audio)
        return features


def checksum_of(weights: Mapping[str, torch.Tensor]) -> int:
    """A checksum of some weights by name."""
    checksum = 0
    for value in weights.values():
        checksum = crc32(value.cpu().reshape(-1).view(torch.uint8).numpy(), checksum)
    return checksum


def given(**options) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
