"""The backbone's fast path beside the plain computation."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ..configuration_mulap import MulapConfig
from ..modeling_mulap_audio import MulapAudioModel
from .measure import Variant, measure, roof
from .reference import count_gflop, plain
from .report import write_report

LOOP, BATCHED = "chunk by chunk, plain", "all chunks, plain"


def run(
    output: Path,
    rounds: int,
    presets: Sequence[str],
    chunks: int = 10,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    compiled: bool = False,
) -> str:
    """Embeds one track of each preset's backbone (random weights) in several ways; writes `OUTPUT/embedding-PRESET.*`.

    Args:
        output: folder.
        rounds: measurements of each way.
        presets: of `MulapConfig.from_preset`.
        chunks: length of the track.
        device, dtype: of the computation.
        compiled: measure the plain computation through `torch.compile` as well.
    """
    reports = []
    for preset in presets:
        variants = make_variants(preset, chunks, device, dtype, compiled)
        with torch.inference_mode():
            measurements = measure(variants, rounds, device)
        config = MulapConfig.from_preset(preset).audio_config
        notes = [
            f"Backbone of the preset `{preset}`: from the waveform to the embedding of a track of {chunks} chunks of "
            f"{config.chunk_seconds:g} s. The embeddings differ from the plain ones by "
            f"{largest_difference(preset, chunks, device, dtype):.0e} of their largest value."
        ]
        reports.append(
            write_report(
                output / f"embedding-{preset}",
                measurements,
                "seconds of audio",
                [LOOP, BATCHED],
                roof=measurements[-1].name,
                notes=notes,
                device=device,
            )
        )
    return "\n".join(reports)


@torch.inference_mode()
def largest_difference(preset: str, chunks: int = 2, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Between the default's chunk features and the plain ones, relative to the largest of these."""
    model = MulapAudioModel(MulapConfig.from_preset(preset).audio_config).to(device, dtype).eval()
    track = 0.1 * torch.randn(1, chunks * model.config.chunk_length, device=device)
    fast, expected = (copy(track).last_hidden_state.float() for copy in (model, plain(model)))
    return float((fast - expected).abs().max() / expected.abs().max())


def make_variants(
    preset: str, chunks: int, device: str = "cpu", dtype: torch.dtype = torch.float32, compiled: bool = False
) -> list[Variant]:
    """The plain ways first, the default last but the roof."""
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
        Variant("chunk by chunk", lambda: one_by_one(fast), seconds, gflop),
        Variant("all chunks", lambda: fast(track), seconds, gflop),
    ]
    if compiled:
        graph = torch.compile(plain(fast), fullgraph=True)
        variants.append(Variant("all chunks, torch.compile", lambda: graph(track), seconds, gflop))
    return [*variants, roof(dtype, device)]
