"""Sampling rates: which are possible, and numbers of any type as one."""

from numbers import Number

import numpy as np

from .errors import AudioError

SLOWEST_RATE, FASTEST_RATE = 1000, 1_000_000  # Hz; the resampler's filter grows with the ratio, without end


def parse_rate(rate: Number | str, name: str) -> int | float:
    """A sampling rate in Hz as a number; an int if it is whole.

    Args:
        rate: a number of any type, or its digits.
        name: what a message calls the clip.

    Raises:
        AudioError: it is missing, not a number, or outside `SLOWEST_RATE` to `FASTEST_RATE`.
    """
    try:
        number = float("nan" if rate is None or isinstance(rate, (bool, np.bool_)) else rate)
    except (TypeError, ValueError):
        number = float("nan")
    if not SLOWEST_RATE <= number <= FASTEST_RATE:
        raise AudioError(
            f"{name} has sampling_rate={rate!r}: it must be a number of Hz from {SLOWEST_RATE:,} to {FASTEST_RATE:,}"
        )
    return int(number) if number.is_integer() else number
