"""Speed and accuracy of lower precision (bfloat16, int8), compared with float32."""

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..configuration_mulap import MulapConfig
from ..errors import ModelError
from ..files import markdown_table
from ..metrics.scores import MAIN_METRIC, paired_difference, score
from ..modeling_mulap import MulapForAudioClassification
from ..modeling_mulap_audio import MulapAudioModel
from ..onnx_export import Exportable, export_onnx, open_model, open_session
from ..synthetic import CorpusConfig, make_clip
from ..synthetic.styles import STYLE_NAMES
from ..synthetic.tags import TAGS
from .measure import Variant, matrix_product, measure
from .reference import count_gflop
from .report import make_report, write_report

EXACT = "torch, float32"
QUANTIZED = {"none": "float32", "dynamic": "int8, dynamic", "static": "int8, static"}
CLIP_SECONDS = 9.0
# Waveforms `(batch, samples)` -> "pooler_output" and, for a tagger, "logits".
Implementation = Callable[[np.ndarray], dict[str, np.ndarray]]


def run(
    output: Path,
    rounds: int,
    presets: Sequence[str] = ("tiny", "published"),
    tagger: str | Path | None = None,
    chunks: int = 10,
    clips: int = 240,
    calibration_clips: int = 48,
) -> str:
    """Measure float32, bfloat16 and int8 in torch and ONNX Runtime; write `OUTPUT/precision-*`.

    Args:
        output: Folder of the reports.
        rounds: Number of measured rounds.
        presets: Presets of the backbone, see `MulapConfig.from_preset`. Weights are random; BatchNorm statistics are
            computed on generated music.
        tagger: Folder or Hub name of a `MulapForAudioClassification` to measure as well, with its main metric. Its
            labels must be tags or styles of the synthetic corpus.
        chunks: Length of the timed track in chunks.
        clips: Number of test clips of the synthetic corpus for the accuracy.
        calibration_clips: Number of validation clips for static quantization.

    Returns:
        The Markdown reports.

    Raises:
        ModelError: The labels of the tagger are not those of the synthetic corpus.
    """
    calibration = [clip["audio"] for clip in _make_clips("validation", calibration_clips)]
    heldout = _make_clips("test", clips)
    models = {preset: _random_backbone(preset, calibration) for preset in presets}
    if tagger is not None:
        models["tagger"] = open_model(tagger)
    return "\n".join(
        _report(output / f"precision-{name}", name, model, rounds, chunks, heldout, calibration)
        for name, model in models.items()
    )


def _report(
    path: Path,
    name: str,
    model: Exportable,
    rounds: int,
    chunks: int,
    heldout: list[dict],
    calibration: list[np.ndarray],
) -> str:
    """Measure one model and write its report; return the Markdown."""
    config = getattr(model.config, "audio_config", model.config)
    track = np.resize(calibration[0], (1, chunks * config.chunk_length)).astype(np.float32)
    gflop = count_gflop(model, input_values=torch.from_numpy(track))
    with torch.inference_mode():
        implementations = make_implementations(model, calibration)
        variants = [
            Variant(variant, lambda compute=compute: compute(track), chunks * config.chunk_seconds, gflop)
            for variant, compute in implementations.items()
        ]
        peak = matrix_product()
        measurements = measure([*variants, peak], rounds)
        accuracy = measure_accuracy(model, implementations, heldout)
    what = "a trained tagger" if isinstance(model, MulapForAudioClassification) else f"preset {name}"
    notes = [
        f"Embedding of a track of {chunks} chunks of {config.chunk_seconds:g} s, from the waveform. ONNX Runtime has "
        "as many threads as torch. The int8 variants quantize the two tall convolutions."
    ]
    title = f"Speed and accuracy of lower precision: {what}"
    report = make_report(title, measurements, "seconds of audio", [EXACT], peak.name, notes)
    report |= {"accuracy": accuracy, "clips": len(heldout)}
    return write_report(path, report, more=render_accuracy(report))


def make_implementations(model: Exportable, calibration: Sequence[np.ndarray]) -> dict[str, Implementation]:
    """Return all implementations of a model by name.

    Args:
        model: The model in float32.
        calibration: Waveforms for static quantization.
    """
    implementations = {EXACT: _in_torch(model), "torch, bfloat16": _in_torch(_in_bfloat16(model))}
    with tempfile.TemporaryDirectory() as folder:
        for quantize, name in QUANTIZED.items():
            path = Path(folder, f"{quantize}.onnx")
            # No tolerance: this benchmark measures the error.
            export_onnx(
                model, path, calibration[:1], quantize=quantize, calibration=calibration, tolerance=float("inf")
            )
            implementations[f"ONNX Runtime, {name}"] = _in_onnx_runtime(path)
    return implementations


