"""What several processes must share for their step to be the step of one process on the joined batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from ..modeling_mulap_conv import track_statistics

_alone = ContextVar("alone", default=False)


@contextmanager
def each_process_alone() -> Iterator[None]:
    """Within it nothing here waits for other processes, as if there were none: they may come by differently often."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


class _Sum(torch.autograd.Function):
    """Sum over the processes, with gradient. torch.distributed.nn.functional has one too, but deprecates it."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        values = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def gather_rows(values: Tensor) -> tuple[Tensor, int]:
    """Joins the rows of all processes, in the order of their ranks; `accelerator.gather` would cut the gradient.

    Where each process computes the mean loss of its own rows from the joined tensor, the mean of their gradients over
    the processes (what DistributedDataParallel makes) is the gradient of one process on the joined batch. Different
    numbers of rows are fine; each mean then counts as often as it has rows (`sum_over_processes`).

    Args:
        values: `(rows, ...)`, numbers of one dtype, equal in all processes but for the rows.

    Returns:
        The joined tensor `(all rows, ...)` and the index of this process' first row in it; `values` itself and 0
        without a process group.
    """
    if not _several_processes():
        return values, 0
    rank = dist.get_rank()
    counts = torch.zeros(dist.get_world_size(), dtype=torch.long, device=values.device)
    counts[rank] = len(values)
    dist.all_reduce(counts)
    first, after = int(counts[:rank].sum()), int(counts[rank + 1 :].sum())
    # Zeros for the others' rows: the sum over the processes then joins them all.
    return _Sum.apply(F.pad(values, [0, 0] * (values.dim() - 1) + [first, after])), first


def sum_over_processes(values: dict[str, float]) -> dict[str, float]:
    """Sums numbers of the same names over all processes, in float64; without a process group, copies them."""
    if not _several_processes():
        return dict(values)
    device = "cpu" if dist.get_backend() == "gloo" else torch.accelerator.current_accelerator()
    totals = torch.tensor([float(value) for value in values.values()], dtype=torch.float64, device=device)
    dist.all_reduce(totals)
    return dict(zip(values, totals.tolist(), strict=True))


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm by the statistics of all processes, on every backend: torch's `nn.SyncBatchNorm` trains on GPUs only.

    Processes may have different numbers of items; one without any takes part with none.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not _several_processes():
            return super().forward(input)
        self._check_input_dim(input)
        values = input.float()  # (items, channels, ...)
        dims = [dim for dim in range(values.dim()) if dim != 1]
        shape = [1, -1] + [1] * (values.dim() - 2)
        items = values.new_tensor([values.numel() / values.shape[1]])
        total = _Sum.apply(torch.cat([values.sum(dims), items]))  # (channels + 1,)
        count = total[-1].item()
        if count < 2:
            raise ValueError(f"BatchNorm trains on 2 values per channel or more; all processes have {count:g}")
        mean = total[:-1] / count  # (channels,)
        centered = values - mean.view(shape)
        variance = _Sum.apply(centered.square().sum(dims)) / count
        track_statistics(self, mean, variance * count / (count - 1))
        normalized = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalized = normalized * self.weight.view(shape) + self.bias.view(shape)
        return normalized.to(input.dtype)

    def _check_input_dim(self, input: Tensor):
        if input.dim() < 2:
            raise ValueError(f"BatchNorm takes (items, channels, ...), not the shape {tuple(input.shape)}")


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """Lets every BatchNorm of a model normalize by the statistics of all processes.

    Call it before the model is wrapped. Parameters, buffers and their names stay; in eval mode, and without other
    processes, nothing changes. Where the processes have GPUs, torch's own `nn.SyncBatchNorm` does it.

    Returns:
        The model, changed.
    """
    if _several_processes() and dist.get_backend() != "gloo":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.__class__ = SyncBatchNorm  # the same state, another forward pass
    return model


def _several_processes() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1 and not _alone.get()
