"""What the pictures have in common: log-mel spectrograms as the model hears them, and small files."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from ..files import printable
from ..modeling_mulap_audio import MulapAudioModel

_KILOHERTZ = (0.25, 0.5, 1, 2, 4, 8, 16)


@torch.inference_mode()
def log_mel(backbone: MulapAudioModel, waveform: np.ndarray) -> np.ndarray:
    """`(samples,)` -> `(mel bands, frames)` in decibels: the backbone's own, of the whole waveform at once."""
    shortest = backbone.config.n_fft  # what is reflected at the edges must be there
    padded = np.pad(waveform, (0, max(0, shortest - len(waveform))))
    return backbone.log_mel(torch.from_numpy(padded)[None].to(backbone.device))[0].cpu().numpy()


def draw_log_mel(axes, backbone: MulapAudioModel, waveform: np.ndarray):
    """Draws `log_mel`; time is in seconds."""
    image, rate = log_mel(backbone, waveform), backbone.config.sampling_rate
    bands = len(image)
    axes.imshow(
        image,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, len(waveform) / rate, -0.5, bands - 0.5),
        vmin=image.max() - 60,
    )
    # Where the filters peak; a band so narrow that it has no bin goes with the one below it.
    filters = backbone.log_mel.mel_filters.cpu().numpy()  # (n_fft / 2 + 1, mel bands)
    peaks = np.maximum.accumulate(filters.argmax(axis=0)) * rate / backbone.config.n_fft / 1000  # kHz
    shown = [tick for tick in _KILOHERTZ if peaks[0] <= tick <= peaks[-1] * 1.05]
    axes.set_yticks(np.interp(shown, peaks, np.arange(bands)), [f"{tick:g}" for tick in shown])


def short(text: str, most: int = 24) -> str:
    """A text for an axis: on one line, of at most so many characters."""
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def save_picture(figure, path: Path, palette: bool = False):
    """Writes a PNG. What the font has no glyphs for is drawn as boxes; the page and the numbers have the text.

    Args:
        figure: of matplotlib.
        path: of the file.
        palette: 256 colors: many spectrograms take a third of the bytes, but a color bar would have steps.
    """
    from PIL import Image

    content = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(content, dpi=100)
    image = Image.open(content).convert("RGB")
    (image.quantize(dither=Image.Dither.NONE) if palette else image).save(path, optimize=True)
