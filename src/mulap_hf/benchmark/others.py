"""MuLaP's backbone beside the audio models of transformers that a user would take instead."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
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
from ..modeling_mulap_audio import MulapAudioModel
from .measure import Variant, measure
from .report import write_report

SECONDS = 30  # of music in every measurement


def run(
    output: Path, rounds: int, presets: Sequence[str], device: str = "cpu", dtype: torch.dtype = torch.float32
) -> str:
    """Seconds of audio per second of each model, all with random weights; writes `OUTPUT/others.*`."""
    variants = [_backbone(preset, device, dtype) for preset in presets]
    variants += [
        Variant(name, _forward(model, inputs, device, dtype), units=SECONDS) for name, model, inputs in others()
    ]
    with torch.inference_mode():
        measurements = measure(variants, rounds, device)
    notes = [
        f"Embedding {SECONDS} s of music, with random weights and the sizes of the published checkpoints: CLAP with "
        "its HTSAT and AST on pieces of 10 s, Wav2Vec2-base (16 kHz) and MERT-95M (its HuBERT at 24 kHz) on 5 s, the "
        "encoder of Whisper-small on 30 s, each all pieces in one batch. Where another model takes a spectrogram, it "
        "gets it ready-made; MuLaP computes its own."
    ]
    baselines = [measurement.name for measurement in measurements[len(presets) :]]
    return write_report(output / "others", measurements, "seconds of audio", baselines, notes=notes, device=device)


def others() -> Iterator[tuple[str, PreTrainedModel, dict[str, torch.Tensor]]]:
    """Name, model, and its input for `SECONDS` of audio."""
    yield (
        "CLAP",
        ClapAudioModel(ClapAudioConfig()),
        {"input_features": torch.randn(SECONDS // 10, 1, 1001, 64)},  # (pieces, 1, frames of 10 ms, mel bands)
    )
    yield (
        "AST",
        ASTModel(ASTConfig()),
        {"input_values": torch.randn(SECONDS // 10, 1024, 128)},  # (pieces, frames of 10 ms, mel bands)
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
    model = MulapAudioModel(config)
    return Variant(f"MuLaP, {preset}", _forward(model, {"input_values": samples}, device, dtype), units=SECONDS)


def _forward(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], device: str, dtype: torch.dtype
) -> Callable[[], object]:
    model = model.to(device, dtype).eval()
    inputs = {name: value.to(device, dtype) for name, value in inputs.items()}
    return lambda: model(**inputs)
