"""Joining the rows of all processes, for losses that compare each item with all items of a training step."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


def several_processes() -> bool:
    """Whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over the processes, with gradient. `torch.distributed.nn.functional` deprecates its own."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        values = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return SumOverProcesses.apply(gradient)


def gather_rows(values: Tensor) -> tuple[Tensor, int]:
    """Joins the rows of all processes in the order of their ranks; unlike `accelerator.gather`, with gradient.

    Suppose that each process computes the mean loss of its rows against the joined tensor. The mean of these
    gradients over the processes, which DistributedDataParallel takes, is then the gradient of one process on the
    joined batch. If processes have different numbers of rows, weight each mean by its number of rows.

    Args:
        values: `(rows, ...)`; all processes have the same dtype and the same shape except for the number of rows.

    Returns:
        The joined tensor `(all rows, ...)` and the index of this process' first row in it. Without other processes:
        `values` and 0.
    """
    if not several_processes():
        return values, 0
    rank = dist.get_rank()
    counts = torch.zeros(dist.get_world_size(), dtype=torch.long, device=values.device)
    counts[rank] = len(values)
    dist.all_reduce(counts)
    before, after = int(counts[:rank].sum()), int(counts[rank + 1 :].sum())
    # Each process pads its rows with zeros in place of the others' rows, so the sum contains the rows of all.
    padded = F.pad(values, [0, 0] * (values.dim() - 1) + [before, after])
    return SumOverProcesses.apply(padded), before
