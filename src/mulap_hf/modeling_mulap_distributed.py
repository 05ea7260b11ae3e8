"""What processes that train together share: rows, for losses over all items of a step, and statistics of BatchNorm."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
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


@torch.no_grad()
def track_statistics(norm: nn.modules.batchnorm._BatchNorm, mean: torch.Tensor, variance: torch.Tensor):
    """Updates running statistics in place, as BatchNorm does.

    Args:
        norm: its `running_mean`, `running_var` and `num_batches_tracked` change, if it has them.
        mean, variance: `(channels,)` of the batch; the variance is unbiased.
    """
    if not norm.track_running_stats:
        return
    norm.num_batches_tracked.add_(1)
    momentum = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance, momentum)


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm with the statistics of all processes, on every backend; torch's `nn.SyncBatchNorm` needs GPUs.

    Processes may have different numbers of items, also none.
    """

    @classmethod
    def replacing(cls, norm: nn.modules.batchnorm._BatchNorm) -> "SyncBatchNorm":
        """A module with the parameters, buffers, settings and mode of another BatchNorm."""
        synchronized = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name, parameter in norm.named_parameters(recurse=False):
            synchronized.register_parameter(name, parameter)
        for name, buffer in norm.named_buffers(recurse=False):
            synchronized.register_buffer(name, buffer)
        return synchronized.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not several_processes():
            return super().forward(input)
        self._check_input_dim(input)
        values = input.float()  # (items, channels, ...)
        dims = [dim for dim in range(values.dim()) if dim != 1]
        shape = [1, -1] + [1] * (values.dim() - 2)
        items = values.new_tensor([values.numel() / values.shape[1]])
        total = SumOverProcesses.apply(torch.cat([values.sum(dims), items]))  # (channels + 1,)
        count = total[-1].item()
        if count < 2:
            raise ValueError(
                f"BatchNorm trains on 2 values per channel or more; all processes together have {count:g}: train on "
                "larger batches"
            )
        mean = total[:-1] / count  # (channels,)
        centered = values - mean.view(shape)
        variance = SumOverProcesses.apply(centered.square().sum(dims)) / count
        track_statistics(self, mean, variance * count / (count - 1))
        normalized = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalized = normalized * self.weight.view(shape) + self.bias.view(shape)
        return normalized.to(input.dtype)

    def _check_input_dim(self, input: Tensor):
        if input.dim() < 2:
            raise ValueError(f"BatchNorm takes (items, channels, ...), not the shape {tuple(input.shape)}")
