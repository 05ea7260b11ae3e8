"""MuLaP in sentence-transformers: embeddings of audio and of texts, by `SentenceTransformer(folder)`."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoTokenizer

from .arguments_mulap import refuse_unknown
from .audio_inputs_mulap import stream_input
from .audio_limits import AUDIO_EXTENSIONS, FFMPEG_EXTENSIONS
from .errors import AudioError
from .feature_extraction_mulap import MulapFeatureExtractor
from .modeling_mulap import MulapModel
from .modeling_mulap_audio import MulapAudioModel
from .pipeline_mulap_tasks import has_joint_space
from .processing_mulap import MulapProcessor

try:  # only sentence-transformers loads this file's class, but transformers imports the file
    from sentence_transformers.base.modules import InputModule
except ImportError:
    InputModule = nn.Module


class MulapSentenceModule(InputModule):
    """Texts and audio -> embeddings of length 1, in the joint embedding space if the model has a trained one.

    Of any other model only audio is embedded, by its backbone. Tracks are encoded chunk by chunk as they are decoded,
    so that `encode` takes the memory of a few chunks, whatever their length.

    Args:
        model: a `MulapModel`, or a `MulapAudioModel` for audio alone.
        processor: a `MulapProcessor`, or a `MulapFeatureExtractor` for audio alone.
    """

    save_in_root = True

    def __init__(self, model: MulapModel | MulapAudioModel, processor: MulapProcessor | MulapFeatureExtractor):
        super().__init__()
        self.model = model
        self.processor = processor
        self.feature_extractor = getattr(processor, "feature_extractor", processor)
        self.tokenizer = getattr(processor, "tokenizer", None)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        **kwargs,
    ) -> "MulapSentenceModule":
        """The module of a saved folder or Hub name; the arguments are those of sentence-transformers."""
        hub = {
            "subfolder": subfolder,
            "token": token,
            "cache_dir": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        trust = {"trust_remote_code": trust_remote_code}
        config = AutoConfig.from_pretrained(model_name_or_path, **hub, **trust, **(config_kwargs or {}))
        extractor = MulapFeatureExtractor.from_pretrained(model_name_or_path, **hub)
        if config.model_type != "mulap" or not has_joint_space(config, (config.architectures or [""])[0]):
            return cls(MulapAudioModel.from_pretrained(model_name_or_path, **hub, **(model_kwargs or {})), extractor)
        tokenizer = AutoTokenizer.from_pretrained(model_name_or_path, **hub, **trust, **(processor_kwargs or {}))
        model = MulapModel.from_pretrained(model_name_or_path, **hub, **(model_kwargs or {}))
        return cls(model, MulapProcessor(extractor, tokenizer))

    def save(self, output_path: str, *args, **kwargs):
        """The model and its processor, as their `save_pretrained`."""
        self.model.save_pretrained(output_path)
        self.processor.save_pretrained(output_path)

    @property
    def modalities(self) -> list[str]:
        """What can be encoded; "message" lets texts and audio through in one list."""
        return ["audio"] if self.tokenizer is None else ["text", "audio", "message"]

    @property
    def max_seq_length(self) -> int | None:
        """Length of the longest text in tokens; longer ones are cut."""
        return None if self.tokenizer is None else self.tokenizer.model_max_length

    @max_seq_length.setter
    def max_seq_length(self, value: int):
        self.tokenizer.model_max_length = value

    def get_embedding_dimension(self) -> int:
        """Size of an embedding."""
        config = self.model.config
        return config.feature_size if self.tokenizer is None else config.projection_size

    def preprocess(
        self,
        inputs: Sequence[Any],
        prompt: str | None = None,
        processing_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
        task: str | None = None,
        max_length: int | None = None,
    ) -> dict[str, Any]:
        """What `forward` takes.

        Args:
            inputs: texts, and audio in any form that `MulapFeatureExtractor` takes. A string is audio if it is an
                http(s) URL, or the path of a file, whose name ends as those of audio files do; or an absolute path
                that exists.
            prompt: prepended to every text.
            processing_kwargs: further arguments of the tokenizer under "text", of the feature extractor under
                "audio": `{"audio": {"sampling_rate": 44100}}` is the rate of arrays that come without one.
            task: ignored: queries and documents are encoded alike.
            max_length: length of the longest text in tokens.

        Raises:
            ValueError: a text for a model without a joint embedding space, or a text and audio in one input.
            AudioError: an input is the path of an audio file that does not exist.
            TypeError: an argument is unknown.
        """
        options = {name: dict(values) for name, values in (processing_kwargs or {}).items()}
        refuse_unknown(options, ("text", "audio"), "processing_kwargs of MuLaP")
        inputs = [_text_of(value) for value in inputs]
        is_audio = [not isinstance(value, str) or _is_audio_address(value) for value in inputs]
        texts = [(prompt or "") + value for value, audio in zip(inputs, is_audio, strict=True) if not audio]
        clips = [value for value, audio in zip(inputs, is_audio, strict=True) if audio]
        if texts and self.tokenizer is None:
            raise ValueError(
                f"this model has no joint embedding space, but was given the text {texts[0]!r}: encode audio only, or "
                "load a model that was trained with a contrastive loss of audio and text"
            )
        features: dict[str, Any] = {"is_audio": torch.tensor(is_audio)}
        if texts:
            lengths = {} if max_length is None else {"max_length": max_length}
            features |= self.processor(text=texts, text_kwargs=lengths | options.get("text", {}))
        audio_options = options.get("audio", {})
        if clips and torch.is_inference_mode_enabled():  # in `encode`: `forward` decodes them, chunk by chunk
            refuse_unknown(audio_options, ("sampling_rate", "padding"), "processing_kwargs for audio in encode")
            rate = audio_options.get("sampling_rate")
            features["clips"] = [(clip, self.feature_extractor.rate_of(clip, rate)) for clip in clips]
        elif clips:
            features |= self.feature_extractor(clips, resample=True, return_tensors="pt", **audio_options)
        return features

    def forward(self, features: dict[str, Any], **kwargs) -> dict[str, Any]:
        """Adds `sentence_embedding` `(inputs, size)` to what `preprocess` gave."""
        is_audio = features["is_audio"].to(self.model.device)
        parts = {}
        if "input_ids" in features:
            text = self.model.get_text_features(features["input_ids"], features["attention_mask"])
            parts[False] = text.pooler_output
        if "clips" in features:
            parts[True] = self._project(self._encode_clips(features["clips"]))
        elif "input_values" in features:
            audio = self._backbone(features["input_values"], features.get("audio_attention_mask"))
            parts[True] = self._project(audio.pooler_output)
        embeddings = torch.empty(len(is_audio), self.get_embedding_dimension(), device=is_audio.device)
        for kind, values in parts.items():
            embeddings = embeddings.index_put((is_audio == kind,), F.normalize(values.float(), dim=-1))
        return features | {"sentence_embedding": embeddings}

    @property
    def _backbone(self) -> MulapAudioModel:
        return getattr(self.model, "audio_model", self.model)

    def _project(self, features: torch.Tensor) -> torch.Tensor:
        """Embeddings of the backbone `(clips, features)` in the space of the output, not yet of length 1."""
        return features if self.tokenizer is None else self.model.alignment.project_audio(features)

    def _encode_clips(self, clips: Sequence[tuple[Any, Any]]) -> torch.Tensor:
        """Clips and their rates -> embeddings of the backbone `(clips, features)`, in the memory of a few chunks."""
        config, device = self._backbone.config, self.model.device
        sums = torch.zeros(len(clips), config.feature_size, device=device)
        counts = torch.zeros(len(clips), 1, device=device)
        chunks = ((number, chunk) for number, clip in enumerate(clips) for chunk in self._chunks(number, *clip))
        while batch := list(islice(chunks, config.chunk_batch_size)):
            numbers = torch.tensor([number for number, _ in batch], device=device)
            waveforms = torch.from_numpy(np.stack([chunk for _, chunk in batch]))
            features = self._backbone(waveforms.to(device)).pooler_output.float()
            sums.index_add_(0, numbers, features)
            counts.index_add_(0, numbers, torch.ones(len(batch), 1, device=device))
        return sums / counts

    def _chunks(self, number: int, clip: Any, rate: Any) -> Iterator[np.ndarray]:
        """The chunks of a clip, `(chunk length,)` each, as `MulapAudioModel` cuts what the feature extractor crops."""
        extractor, length = self.feature_extractor, self._backbone.config.chunk_length
        left = round(extractor.max_seconds * extractor.sampling_rate) if extractor.crop == "first" else math.inf
        rest, found = np.zeros(0, dtype=np.float32), False
        name = f"audio {number} of this batch, which sentence-transformers has sorted by length,"
        for block in stream_input(clip, name, extractor.sampling_rate, rate):
            rest = np.concatenate([rest, block[: min(left, len(block))]])
            whole = len(rest) - len(rest) % length
            yield from rest[:whole].reshape(-1, length)
            rest, found = rest[whole:], found or whole > 0
            left -= len(block)
            if left <= 0:
                break
        if not found:
            yield np.pad(rest, (0, length - len(rest)))


def _text_of(value: Any) -> Any:
    """An input, or the text in it if it is `{"text": ...}`.

    Raises:
        ValueError: it has a text and something else.
    """
    if not isinstance(value, Mapping) or value.get("text") is None:
        return value
    if len(value) > 1:
        raise ValueError(
            f"one input has {' and '.join(map(repr, value))} (the text is {value['text']!r}), but an embedding is "
            "that of a text or of audio: pass them as two inputs"
        )
    return value["text"]


def _is_audio_address(text: str) -> bool:
    """Whether a string is the URL or the path of an audio file.

    Raises:
        AudioError: it is a path of one that does not exist.
    """
    is_url = text.lower().startswith(("http://", "https://"))
    name = urlsplit(text).path if is_url else text
    if not name.lower().endswith(AUDIO_EXTENSIONS + FFMPEG_EXTENSIONS):
        return os.path.isabs(text) and os.path.exists(text)
    if is_url or os.path.isfile(text):
        return True
    folder = os.path.dirname(text)
    if any(letter.isspace() for letter in text) and not (folder and os.path.isdir(folder)):
        return False  # words that end like the name of a file
    raise AudioError(f"{text}: the file does not exist (by its ending this is the path of an audio file, not a text)")


__all__ = ["MulapSentenceModule"]
