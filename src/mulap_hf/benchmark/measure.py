"""Time and memory of variants of a computation, measured in one process in interleaved rounds."""

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Variant:
    """One variant of a computation.

    Attributes:
        name: Name in the report.
        run: Function that runs the computation once.
        units: Amount of work of one run, for example seconds of audio or clips.
        gflop: 10^9 floating-point operations of the reference computation of this work, if known.
    """

    name: str
    run: Callable[[], object]
    units: float
    gflop: float | None = None


@dataclass
class Measurement:
    """The measurements of a variant.

    Attributes:
        name, units, gflop: See `Variant`.
        seconds: Run time of each round in seconds.
        peak_mib: Largest increase of memory during a run, in MiB; None if it cannot be measured.
    """

    name: str
    units: float
    gflop: float | None = None
    seconds: list[float] = field(default_factory=list)
    peak_mib: float | None = None

    @property
    def rate(self) -> float:
        """Units per second: the median over the rounds."""
        return self.units / median(self.seconds)

    @property
    def gflops(self) -> float | None:
        """10^9 operations per second: the median over the rounds."""
        return None if self.gflop is None else self.gflop / median(self.seconds)

    def faster_than(self, other: "Measurement") -> list[float]:
        """Return the speedup over another variant in each round."""
        return [
            (self.units / mine) / (other.units / theirs)
            for mine, theirs in zip(self.seconds, other.seconds, strict=True)
        ]


def measure(
    variants: Sequence[Variant], rounds: int, device: torch.device | str = "cpu", progress: bool = True
) -> list[Measurement]:
    """Run every variant in `rounds` interleaved rounds, after one warm-up round.

    The order of the variants is rotated after every round.

    Args:
        variants: The variants, at least one.
        rounds: Number of measured rounds.
        device: Device of the computation; it is synchronized before reading the clock.
        progress: Show a progress bar.
    """
    device = torch.device(device)
    measurements = [Measurement(variant.name, variant.units, variant.gflop) for variant in variants]
    order = list(zip(variants, measurements, strict=True))
    with tqdm(total=(rounds + 1) * len(order), unit="measurement", disable=not progress) as bar:
        for number in range(rounds + 1):
            for variant, measurement in order:
                bar.set_description(variant.name)
                seconds, peak = _run(variant.run, device)
                if number:
                    measurement.seconds.append(seconds)
                    if peak is not None:
                        measurement.peak_mib = max(peak, measurement.peak_mib or 0.0)
                bar.update()
            order = order[1:] + order[:1]
    return measurements


def matrix_product(
    dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", size: int = 2048
) -> Variant:
    """Return the product of two square matrices as a variant, for the peak arithmetic rate of the machine."""
    first, second = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    gflop = 2 * size**3 / 1e9
    return Variant(f"matrix product, {str(dtype).removeprefix('torch.')}", lambda: first @ second, gflop, gflop)


def _run(run: Callable[[], object], device: torch.device) -> tuple[float, float | None]:
    """Run once; return the seconds and the largest increase of memory in MiB."""
    _synchronize(device)
    before = _reset_peak(device)
    started = time.perf_counter()
    run()
    _synchronize(device)
    seconds = time.perf_counter() - started
    return seconds, None if before is None else (_peak(device) - before) / 2**20


def _synchronize(device: torch.device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> int | None:
    """Reset the peak of memory; return the bytes in use, or None if the platform cannot tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if not _RESET.exists():  # not Linux
        return None
    ctypes.CDLL(None).malloc_trim(0)  # return memory that earlier variants freed to the system
    _RESET.write_text("5")
    return _status("VmRSS")


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
