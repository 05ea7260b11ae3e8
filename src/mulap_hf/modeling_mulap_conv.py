"""Tall convolutions of a spectrogram, of which only the maximum over frequency is used, as matrix products for CPUs.

The plain computation is `relu(norm(conv(image))).amax(dim=2)`. Three facts make it unnecessary:

- BatchNorm is an affine map per channel and ReLU is monotone, so the maximum may be taken before both. Where the scale
  of BatchNorm is negative, it becomes the minimum. The highest outputs are computed in `modeling_mulap_products`.
- The mean and the variance of the output are a linear and a quadratic form of the filter, in the mean and the
  covariance of the image's patches.
- The gradient of the maximum reaches one height per channel and frame: a sum of that few patches, not a convolution.
"""

from functools import lru_cache

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from transformers.utils import logging

from .modeling_mulap_distributed import SumOverProcesses, SyncBatchNorm, several_processes, track_statistics
from .modeling_mulap_products import SpectralTables, filter_spectra, highest_outputs, spectral_tables
from .modeling_mulap_threads import has_hooks

logger = logging.get_logger(__name__)

# Elements of the windows gathered at a time in the backward pass.
GATHERED = 2**20


class MulapConv(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, conv: nn.Conv1d | nn.Conv2d):
        super().__init__()
        self.conv = conv
        self.norm = (nn.BatchNorm1d if isinstance(conv, nn.Conv1d) else nn.BatchNorm2d)(conv.out_channels)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(inputs)))


def max_over_frequency(image: torch.Tensor, layers: nn.ModuleList, fast: bool = True) -> list[torch.Tensor]:
    """Convolution, BatchNorm, ReLU and the maximum over frequency, of several layers on the same image.

    Args:
        image: `(chunks, 1, bands, frames)`.
        layers: `MulapConv`s with one input channel and as many output frames as input frames.
        fast: use the matrix products where they compute the same (see `_is_fast`).

    Returns:
        For every layer `(chunks, channels, frames)`.
    """
    if not (fast and _is_fast(image, layers)):
        return [layer(image).amax(dim=2) for layer in layers]
    with torch.autocast(device_type=image.device.type, enabled=False):
        # Other half precision is computed in single precision: these products are faster than plain convolutions.
        half = image.dtype == torch.bfloat16 and multiplies_bfloat16()
        if image.dtype == torch.bfloat16 and not half:
            logger.warning_once(
                "This CPU has no instructions for bfloat16: most of the backbone is computed in float32. "
                "dtype=torch.float32 is as fast, and more accurate."
            )
        outputs = _max_over_frequency(_at_least_single(image), layers, half)
        return [output.to(image.dtype) for output in outputs]


@lru_cache
def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16; if not, single precision is faster."""
    found = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _is_fast(image: torch.Tensor, layers: nn.ModuleList) -> bool:
    """Whether the products compute what a call of the layers does.

    Tracing, GPUs, training in half precision, and convolutions or norms of other classes take the plain computation.
    So do layers whose call does more than their class: with hooks, pruning or another parametrization, or with weights
    on a disk. Where a scale is exactly zero, the maximum before BatchNorm is not the maximum after it.
    """
    return (
        image.device.type == "cpu"
        and (image.dtype in (torch.float32, torch.float64) or not any(layer.norm.training for layer in layers))
        and not torch.compiler.is_compiling()
        and not nn.modules.module._has_any_global_hook()
        and all(_is_plain(layer, MulapConv) for layer in layers)
        and all(_is_plain(layer.conv, nn.Conv2d) for layer in layers)
        and any(all(_is_plain(layer.norm, kind) for layer in layers) for kind in (nn.BatchNorm2d, SyncBatchNorm))
        and all(bool(layer.norm.weight.all()) for layer in layers)
    )


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling a module does what its class does, with parameters that are in memory."""
    return (
        type(module) is kind
        and not has_hooks(module)
        and all(type(value) is nn.Parameter and value.device.type == "cpu" for value in module.parameters(False))
    )


