"""Times variants of a computation against one another: in one process, one round after the other."""

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
    """One way of doing a piece of work.

    name: as the report calls it.
    run: does it once.
    units: how much that is, in the benchmark's unit (seconds of audio, clips).
    gflop: 10^9 floating-point operations that the plain computation of this work takes, if they were counted.
    """

    name: str
    run: Callable[[], object]
    units: float
    gflop: float | None = None


@dataclass
class Measurement:
    """What was measured of a variant.

    seconds: of every round.
    peak_mib: most memory above what was in use before, in MiB; None where it cannot be measured.
    """

    name: str
    units: float
    gflop: float | None = None
    seconds: list[float] = field(default_factory=list)
    peak_mib: float | None = None

    @property
    def rate(self) -> float:
        """Units per second, the median of the rounds."""
        return self.units / median(self.seconds)

    @property
    def gflops(self) -> float | None:
        """10^9 operations per second, the median of the rounds."""
        return None if self.gflop is None else self.gflop / median(self.seconds)

    def faster_than(self, other: "Measurement") -> list[float]:
        """In every round, how many times the other's units per second."""
        return [
            (self.units / mine) / (other.units / theirs)
            for mine, theirs in zip(self.seconds, other.seconds, strict=True)
        ]


def measure(
    variants: Sequence[Variant], rounds: int, device: torch.device | str = "cpu", progress: bool = True
) -> list[Measurement]:
    """Runs every variant `rounds` times, interleaved, after one round that does not count.

    Every round starts with another variant, so that none always runs after the same one.

    Args:
        variants: what to compare; at least one.
        rounds: measurements of each.
        device: waited for before the clock is read.
        progress: show a bar.
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


def roof(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", size: int = 2048) -> Variant:
    """The product of two square matrices: the rate that no computation made of products exceeds on this machine."""
    first, second = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    gflop = 2 * size**3 / 1e9
    return Variant(f"matrix product, {str(dtype).removeprefix('torch.')}", lambda: first @ second, gflop, gflop)


def _run(run: Callable[[], object], device: torch.device) -> tuple[float, float | None]:
    """Seconds, and MiB of memory above what was in use before."""
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
    """Bytes in use; from now on the peak counts from there."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if not _RESET.exists():  # not Linux
        return None
    ctypes.CDLL(None).malloc_trim(0)  # what earlier variants freed is not kept for this one
    _RESET.write_text("5")
    return _status("VmRSS")


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
