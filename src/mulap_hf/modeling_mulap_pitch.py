"""The pitch branch of the backbone: waveform -> semitones -> pitch classes -> harmonies, one feature per chunk.

MusiCNN keeps only the maximum over frequency, so its features have no pitch. This branch computes a spectrogram that
separates semitones, folds its octaves, and compares the pitch classes of every frame with learned templates at all
twelve roots.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from .configuration_mulap import MulapAudioConfig
from .modeling_mulap_layers import batch_norm
from .modeling_mulap_spectrum import PITCH_CLASSES, MulapSemitones

# What the templates start from: intervals above the root, in semitones. The others start at random.
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 7, 10), (0, 7), (0,))
# Length of the templates at the start, as vectors: how sharply the best template and root wins in a frame.
SHARPNESS = 20.0


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

    @torch.no_grad()
    def reset_templates(self):
        """Chords first, then random templates."""
        templates = torch.randn(self.templates.shape, device="cpu")
        for template, intervals in zip(templates, CHORDS, strict=False):
            template.zero_()
            template[list(intervals)] = 1.0
        init.copy_(self.templates, SHARPNESS * F.normalize(templates, dim=1))

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """`(chunks, samples)` -> `(chunks, pitch_size)`."""
        semitones = self.semitones(waveform).to(self.templates.dtype)  # (chunks, frames, semitones)
        classes = semitones.unflatten(2, (-1, PITCH_CLASSES)).sum(dim=2)  # (chunks, frames, 12)
        classes = classes / classes.sum(dim=2, keepdim=True).clamp(min=1e-6)
        harmonies = (classes @ self._at_all_roots()).softmax(dim=2).mean(dim=1)  # (chunks, channels * 12)
        kinds = harmonies.unflatten(1, (-1, PITCH_CLASSES)).sum(dim=2)  # (chunks, channels)
        features = [harmonies, semitones.mean(dim=1), kinds, _magnitudes(classes.mean(dim=1))]
        return batch_norm(self.norm, torch.cat(features, dim=1))

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
