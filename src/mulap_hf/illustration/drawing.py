"""Helpers of the pictures: the log-mel spectrogram of the model, short labels, and small PNG files."""

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
    """Return the log-mel spectrogram that the backbone computes, in dB: `(samples,)` -> `(mel bands, frames)`."""
    shortest = backbone.config.n_fft  # reflection padding requires a full window
    padded = np.pad(waveform, (0, max(0, shortest - len(waveform))))
    return backbone.log_mel(torch.from_numpy(padded)[None].to(backbone.device))[0].cpu().numpy()


def draw_log_mel(axes, backbone: MulapAudioModel, waveform: np.ndarray):
    """Draw the log-mel spectrogram of a waveform `(samples,)`, with time in seconds and frequency ticks in kHz."""
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
    # Center frequency of each band. A band that is narrower than an FFT bin gets the center of the band below it.
    filters = backbone.log_mel.mel_filters.cpu().numpy()  # (n_fft / 2 + 1, mel bands)
    peaks = np.maximum.accumulate(filters.argmax(axis=0)) * rate / backbone.config.n_fft / 1000  # kHz
    shown = [tick for tick in _KILOHERTZ if peaks[0] <= tick <= peaks[-1] * 1.05]
    axes.set_yticks(np.interp(shown, peaks, np.arange(bands)), [f"{tick:g}" for tick in shown])


def short(text: str, most: int = 24) -> str:
    """Return a text on one line, truncated to at most `most` characters."""
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def save_picture(figure, path: Path, palette: bool = False):
    """Save a figure as PNG. Characters without a glyph in the font are drawn as boxes, without a warning.

    Args:
        figure: The matplotlib figure.
        path: Path of the PNG file.
        palette: Reduce the picture to 256 colors. This makes spectrograms three times smaller, but adds visible steps
            to color bars.
    """
    from PIL import Image

    content = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(content, dpi=100)
    image = Image.open(content).convert("RGB")
    (image.quantize(dither=Image.Dither.NONE) if palette else image).save(path, optimize=True)
