"""Tall convolutions of a spectrogram, of which only the maximum over frequency is kept, as matrix products for CPUs.

Three facts make the plain computation, `relu(norm(conv(image))).amax(dim=2)`, avoidable:

- BatchNorm is an affine map per channel and ReLU is monotone, so the maximum may be taken before both; it becomes the
  minimum where the scale is negative. The convolution's output is then needed block by block only.
- The mean and the variance of that output are a linear and a quadratic form of the filter, in the mean and the
  covariance of the image's patches.
- The maximum's gradient reaches one height per channel and frame: a sum of that few patches, not a convolution.
"""

import torch
from torch import nn
from torch.nn import functional as F

# Neighbouring heights that one product computes: more of them multiply more zeros, fewer make a small product.
HEIGHTS = 6
# Patches in one product. Few large products rather than many small ones: threads wait for one another after each.
ROWS = 4096
# Elements of the windows gathered at a time in the backward pass.
GATHERED = 2**20


def max_over_frequency(image: torch.Tensor, layers: nn.ModuleList) -> list[torch.Tensor]:
    """Convolution, BatchNorm, ReLU and the maximum over frequency, for layers that look at the same image.

    Args:
        image: `(chunks, 1, bands, frames)`.
        layers: each with a `conv` of one input channel, as many frames out as in, and a `norm`.

    Returns:
        For every layer `(chunks, channels, frames)`.
    """
    if not _is_fast(image, layers):
        return [layer(image).amax(dim=2) for layer in layers]
    with torch.autocast(device_type=image.device.type, enabled=False):
        return _max_over_frequency(image, layers)


def _is_fast(image: torch.Tensor, layers: nn.ModuleList) -> bool:
    """Whether the products replace the plain computation, which serves tracing, GPUs, half precision and other norms
    (synchronised ones). Where a scale is exactly zero the maximum is no longer that of the convolution.
    """
    return (
        image.device.type == "cpu"
        and image.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and all(type(layer.conv) is nn.Conv2d and type(layer.norm) is nn.BatchNorm2d for layer in layers)
        and all(bool(layer.norm.weight.all()) for layer in layers)
    )


