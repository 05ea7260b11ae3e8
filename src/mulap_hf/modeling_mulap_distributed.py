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


class _Normalize(torch.autograd.Function):
    """Values `(items, channels, ...)` to mean 0 and variance 1 over all processes, with one exchange each way.

    Also gives mean, (biased) variance, both `(channels,)`, and the number of values per channel, without gradient.
    """

    @staticmethod
    def forward(ctx, values, eps):
        dims, shape = _other_dims(values)
        number = values.numel() // values.shape[1]
        mean = values.sum(dims) / max(number, 1)
        squares = (values - mean.view(shape)).square().sum(dims)
        parts = _of_all_processes(torch.stack([mean, squares, torch.full_like(mean, number)]))
        means, all_squares, counts = parts.unbind(1)  # each (processes, channels)
        count = counts[:, 0].sum().item()
        if count < 2:
            raise ValueError(
                f"BatchNorm trains on 2 values per channel or more; all processes together have {count:g}: train on "
                "larger batches"
            )
        # Moments of the parts give those of the whole (Chan, Golub, LeVeque 1979) without cancellation.
        mean = (counts * means).sum(dim=0) / count
        variance = (all_squares + counts * (means - mean).square()).sum(dim=0) / count
        rate = torch.rsqrt(variance + eps)
        normalized = (values - mean.view(shape)).mul_(rate.view(shape))
        ctx.save_for_backward(normalized, rate)
        ctx.count = count
        ctx.mark_non_differentiable(mean, variance)
        return normalized, mean, variance, count

    @staticmethod
    def backward(ctx, gradient, *_):
        normalized, rate = ctx.saved_tensors
        dims, shape = _other_dims(gradient)
        sums = torch.stack([gradient.sum(dims), (gradient * normalized).sum(dims)])
        dist.all_reduce(sums)
        mean, slope = (sums / ctx.count).view(2, *shape)
        return (gradient - mean - normalized * slope).mul_(rate.view(shape)), None


def _other_dims(values: Tensor) -> tuple[list[int], list[int]]:
    """The dimensions besides the channels, and the shape with which `(channels,)` is broadcast."""
    return [dim for dim in range(values.dim()) if dim != 1], [1, -1] + [1] * (values.dim() - 2)


def _of_all_processes(values: Tensor) -> Tensor:
    """`(...)` -> `(processes, ...)`."""
    gathered = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, values)
    return torch.stack(gathered)


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
        normalized, mean, variance, count = _Normalize.apply(input.float(), self.eps)
        track_statistics(self, mean, variance * (count / (count - 1)))
        if self.affine:
            shape = [1, -1] + [1] * (input.dim() - 2)
            normalized = torch.addcmul(self.bias.view(shape), normalized, self.weight.view(shape))
        return normalized.to(input.dtype)

    def _check_input_dim(self, input: Tensor):
        if input.dim() < 2:
            raise ValueError(f"BatchNorm takes (items, channels, ...), not the shape {tuple(input.shape)}")
