"""The pitch branch of the backbone: waveform -> semitones -> pitch classes -> harmonies, one feature per chunk.

MusiCNN keeps only the maximum over frequency, so its features have no pitch. This branch computes a spectrogram that is
fine enough to separate low semitones, folds its octaves, and compares the pitch classes of every frame with learned
templates at all twelve roots.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from .configuration_mulap import MulapAudioConfig

PITCH_CLASSES = 12
# What the templates start from: intervals above the root, in semitones. The others start at random.
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 7, 10), (0, 7), (0,))
# How sharply the best of all templates and roots wins in a frame; logits are at most this large at the start.
SHARPNESS = 12.0
# The low-pass filter before decimation: taps per kept sample, and the shape of its Kaiser window.
TAPS, KAISER_BETA = 16, 6.0


class MulapSemitones(nn.Module):
    """How strongly every semitone sounds over time, whatever the level of the chunk.

    The waveform is low-pass filtered and decimated, so that a short Fourier transform has the resolution of a long one.
    A triangular filter per semitone collects the magnitudes, which are compressed; the mean over the semitones of a
    frame (noise, drums) is subtracted, and what is then negative is set to 0.
    """

    def __init__(self, config: MulapAudioConfig):
        super().__init__()
        self.config = config
        # Persistent, because transformers builds models on the meta device and fills them from the file.
        self.register_buffer("low_pass", low_pass(config))
        self.register_buffer("window", torch.hann_window(config.pitch_n_fft, dtype=torch.float32))
        self.register_buffer("filters", semitone_filters(config))

    def reset_buffers(self):
        init.copy_(self.low_pass, low_pass(self.config))
        init.copy_(self.window, torch.hann_window(self.config.pitch_n_fft, dtype=torch.float32))
        init.copy_(self.filters, semitone_filters(self.config))

    def _apply(self, fn, recurse=True):
        """`.to(bfloat16)` moves the buffers but leaves them float32, as those of `MulapLogMel`."""
        buffers = {name: fn(buffer) for name, buffer in self._buffers.items()}
        for name, moved in buffers.items():
            self._buffers[name] = moved if moved.dtype == torch.float32 else self._buffers[name].to(moved.device)
        return self

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """`(chunks, samples)` -> `(chunks, frames, semitones)`, float32, not negative; zero for silence."""
        with torch.autocast(device_type=waveform.device.type, enabled=False):
            spectrum = torch.stft(
                self._decimate(waveform.float()),
                n_fft=self.config.pitch_n_fft,
                hop_length=self.config.pitch_hop_length,
                window=self.window,
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )  # (chunks, bins, frames)
            magnitudes = (spectrum.real.square() + spectrum.imag.square()).sqrt()
            semitones = magnitudes.transpose(1, 2) @ self.filters  # (chunks, frames, semitones)
            level = semitones.mean(dim=(1, 2), keepdim=True).clamp(min=1e-8)
            compressed = torch.log1p(100 * semitones / level)
            return F.relu(compressed - compressed.mean(dim=2, keepdim=True))

    def _decimate(self, waveform: torch.Tensor) -> torch.Tensor:
        """`(chunks, samples)` -> `(chunks, samples / factor)`, low-pass filtered."""
        factor, taps = self.config.pitch_decimation, len(self.low_pass)
        edge = (taps - factor) // 2
        return F.pad(waveform, (edge, edge)).unfold(1, taps, factor) @ self.low_pass


def low_pass(config: MulapAudioConfig) -> torch.Tensor:
    """A windowed sinc below the highest frequency of the lower rate, `(taps,)`, which sums to 1."""
    factor = config.pitch_decimation
    taps = TAPS * factor
    times = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    window = torch.kaiser_window(taps, periodic=False, beta=KAISER_BETA, dtype=torch.float64)
    impulse = torch.sinc(0.95 * times / factor) * window
    return (impulse / impulse.sum()).float()


def semitone_filters(config: MulapAudioConfig) -> torch.Tensor:
    """Triangles from each semitone's neighbor below to that above, `(bins, semitones)`."""
    rate = config.sampling_rate / config.pitch_decimation
    bins = torch.linspace(0, rate / 2, config.pitch_n_fft // 2 + 1, dtype=torch.float64)  # Hz
    steps = torch.arange(-1, PITCH_CLASSES * config.pitch_octaves + 1, dtype=torch.float64)
    edges = config.pitch_f_min * 2 ** (steps / PITCH_CLASSES)  # Hz
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


class MulapPitch(nn.Module):
    """Which harmonies a chunk consists of, and which semitones: `(chunks, samples)` -> `(chunks, pitch_size)`.

    The features, in order: the mean over time of the softmax over all templates and roots (`pitch_channels * 12`), the
    mean of every semitone (`pitch_octaves * 12`), and two parts that do not change when the music is transposed: the
    sum of the softmax over the roots of each template (`pitch_channels`), and the magnitudes of the discrete Fourier
    transform of the pitch classes (6). BatchNorm scales them.
    """

    def __init__(self, config: MulapAudioConfig):
        super().__init__()
        self.semitones = MulapSemitones(config)
        self.templates = nn.Parameter(torch.empty(config.pitch_channels, PITCH_CLASSES))
        self.norm = nn.BatchNorm1d(config.pitch_size)
        self.reset_templates()

    @torch.no_grad()
    def reset_templates(self):
        """Chords first, then random templates."""
        init.normal_(self.templates, std=SHARPNESS / 4)
        for template, intervals in zip(self.templates, CHORDS, strict=False):
            init.zeros_(template)
            for interval in intervals:
                init.constant_(template[interval], SHARPNESS)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """`(chunks, samples)` -> `(chunks, pitch_size)`."""
        semitones = self.semitones(waveform).to(self.templates.dtype)  # (chunks, frames, semitones)
        classes = semitones.unflatten(2, (-1, PITCH_CLASSES)).sum(dim=2)  # (chunks, frames, 12)
        classes = classes / classes.sum(dim=2, keepdim=True).clamp(min=1e-6)
        harmonies = (classes @ self._at_all_roots()).softmax(dim=2).mean(dim=1)  # (chunks, channels * 12)
        kinds = harmonies.unflatten(1, (-1, PITCH_CLASSES)).sum(dim=2)  # (chunks, channels)
        features = [harmonies, semitones.mean(dim=1), kinds, _magnitudes(classes.mean(dim=1))]
        return self.norm(torch.cat(features, dim=1))

    def _at_all_roots(self) -> torch.Tensor:
        """`(12, channels * 12)`: column 12 i + r is template i, moved up by r semitones."""
        roots = torch.arange(PITCH_CLASSES, device=self.templates.device)
        intervals = (roots[:, None] - roots) % PITCH_CLASSES  # (pitch classes, roots)
        return self.templates[:, intervals].permute(1, 0, 2).flatten(1)


def _magnitudes(classes: torch.Tensor) -> torch.Tensor:
    """`(chunks, 12)` -> `(chunks, 6)`: magnitudes of the discrete Fourier transform, without the mean.

    As a product, which exports to ONNX and has a gradient at zero.
    """
    angles = torch.arange(PITCH_CLASSES)[:, None] * torch.arange(1, 7) * (2 * math.pi / PITCH_CLASSES)
    angles = angles.to(classes)
    real, imaginary = classes @ angles.cos(), classes @ angles.sin()
    return (real.square() + imaginary.square() + 1e-12).sqrt()