def _max_over_frequency(image: torch.Tensor, layers: nn.ModuleList) -> list[torch.Tensor]:
    chunks, _, bands, frames = image.shape
    width = layers[0].conv.kernel_size[1]
    padded = F.pad(image[:, 0], (width // 2, width // 2))
    taps = torch.stack([padded[:, :, tap : tap + frames] for tap in range(width)], dim=-1)
    patches = taps.transpose(1, 2).reshape(chunks * frames, bands * width)
    moments = _Moments.apply(patches) if any(layer.norm.training for layer in layers) else None
    outputs = []
    for layer in layers:
        conv, norm = layer.conv, layer.norm
        filters = conv.weight.flatten(1)  # (channels, height * width)
        sign = norm.weight.detach().sign()
        highest = sign * _Highest.apply(patches, sign[:, None] * filters, width) + conv.bias
        if norm.training:
            mean, variance = _filter_moments(filters, *moments, width)
            mean = mean + conv.bias
            count = chunks * frames * (bands - conv.kernel_size[0] + 1)
            track_statistics(norm, mean, variance * (count / (count - 1)))
        else:
            mean, variance = norm.running_mean, norm.running_var
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        output = F.relu(torch.addcmul(norm.bias, highest - mean, scale))
        outputs.append(output.unflatten(0, (chunks, frames)).transpose(1, 2))
    return outputs


def _filter_moments(filters, patch_mean, covariance, width) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and (biased) variance of every filter's output over patches and heights, each `(channels,)`."""
    size = filters.shape[1]
    means = filters @ patch_mean.unfold(0, size, width).T  # (channels, heights)
    within = ((filters @ _WindowMean.apply(covariance, size, width)) * filters).sum(dim=1)
    return means.mean(dim=1), within + means.var(dim=1, unbiased=False)


@torch.no_grad()
def track_statistics(norm: nn.modules.batchnorm._BatchNorm, mean: torch.Tensor, variance: torch.Tensor):
    """Updates running statistics as BatchNorm does.

    Args:
        norm: its `running_mean`, `running_var` and `num_batches_tracked` change, if it has them.
        mean, variance: `(channels,)` of the batch; the variance is the unbiased one.
    """
    if not norm.track_running_stats:
        return
    norm.num_batches_tracked.add_(1)
    momentum = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance, momentum)


class _Moments(torch.autograd.Function):
    """Mean `(size,)` and covariance `(size, size)` of `(patches, size)`."""

    @staticmethod
    def forward(ctx, patches):
        mean = patches.mean(dim=0)
        centred = patches - mean
        ctx.save_for_backward(patches, mean)
        return mean, centred.T @ centred / len(patches)

    @staticmethod
    def backward(ctx, grad_mean, grad_covariance):
        patches, mean = ctx.saved_tensors
        symmetric = (grad_covariance + grad_covariance.T) / len(patches)
        return torch.addmm(grad_mean / len(patches) - mean @ symmetric, patches, symmetric)


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
        size, share = len(grad), grad / len(ctx.starts)
        total = grad.new_zeros(ctx.shape)
        for start in ctx.starts:
            total[start : start + size, start : start + size] += share
        return total, None, None


class _Highest(torch.autograd.Function):
    """Highest product of every filter `(channels, size)` with the windows of `(patches, bands * width)` that start a
    multiple of `width` apart: `(patches, channels)`. The gradient reaches the window that was highest."""

    @staticmethod
    def forward(ctx, patches, filters, width):
        channels, size = filters.shape
        starts = (patches.shape[1] - size) // width + 1
        banded = _banded(filters, width, min(HEIGHTS, starts))
        highest = patches.new_empty(len(patches), channels)
        tracked = any(ctx.needs_input_grad)
        where = torch.empty(highest.shape, dtype=torch.long) if tracked else None
        for row in range(0, len(patches), ROWS):
            rows = slice(row, row + ROWS)
            best = position = None
            for start in range(0, starts, HEIGHTS):
                count = min(HEIGHTS, starts - start)
                reach = size + (count - 1) * width
                window = patches[rows, start * width : start * width + reach]
                products = (window @ banded[: count * channels, :reach].T).unflatten(1, (count, channels))
                if not tracked:
                    values = products.amax(dim=1)
                    best = values if best is None else torch.maximum(best, values)
                    continue
                values, indices = products.max(dim=1)
                indices += start
                if best is None:
                    best, position = values, indices
                else:
                    position = torch.where(values > best, indices, position)
                    best = torch.maximum(best, values)
            highest[rows] = best
            if tracked:
                where[rows] = position
        ctx.save_for_backward(patches, filters, where)
        ctx.width, ctx.starts = width, starts
        return highest

    @staticmethod
    def backward(ctx, grad):
        patches, filters, where = ctx.saved_tensors
        grad_patches = _spread(filters, where, grad, ctx.width, ctx.starts) if ctx.needs_input_grad[0] else None
        grad_filters = _gather(patches, where, grad, ctx.width, ctx.starts) if ctx.needs_input_grad[1] else None
        return grad_patches, grad_filters, None


def _banded(filters: torch.Tensor, width: int, count: int) -> torch.Tensor:
    """The filters at `count` neighbouring heights: `(count * channels, size + (count - 1) * width)`."""
    spare = (count - 1) * width
    return torch.cat([F.pad(filters, (shift * width, spare - shift * width)) for shift in range(count)])


def _spread(filters, where, grad, width, starts) -> torch.Tensor:
    """Gradient of the patches: of each, the sum of the filters, every one put where its product was highest."""
    spare = (starts - 1) * width
    padded = F.pad(filters, (spare, spare))  # (channels, ...)
    # Row `start` of a channel's table is the padded filter, shifted such that it begins at that start.
    table = padded.unfold(1, spare + filters.shape[1], width).flip(1).flatten(0, 1)  # (channels * starts, size)
    rows = where + torch.arange(len(filters)) * starts
    return F.embedding_bag(rows, table, per_sample_weights=grad.contiguous(), mode="sum")


def _gather(patches, where, grad, width, starts) -> torch.Tensor:
    """Gradient of the filters: of each, the sum of the windows where its product was highest."""
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
