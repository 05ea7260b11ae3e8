"""Lower precision beside float32: how much faster, and what it costs in accuracy."""

import copy
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..configuration_mulap import MulapConfig
from ..errors import ModelError
from ..metrics.scores import MAIN_METRIC, paired_difference, score
from ..modeling_mulap import MulapForAudioClassification
from ..modeling_mulap_audio import MulapAudioModel
from ..onnx_export import Exportable, export_onnx, open_model, open_session
from ..synthetic import CorpusConfig, make_clip
from ..synthetic.styles import STYLE_NAMES
from ..synthetic.tags import TAGS
from .measure import Variant, measure, roof
from .reference import count_gflop
from .report import write_report

EXACT = "torch, float32"
QUANTIZED = {"none": "float32", "dynamic": "int8, dynamic", "static": "int8, static"}
CLIP_SECONDS = 9.0
# Waveforms `(batch, samples)` -> "pooler_output" and, of a tagger, "logits".
Hearing = Callable[[np.ndarray], dict[str, np.ndarray]]


def run(
    output: Path,
    rounds: int,
    presets: Sequence[str] = ("tiny", "published"),
    tagger: str | Path | None = None,
    chunks: int = 10,
    clips: int = 240,
    calibration_clips: int = 48,
) -> str:
    """Embeds the same music in float32, bfloat16 and int8, by torch and by ONNX Runtime; writes `OUTPUT/precision-*`.

    Args:
        output: folder.
        rounds: measurements of each way.
        presets: of `MulapConfig.from_preset`; random weights, BatchNorm statistics of generated music.
        tagger: also of this `MulapForAudioClassification`, and what it costs its scores; its labels are tags or styles
            of the synthetic corpus.
        chunks: length of the track whose embedding is timed.
        clips: of the synthetic corpus, held out, on which accuracy is measured.
        calibration_clips: others, for static quantization.

    Raises:
        ValueError: the tagger's labels are not those of the synthetic corpus.
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
    config = getattr(model.config, "audio_config", model.config)
    track = np.resize(calibration[0], (1, chunks * config.chunk_length)).astype(np.float32)
    gflop = count_gflop(model, input_values=torch.from_numpy(track))
    with torch.inference_mode():
        hearings = make_hearings(model, calibration)
        variants = [
            Variant(way, lambda hear=hear: hear(track), chunks * config.chunk_seconds, gflop)
            for way, hear in hearings.items()
        ]
        top = roof()
        measurements = measure([*variants, top], rounds)
        accuracy = measure_accuracy(model, hearings, heldout)
    notes = [
        f"{'Tagger' if isinstance(model, MulapForAudioClassification) else 'Backbone'} `{name}`: a track of {chunks} "
        f"chunks of {config.chunk_seconds:g} s, from the waveform on. ONNX Runtime has as many threads as torch. In "
        "int8 are the two tall convolutions. torch's own int8 is for linear layers; the backbone has none."
    ]
    text = write_report(path, measurements, "seconds of audio", [EXACT], roof=top.name, notes=notes)
    text += f"\n{_table(accuracy, len(heldout))}"
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    raw = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    path.with_suffix(".json").write_text(json.dumps({**raw, "accuracy": accuracy}, indent=2) + "\n", encoding="utf-8")
    return text


def make_hearings(model: Exportable, calibration: Sequence[np.ndarray]) -> dict[str, Hearing]:
    """Every way of computing a model, by name.

    Args:
        model: in float32.
        calibration: waveforms for static quantization.
    """
    hearings = {EXACT: _by_torch(model), "torch, bfloat16": _by_torch(_in_bfloat16(model))}
    with tempfile.TemporaryDirectory() as folder:
        for quantize, name in QUANTIZED.items():
            path = Path(folder, f"{quantize}.onnx")
            # What a difference costs is measured here, so none is too large.
            export_onnx(
                model, path, calibration[:1], quantize=quantize, calibration=calibration, tolerance=float("inf")
            )
            hearings[f"ONNX Runtime, {name}"] = _by_onnx_runtime(path)
    return hearings


def measure_accuracy(
    model: Exportable, hearings: dict[str, Hearing], clips: Sequence[dict]
) -> dict[str, dict[str, float]]:
    """What every way costs, beside `EXACT`.

    Args:
        model: that they compute.
        hearings: see `make_hearings`.
        clips: of the synthetic corpus.

    Returns:
        By name of the way: `error` of the embeddings as a share of their norm and `error_of_spread` as a share
        of their distance from their mean; `lowest_cosine` to the exact embedding of the
        same clip; `same_neighbor`, the share of clips whose nearest other clip by cosine stays the same; of a tagger
        its main metric, with its difference to the exact one and the ends of that difference's 95 % interval.

    Raises:
        ValueError: a tagger's labels are not those of the synthetic corpus.
    """
    outputs = {way: [hear(clip["audio"][None]) for clip in clips] for way, hear in hearings.items()}
    embeddings = {way: np.concatenate([each["pooler_output"] for each in heard]) for way, heard in outputs.items()}
    exact = embeddings[EXACT]  # (clips, features)
    spread = np.linalg.norm(exact - exact.mean(axis=0))
    rows = {}
    for way, values in embeddings.items():
        error = np.linalg.norm(values - exact)
        cosines = (_normalized(values) * _normalized(exact)).sum(axis=1)
        rows[way] = {
            "error": float(error / np.linalg.norm(exact)),
            "error_of_spread": float(error / spread),
            "lowest_cosine": float(cosines.min()),
            "same_neighbor": float((_neighbors(values) == _neighbors(exact)).mean()),
        }
    if isinstance(model, MulapForAudioClassification):
        kind, truth = _truth(model, clips)
        logits = {way: np.concatenate([each["logits"] for each in heard]) for way, heard in outputs.items()}
        metric = MAIN_METRIC[kind]
        for way, values in logits.items():
            difference, low, high = paired_difference(kind, truth, values, logits[EXACT])[metric]
            rows[way][metric] = score(kind, truth, values)[metric]
            rows[way] |= {"difference": difference, "low": low, "high": high}
    return rows


def _table(accuracy: dict[str, dict[str, float]], clips: int) -> str:
    metric = next((name for name in MAIN_METRIC.values() if name in accuracy[EXACT]), None)
    heads = ["variant", "error", "of the spread", "lowest cosine", "same nearest neighbor"]
    heads += [metric, "difference (95 % interval)"] if metric else []
    lines = [
        f"Embeddings of {clips} held-out clips of the synthetic corpus beside those of `{EXACT}`: the error as a "
        "fraction of their norm and of their distance from their mean, the lowest cosine, and how many have the same "
        "nearest neighbor (by cosine) among the other clips." + (f" {metric} of the labels." if metric else ""),
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for way, row in accuracy.items():
        cells = [f"{row['error']:.1e}", f"{row['error_of_spread']:.1e}", f"{row['lowest_cosine']:.5f}"]
        cells.append(f"{row['same_neighbor']:.1%}")
        if metric:
            cells += [f"{row[metric]:.4f}", f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _make_clips(split: str, count: int) -> list[dict]:
    config = CorpusConfig(clip_seconds=CLIP_SECONDS)
    return [make_clip(config, split, index) for index in range(count)]


def _random_backbone(preset: str, waveforms: Sequence[np.ndarray]) -> MulapAudioModel:
    """With the statistics of music in its BatchNorms: at their initial ones the features would hardly vary."""
    torch.manual_seed(0)
    model = MulapAudioModel(MulapConfig.from_preset(preset).audio_config).train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
    with torch.no_grad():
        for waveform in waveforms:
            model(torch.from_numpy(waveform[None]))
    return model.eval()


def _in_bfloat16(model: Exportable) -> Exportable:
    return copy.deepcopy(model).to(torch.bfloat16)


def _by_torch(model: Exportable) -> Hearing:
    def hear(waveforms: np.ndarray) -> dict[str, np.ndarray]:
        output = model(torch.from_numpy(waveforms))
        return {name: output[name].float().numpy() for name in ("pooler_output", "logits") if name in output}

    return hear


def _by_onnx_runtime(path: Path) -> Hearing:
    session = open_session(path)
    names = [each.name for each in session.get_outputs() if each.name in ("pooler_output", "logits")]

    def hear(waveforms: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"input_values": waveforms}), strict=True))

    return hear


def _truth(model: MulapForAudioClassification, clips: Sequence[dict]) -> tuple[str, np.ndarray]:
    """Kind of the task, and the truth about clips as `score` takes it."""
    labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
    if model.config.problem_type == "multi_label_classification" and set(labels) <= set(TAGS):
        return "multi_label", np.array([[label in clip["tags"] for label in labels] for clip in clips], dtype=int)
    if model.config.problem_type == "single_label_classification" and set(labels) == set(STYLE_NAMES):
        return "single_label", np.array([labels.index(clip["style"]) for clip in clips])
    raise ModelError(
        f"the tagger's labels ({', '.join(labels[:3])}, ...) are neither tags nor the styles of the synthetic corpus, "
        "whose clips it is tested on: pass one that was transferred with --task tagging or style"
    )


def _normalized(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _neighbors(embeddings: np.ndarray) -> np.ndarray:
    """`(clips,)`: of each, the other that is most similar."""
    similarities = _normalized(embeddings) @ _normalized(embeddings).T
    np.fill_diagonal(similarities, -np.inf)
    return similarities.argmax(axis=1)
