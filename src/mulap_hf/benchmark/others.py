"""Embedding speed of the MuLaP backbone, compared with other audio models in transformers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram
from transformers import (
    ASTConfig,
    ASTModel,
    ClapAudioConfig,
    ClapAudioModel,
    HubertConfig,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperModel,
)

from ..configuration_mulap import MulapConfig
from ..embedding import Embedder
from ..embedding_threads import ThreadedEncoder
from ..modeling_mulap_audio import MulapAudioModel
from .measure import Variant, measure
from .report import make_report, write_report

SECONDS = 30  # of audio in every measurement
CLAP_SECONDS = 10  # of a segment
_REPEATS = 8  # of MuLaP, whose single runs are too short to measure
TITLE = "Embedding speed: MuLaP and other audio models"
NOTES = [
    f"Each model embeds {SECONDS} s of audio, with random weights in the size of the published checkpoint.",
    "All segments are computed in one batch: 10 s for CLAP (HTSAT) and AST, 5 s for Wav2Vec2-base (16 kHz) and "
    "MERT-95M (HuBERT at 24 kHz), 30 s for the encoder of Whisper-small.",
    "A batch or a segment per thread: as many threads as cores, each of which computes alone. Otherwise all threads "
    "share each operation.",
    "MuLaP, and CLAP with a segment per thread, compute their spectrograms in the measured time. Those of AST and "
    "Whisper, and of CLAP in one batch, are computed in advance.",
]


def run(
    output: Path, rounds: int, presets: Sequence[str], device: str = "cpu", dtype: torch.dtype = torch.float32
) -> str:
    """Measure the embedding speed of each model with random weights; write `OUTPUT/others.*`.

    Args:
        output: Folder of the report.
        rounds: Number of measured rounds.
        presets: Presets of the MuLaP backbone, see `MulapConfig.from_preset`.
        device, dtype: Device and precision of the computation.

    Returns:
        The Markdown report.
    """
    variants = [_backbone(preset, device, dtype) for preset in presets]
    variants += [_backbone_in_threads(preset, device, dtype) for preset in presets]
    for name, model, inputs in others():
        variants.append(Variant(name, _forward(model, inputs, device, dtype), units=SECONDS))
        if name == "CLAP":
            variants.append(_clap_in_threads(model, device, dtype))
    with torch.inference_mode():
        measurements = measure(variants, rounds, device)
    baselines = [measurement.name for measurement in measurements[2 * len(presets) :]]
    report = make_report(TITLE, measurements, "seconds of audio", baselines, notes=NOTES, device=device)
    return write_report(output / "others", report)


def others() -> Iterator[tuple[str, PreTrainedModel, dict[str, torch.Tensor]]]:
    """Yield the name, the model, and its input for `SECONDS` of audio."""
    yield (
        "CLAP",
        ClapAudioModel(ClapAudioConfig()),
        {
            "input_features": torch.randn(SECONDS // CLAP_SECONDS, 1, 1001, 64)
        },  # (segments, 1, frames of 10 ms, mel bands)
    )
    yield (
        "AST",
        ASTModel(ASTConfig()),
        {"input_values": torch.randn(SECONDS // 10, 1024, 128)},  # (segments, frames of 10 ms, mel bands)
    )
    yield (
        "Wav2Vec2-base",
        Wav2Vec2Model(Wav2Vec2Config()),
        {"input_values": torch.randn(SECONDS // 5, 5 * 16000)},
    )
    yield (
        "MERT-95M",
        HubertModel(HubertConfig()),
        {"input_values": torch.randn(SECONDS // 5, 5 * 24000)},
    )
    whisper = WhisperConfig(d_model=768, encoder_layers=12, encoder_attention_heads=12, encoder_ffn_dim=3072)
    yield (
        "Whisper-small",
        WhisperModel(whisper).get_encoder(),
        {"input_features": torch.randn(SECONDS // 30, whisper.num_mel_bins, 3000)},
    )


def _backbone(preset: str, device: str, dtype: torch.dtype) -> Variant:
    config = MulapConfig.from_preset(preset).audio_config
    samples = torch.randn(1, SECONDS * config.sampling_rate) * 0.1
    forward = _forward(MulapAudioModel(config), {"input_values": samples}, device, dtype)

    def repeat():
        for _ in range(_REPEATS):
            forward()

    return Variant(f"MuLaP, {preset}", repeat, units=_REPEATS * SECONDS)


def _backbone_in_threads(preset: str, device: str, dtype: torch.dtype) -> Variant:
    config = MulapConfig.from_preset(preset).audio_config
    chunks = _REPEATS * SECONDS // round(config.chunk_seconds)
    embedder = Embedder(MulapAudioModel(config).to(dtype), device)
    waveforms = 0.1 * np.random.default_rng(0).standard_normal((chunks, config.chunk_length), dtype=np.float32)
    units = chunks * config.chunk_seconds
    return Variant(f"MuLaP, {preset}, a batch per thread", lambda: embedder.encode_all(waveforms), units)


def _clap_in_threads(model: PreTrainedModel, device: str, dtype: torch.dtype) -> Variant:
    """CLAP from the waveform, with the spectrogram of its feature extractor by torch, and a segment per thread."""
    mel = MelSpectrogram(
        48000, 1024, hop_length=480, f_min=50, f_max=14000, n_mels=64, norm="slaney", mel_scale="slaney"
    )
    log_mel = torch.nn.Sequential(mel, AmplitudeToDB()).to(device)
    waveform = 0.1 * torch.randn(1, CLAP_SECONDS * 48000)
    segments = 2 * torch.get_num_threads()
    model = model.to(device, dtype).eval()

    @torch.inference_mode()
    def encode(segment: torch.Tensor) -> torch.Tensor:
        spectrogram = log_mel(segment).transpose(1, 2)[:, None]  # (1, 1, frames of 10 ms, mel bands)
        return model(input_features=spectrogram.to(dtype)).pooler_output

    def run():
        with ThreadedEncoder(encode, torch.device(device)) as encoder:
            for _ in range(segments):
                encoder.give(waveform.to(device))
            for _ in encoder.take(everything=True):
                pass

    return Variant("CLAP, a segment per thread", run, units=segments * CLAP_SECONDS)


def _forward(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], device: str, dtype: torch.dtype
) -> Callable[[], object]:
    model = model.to(device, dtype).eval()
    inputs = {name: value.to(device, dtype) for name, value in inputs.items()}
    return lambda: model(**inputs)
