"""Embedding speed of the backbone with the fast path, compared with the reference computation."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ..configuration_mulap import MulapAudioConfig, MulapConfig
from ..modeling_mulap_audio import MulapAudioModel
from .measure import Variant, matrix_product, measure
from .reference import count_gflop, plain
from .report import make_report, write_report

LOOP, BATCHED = "chunk by chunk, reference", "one batch, reference"


def run(
    output: Path,
    rounds: int,
    presets: Sequence[str],
    chunks: int = 10,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    compiled: bool = False,
) -> str:
    """Measure the embedding of one track by a backbone with random weights; write `OUTPUT/embedding-PRESET.*`.

    Args:
        output: Folder of the reports.
        rounds: Number of measured rounds.
        presets: Presets of the backbone, see `MulapConfig.from_preset`.
        chunks: Length of the track in chunks.
        device, dtype: Device and precision of the computation.
        compiled: Also measure the reference with `torch.compile`.

    Returns:
        The Markdown reports.
    """
    reports = []
    for preset in presets:
        variants = make_variants(preset, chunks, device, dtype, compiled)
        with torch.inference_mode():
            measurements = measure(variants, rounds, device)
        config = MulapConfig.from_preset(preset).audio_config
        difference = largest_difference(preset, chunks, device, dtype)
        notes = [
            f"Backbone of the preset `{preset}`, from the waveform to the embedding of a track of {chunks} chunks of "
            f"{config.chunk_seconds:g} s.",
            f"The embeddings of the fast path differ from the reference by at most {difference:.0e} of the largest "
            "value.",
        ]
        peak = measurements[-1].name
        title = f"Embedding speed: preset {preset}"
        report = make_report(title, measurements, "seconds of audio", [LOOP, BATCHED], peak, notes, device)
        reports.append(write_report(output / f"embedding-{preset}", report))
    return "\n".join(reports)


@torch.inference_mode()
def largest_difference(preset: str, chunks: int = 2, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Return the largest difference of chunk features between fast path and reference, relative to the largest."""
    model = MulapAudioModel(MulapConfig.from_preset(preset).audio_config).to(device, dtype).eval()
    track = 0.1 * torch.randn(1, chunks * model.config.chunk_length, device=device)
    fast, expected = (copy(track).last_hidden_state.float() for copy in (model, plain(model)))
    return float((fast - expected).abs().max() / expected.abs().max())


def make_variants(
    preset: str, chunks: int, device: str = "cpu", dtype: torch.dtype = torch.float32, compiled: bool = False
) -> list[Variant]:
    """Return the variants: the reference, the fast path, and the matrix product for the peak rate."""
    config = MulapConfig.from_preset(preset).audio_config
    fast = MulapAudioModel(config).to(device, dtype).eval()
    slow = plain(fast)
    track = 0.1 * torch.randn(1, chunks * config.chunk_length, device=device)
    gflop = count_gflop(fast, input_values=track)
    seconds = chunks * config.chunk_seconds

    def one_by_one(model: MulapAudioModel):
        for chunk in track.split(config.chunk_length, dim=1):
            model(chunk)

    variants = [
        Variant(LOOP, lambda: one_by_one(slow), seconds, gflop),
        Variant(BATCHED, lambda: slow(track), seconds, gflop),
        Variant("chunk by chunk, fast path", lambda: one_by_one(fast), seconds, gflop),
        Variant("one batch, fast path", lambda: fast(track), seconds, gflop),
    ]
    if config.pitch_channels:
        without_pitch = MulapAudioConfig(**{**config.to_dict(), "pitch_channels": 0})
        without = MulapAudioModel(without_pitch).to(device, dtype).eval()
        name = "one batch, fast path, without pitch branch"
        variants.append(Variant(name, lambda: without(track), seconds, gflop))
    if compiled:
        graph = torch.compile(plain(fast), fullgraph=True)
        variants.append(Variant("one batch, torch.compile", lambda: graph(track), seconds, gflop))
    return [*variants, matrix_product(dtype, device)]
