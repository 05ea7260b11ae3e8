"""A GPU: errors and speed of each precision, with and without torch.compile, and how near it comes to its limits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from ..configuration_mulap import MulapConfig
from ..files import markdown_table
from ..modeling_mulap import MulapForPreTraining
from ..modeling_mulap_audio import MulapAudioModel
from .measure import Measurement, Variant, matrix_product, measure
from .reference import count_gflop, plain
from .report import make_report, write_report
from .training import make_batch, make_step

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}
COPY = "copy of memory"
_COPIED_BYTES = 2**28
_CHECKED_CHUNKS = 4


def run(
    output: Path,
    rounds: int,
    presets: Sequence[str],
    device: str = "cuda",
    compiled: bool = True,
    chunks: int = 256,
    clips: int = 32,
    clip_seconds: float = 20.0,
) -> str:
    """Measure embedding and pre-training steps; write `OUTPUT/gpu-embedding-PRESET.*` and `gpu-training-PRESET.*`.

    Args:
        output: Folder of the reports.
        rounds: Number of measured rounds.
        presets: Presets of the model, see `MulapConfig.from_preset`; the weights are random.
        device: Device of the computation.
        compiled: Also measure with `torch.compile`.
        chunks: Chunks per batch of the embedding.
        clips, clip_seconds: Batch of the pre-training steps.

    Returns:
        The Markdown reports.
    """
    reports = []
    for preset in presets:
        torch.manual_seed(0)
        config = MulapConfig.from_preset(preset)
        reports.append(_embedding(output, rounds, preset, config, device, compiled, chunks))
        reports.append(_training(output, rounds, preset, config, device, compiled, clips, clip_seconds))
    return "\n".join(reports)


def _embedding(
    output: Path, rounds: int, preset: str, config: MulapConfig, device: str, compiled: bool, chunks: int
) -> str:
    model = MulapAudioModel(config.audio_config).eval()
    track = 0.1 * torch.randn(1, chunks * model.config.chunk_length)
    errors = embedding_errors(model, track[:, : _CHECKED_CHUNKS * model.config.chunk_length], device)
    gflop, traffic = count_gflop(model, input_values=track), count_traffic(plain(model), track)
    variants = []
    for name, dtype in PRECISIONS.items():
        moved = MulapAudioModel(config.audio_config).to(device, dtype).eval()
        moved.load_state_dict(model.state_dict())
        moved.config.chunk_batch_size = chunks
        inputs = track.to(device)
        for kind, compute in _kinds(moved, compiled).items():
            run = _in_precision(name, lambda compute=compute, inputs=inputs: compute(inputs))
            variants.append(Variant(f"{name}{kind}", run, chunks * model.config.chunk_seconds, gflop))
    with torch.inference_mode():
        measurements = measure([*variants, *limits(device)], rounds, device)
    notes = [
        f"Backbone of the preset `{preset}`, from the waveform to the features of {chunks} chunks of "
        f"{model.config.chunk_seconds:g} s in one batch, which are on the device already.",
        _errors("Embeddings", errors),
    ]
    speeds, peaks = measurements[: len(variants)], measurements[len(variants) :]
    title = f"Embedding on a GPU: preset {preset}"
    report = make_report(title, speeds, "seconds of audio", ["float32"], None, notes, device)
    report |= {"limits": [asdict(peak) for peak in peaks], "traffic": traffic}
    return write_report(output / f"gpu-embedding-{preset}", report, render_limits(report))


def _training(
    output: Path,
    rounds: int,
    preset: str,
    config: MulapConfig,
    device: str,
    compiled: bool,
    clips: int,
    clip_seconds: float,
) -> str:
    model = MulapForPreTraining(config).train()
    errors = gradient_errors(model, make_batch(config, 2, 2 * config.audio_config.chunk_seconds), device)
    batch = make_batch(config, clips, clip_seconds, device)
    variants = []
    for name, dtype in PRECISIONS.items():
        moved = MulapForPreTraining(config).to(device).train()
        moved.load_state_dict(model.state_dict())
        for kind, compute in _kinds(moved, compiled).items():
            variants.append(Variant(f"{name}{kind}", _in_precision(name, make_step(compute, batch, dtype)), clips))
    measurements = measure(variants, rounds, device)
    notes = [
        f"Pre-training steps of the preset `{preset}`: forward, backward and AdamW on a batch of {clips} clips of "
        f"{clip_seconds:g} s, which is on the device already. bfloat16 is that of autocast.",
        _errors("Gradients", errors),
    ]
    title = f"Pre-training on a GPU: preset {preset}"
    report = make_report(title, measurements, "clips", ["float32"], None, notes, device)
    return write_report(output / f"gpu-training-{preset}", report)


def _kinds(model: nn.Module, compiled: bool) -> dict[str, nn.Module]:
    return {"": model, ", torch.compile": torch.compile(model)} if compiled else {"": model}


def _in_precision(name: str, run: Callable[[], object]) -> Callable[[], object]:
    def inside():
        with tf32(name == "tf32"):
            return run()

    return inside


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let float32 products and convolutions on a GPU round their inputs to 10 bits, or not."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = allowed
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


@torch.inference_mode()
def embedding_errors(model: MulapAudioModel, track: torch.Tensor, device: str) -> dict[str, float]:
    """Of each precision, the norm of the features' error relative to the reference on the CPU in float32."""
    expected = plain(model)(track).last_hidden_state
    errors = {}
    for name, dtype in PRECISIONS.items():
        moved = plain(model).to(device, dtype)
        with tf32(name == "tf32"):
            found = moved(track.to(device)).last_hidden_state.float().cpu()
        errors[name] = float((found - expected).norm() / expected.norm())
    return errors


