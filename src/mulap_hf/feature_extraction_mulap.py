"""From waveforms in whatever form people have them to what the model takes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.utils import PaddingStrategy, TensorType, logging

from .arguments_mulap import argument_names, refuse_unknown
from .audio_inputs_mulap import is_audio, read_audio
from .errors import AudioError
from .padding_mulap import MASK, VALUES, Padding, split_columns, stack, to_vectors
from .waveform_mulap import resample as resample_waveform

logger = logging.get_logger(__name__)


class MulapFeatureExtractor(SequenceFeatureExtractor):
    """Checks clips, makes them mono float32, crops on request and pads them to one length.

    The log-mel is computed inside the model, so nothing here depends on the model's sizes.

    Args:
        sampling_rate: samples per second that the model takes.
        max_seconds: length in seconds of the longest clip that is left after cropping.
        crop: what to keep of longer clips: "none" keeps them whole, "first" their first `max_seconds`. Random crops
            are for training and have to be asked for in the call, with a generator: no saved setting can make
            inference random.
        padding_value: what the shorter clips of a batch are padded with.
        return_attention_mask: whether batches have an `audio_attention_mask`, unless the call says otherwise.

    Raises:
        ValueError: a crop that is not possible, or padding on the left, which would shift the model's chunks.
    """

    model_input_names = [VALUES, MASK]

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        max_seconds: float | None = None,
        crop: Literal["none", "first"] = "none",
        return_attention_mask: bool = True,
        **kwargs,
    ):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        if crop == "random":
            raise ValueError('crop="random" is for training: pass it in the call, with generator=')
        _check_crop(crop, max_seconds)
        if self.padding_side != "right":
            raise ValueError(f'padding_side={self.padding_side!r} is not possible: it must be "right"')
        self.max_seconds = max_seconds
        self.crop = crop
        self.return_attention_mask = return_attention_mask

    def __call__(
        self,
        raw_speech: Any,
        sampling_rate: float | str | Sequence[float | str] | None = None,
        resample: bool = False,
        crop: Literal["none", "first", "random"] | None = None,
        max_seconds: float | None = None,
        generator: np.random.Generator | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
        padding: bool | str | PaddingStrategy = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        **kwargs,
    ) -> BatchFeature:
        """One clip or several -> `input_values` (float32) and `audio_attention_mask` (int32, 1 = real sample, 0 =
        padding), both `(batch, samples)`.

        Args:
            raw_speech: a clip, or a list, column or other collection of clips. A clip is an array, a tensor or a list
                of numbers, mono `(samples,)` or stereo, channels first or last: floats are taken as they are and
                should lie in [-1, 1]; int16, int32 and uint8 are scaled. Or it is a dict `{"array", "sampling_rate"}`
                or `{"bytes", "path"}` as `datasets` gives it, a decoder of torchcodec, a path, a URL or the bytes of a
                file; files and decoders are resampled to the model's rate.
            sampling_rate: rate in Hz of the clips that come without their own, or a list with one rate for each clip;
                checked against the model's.
            resample: resample clips whose rate is not the model's, instead of refusing them.
            crop: "none", "first" or "random" (needs `generator`); default: as configured.
            max_seconds: length in seconds that a crop keeps; default: as configured.
            generator: draws where random crops start; only for training.
            return_attention_mask: default: as configured. Without the mask a model takes padding for silence that
                belongs to the clip.
            return_tensors: "pt", "np" or None, which gives numpy arrays.
            padding: as in transformers: True or "longest", "max_length", False or "do_not_pad".
            max_length: in samples, for `padding="max_length"` and `truncation`.
            truncation: cut longer clips to `max_length`.
            pad_to_multiple_of: make the padded length a multiple of this, in samples.

        Raises:
            AudioError: (a ValueError) a clip is empty, has NaN or infinite samples, a shape that is neither mono nor
                stereo, or another sampling rate; a file cannot be read; nothing is left after resampling and cropping.
            ValueError: there are no clips; a crop, padding or truncation that is not possible.
            TypeError: a clip is not audio, or an argument is unknown.
        """
        refuse_unknown(kwargs, AUDIO_ARGUMENTS, type(self).__name__)
        clips = [raw_speech] if is_audio(raw_speech) else list(raw_speech)
        if len(clips) == 0:
            raise ValueError("raw_speech is an empty list: pass one clip or more")
        rates = self._rates(sampling_rate, clips)
        waveforms = [
            self._read(clip, rate, resample, f"clip {index}")
            for index, (clip, rate) in enumerate(zip(clips, rates, strict=True))
        ]
        waveforms = self._crop_all(waveforms, crop, max_seconds, generator)
        batch_padding = Padding(padding, max_length, truncation, pad_to_multiple_of)
        return self._batch({VALUES: waveforms}, batch_padding, return_attention_mask, return_tensors)

    def pad(
        self,
        processed_features: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str | PaddingStrategy = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
    ) -> BatchFeature:
        """A batch of what calls returned, clip by clip: the collator of transformers' Trainer uses it.

        Args:
            processed_features: a list of dicts with `input_values` `(samples,)` and, where a clip has padding,
                `audio_attention_mask` `(samples,)`; or a dict of lists of these. Other entries, labels for instance,
                are stacked.
            padding, max_length, truncation, pad_to_multiple_of, return_attention_mask: as in a call.
            return_tensors: "pt" or "np"; default: that of the given values.

        Returns:
            As a call, and the other entries.

        Raises:
            ValueError: there are no `input_values`, the clips have different entries, a mask is not as long as its
                clip, or another entry cannot be stacked; see also the call.
        """
        columns = split_columns(processed_features)
        if VALUES not in columns or len(columns[VALUES]) == 0:
            raise ValueError(f"pad() needs {VALUES!r}, of one clip or more; it was given {sorted(map(str, columns))}")
        if return_tensors is None:
            return_tensors = "pt" if isinstance(columns[VALUES][0], torch.Tensor) else "np"
        batch = {name: stack(values, name) for name, values in columns.items() if name not in (VALUES, MASK)}
        batch |= {name: to_vectors(columns[name], name) for name in (VALUES, MASK) if name in columns}
        for index, (values, mask) in enumerate(zip(batch[VALUES], batch.get(MASK, batch[VALUES]), strict=True)):
            if len(values) != len(mask):
                raise ValueError(f"row {index} has {len(values)} {VALUES} and {len(mask)} of {MASK}")
        batch_padding = Padding(padding, max_length, truncation, pad_to_multiple_of)
        return self._batch(batch, batch_padding, return_attention_mask, return_tensors)

    def _rates(self, sampling_rate: Any, clips: list) -> list:
        """One rate for each clip, as it was given."""
        if isinstance(sampling_rate, (list, tuple)) or np.ndim(sampling_rate) == 1:
            if len(sampling_rate) != len(clips):
                raise ValueError(
                    f"sampling_rate has {len(sampling_rate)} rates for {len(clips)} clips: pass one rate for all, or "
                    "one for each"
                )
            return list(sampling_rate)
        return [sampling_rate] * len(clips)

    def rate_of(self, clip: Any, rate: Any) -> Any:
        """The rate that was given for a clip, or else the model's, with a warning if the clip needs one."""
        if rate is not None:
            return rate
        if isinstance(clip, (np.ndarray, torch.Tensor, list, tuple)):
            logger.warning_once(
                f"No sampling_rate was given: the clips are taken to have {self.sampling_rate} Hz. Pass "
                'sampling_rate=, or {"array": ..., "sampling_rate": Hz} as a clip.'
            )
        return self.sampling_rate

    def _read(self, clip: Any, rate: Any, resample: bool, name: str) -> np.ndarray:
        """A clip as a mono waveform `(samples,)` at the model's rate, in memory of this package."""
        waveform, rate = read_audio(clip, name, self.sampling_rate, self.rate_of(clip, rate))
        if rate == self.sampling_rate:
            return waveform
        if not resample:
            raise AudioError(
                f"{name} has sampling_rate={rate} Hz, the model takes {self.sampling_rate} Hz: load it with "
                f"mulap_hf.load_audio(path, sampling_rate={self.sampling_rate}), or pass resample=True"
            )
        resampled = resample_waveform(waveform, rate, self.sampling_rate)
        if len(resampled) == 0:
            raise AudioError(
                f"{name} has no samples left at {self.sampling_rate} Hz ({len(waveform)} samples at {rate} Hz): drop "
                "it"
            )
        return resampled

    def _crop_all(
        self,
        waveforms: list[np.ndarray],
        crop: str | None,
        max_seconds: float | None,
        generator: np.random.Generator | None,
    ) -> list[np.ndarray]:
        crop = self.crop if crop is None else crop
        if max_seconds is None and crop != "none":
            max_seconds = self.max_seconds
        _check_crop(crop, max_seconds)
        if crop == "none":
            return waveforms
        if crop == "random" and generator is None:
            raise ValueError(
                'crop="random" needs generator=numpy.random.default_rng(seed), so that it can be repeated'
            )
        keep = round(max_seconds * self.sampling_rate)
        if keep == 0:
            raise ValueError(f"max_seconds={max_seconds} leaves no samples at {self.sampling_rate} Hz: crop to more")

        def cut(waveform: np.ndarray) -> np.ndarray:
            spare = max(0, len(waveform) - keep)
            start = int(generator.integers(spare + 1)) if crop == "random" else 0
            return waveform[start : start + keep]

        return [cut(waveform) for waveform in waveforms]

    def _batch(
        self,
        columns: dict[str, Any],
        padding: Padding,
        return_attention_mask: bool | None,
        return_tensors: str | TensorType | None,
    ) -> BatchFeature:
        """Columns of `input_values` and, where clips have padding, `audio_attention_mask` as a batch."""
        values, masks = padding.apply(columns[VALUES], columns.get(MASK), self.padding_value)
        features = columns | {VALUES: values}
        if self.return_attention_mask if return_attention_mask is None else return_attention_mask:
            features[MASK] = masks
        else:
            features.pop(MASK, None)
        return BatchFeature(features, tensor_type=return_tensors)


def _check_crop(crop: str, max_seconds: float | None):
    if crop not in ("none", "first", "random"):
        raise ValueError(f'crop={crop!r} is not "none", "first" or "random"')
    if crop == "none" and max_seconds is not None:
        raise ValueError(f'max_seconds={max_seconds} crops nothing with crop="none": pass crop="first" or "random"')
    if crop != "none" and (max_seconds is None or max_seconds <= 0):
        raise ValueError(f"crop={crop!r} needs max_seconds, how much to keep; it is {max_seconds}")


AUDIO_ARGUMENTS = argument_names(MulapFeatureExtractor.__call__, without=["raw_speech"])

__all__ = ["MulapFeatureExtractor"]
