"""What makes a training step of several processes equal to a step of one process on the joined batch."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..modeling_mulap_conv import track_statistics
from ..modeling_mulap_distributed import SumOverProcesses, several_processes


def sum_over_processes(values: dict[str, float]) -> dict[str, float]:
    """Sums of numbers with the same names over all processes, in float64; without other processes, a copy."""
    if not several_processes():
        return dict(values)
    device = "cpu" if dist.get_backend() == "gloo" else torch.accelerator.current_accelerator()
    totals = torch.tensor([float(value) for value in values.values()], dtype=torch.float64, device=device)
    dist.all_reduce(totals)
    return dict(zip(values, totals.tolist(), strict=True))


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
