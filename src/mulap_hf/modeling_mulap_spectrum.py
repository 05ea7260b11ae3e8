"""Spectrograms of the backbone: log-mel for MusiCNN, semitones for the pitch branch. Neither has anything to train."""

import math
from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from .configuration_mulap import MulapAudioConfig

PITCH_CLASSES = 12
# The low-pass filter before decimation: taps per kept sample, shape of its Kaiser window, and where its slope lies
# (relative to the highest frequency that the lower rate can hold).
TAPS, KAISER_BETA, CUTOFF = 16, 6.0, 0.95


class MulapSpectrum(nn.Module, ABC):
    """A fixed transform whose windows and filters are buffers, always float32.

    The buffers are persistent, because transformers creates models on the meta device and fills them from the file.
    """

    def __init__(self, config: MulapAudioConfig):
        super().__init__()
        self.config = config
        for name, value in self._on_cpu().items():
            self.register_buffer(name, value.to(torch.get_default_device()))

    @abstractmethod
    def constants(self) -> dict[str, torch.Tensor]:
        """The values of the buffers, by name."""

    def _on_cpu(self) -> dict[str, torch.Tensor]:
        """While transformers creates a model on the meta device, some functions of torch still return CPU tensors."""
        with torch.device("cpu"):
            return self.constants()

    def reset_buffers(self):
        for name, value in self._on_cpu().items():
            init.copy_(getattr(self, name), value)

    def _apply(self, fn, recurse=True):
        """Moves the buffers but keeps them float32: rounded filters would change every embedding."""
        buffers = {name: fn(buffer) for name, buffer in self._buffers.items()}
        for name, moved in buffers.items():
            self._buffers[name] = moved if moved.dtype == torch.float32 else self._buffers[name].to(moved.device)
        return self


class MulapLogMel(MulapSpectrum):
    """Log-mel spectrogram in decibels, each chunk clamped to `top_db` below its own maximum.

    HTK mel bands without normalization over a power spectrogram with a Hann window and reflected edges: torchaudio's
    MelSpectrogram + AmplitudeToDB, except that a chunk's numbers never depend on its neighbors in the batch.
    """

    def constants(self) -> dict[str, torch.Tensor]:
        window = torch.hann_window(self.config.n_fft, dtype=torch.float32)
        return {"window": window, "mel_filters": mel_filters(self.config)}

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """`(chunks, samples)` -> `(chunks, mel bands, frames)`, float32 whatever the model's dtype."""
        with torch.autocast(device_type=waveform.device.type, enabled=False):
            power = _power(waveform.float(), self.window, self.config.hop_length)  # (chunks, bins, frames)
            mel = self.mel_filters.T @ power  # (chunks, mel bands, frames)
            decibels = 10 * torch.log10(mel.clamp(min=1e-10))
            return decibels.maximum(decibels.amax(dim=(1, 2), keepdim=True) - self.config.top_db)


