"""Checks of what a forward pass is given: nothing unknown, nothing of a wrong shape."""

from collections.abc import Callable
from functools import wraps

import torch

from .arguments_mulap import argument_names, refuse_unknown


def only_known_arguments(method: Callable) -> Callable:
    """Decorator: a keyword argument that the method does not have raises a TypeError that names the nearest one."""
    names = argument_names(method)

    @wraps(method)
    def checked(self, *args, **kwargs):
        refuse_unknown(kwargs, names, f"{type(self).__name__}.{method.__name__}")
        return method(self, *args, **kwargs)

    return checked


def check_shape(name: str, value: torch.Tensor | None, axes: str, shape: tuple[int, ...]):
    """Checks an optional argument.

    Args:
        name: of the argument.
        value: of the argument; None passes.
        axes: names of the axes, for the message.
        shape: the shape that it must have.

    Raises:
        ValueError: it has another shape.
    """
    if value is not None and value.shape != shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, it must be {axes}, here {tuple(shape)}")


def mask_of_audio(
    audio_attention_mask: torch.Tensor | None, attention_mask: torch.Tensor | None
) -> torch.Tensor | None:
    """The mask of the samples of a model without a text, where `attention_mask` can only mean the audio.

    `SequenceFeatureExtractor.pad` of transformers, and with it the default collator of Trainer, use that name.

    Raises:
        ValueError: both are given and differ.
    """
    if audio_attention_mask is None or attention_mask is None:
        return attention_mask if audio_attention_mask is None else audio_attention_mask
    if audio_attention_mask.shape != attention_mask.shape or not torch.equal(
        audio_attention_mask.bool(), attention_mask.bool()
    ):
        raise ValueError(
            "audio_attention_mask and attention_mask differ; both are the mask of the samples here: pass one of them"
        )
    return audio_attention_mask


def check_token_types(token_type_ids: torch.Tensor | None):
    """Checks what BERT's tokenizers return besides the tokens.

    Raises:
        ValueError: there is another type than 0, which the text stream cannot represent.
    """
    if token_type_ids is not None and token_type_ids.any():
        raise ValueError("token_type_ids has other types than 0; MuLaP has no token types: pass one text, not a pair")
