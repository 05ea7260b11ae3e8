"""Tall convolutions of a spectrogram, of which only the maximum over frequency is used, as matrix products for CPUs.

The plain computation is `relu(norm(conv(image))).amax(dim=2)`. Four facts make it unnecessary:

- BatchNorm is an affine map per channel and ReLU is monotone, so the maximum may be taken before both. Where the scale
  of BatchNorm is negative, it becomes the minimum. So only blocks of the convolution's output exist at a time.
- Correlation along frequency is a product of spectra (a discrete Fourier transform over the bands). With the heights
  counted from their middle, the outputs at +q and -q are a sum of cosines minus and plus the same sum of sines, so
  their maximum is the first plus the absolute value of the second. That takes a quarter of the multiplications.
- The mean and the variance of the output are a linear and a quadratic form of the filter, in the mean and the
  covariance of the image's patches.
- The gradient of the maximum reaches one height per channel and frame: a sum of that few patches, not a convolution.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from transformers.utils import logging

from .modeling_mulap_distributed import SumOverProcesses, SyncBatchNorm, several_processes, track_statistics

logger = logging.get_logger(__name__)

# Elements of the products that a thread computes at a time: few enough to fit into its cache.
PRODUCTS = 320 * 1024
# The same in bfloat16, whose products need more rows at a time to be fast.
HALF_PRODUCTS = 1280 * 1024
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
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return (
        type(module) is kind
        and "forward" not in vars(module)  # which accelerate replaces to load weights from a disk
        and not any(hooks)
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
        highest = sign * _Highest.apply(padded, sign[:, None] * filters, width, half) + conv.bias
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
    width)`. The gradient reaches the window with the highest output. `half` computes the products in bfloat16, unless
    there is a gradient.
    """

    @staticmethod
    def forward(ctx, padded, filters, width, half):
        chunks, bands, columns = padded.shape
        channels, length = filters.shape
        heights = bands - length // width + 1
        analysis, *phases, cosines, sines = _tensors_of_tables(bands, heights, padded.dtype)
        bins, pairs = len(phases[0]), len(cosines)
        weights = filters.view(channels, -1, width).permute(2, 1, 0)  # (width, height, channels)
        to_real, to_imaginary = filter_spectra(weights, *phases)

        # Every thread takes a block of rows through all steps, because reading what another thread wrote is slow. The
        # rows are the frames of all chunks one after the other, including the padding between two chunks.
        tracked = any(ctx.needs_input_grad)
        dtype = torch.bfloat16 if half and not tracked else padded.dtype
        threads, total = torch.get_num_threads(), chunks * columns
        size = HALF_PRODUCTS if dtype == torch.bfloat16 else PRODUCTS
        # A process of several may have no chunks.
        turns = max(1, math.ceil(total * bins * channels / (threads * size)))
        rows = max(1, math.ceil(total / (threads * turns)))
        spectrum = (analysis @ padded.transpose(0, 1).flatten(1)).unflatten(0, (2, bins))
        spectrum = F.pad(spectrum, (0, turns * threads * rows + width - 1 - total)).permute(1, 2, 0).contiguous()
        operands = (spectrum, to_real, to_imaginary, cosines, sines)
        spectrum, to_real, to_imaginary, cosines, sines = (values.to(dtype) for values in operands)
        taps = spectrum.unfold(1, width, 1).transpose(2, 3)  # (bins, rows of all turns, width, 2)
        to_real, to_imaginary = (table.repeat(threads, 1, 1) for table in (to_real, to_imaginary))
        cosines, sines = (table.expand(threads, -1, -1) for table in (cosines, sines))

        highest = spectrum.new_empty(turns, threads, rows * channels)
        codes = torch.empty_like(highest) if tracked else None
        # These buffers are reused in every turn: allocating memory would take longer than the products.
        products = spectrum.new_empty(threads * bins, rows, channels)
        even, odd, sums = spectrum.new_empty(3, threads, pairs, rows * channels)
        for turn, best in enumerate(highest):
            block = taps[:, turn * threads * rows : (turn + 1) * threads * rows].unflatten(1, (threads, rows))
            block = block.transpose(0, 1).reshape(threads * bins, rows, 2 * width).contiguous()
            for mixing, table, waves in ((to_real, cosines, even), (to_imaginary, sines, odd)):
                torch.bmm(block, mixing, out=products)
                torch.bmm(table, products.view(threads, bins, -1), out=waves)
            torch.abs(odd, out=sums).add_(even)  # the higher one of every pair of heights
            torch.amax(sums, dim=1, out=best)
            if tracked:
                # The index of the pair, and which of the two heights it is. Comparisons that return numbers are faster
                # than those that return booleans, and both are faster than `max` with its indices.
                odd.lt_(0).add_(2 * torch.arange(pairs, dtype=odd.dtype)[:, None])
                torch.amax(sums.eq_(best[:, None]).mul_(odd), dim=1, out=codes[turn])

        def arrange(values: torch.Tensor) -> torch.Tensor:
            """Rows of all turns -> `(chunks, frames, channels)`."""
            inner = values.view(-1, channels)[:total].unflatten(0, (chunks, columns))[:, : columns - width + 1]
            return inner.to(padded.dtype)

        if tracked:
            codes = arrange(codes).long()
            where = torch.where(codes % 2 == 1, heights // 2 + codes // 2, (heights - 1) // 2 - codes // 2)
            ctx.save_for_backward(padded, filters, where.flatten(0, 1))
            ctx.width, ctx.heights = width, heights
        return arrange(highest)

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
        return grad_padded, grad_filters, None, None


def filter_spectra(
    filters: torch.Tensor, phase_cosines: torch.Tensor, phase_sines: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the spectrum of a window is multiplied with for the real and for the imaginary part of its product.

    Args:
        filters: `(width, height, channels)`.
        phase_cosines, phase_sines: From `spectral_tables`.

    Returns:
        `(bins, 2 * width, channels)` each: for every column of the window its real, then its imaginary part.
    """
    real, imaginary = ((phases @ filters).transpose(0, 1) for phases in (phase_cosines, phase_sines))
    to_real, to_imaginary = torch.stack([real, -imaginary], dim=2), torch.stack([imaginary, real], dim=2)
    return to_real.flatten(1, 2), to_imaginary.flatten(1, 2)


@lru_cache
def spectral_tables(bands: int, heights: int) -> tuple[np.ndarray, ...]:
    """Discrete Fourier transforms of bands and of filters, and back to the heights, counted from their middle.

    Returns:
        analysis: `(2 * bins, bands)`, real parts, then imaginary ones.
        phase_cosines, phase_sines: `(bins, bands - heights + 1)`.
        cosines, sines: `(pairs of heights, bins)`.
    """
    bins = np.arange(bands // 2 + 1)
    step = 2 * math.pi * bins / bands
    angles = step[:, None] * np.arange(bands)
    phases = step[:, None] * (np.arange(bands - heights + 1) + (heights - 1) / 2)
    distances = step * (np.arange((heights + 1) // 2) + (0.5 if heights % 2 == 0 else 0))[:, None]
    weights = np.where((bins == 0) | (2 * bins == bands), 1, 2) / bands
    return (
        np.concatenate([np.cos(angles), -np.sin(angles)]),
        np.cos(phases),
        np.sin(phases),
        weights * np.cos(distances),
        weights * np.sin(distances),
    )


@lru_cache
def _tensors_of_tables(bands: int, heights: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode(False):  # tensors of inference mode cannot be used in training later
        return tuple(torch.from_numpy(table).to(dtype) for table in spectral_tables(bands, heights))


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
