"""Waveforms of different lengths as one batch, with a mask of what is real."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.utils import PaddingStrategy

VALUES, MASK = "input_values", "audio_attention_mask"


@dataclass(frozen=True)
class Padding:
    """How the clips of a batch get one length; the arguments are those of transformers, lengths are in samples.

    Raises:
        ValueError: a strategy that does not exist, or `max_length` is missing or not positive.
    """

    padding: bool | str | PaddingStrategy = True
    max_length: int | None = None
    truncation: bool | str = False
    pad_to_multiple_of: int | None = None

    def __post_init__(self):
        strategy = self.strategy
        if self.truncation not in (True, False, None):
            raise ValueError(f"truncation={self.truncation!r} is for texts: of audio it is True or False")
        if self.max_length is None and (self.truncation or strategy is PaddingStrategy.MAX_LENGTH):
            cause = "truncation=True" if self.truncation else 'padding="max_length"'
            raise ValueError(f"{cause} needs max_length, in samples")
        for name in ("max_length", "pad_to_multiple_of"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1 sample")

    @property
    def strategy(self) -> PaddingStrategy:
        if isinstance(self.padding, bool):
            return PaddingStrategy.LONGEST if self.padding else PaddingStrategy.DO_NOT_PAD
        return PaddingStrategy(self.padding)

    def apply(
        self, waveforms: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None, value: float
    ) -> tuple[np.ndarray | list[np.ndarray], np.ndarray | list[np.ndarray]]:
        """The batch `(clips, samples)`, float32, and its mask, int32, in new memory; lists of arrays where
        nothing is padded and lengths differ.

        Args:
            waveforms: `(samples,)` each.
            masks: of each clip, as long as it: 1 = real, 0 = padding. None: all is real.
            value: what padding is filled with.

        Raises:
            ValueError: a clip is longer than `max_length` and is not truncated.
        """
        keep = self.max_length if self.truncation else None
        waveforms = [waveform[:keep] for waveform in waveforms]
        lengths = [len(waveform) for waveform in waveforms]
        masks = [np.ones(length) for length in lengths] if masks is None else [mask[:keep] for mask in masks]
        if self.strategy is PaddingStrategy.DO_NOT_PAD and len(set(lengths)) > 1:
            return [waveform.astype(np.float32) for waveform in waveforms], [mask.astype(np.int32) for mask in masks]
        target = max(lengths)
        if self.strategy is PaddingStrategy.MAX_LENGTH:
            if target > self.max_length:
                raise ValueError(
                    f"clip {lengths.index(target)} has {target} samples, more than max_length={self.max_length}: pass "
                    "truncation=True to cut it"
                )
            target = self.max_length
        if self.pad_to_multiple_of and self.strategy is not PaddingStrategy.DO_NOT_PAD:
            target = -(-target // self.pad_to_multiple_of) * self.pad_to_multiple_of
        return _fill(waveforms, target, np.float32, value), _fill(masks, target, np.int32, 0)


def split_columns(features: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows, or a dict of columns, as a dict of columns.

    Raises:
        ValueError: there are no rows, or they have different entries.
    """
    if isinstance(features, Mapping):
        return dict(features)
    rows = list(features)
    if not rows:
        raise ValueError("pad() was given no clips")
    for index, row in enumerate(rows):
        if set(row) != set(rows[0]):
            raise ValueError(f"row {index} has {sorted(row)}, row 0 has {sorted(rows[0])}: all need the same entries")
    return {name: [row[name] for row in rows] for name in rows[0]}


def to_vectors(values: Sequence, name: str) -> list[np.ndarray]:
    """Each row of a column as an array `(samples,)`.

    Raises:
        ValueError: a row has another shape.
    """
    arrays = [np.asarray(value) for value in values]
    for index, array in enumerate(arrays):
        if array.ndim != 1 or array.size == 0:
            raise ValueError(
                f"{name} of row {index} has shape {array.shape}, it must be (samples,), of one clip: take [0] of what "
                "a call returns for it"
            )
    return arrays


def stack(values: Sequence, name: str) -> np.ndarray | list:
    """Any other column, stacked; floats become float32, texts stay a list.

    Raises:
        ValueError: its rows have different shapes.
    """
    try:
        array = np.stack(
            [value.detach().cpu() if isinstance(value, torch.Tensor) else np.asarray(value) for value in values]
        )
    except ValueError as error:
        raise ValueError(
            f"{name} has rows of different shapes: pad() fills up {VALUES} and {MASK} only; leave it out"
        ) from error
    if array.dtype.kind not in "biuf":
        return values
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _fill(rows: Sequence[np.ndarray], length: int, dtype: type, value: float) -> np.ndarray:
    filled = np.full((len(rows), length), value, dtype=dtype)
    for target, row in zip(filled, rows, strict=True):
        target[: len(row)] = row
    return filled
