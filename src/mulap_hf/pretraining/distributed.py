"""What makes a training step of several processes equal to a step of one process on the joined batch."""

import torch
import torch.distributed as dist
from torch import nn

from ..modeling_mulap_distributed import SyncBatchNorm, several_processes


def sum_over_processes(values: dict[str, float]) -> dict[str, float]:
    """Sums of numbers with the same names over all processes, in float64; without other processes, a copy."""
    if not several_processes():
        return dict(values)
    device = "cpu" if dist.get_backend() == "gloo" else torch.accelerator.current_accelerator()
    totals = torch.tensor([float(value) for value in values.values()], dtype=torch.float64, device=device)
    dist.all_reduce(totals)
    return dict(zip(values, totals.tolist(), strict=True))


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """Makes every BatchNorm of a model normalize by the statistics of all processes.

    Call it before the model is wrapped or given to an optimizer. Parameters, buffers and their names stay the same. In
    eval mode, and without other processes, nothing changes. On GPUs torch's own `nn.SyncBatchNorm` is used.

    Returns:
        The model, with its BatchNorm modules replaced; a new module if the model itself is a BatchNorm.
    """
    if several_processes() and dist.get_backend() != "gloo":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if isinstance(model, nn.modules.batchnorm._BatchNorm):
        return SyncBatchNorm.replacing(model)
    for name, child in model.named_children():
        setattr(model, name, synchronize_batch_norm(child))
    return model