def _max_over_frequency(image: torch.Tensor, layers: nn.ModuleList, half: bool) -> list[torch.Tensor]:
    bands, width = image.shape[2], layers[0].conv.kernel_size[1]
    padded = F.pad(image[:, 0], (width // 2, width // 2))  # (chunks, bands, frames + width - 1)
    trained = [layer.norm for layer in layers if layer.norm.training]
    if trained:
        synchronized = several_processes() and any(type(norm) is SyncBatchNorm for norm in trained)
        *moments, patches = _Moments.apply(_patches(padded, width), synchronized)
    outputs = []
    for layer in layers:
        conv, norm = layer.conv, layer.norm
        filters = _at_least_single(conv.weight.flatten(1))  # (channels, height * width)
        sign = norm.weight.detach().sign()
        highest = sign * _highest(padded, sign[:, None] * filters, width, half) + conv.bias
        if norm.training:
            mean, variance = _filter_moments(filters, *moments, width)
            mean = mean + conv.bias
            count = patches * (bands - conv.kernel_size[0] + 1)
            track_statistics(norm, mean, variance * (count / (count - 1)))
        else:
            mean, variance = norm.running_mean, norm.running_var
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        output = F.relu(torch.addcmul(norm.bias, highest - mean, scale))  # (chunks, frames, channels)
        outputs.append(output.transpose(1, 2))
    return outputs


def _highest(padded: torch.Tensor, filters: torch.Tensor, width: int, half: bool) -> torch.Tensor:
    """Highest output of every filter over the heights, `(chunks, frames, channels)`; see `_Highest`.

    Args:
        padded: `(chunks, bands, frames + width - 1)`.
        filters: `(channels, height * width)`.
        width: Of the filters.
        half: compute the products in bfloat16, unless there is a gradient.
    """
    if torch.is_grad_enabled() and (padded.requires_grad or filters.requires_grad):
        return _Highest.apply(padded, filters, width)
    tables = _tables(padded, filters, width)
    return highest_outputs(padded, _spectra(filters, width, tables), tables, half=half)[0]


def _tables(padded: torch.Tensor, filters: torch.Tensor, width: int) -> SpectralTables:
    bands = padded.shape[1]
    return spectral_tables(bands, bands - filters.shape[1] // width + 1, padded.dtype)


def _at_least_single(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _patches(padded: torch.Tensor, width: int) -> torch.Tensor:
    """The window of each frame: `(chunks, bands, frames + width - 1)` -> `(chunks * frames, bands * width)`."""
    return padded.unfold(2, width, 1).transpose(1, 2).flatten(2).flatten(0, 1)


def _filter_moments(filters, patch_mean, covariance, width) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and (biased) variance of every filter's output over patches and heights, each `(channels,)`."""
    size = filters.shape[1]
    means = filters @ patch_mean.unfold(0, size, width).T  # (channels, heights)
    within = ((filters @ _WindowMean.apply(covariance, size, width)) * filters).sum(dim=1)
    return means.mean(dim=1), within + means.var(dim=1, unbiased=False)


class _Moments(torch.autograd.Function):
    """Mean `(size,)` and covariance `(size, size)` of `(patches, size)`, and how many patches there are.

    `synchronized` takes the patches of all processes.
    """

    @staticmethod
    def forward(ctx, patches, synchronized):
        total = torch.cat([patches.sum(dim=0), patches.new_tensor([len(patches)])])
        if synchronized:
            dist.all_reduce(total)
        count = total[-1].item()
        mean = total[:-1] / count
        centered = patches - mean
        covariance = centered.T @ centered
        if synchronized:
            dist.all_reduce(covariance)
        ctx.save_for_backward(patches, mean)
        ctx.count, ctx.synchronized = count, synchronized
        return mean, covariance / count, count

    @staticmethod
    def backward(ctx, grad_mean, grad_covariance, _):
        patches, mean = ctx.saved_tensors
        if ctx.synchronized:
            grad_mean, grad_covariance = SumOverProcesses.apply(grad_mean), SumOverProcesses.apply(grad_covariance)
        symmetric = (grad_covariance + grad_covariance.T) / ctx.count
        return torch.addmm(grad_mean / ctx.count - mean @ symmetric, patches, symmetric), None


class _WindowMean(torch.autograd.Function):
    """Mean over the `(size, size)` windows along the diagonal of a matrix, `step` apart."""

    @staticmethod
    def forward(ctx, matrix, size, step):
        ctx.shape, ctx.starts = matrix.shape, range(0, len(matrix) - size + 1, step)
        total = matrix.new_zeros(size, size)
        for start in ctx.starts:
            total += matrix[start : start + size, start : start + size]
        return total / len(ctx.starts)

    @staticmethod
    def backward(ctx, grad):
        size, part = len(grad), grad / len(ctx.starts)
        total = grad.new_zeros(ctx.shape)
        for start in ctx.starts:
            total[start : start + size, start : start + size] += part
        return total, None, None


class _Highest(torch.autograd.Function):
    """Highest output of every filter over the heights of a spectrogram, `(chunks, frames, channels)`.

    The spectrogram is `(chunks, bands, frames + width - 1)`, padded in time; the filters are `(channels, height *
    width)`. The gradient reaches the window with the highest output.
    """

    @staticmethod
    def forward(ctx, padded, filters, width):
        tables = _tables(padded, filters, width)
        highest, where = highest_outputs(padded, _spectra(filters, width, tables), tables, tracked=True)
        ctx.save_for_backward(padded, filters, where.flatten(0, 1))
        ctx.width, ctx.heights = width, padded.shape[1] - filters.shape[1] // width + 1
        return highest

    @staticmethod
    def backward(ctx, grad):
        padded, filters, where = ctx.saved_tensors
        grad_padded = grad_filters = None
        rows = grad.flatten(0, 1)  # (chunks * frames, channels)
        if ctx.needs_input_grad[0]:
            patches = _spread(filters, where, rows, ctx.width, ctx.heights)
            grad_padded = _fold(patches.unflatten(0, grad.shape[:2]), ctx.width)
        if ctx.needs_input_grad[1]:
            grad_filters = _gather(_patches(padded, ctx.width), where, rows, ctx.width, ctx.heights)
        return grad_padded, grad_filters, None


def _spectra(filters: torch.Tensor, width: int, tables: SpectralTables) -> tuple[torch.Tensor, torch.Tensor]:
    return filter_spectra(filters.view(len(filters), -1, width).permute(2, 1, 0), tables)


def _fold(patches: torch.Tensor, width: int) -> torch.Tensor:
    """The transpose of `_patches`: `(chunks, frames, bands * width)` -> `(chunks, bands, frames + width - 1)`."""
    chunks, frames, size = patches.shape
    taps = patches.view(chunks, frames, size // width, width).permute(3, 0, 2, 1)  # (width, chunks, bands, frames)
    total = patches.new_zeros(chunks, size // width, frames + width - 1)
    for tap, values in enumerate(taps):
        total[..., tap : tap + frames] += values
    return total


def _spread(filters, where, grad, width, starts) -> torch.Tensor:
    """Gradient of the patches: for each, the sum of the filters, each placed where its product was highest."""
    spare = (starts - 1) * width
    padded = F.pad(filters, (spare, spare))  # (channels, ...)
    # Row `start` of a channel's table is the padded filter, shifted to begin at that start.
    table = padded.unfold(1, spare + filters.shape[1], width).flip(1).flatten(0, 1)  # (channels * starts, size)
    rows = where + torch.arange(len(filters)) * starts
    return F.embedding_bag(rows, table, per_sample_weights=grad.contiguous(), mode="sum")


def _gather(patches, where, grad, width, starts) -> torch.Tensor:
    """Gradient of the filters: for each, the sum of the windows where its product was highest."""
    size = patches.shape[1] - (starts - 1) * width
    rows = max(1, GATHERED // (starts * size))
    total = patches.new_zeros(grad.shape[1], size)
    for row in range(0, len(patches), rows):
        windows = patches[row : row + rows].unfold(1, size, width).flatten(0, 1)  # (rows * starts, size)
        indices = where[row : row + rows] + torch.arange(len(windows) // starts)[:, None] * starts
        total += F.embedding_bag(
            indices.T.contiguous(), windows, per_sample_weights=grad[row : row + rows].T.contiguous(), mode="sum"
        )
    return total
