"""Speed of pre-training steps with the fast path, compared with the reference computation."""

from pathlib import Path

import torch

from ..configuration_mulap import MulapConfig
from ..modeling_mulap import MulapForPreTraining
from .measure import Variant, measure
from .reference import plain
from .report import make_report, write_report

REFERENCE = "reference"
WORDS = 24  # tokens of a description


def run(
    output: Path,
    rounds: int,
    batches: dict[str, int],
    clip_seconds: float = 20.0,
    device: str = "cpu",
    precision: torch.dtype = torch.float32,
    compiled: bool = False,
) -> str:
    """Measure pre-training steps (forward, backward, optimizer) on one batch; write `OUTPUT/training-PRESET.*`.

    Args:
        output: Folder of the reports.
        rounds: Number of measured rounds.
        batches: Number of clips per batch, by preset.
        clip_seconds: Length of a clip in seconds.
        device: Device of the computation.
        precision: Data type of autocast; float32 for no autocast.
        compiled: Also measure the reference with `torch.compile`.

    Returns:
        The Markdown reports.
    """
    reports = []
    for preset, batch in batches.items():
        config = MulapConfig.from_preset(preset)
        torch.manual_seed(0)
        fast = MulapForPreTraining(config).to(device).train()
        models = {REFERENCE: plain(fast), "fast path": fast}
        if compiled:
            models["reference, torch.compile"] = torch.compile(plain(fast))
        inputs = make_batch(config, batch, clip_seconds, device)
        variants = [Variant(name, make_step(model, inputs, precision), batch) for name, model in models.items()]
        measurements = measure(variants, rounds, device)
        notes = [
            f"Pre-training steps of the preset `{preset}`: forward, backward and AdamW on a batch of {batch} clips of "
            f"{clip_seconds:g} s with {WORDS} tokens each.",
            f"The gradients of the fast path differ from the reference by {gradient_difference(fast, inputs):.0e} "
            "(norm of the difference, relative to the norm of the gradients).",
        ]
        title = f"Pre-training speed: preset {preset}"
        report = make_report(title, measurements, "clips", [REFERENCE], notes=notes, device=device)
        reports.append(write_report(output / f"training-{preset}", report))
    return "\n".join(reports)


def gradient_difference(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> float:
    """Return the norm of the difference between the gradients of a model and the reference, relative to the latter."""
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
    """Return noise and random tokens with the labels of the three pre-training tasks."""
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
    """Return a function that runs one training step: forward, backward, optimizer."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    device = inputs["input_values"].device.type

    def step():
        with torch.autocast(device, precision, enabled=precision != torch.float32):
            loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
