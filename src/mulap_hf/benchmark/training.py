"""Training steps by the fast path beside plain ones."""

from pathlib import Path

import torch

from ..configuration_mulap import MulapConfig
from ..modeling_mulap import MulapForPreTraining
from .measure import Variant, measure
from .reference import plain
from .report import write_report

PLAIN = "plain"
WORDS = 24  # of a description


def run(
    output: Path,
    rounds: int,
    batches: dict[str, int],
    clip_seconds: float = 20.0,
    device: str = "cpu",
    precision: torch.dtype = torch.float32,
    compiled: bool = False,
) -> str:
    """Steps of pre-training (forward, backward, optimizer) on one batch; writes `OUTPUT/training-PRESET.*`.

    Args:
        output: folder.
        rounds: measurements of each way.
        batches: clips in a batch of each preset.
        clip_seconds: length of a clip.
        device: where to compute.
        precision: of autocast; float32 is without.
        compiled: measure the plain step through `torch.compile` as well.
    """
    reports = []
    for preset, batch in batches.items():
        config = MulapConfig.from_preset(preset)
        torch.manual_seed(0)
        fast = MulapForPreTraining(config).to(device).train()
        models = {PLAIN: plain(fast), "default": fast}
        if compiled:
            models["plain, torch.compile"] = torch.compile(plain(fast))
        inputs = make_batch(config, batch, clip_seconds, device)
        variants = [Variant(name, make_step(model, inputs, precision), batch) for name, model in models.items()]
        measurements = measure(variants, rounds, device)
        notes = [
            f"Pre-training of the preset `{preset}` on batches of {batch} clips of {clip_seconds:g} s with {WORDS} "
            "words: forward, backward, AdamW. The gradients differ from the plain ones by "
            f"{gradient_difference(fast, inputs):.0e} of their norm."
        ]
        reports.append(
            write_report(output / f"training-{preset}", measurements, "clips", [PLAIN], notes=notes, device=device)
        )
    return "\n".join(reports)


def gradient_difference(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> float:
    """Norm of the difference between a model's gradients and the plain ones, relative to the norm of these."""
    gradients = []
    for copy in (plain(model), model):
        torch.manual_seed(0)  # the same dropout
        copy.zero_grad()
        copy(**inputs).loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in copy.parameters() if p.grad is not None]))
        copy.zero_grad()
    expected, fast = gradients
    return float((fast - expected).norm() / expected.norm())


def make_batch(config: MulapConfig, batch: int, clip_seconds: float, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Noise and random words with the labels of all three tasks."""
    samples = round(clip_seconds * config.audio_config.sampling_rate)
    chunks = samples // config.audio_config.chunk_length
    words = torch.randint(5, config.text_config.vocab_size, (batch, WORDS))
    inputs = {
        "input_values": 0.1 * torch.randn(batch, samples),
        "input_ids": words,
        "mlm_labels": torch.where(torch.rand(batch, WORDS) < 0.15, words, -100),
        "masked_chunks": torch.rand(batch, chunks) < 0.15,
        "matching_labels": torch.arange(batch) % 2,
    }
    return {name: value.to(device) for name, value in inputs.items()}


def make_step(model: torch.nn.Module, inputs: dict[str, torch.Tensor], precision: torch.dtype = torch.float32):
    """Forward, backward and optimizer as one call."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    device = inputs["input_values"].device.type

    def step():
        with torch.autocast(device, precision, enabled=precision != torch.float32):
            loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
