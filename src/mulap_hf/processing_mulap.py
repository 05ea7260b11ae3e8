"""Audio and text together: the feature extractor and a BERT-style tokenizer behind one call."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.utils import PaddingStrategy, TensorType

from .arguments_mulap import argument_names, refuse_unknown
from .feature_extraction_mulap import AUDIO_ARGUMENTS, MulapFeatureExtractor
from .padding_mulap import MASK, VALUES, split_columns, stack

_TEXTS = ("text", "text_pair", "text_target", "text_pair_target")
TEXT_ARGUMENTS = argument_names(PreTrainedTokenizerBase.__call__, without=[*_TEXTS, "tokenizer_kwargs"])
TOKENS = ("input_ids", "attention_mask", "token_type_ids")


class MulapProcessor(ProcessorMixin):
    """Prepares clips, texts, or both.

    Its call takes the arguments of transformers' `ProcessorMixin`, but does not use that class's `_merge_kwargs`: it
    would cut the audio at the tokenizer's `model_max_length`, and only warn of unknown names.

    Args:
        feature_extractor: a `MulapFeatureExtractor`.
        tokenizer: a BERT-style tokenizer.
    """

    def __init__(self, feature_extractor: MulapFeatureExtractor, tokenizer: PreTrainedTokenizerBase):
        super().__init__(feature_extractor, tokenizer)

    def __call__(
        self,
        text: str | Iterable[str] | None = None,
        audio: Any = None,
        sampling_rate: float | str | Sequence[float | str] | None = None,
        return_tensors: str | TensorType | None = "pt",
        text_kwargs: Mapping[str, Any] | None = None,
        audio_kwargs: Mapping[str, Any] | None = None,
        common_kwargs: Mapping[str, Any] | None = None,
        images_kwargs: Mapping[str, Any] | None = None,
        videos_kwargs: Mapping[str, Any] | None = None,
        **kwargs,
    ) -> BatchFeature:
        """Texts -> `input_ids`, `attention_mask` `(texts, tokens)`; clips -> `input_values`, `audio_attention_mask`
        `(clips, samples)`.

        Args:
            text: a text, or a list, column or other collection of texts; padded to the longest and cut at the
                tokenizer's `model_max_length`.
            audio: a clip or several: see `MulapFeatureExtractor.__call__`.
            sampling_rate: rate in Hz of the clips that come without their own; also in `audio_kwargs`.
            return_tensors: "pt", "np" or None; also in `common_kwargs`.
            text_kwargs: further arguments of the tokenizer.
            audio_kwargs: further arguments of the feature extractor.
            common_kwargs: further arguments of both.
            images_kwargs, videos_kwargs: must be empty; tools that serve all kinds of models pass them.
            kwargs: arguments of the tokenizer or the feature extractor. Lengths (`padding`, `max_length`,
                `truncation`, `pad_to_multiple_of`) go to the text if there is one, so that a length meant for it never
                cuts the audio; `return_attention_mask` goes to both.

        Raises:
            ValueError: neither text nor audio is given, there are no texts, or an argument is given twice; see also
                the feature extractor.
            TypeError: a text is not a string; an argument is unknown, or there is nothing that takes it.
        """
        owner = type(self).__name__
        refuse_unknown(kwargs, _CALL_ARGUMENTS | TEXT_ARGUMENTS | AUDIO_ARGUMENTS, owner)
        for name, options, known in (
            ("text_kwargs", text_kwargs, TEXT_ARGUMENTS),
            ("audio_kwargs", audio_kwargs, AUDIO_ARGUMENTS),
            ("common_kwargs", common_kwargs, TEXT_ARGUMENTS & AUDIO_ARGUMENTS),
            ("images_kwargs", images_kwargs, ()),
            ("videos_kwargs", videos_kwargs, ()),
        ):
            refuse_unknown(options or (), known, f"{name} of {owner}")
        if text is None and audio is None:
            raise ValueError("pass text=, audio=, or both: there is nothing to prepare")
        if sampling_rate is not None:
            kwargs["sampling_rate"] = sampling_rate
        for_text, for_audio = _sort_arguments(kwargs, text is not None, audio is not None)
        common = {"return_tensors": return_tensors, **(common_kwargs or {})}
        features = {}
        if text is not None:
            defaults = {"padding": True, "truncation": True, "return_token_type_ids": False}
            options = defaults | common | _join(text_kwargs, for_text)
            features.update(self.tokenizer(_to_texts(text), **options))
        if audio is not None:
            features.update(self.feature_extractor(audio, **common | _join(audio_kwargs, for_audio)))
        return BatchFeature(features)

    def pad(
        self,
        features: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str | PaddingStrategy = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | TensorType | None = "pt",
    ) -> BatchFeature:
        """A batch of what calls returned, pair by pair: what transformers' `DataCollatorWithPadding` uses.

        Args:
            features: a list of dicts with `input_values` `(samples,)`, `input_ids` `(tokens,)` or both, and their
                masks; or a dict of lists of these. Other entries, labels for instance, are stacked.
            padding, max_length, pad_to_multiple_of: of the texts, or if there are none of the clips.
            return_tensors: "pt" or "np".

        Returns:
            As a call, and the other entries.

        Raises:
            ValueError: see `MulapFeatureExtractor.pad`.
        """
        columns = split_columns(features)
        lengths = {"padding": padding, "max_length": max_length, "pad_to_multiple_of": pad_to_multiple_of}
        text = {name: columns.pop(name) for name in TOKENS if name in columns} if "input_ids" in columns else {}
        audio = {name: columns.pop(name) for name in (VALUES, MASK) if name in columns}
        batch = {name: stack(values, name) for name, values in columns.items()}
        if text:
            batch |= self.tokenizer.pad(text, **lengths)
        if audio:
            batch |= self.feature_extractor.pad(audio, return_tensors="np", **({} if text else lengths))
        return BatchFeature(batch, tensor_type=return_tensors)

    @property
    def model_input_names(self) -> list[str]:
        return [*self.feature_extractor.model_input_names, "input_ids", "attention_mask"]

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs):
        """As transformers', and the feature extractor once more in a separate file, where older releases look."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        # tokenizer.json would keep the padding and truncation of the last call.
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.backend_tokenizer.no_padding()
        self.feature_extractor.save_pretrained(save_directory)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)