def gradient_errors(model: MulapForPreTraining, batch: dict[str, torch.Tensor], device: str) -> dict[str, float]:
    """Of each precision, the norm of the gradients' error relative to the reference on the CPU, in eval mode."""
    expected = _gradients(model, batch, "cpu", "float32")
    errors = {}
    for name in PRECISIONS:
        found = _gradients(model, batch, device, name)
        errors[name] = float((found - expected).norm() / expected.norm())
    return errors


def _gradients(
    model: MulapForPreTraining, batch: dict[str, torch.Tensor], device: str, precision: str
) -> torch.Tensor:
    copy = plain(model).to(device).eval()  # without dropout, which is random
    dtype = PRECISIONS[precision]
    inputs = {name: value.to(device) for name, value in batch.items()}
    with tf32(precision == "tf32"):
        with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
            loss = copy(**inputs).loss
        loss.backward()
    return torch.cat([value.grad.flatten().float().cpu() for value in copy.parameters() if value.grad is not None])


def _errors(what: str, errors: dict[str, float]) -> str:
    listed = ", ".join(f"{error:.0e} in {name}" for name, error in errors.items())
    return f"{what} differ from those of the CPU in float32 by {listed} (norm of the difference, relative)."


def limits(device: str) -> list[Variant]:
    """Return matrix products in each precision, and a copy of memory, whose units are GB read and written."""
    source = torch.empty(_COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    variants = []
    for name, dtype in PRECISIONS.items():
        size = 8192 if torch.device(device).type == "cuda" else 512
        product = matrix_product(dtype, device, size)
        variants.append(Variant(_product(name), _in_precision(name, product.run), product.units, product.gflop))
    return [*variants, Variant(COPY, lambda: target.copy_(source), 2 * _COPIED_BYTES / 1e9)]


def _product(precision: str) -> str:
    return f"matrix product, {precision}"


@torch.inference_mode()
def count_traffic(model: nn.Module, track: torch.Tensor) -> int:
    """Return the values that the layers of a model read and write: their inputs, outputs and parameters."""
    values = 0

    def count(module: nn.Module, inputs: tuple, output: object):
        nonlocal values
        tensors = [*inputs, output, *module.parameters(recurse=False)]
        values += sum(tensor.numel() for tensor in tensors if isinstance(tensor, torch.Tensor))

    leaves = [module for module in model.modules() if not any(module.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    model(track)
    for hook in hooks:
        hook.remove()
    return values


def render_limits(report: Mapping[str, Any]) -> str:
    """A table of the rates relative to what the device reaches in a matrix product and in a copy."""
    found = {row["name"]: Measurement(**row) for row in report["limits"]}
    bandwidth, rows = found[COPY].rate, []
    for measurement in (Measurement(**row) for row in report["variants"]):
        name = measurement.name
        precision = name.partition(",")[0]
        product = found[_product(precision)].gflops
        moved = report["traffic"] * PRECISIONS[precision].itemsize / 1e9 / median(measurement.seconds)
        rows.append(
            (
                name,
                f"{measurement.gflops / 1e3:.3g}",
                f"{measurement.gflops / product:.0%} of {product / 1e3:.3g}",
                f"{moved:,.0f}",
                f"{moved / bandwidth:.0%} of {bandwidth:,.0f}",
            )
        )
    header = ("variant", "TFLOP/s", "fraction of a matrix product", "GB/s", "fraction of a copy")
    return (
        "\n"
        + markdown_table(header, rows)
        + "\n\n* TFLOP/s: operations of the plain convolutions, in the time of the variant. Matrix products have "
        "the same precision.\n* GB/s: what the layers would read and write if each did so once, in the time of the "
        "variant.\n"
    )
