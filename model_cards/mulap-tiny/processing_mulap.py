"""Audio and text together: the feature extractor and a BERT-style tokenizer behind one call."""

from pathlib import Path

from transformers import BatchFeature, ProcessorMixin

from .feature_extraction_mulap import MulapFeatureExtractor

_AUDIO_OPTIONS = ("resample", "crop", "max_seconds", "generator")


class MulapProcessor(ProcessorMixin):
    """Prepares clips, texts, or both.

    Args:
        feature_extractor: a `MulapFeatureExtractor`.
        tokenizer: a BERT-style tokenizer.
    """

    def __init__(self, feature_extractor: MulapFeatureExtractor, tokenizer):
        super().__init__(feature_extractor, tokenizer)

    def __call__(
        self,
        text: str | list[str] | None = None,
        audio=None,
        sampling_rate: int | None = None,
        return_tensors: str | None = "pt",
        text_kwargs: dict | None = None,
        audio_kwargs: dict | None = None,
        **kwargs,
    ) -> BatchFeature:
        """Texts -> `input_ids`, `attention_mask` `(texts, tokens)`; clips -> `input_values`, `audio_attention_mask`
        `(clips, samples)`.

        The two sides share no argument but `return_tensors`, so that a length meant for the text never cuts the audio.

        Args:
            text: a text or a list of texts; padded to the longest and cut at the tokenizer's `model_max_length`.
            audio: a clip or a list of clips: see `MulapFeatureExtractor.__call__`.
            sampling_rate: rate of the clips in Hz.
            return_tensors: "pt", "np" or None.
            text_kwargs: further arguments of the tokenizer.
            audio_kwargs: further arguments of the feature extractor.
            kwargs: as `text_kwargs` (`padding`, `max_length`, ...).

        Raises:
            ValueError: neither text nor audio is given, or an empty list of texts; see also the feature extractor.
            TypeError: the text is no text, a waveform for instance; an argument is the feature extractor's, or the
                tokenizer's and there is no text.
        """
        if text is None and audio is None:
            raise ValueError("pass text=, audio=, or both: there is nothing to prepare")
        for name in kwargs:
            if name in _AUDIO_OPTIONS:
                raise TypeError(f"{name} goes to audio_kwargs={{{name!r}: ...}}")
            if text is None and name != "padding":  # which is usual, and clips are padded anyway
                raise TypeError(f"{name} is an argument of the tokenizer, and there is no text: leave it out")
        features = {}
        if text is not None:
            texts = [text] if isinstance(text, str) else text
            if not isinstance(texts, (list, tuple)) or not all(isinstance(item, str) for item in texts):
                raise TypeError(
                    f"text is {type(text).__name__}, not a text or a list of texts; waveforms go to audio="
                )
            if not texts:
                raise ValueError("text is an empty list: there is no text to prepare")
            options = {"padding": True, "truncation": True, "return_token_type_ids": False}
            options.update(text_kwargs or {}, **kwargs)
            features.update(self.tokenizer(list(texts), return_tensors=return_tensors, **options))
        if audio is not None:
            features.update(
                self.feature_extractor(
                    audio, sampling_rate=sampling_rate, return_tensors=return_tensors, **(audio_kwargs or {})
                )
            )
        return BatchFeature(features)

    @property
    def model_input_names(self) -> list[str]:
        return [*self.feature_extractor.model_input_names, "input_ids", "attention_mask"]

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        """As transformers', and the feature extractor once more in a file of its own, where older releases look."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        # tokenizer.json would keep the padding and truncation of the last call.
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.backend_tokenizer.no_padding()
        self.feature_extractor.save_pretrained(save_directory)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)


__all__ = ["MulapProcessor"]