_CALL_ARGUMENTS = argument_names(MulapProcessor.__call__)


def _sort_arguments(given: Mapping[str, Any], has_text: bool, has_audio: bool) -> tuple[dict, dict]:
    """Arguments that were passed beside each other, as those of the tokenizer and those of the feature extractor.

    Raises:
        TypeError: nothing is given that takes an argument.
    """
    for_text, for_audio = {}, {}
    for name, value in given.items():
        if has_text and name in TEXT_ARGUMENTS:
            for_text[name] = value
        if has_audio and name in AUDIO_ARGUMENTS and (name not in for_text or name == "return_attention_mask"):
            for_audio[name] = value
        # Programs pass a rate whether there are clips or not.
        if name not in for_text and name not in for_audio and name != "sampling_rate":
            owner, missing = ("feature extractor", "audio") if name in AUDIO_ARGUMENTS else ("tokenizer", "text")
            raise TypeError(f"{name} is an argument of the {owner}, but {missing} is not given: leave it out")
    return for_text, for_audio


def _join(nested: Mapping[str, Any] | None, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of one side: those in its `..._kwargs`, and those passed beside.

    Raises:
        ValueError: an argument is in both.
    """
    twice = sorted(set(nested or ()) & set(given))
    if twice:
        raise ValueError(f"{twice[0]} is given twice, also in text_kwargs or audio_kwargs: pass it once")
    return {**(nested or {}), **given}


def _to_texts(text: str | Iterable[str]) -> list[str]:
    """One text or several as a list.

    Raises:
        ValueError: there are none.
        TypeError: one is not a string.
    """
    if isinstance(text, str):
        return [text]
    if not isinstance(text, Iterable) or isinstance(text, (bytes, Mapping)):
        raise TypeError(f"text is {type(text).__name__}, not a text or a list of texts; waveforms go to audio=")
    texts = list(text)
    for index, item in enumerate(texts):
        if item is None or (isinstance(item, float) and np.isnan(item)):  # as tables have it
            raise TypeError(f'text {index} is {item}, not a string: drop its row, or pass "" if it has no caption')
        if not isinstance(item, str):
            raise TypeError(
                f"text is {type(text).__name__}, not a text or a list of texts (text {index} is "
                f"{type(item).__name__}); waveforms go to audio="
            )
    if not texts:
        raise ValueError("text is an empty list: pass one text or more")
    return texts


__all__ = ["MulapProcessor"]
