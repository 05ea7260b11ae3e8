"""What tests ask of a picture."""

from pathlib import Path

import matplotlib.image


def colors(path: Path) -> int:
    """How many different colors a picture has."""
    pixels = matplotlib.image.imread(path)[..., :3]  # (rows, columns, 3)
    assert min(pixels.shape[:2]) > 150
    return len({tuple(pixel) for pixel in pixels[::3, ::3].reshape(-1, 3).tolist()})
