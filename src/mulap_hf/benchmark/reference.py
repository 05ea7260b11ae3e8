"""The reference computation: plain convolutions instead of the fast path of `modeling_mulap_conv`."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..modeling_mulap_audio import MulapMusiCNN


def plain(model: nn.Module) -> nn.Module:
    """Return a copy of a model that computes convolution, BatchNorm, ReLU and maximum one after the other."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, MulapMusiCNN):
            module.config.fast_convolutions = False
    return model


@torch.no_grad()
def count_gflop(model: nn.Module, **inputs) -> float:
    """Return the 10^9 floating-point operations of a forward pass of the reference, as counted by torch."""
    with FlopCounterMode(display=False) as counter:
        plain(model)(**inputs)
    return counter.get_total_flops() / 1e9