def measure_accuracy(
    model: Exportable, implementations: dict[str, Implementation], clips: Sequence[dict]
) -> dict[str, dict[str, float]]:
    """Return the accuracy of each implementation relative to `EXACT`.

    Args:
        model: The model.
        implementations: See `make_implementations`.
        clips: Clips of the synthetic corpus.

    Returns:
        By name of the implementation: `relative_error`, the norm of the error of all embeddings divided by their norm;
        `centered_error`, the same divided by the norm of the embeddings minus their mean; `lowest_cosine` to the exact
        embedding of the same clip; `same_neighbor`, the fraction of clips whose nearest other clip by cosine is the
        same. For a tagger also its main metric, and `difference`, `low` and `high`, the difference to the exact metric
        with its 95 % interval.

    Raises:
        ModelError: The labels of a tagger are not those of the synthetic corpus.
    """
    outputs = {name: [compute(clip["audio"][None]) for clip in clips] for name, compute in implementations.items()}
    embeddings = {name: np.concatenate([one["pooler_output"] for one in many]) for name, many in outputs.items()}
    exact = embeddings[EXACT]  # (clips, features)
    centered_norm = np.linalg.norm(exact - exact.mean(axis=0))
    rows = {}
    for name, values in embeddings.items():
        error = np.linalg.norm(values - exact)
        cosines = (_normalized(values) * _normalized(exact)).sum(axis=1)
        rows[name] = {
            "relative_error": float(error / np.linalg.norm(exact)),
            "centered_error": float(error / centered_norm),
            "lowest_cosine": float(cosines.min()),
            "same_neighbor": float((_neighbors(values) == _neighbors(exact)).mean()),
        }
    if isinstance(model, MulapForAudioClassification):
        kind, truth = _truth(model, clips)
        logits = {name: np.concatenate([one["logits"] for one in many]) for name, many in outputs.items()}
        metric = MAIN_METRIC[kind]
        for name, values in logits.items():
            difference, low, high = paired_difference(kind, truth, values, logits[EXACT])[metric]
            rows[name][metric] = score(kind, truth, values)[metric]
            rows[name] |= {"difference": difference, "low": low, "high": high}
    return rows


def render_accuracy(report: Mapping[str, Any]) -> str:
    """Return the Markdown table of the accuracies of a report."""
    accuracy = report["accuracy"]
    metric = next((name for name in MAIN_METRIC.values() if name in accuracy[EXACT]), None)
    header = ["variant", "relative error", "relative error, centered", "lowest cosine", "same nearest neighbor"]
    header += [metric, "difference (95 % interval)"] if metric else []
    cells = []
    for name, row in accuracy.items():
        cells.append([name, f"{row['relative_error']:.1e}", f"{row['centered_error']:.1e}"])
        cells[-1] += [f"{row['lowest_cosine']:.5f}", f"{row['same_neighbor']:.1%}"]
        if metric:
            cells[-1].append(f"{row[metric]:.4f}")
            cells[-1].append(f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})")
    items = [
        "* relative error: norm of the error of all embeddings, divided by their norm.",
        "* relative error, centered: the same, divided by the norm of the embeddings minus their mean.",
        "* lowest cosine: the lowest cosine similarity of an embedding to the exact one.",
        "* same nearest neighbor: the fraction of clips whose nearest other clip by cosine similarity is the same.",
    ]
    if metric:
        items.append(f"* {metric}: main metric of the task, and its difference to `{EXACT}`.")
    return (
        f"\nAccuracy on {report['clips']} test clips of the synthetic corpus, relative to `{EXACT}`:\n\n"
        f"{markdown_table(header, cells)}\n\n" + "\n".join(items) + "\n"
    )


def _make_clips(split: str, count: int) -> list[dict]:
    config = CorpusConfig(clip_seconds=CLIP_SECONDS)
    return [make_clip(config, split, index) for index in range(count)]


def _random_backbone(preset: str, waveforms: Sequence[np.ndarray]) -> MulapAudioModel:
    """Return a random backbone with the BatchNorm statistics of music; with the initial ones, features hardly vary."""
    torch.manual_seed(0)
    model = MulapAudioModel(MulapConfig.from_preset(preset).audio_config).train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # running statistics are the mean over all batches
    with torch.no_grad():
        for waveform in waveforms:
            model(torch.from_numpy(waveform[None]))
    return model.eval()


def _in_bfloat16(model: Exportable) -> Exportable:
    return copy.deepcopy(model).to(torch.bfloat16)


def _in_torch(model: Exportable) -> Implementation:
    def compute(waveforms: np.ndarray) -> dict[str, np.ndarray]:
        output = model(torch.from_numpy(waveforms))
        return {name: output[name].float().numpy() for name in ("pooler_output", "logits") if name in output}

    return compute


def _in_onnx_runtime(path: Path) -> Implementation:
    session = open_session(path)
    names = [each.name for each in session.get_outputs() if each.name in ("pooler_output", "logits")]

    def compute(waveforms: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"input_values": waveforms}), strict=True))

    return compute


def _truth(model: MulapForAudioClassification, clips: Sequence[dict]) -> tuple[str, np.ndarray]:
    """Return the kind of the task of a tagger, and the labels of the clips in the format of `score`."""
    labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
    if model.config.problem_type == "multi_label_classification" and set(labels) <= set(TAGS):
        return "multi_label", np.array([[label in clip["tags"] for label in labels] for clip in clips], dtype=int)
    if model.config.problem_type == "single_label_classification" and set(labels) == set(STYLE_NAMES):
        return "single_label", np.array([labels.index(clip["style"]) for clip in clips])
    raise ModelError(
        f"the labels of the tagger ({', '.join(labels[:3])}, ...) are neither tags nor styles of the synthetic "
        "corpus, which provides the test clips; pass a model of training/transfer.py --task tagging or style"
    )


def _normalized(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _neighbors(embeddings: np.ndarray) -> np.ndarray:
    """Return the index of the other clip with the highest cosine similarity to each clip: `(clips,)`."""
    similarities = _normalized(embeddings) @ _normalized(embeddings).T
    np.fill_diagonal(similarities, -np.inf)
    return similarities.argmax(axis=1)
