"""From waveforms in whatever form users have them to what the model takes."""

from typing import Literal

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.utils import logging

logger = logging.get_logger(__name__)

Waveform = np.ndarray | torch.Tensor | list


class MulapFeatureExtractor(SequenceFeatureExtractor):
    """Checks waveforms, makes them mono float32, crops on request and pads them to one length.

    The log-mel is computed inside the model, so this does nothing that depends on the model's sizes.

    Args:
        sampling_rate: samples per second that the model takes.
        max_seconds: longest clip that is left after cropping.
        crop: what to keep of longer clips: "none" keeps them whole, "first" their first `max_seconds`. Random crops
            are for training and have to be asked for in the call, with a generator: no saved setting can make
            inference random.
        padding_value: what the shorter clips of a batch are filled up with.
    """

    model_input_names = ["input_values", "audio_attention_mask"]

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
        self.max_seconds = max_seconds
        self.crop = crop
        self.return_attention_mask = return_attention_mask

    def __call__(
        self,
        raw_speech: Waveform | list[Waveform],
        sampling_rate: int | None = None,
        resample: bool = False,
        crop: Literal["none", "first", "random"] | None = None,
        max_seconds: float | None = None,
        generator: np.random.Generator | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """One clip or a list of clips -> `input_values` and `audio_attention_mask`, both `(batch, samples)`.

        Args:
            raw_speech: a clip, or a list of clips. A clip is an array, a tensor or a list of numbers: mono
                `(samples,)` or stereo, channels first or last. Floats are taken as they are and should lie in
                [-1, 1]; int16, int32 and uint8 are scaled.
            sampling_rate: rate of all the clips in Hz; checked against the model's.
            resample: resample clips whose rate is not the model's, instead of refusing them.
            crop: "none", "first" or "random" (needs `generator`); default: as configured.
            max_seconds: how much the last two keep; default: as configured.
            generator: where random crops start; only for training.
            return_attention_mask: default: as configured.
            return_tensors: "pt", "np" or None for a list of arrays.

        Raises:
            ValueError: a clip is empty, has NaN or infinite samples, a shape that is no mono or stereo waveform, or
                another sampling rate; a crop that is not possible; nothing is left after resampling and cropping.
            TypeError: a clip is not a waveform, a path for instance.
        """
        clips = raw_speech if _is_batch(raw_speech) else [raw_speech]
        if len(clips) == 0:
            raise ValueError("raw_speech is an empty list: there is no clip to prepare")
        if sampling_rate is None:
            logger.warning_once(
                f"No sampling_rate was given: the clips are taken to have {self.sampling_rate} Hz. Pass "
                "sampling_rate= to have it checked."
            )
            sampling_rate = self.sampling_rate
        if sampling_rate != self.sampling_rate and not resample:
            raise ValueError(
                f"the clips have sampling_rate={sampling_rate} Hz, the model takes {self.sampling_rate} Hz: load them "
                f"with mulap_hf.load_audio(path, sampling_rate={self.sampling_rate}), or pass resample=True"
            )
        waveforms = [_to_mono(clip, f"clip {index}") for index, clip in enumerate(clips)]
        given = [len(waveform) for waveform in waveforms]
        if sampling_rate != self.sampling_rate:
            waveforms = [_resample(waveform, sampling_rate, self.sampling_rate) for waveform in waveforms]
        waveforms = self._crop_all(waveforms, crop, max_seconds, generator)
        for index, waveform in enumerate(waveforms):
            if len(waveform) == 0:
                raise ValueError(
                    f"clip {index} has no samples left at {self.sampling_rate} Hz ({given[index]} samples at "
                    f"{sampling_rate} Hz): drop it, or crop to more"
                )

        longest = max(len(waveform) for waveform in waveforms)
        if all(len(waveform) == longest for waveform in waveforms):
            values = np.stack(waveforms) if len(waveforms) > 1 else waveforms[0][None]
        else:
            values = np.full((len(waveforms), longest), self.padding_value, dtype=np.float32)
            for row, waveform in zip(values, waveforms, strict=True):
                row[: len(waveform)] = waveform
        features = {"input_values": values}
        if self.return_attention_mask if return_attention_mask is None else return_attention_mask:
            lengths = np.array([len(waveform) for waveform in waveforms])
            features["audio_attention_mask"] = (np.arange(longest) < lengths[:, None]).astype(np.int32)
        return BatchFeature(features, tensor_type=return_tensors)

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

        def cut(waveform: np.ndarray) -> np.ndarray:
            spare = max(0, len(waveform) - keep)
            start = int(generator.integers(spare + 1)) if crop == "random" else 0
            return waveform[start : start + keep]

        return [cut(waveform) for waveform in waveforms]


def _check_crop(crop: str, max_seconds: float | None):
    if crop not in ("none", "first", "random"):
        raise ValueError(f'crop={crop!r} is not "none", "first" or "random"')
    if crop == "none" and max_seconds is not None:
        raise ValueError(f'max_seconds={max_seconds} crops nothing with crop="none": pass crop="first" or "random"')
    if crop != "none" and (max_seconds is None or max_seconds <= 0):
        raise ValueError(f"crop={crop!r} needs max_seconds, how much to keep; it is {max_seconds}")


def _is_batch(clips) -> bool:
    """A list of anything but numbers is a batch of clips."""
    return isinstance(clips, (list, tuple)) and not (len(clips) > 0 and np.isscalar(clips[0]))


def _to_mono(clip: Waveform, name: str) -> np.ndarray:
    """A clip as contiguous float32 `(samples,)`."""
    if isinstance(clip, (str, bytes, dict)) or hasattr(clip, "__fspath__"):
        raise TypeError(
            f"{name} is {type(clip).__name__}, not a waveform: load files with mulap_hf.load_audio(path), and take "
            'the "array" of a dataset\'s audio'
        )
    samples = clip.detach().cpu().numpy() if isinstance(clip, torch.Tensor) else np.asarray(clip)
    if samples.dtype == object or samples.dtype.kind not in "fiu":
        raise TypeError(f"{name} holds {samples.dtype} values, not samples of a waveform")
    if samples.size == 0:
        raise ValueError(f"{name} is empty (shape {samples.shape})")
    if samples.ndim == 2 and min(samples.shape) <= 2:
        channels = int(np.argmin(samples.shape))
        samples = _to_float(samples, name).mean(axis=channels, dtype=np.float32)
    elif samples.ndim != 1:
        raise ValueError(
            f"{name} has shape {samples.shape}; a clip is mono (samples,) or stereo (2, samples) or (samples, 2). "
            "Pass a batch as a list of clips, and mix more than two channels down"
        )
    samples = np.ascontiguousarray(_to_float(samples, name))
    # A sum meets every sample without a temporary as large as the track.
    if not np.isfinite(samples.sum(dtype=np.float64)):
        bad = int((~np.isfinite(samples)).sum())
        raise ValueError(f"{name} has {bad} samples that are NaN or infinite: mend or drop it")
    peak = max(samples.max(), -samples.min())
    if peak > 16:
        logger.warning_once(
            f"{name} peaks at {peak:.0f}; float samples should lie in [-1, 1]. If they are int16 values, divide by "
            "32768 or keep them as integers."
        )
    return samples


def _to_float(samples: np.ndarray, name: str) -> np.ndarray:
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:  # the one unsigned format of wav files, silent at 128
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype in (np.int16, np.int32):
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    raise ValueError(f"{name} holds {samples.dtype}, whose full scale is unknown: cast it to int16, int32 or float32")


def _resample(waveform: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    try:
        import soxr
    except ImportError as error:
        raise ImportError("resample=True needs soxr: pip install soxr") from error
    return soxr.resample(waveform, source_rate, target_rate).astype(np.float32, copy=False)


__all__ = ["MulapFeatureExtractor"]