class MulapSemitones(MulapSpectrum):
    """How strong each semitone is over time, independent of the level of the chunk.

    The waveform is low-pass filtered and decimated, so that a short Fourier transform has the resolution of a long
    one. A triangular filter per semitone collects the magnitudes, which are compressed; the mean over the semitones of
    a frame (noise, drums) is subtracted, and what is then negative is set to 0.
    """

    def constants(self) -> dict[str, torch.Tensor]:
        window = torch.hann_window(self.config.pitch_n_fft, dtype=torch.float32)
        return {"low_pass": low_pass(self.config), "window": window, "filters": semitone_filters(self.config)}

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """`(chunks, samples)` -> `(chunks, frames, semitones)`, float32 and not negative; zero for silence."""
        with torch.autocast(device_type=waveform.device.type, enabled=False):
            power = _power(self._decimate(waveform.float()), self.window, self.config.pitch_hop_length)
            semitones = power.sqrt().transpose(1, 2) @ self.filters  # (chunks, frames, semitones)
            level = semitones.mean(dim=(1, 2), keepdim=True).clamp(min=1e-8)
            compressed = torch.log1p(100 * semitones / level)
            return F.relu(compressed - compressed.mean(dim=2, keepdim=True))

    def _decimate(self, waveform: torch.Tensor) -> torch.Tensor:
        """`(chunks, samples)` -> `(chunks, samples / factor)`, low-pass filtered.

        As a product of blocks with a banded matrix, because a window per output would copy every sample `TAPS` times.
        The windows of a block's outputs reach into the next block, but no further.
        """
        factor, taps = self.config.pitch_decimation, len(self.low_pass)
        kept, edge = waveform.shape[1] // factor, (taps - factor) // 2
        missing = taps * (math.ceil(kept / TAPS) + 1) - edge - waveform.shape[1]
        blocks = F.pad(waveform, (edge, missing)).unflatten(1, (-1, taps))  # (chunks, blocks + 1, taps)
        this, following = (blocks @ self._band().T).chunk(2, dim=2)  # each (chunks, blocks + 1, TAPS)
        return (this[:, :-1] + following[:, 1:]).flatten(1)[:, :kept]

    def _band(self) -> torch.Tensor:
        """`(2 TAPS, taps)`: row i is the filter moved by i outputs, row TAPS + i the part that the row above lacks."""
        factor, taps = self.config.pitch_decimation, len(self.low_pass)
        period = F.pad(self.low_pass, (0, taps + factor))
        rows = period.repeat(TAPS)[: 2 * taps * TAPS].view(TAPS, 2, taps)
        return rows.transpose(0, 1).flatten(0, 1)


def _power(waveform: torch.Tensor, window: torch.Tensor, hop_length: int) -> torch.Tensor:
    """`(chunks, samples)` -> `(chunks, bins, frames)`: squared magnitudes, with reflected edges."""
    spectrum = torch.stft(
        waveform,
        n_fft=len(window),
        hop_length=hop_length,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return spectrum.real.square() + spectrum.imag.square()


def mel_filters(config: MulapAudioConfig) -> torch.Tensor:
    """Triangular filters equally spaced on the HTK mel scale, `(n_fft / 2 + 1, mel bands)`, float32."""
    from transformers.audio_utils import mel_filter_bank  # here, because it imports torchaudio, soundfile and soxr

    filters = mel_filter_bank(
        config.n_fft // 2 + 1,
        config.num_mel_bins,
        float(config.f_min),
        float(config.f_max),
        config.sampling_rate,
        mel_scale="htk",
    )
    return torch.from_numpy(filters).float()


def semitone_filters(config: MulapAudioConfig) -> torch.Tensor:
    """Triangular filters from the semitone below to the semitone above, `(pitch_n_fft / 2 + 1, semitones)`."""
    steps = torch.arange(-1, PITCH_CLASSES * config.pitch_octaves + 1, dtype=torch.float64)
    edges = config.pitch_f_min * torch.exp2(steps / PITCH_CLASSES)
    return _triangles(edges, config.pitch_n_fft, config.sampling_rate / config.pitch_decimation)


def _triangles(edges: torch.Tensor, n_fft: int, sampling_rate: float) -> torch.Tensor:
    """Filter i rises from edge i to edge i + 1 and falls to edge i + 2, all in Hz: `(bins, edges - 2)`."""
    bins = torch.linspace(0, sampling_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


def low_pass(config: MulapAudioConfig) -> torch.Tensor:
    """A windowed sinc for decimation, `(taps,)`, whose sum is 1."""
    factor = config.pitch_decimation
    taps = TAPS * factor
    times = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    window = torch.kaiser_window(taps, periodic=False, beta=KAISER_BETA, dtype=torch.float64)
    impulse = torch.sinc(CUTOFF * times / factor) * window
    return (impulse / impulse.sum()).float()
