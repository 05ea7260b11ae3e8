"""The highest output of every tall filter over the heights of a spectrogram, as products of spectra, for CPUs.

Correlation along frequency is a product of spectra (a discrete Fourier transform over the bands). Distances are
counted from the middle height. Three facts shorten the way back from the spectrum:

- The outputs at the distances +d and -d are a sum of cosines minus and plus the same sum of sines. So the higher one
  is the first sum plus the absolute value of the second. With an even number of heights, the last +d does not exist.
- A cosine or sine of d at the bin k is, up to its sign, that at the bin bands / 2 - k. The sign depends on whether d
  is even. So pairs of bins are added and subtracted first, and every distance needs one of the two results.
- Only blocks of the outputs exist at a time.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional as F

from .modeling_mulap_threads import run_in_threads

# Elements of the products that a thread computes at a time: few enough to fit into its cache.
PRODUCTS = 320 * 1024
# The same in bfloat16, whose products need more rows at a time to be fast.
HALF_PRODUCTS = 1280 * 1024
# Elements of the products per thread below which threads of torch share each operation, as others begin too slowly.
FEW = 4 * 2**20


@dataclass(frozen=True)
class Waves:
    """Cosines or sines of some distances, `(distances, bins)`, and which rows and bins these are."""

    distances: slice
    bins: slice
    table: torch.Tensor


@dataclass(frozen=True)
class SpectralTables:
    """Discrete Fourier transforms of bands and of filters, and back to the heights.

    Attributes:
        analysis: `(2 * bins, bands)`: real parts, then imaginary ones. The bins are in an order in which the first and
            the last `paired` ones can be added and subtracted as they are.
        phase_cosines, phase_sines: `(bins, bands of a filter)`.
        paired: Number of bins that have another one at half the bands minus the bin.
        distances: `(distances,)`, from the middle height, in the order of the tables. The last is the largest.
        symmetric: Number of distances with a height on both sides: all, or all but the last.
        cosines, sines: From the bins, after the sums and differences of pairs, to the distances.
    """

    analysis: torch.Tensor
    phase_cosines: torch.Tensor
    phase_sines: torch.Tensor
    paired: int
    distances: torch.Tensor
    symmetric: int
    cosines: tuple[Waves, ...]
    sines: tuple[Waves, ...]


@lru_cache
def spectral_tables(bands: int, heights: int, dtype: torch.dtype) -> SpectralTables:
    """Returns the tables for a number of bands, and of heights that a filter can be at."""
    with torch.inference_mode(False):  # tensors of inference mode cannot be used in training later
        return _spectral_tables(bands, heights, dtype)


def _spectral_tables(bands: int, heights: int, dtype: torch.dtype) -> SpectralTables:
    half, middle = bands // 2, heights // 2
    paired = (half + 1) // 2 if bands % 2 == 0 else 0
    bins = np.arange(half + 1)
    bins[half + 1 - paired :] = half - bins[:paired]
    step = 2 * math.pi * bins / bands
    angles, phases = (step[:, None] * places for places in (np.arange(bands), np.arange(bands - heights + 1) + middle))
    weights = np.where((bins == 0) | (2 * bins == bands), 1, 2) / bands

    groups = [np.arange(parity, middle + 1, 2) for parity in ((middle + 1) % 2, middle % 2)]  # the largest comes last
    cosines, sines, start = [], [], 0
    for distances in groups:
        rows = slice(start, start := start + len(distances))
        for tables, wave, parity in ((cosines, np.cos, 0), (sines, np.sin, 1)):
            if not len(distances):
                continue
            differs = paired > 0 and distances[0] % 2 != parity
            used = slice(half + 1 - paired, half + 1) if differs else slice(0, half + 1 - paired)
            of = slice(0, paired) if differs else used  # differences belong to the first bin of each pair
            table = weights[of] * wave(distances[:, None] * step[of])
            tables.append(Waves(rows, used, torch.from_numpy(table).to(dtype)))
    return SpectralTables(
        analysis=torch.from_numpy(np.concatenate([np.cos(angles), -np.sin(angles)])).to(dtype),
        phase_cosines=torch.from_numpy(np.cos(phases)).to(dtype),
        phase_sines=torch.from_numpy(np.sin(phases)).to(dtype),
        paired=paired,
        distances=torch.from_numpy(np.concatenate(groups)),
        symmetric=middle + heights % 2,
        cosines=tuple(cosines),
        sines=tuple(sines),
    )


def filter_spectra(filters: torch.Tensor, tables: SpectralTables) -> tuple[torch.Tensor, torch.Tensor]:
    """What the spectrum of a window is multiplied with for the real and for the imaginary part of its product.

    Args:
        filters: `(width, height, channels)`.
        tables: Of its height.

    Returns:
        `(bins, 2 * width, channels)` each: for every column of the window its real, then its imaginary part.
    """
    phases = (tables.phase_cosines, tables.phase_sines)
    real, imaginary = ((table @ filters).transpose(0, 1) for table in phases)  # (bins, width, channels)
    to_real, to_imaginary = torch.stack([real, -imaginary], dim=2), torch.stack([imaginary, real], dim=2)
    return to_real.flatten(1, 2), to_imaginary.flatten(1, 2)


def highest_outputs(
    padded: torch.Tensor,
    spectra: tuple[torch.Tensor, torch.Tensor],
    tables: SpectralTables,
    tracked: bool = False,
    half: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Highest output of every filter over the heights.

    Args:
        padded: `(chunks, bands, frames + width - 1)`.
        spectra: Of the filters, see `filter_spectra`.
        tables: Of the filters' height.
        tracked: also return where the highest outputs are.
        half: compute in bfloat16.

    Returns:
        The outputs `(chunks, frames, channels)`, and of each the height, counted from 0; None if not tracked.
    """
    chunks, _, columns = padded.shape
    bins, channels = len(spectra[0]), spectra[0].shape[2]
    width = spectra[0].shape[1] // 2
    dtype, size = (torch.bfloat16, HALF_PRODUCTS) if half else (padded.dtype, PRODUCTS)

    # Every thread takes blocks of rows through all steps, because reading what another thread wrote is slow. The rows
    # are the frames of all chunks one after the other, including the padding between two chunks.
    threads, total = torch.get_num_threads(), chunks * columns
    elements = max(1, total * bins * channels)
    sharing = threads if elements < threads * FEW else 1  # threads of torch that take a block each, in one operation
    turns = (threads // sharing) * math.ceil(elements / (threads * size))
    rows = max(1, math.ceil(total / (turns * sharing)))  # a process of several may have no chunks
    spectrum = (tables.analysis @ padded.transpose(0, 1).flatten(1)).unflatten(0, (2, bins))
    spectrum = F.pad(spectrum, (0, turns * sharing * rows + width - 1 - total)).permute(1, 2, 0).contiguous().to(dtype)
    taps = spectrum.unfold(1, width, 1).transpose(2, 3).unflatten(1, (turns, sharing, rows))
    taps = taps.movedim(0, 2).flatten(4)  # (turns, blocks, bins, rows, 2 * width)
    highest = spectrum.new_empty(turns, sharing, rows * channels)
    codes = torch.empty_like(highest) if tracked else None
    operands = tuple(values.to(dtype) for values in spectra)

    def compute(part: int):
        workspace = _Workspace(tables, operands, sharing, rows)
        for turn in range(part, turns, threads // sharing):
            workspace.compute(taps[turn], highest[turn], None if codes is None else codes[turn])

    if sharing == threads:
        compute(0)
    else:
        run_in_threads(compute, threads)

    def arrange(values: torch.Tensor) -> torch.Tensor:
        """Rows of all blocks -> `(chunks, frames, channels)`."""
        inner = values.view(-1, channels)[:total].unflatten(0, (chunks, columns))[:, : columns - width + 1]
        return inner.to(padded.dtype)

    if codes is None:
        return arrange(highest), None
    codes, middle = arrange(codes).long(), int(tables.distances[-1])
    return arrange(highest), torch.where(codes % 2 == 1, middle + codes // 2, middle - codes // 2)


class _Workspace:
    """Buffers of a turn, used for all turns: allocating memory would take longer than the products.

    Args:
        tables: Of the filters' height.
        spectra: Of the filters, `(bins, 2 * width, channels)` each.
        blocks: Computed at a time.
        rows: Of a block.
    """

    def __init__(self, tables: SpectralTables, spectra: tuple[torch.Tensor, ...], blocks: int, rows: int):
        bins, _, channels = spectra[0].shape
        self.distances, self.symmetric = tables.distances[:, None], tables.symmetric
        self.products = spectra[0].new_empty(blocks * bins, rows, channels)
        self.even, self.odd, self.sums = spectra[0].new_empty(3, blocks, len(tables.distances), rows * channels)
        flat = self.products.view(blocks, bins, -1)
        self.low, self.high = flat[:, : tables.paired], flat[:, bins - tables.paired :]
        self.steps = []
        for mixing, waves, outputs in zip(spectra, (tables.cosines, tables.sines), (self.even, self.odd), strict=True):
            operands = [
                (wave.table.to(flat.dtype).expand(blocks, -1, -1), flat[:, wave.bins], outputs[:, wave.distances])
                for wave in waves
            ]
            self.steps.append((mixing.repeat(blocks, 1, 1), operands))

    def compute(self, taps: torch.Tensor, highest: torch.Tensor, codes: torch.Tensor | None):
        """Fills in the highest outputs of blocks, and on request which ones they are.

        Args:
            taps: Spectra of windows, `(blocks, bins, rows, 2 * width)`.
            highest: To be filled in, `(blocks, rows * channels)`.
            codes: Of the same size: 2 * distance, and 1 more if it is upwards.
        """
        even, odd, sums, symmetric = self.even, self.odd, self.sums, self.symmetric
        taps = taps.flatten(0, 1).contiguous()
        for mixing, waves in self.steps:
            torch.bmm(taps, mixing, out=self.products)
            # The sum in the place of the first bin of a pair, the difference in that of the second
            torch.sub(self.low.add_(self.high), self.high, alpha=2, out=self.high)
            for table, part, out in waves:
                torch.bmm(table, part, out=out)
        torch.abs(odd[:, :symmetric], out=sums[:, :symmetric])
        sums[:, symmetric:] = odd[:, symmetric:]
        torch.amax(sums.add_(even), dim=1, out=highest)
        if codes is not None:
            # Comparisons that return numbers are faster than those that return booleans, and both are faster than
            # `max` with its indices.
            odd[:, symmetric:] = 0
            odd.lt_(0).add_(2 * self.distances)
            torch.amax(sums.eq_(highest[:, None]).mul_(odd), dim=1, out=codes)
