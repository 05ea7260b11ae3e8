"""Checks of the pictures that the package draws."""

from pathlib import Path

import matplotlib.image
import numpy as np


def colored_fraction(path: Path) -> float:
    """Return the fraction of pixels that are not gray.

    Axes, ticks, titles and labels are black, white or gray; the data are drawn in colors. A picture without data has
    the fraction 0.
    """
    pixels = matplotlib.image.imread(path)[..., :3]  # (rows, columns, 3), 0 to 1
    assert min(pixels.shape[:2]) > 150
    return float(np.mean(np.ptp(pixels, axis=2) > 0.2))


def assert_shows_data(path: Path, least: float = 0.001) -> None:
    """Assert that a picture exists and shows data: at least a fraction of its pixels is colored."""
    fraction = colored_fraction(path)
    assert fraction >= least, f"{path.name} is empty: only {fraction:.2%} of its pixels are colored"
