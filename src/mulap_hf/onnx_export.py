"""The audio model or a tagger as one ONNX file: waveforms in, embeddings or labels out, without torch.

torch exports what becomes of a chunk; on request that is quantized; `onnx_graph` makes tracks of it; ONNX Runtime must
then hear what torch hears.
"""

import copy
import json
import logging
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig

from .audio import load_audio
from .errors import MissingPackageError, ModelError
from .files import replacing
from .loading import model_kind, open_backbone
from .modeling_mulap import MulapForAudioClassification
from .modeling_mulap_audio import MulapAudioModel, MulapLogMel

try:
    import onnx
    import onnxruntime
    import onnxscript  # noqa: F401 - torch.onnx writes with it
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata
except ImportError as error:
    raise MissingPackageError(
        f'ONNX needs packages that are not installed ({error}): pip install "mulap-hf[onnx]"'
    ) from error

from .onnx_graph import assemble

# It warns of torchvision, which nothing here needs.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)

Exportable = MulapAudioModel | MulapForAudioClassification
Quantization = Literal["none", "dynamic", "static"]

OLDEST_OPSET = 18  # torch writes none older
CALIBRATION_SECONDS = 30.0
# Largest difference to torch, as a share of an output's largest value.
TOLERANCES = {"none": 1e-4, "dynamic": 0.1, "static": 0.1}

# What the pipeline makes of logits, by problem type.
_ACTIVATIONS = {"single_label_classification": "Softmax", "multi_label_classification": "Sigmoid", "regression": None}


def open_model(folder: str | Path) -> Exportable:
    """The tagger of a folder or Hub name, or the backbone of any other MuLaP model, in float32.

    Raises:
        ModelError: it cannot be loaded, or is no MuLaP.
    """
    backbone = open_backbone(folder)  # says what is wrong, if anything is
    if model_kind(AutoConfig.from_pretrained(folder)) != "classifier":
        return backbone.float().eval()
    return MulapForAudioClassification.from_pretrained(folder, dtype=torch.float32).eval()


def export_onnx(
    model: Exportable,
    output: Path,
    check: Iterable[np.ndarray],
    name: str = "MuLaP",
    opset: int = OLDEST_OPSET,
    quantize: Quantization = "none",
    calibration: Iterable[np.ndarray] = (),
    tolerance: float | None = None,
) -> float:
    """Writes a model as an ONNX file that takes waveforms, once its outputs were compared with torch's.

    Inputs are what `MulapFeatureExtractor` gives: `input_values` `(batch, samples)`, float32 at the model's rate, of
    any length; `audio_attention_mask` of the same shape, int32, 1 = real, 0 = padding, which may be left out where
    nothing is padding. Outputs: `last_hidden_state`, `pooler_output` and `chunk_mask` as `MulapAudioOutput`; of a
    tagger also `logits` and `chunk_logits`, and except for a regression `probabilities` and `chunk_probabilities`.
    The file's metadata say the rest: sampling rate, length of a chunk, labels.

    Quantized are the two tall convolutions, which are nearly all of the arithmetic: weights per channel, activations
    in 8 bits, on scales that are measured anew for every chunk ("dynamic") or once on music ("static").

    Args:
        model: in float32, on the CPU.
        output: file to write; replaced if it exists.
        check: mono waveforms `(samples,)` at the model's rate, each of which torch and ONNX Runtime must hear alike.
        name: of the model, for the metadata.
        opset: version of the ONNX operators, 18 or newer.
        quantize: how.
        calibration: for "static", waveforms as varied as what will be heard: what is louder in some band is clipped.
        tolerance: largest difference that is accepted, as a share of an output's largest value; default: `TOLERANCES`.

    Returns:
        The largest difference.

    Raises:
        ModelError: nothing to calibrate with, an opset that is not known, or a difference above the tolerance; then
            no file is left.
    """
    if not OLDEST_OPSET <= opset <= onnx.defs.onnx_opset_version():
        raise ModelError(f"opset {opset} is not in {OLDEST_OPSET} to {onnx.defs.onnx_opset_version()}")
    if not output.parent.is_dir():
        raise ModelError(f"{output.parent} does not exist: make the folder first, or choose another output")
    tolerance = TOLERANCES[quantize] if tolerance is None else tolerance
    model = copy.deepcopy(model).eval()
    config = _audio_model(model).config
    graph = _export_chunks(model, opset)
    if quantize != "none":
        graph = _quantize(graph, config.chunk_length, quantize, calibration)
    activation = None if isinstance(model, MulapAudioModel) else _ACTIVATIONS[_problem(model)]
    exported = assemble(graph, config.chunk_length, activation)
    onnx.helper.set_model_props(exported, _metadata(model, name, quantize))
    onnx.checker.check_model(exported, full_check=True)
    with replacing(output) as temporary:
        onnx.save(exported, temporary)
        difference = largest_difference(temporary, model, check)
        if not difference <= tolerance:
            raise ModelError(
                f"ONNX Runtime's outputs differ from torch's by {difference:.1e} of the largest value, over the "
                f"tolerance {tolerance:.1e}: no file was written"
                + ("; calibrate with more, and more varied, music" if quantize == "static" else "")
            )
    return difference


def open_session(path: str | Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, with as many threads as torch has unless told otherwise."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3  # it warns of the mask, that it may be left out
    # Threads that go on spinning after a run would take the cores from what comes next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def largest_difference(path: Path, model: Exportable, waveforms: Iterable[np.ndarray]) -> float:
    """Between what ONNX Runtime and torch make of waveforms, as a share of the largest value of each output: of every
    waveform alone, and of its first half and its first tenth together, padded to one length.

    Raises:
        ModelError: there are no waveforms.
    """
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    differences = []
    for waveform in waveforms:
        parts = [waveform[: max(1, len(waveform) // share)] for share in (2, 10)]
        padded = np.stack([np.pad(part, (0, len(parts[0]) - len(part))) for part in parts])
        mask = np.stack([np.arange(len(parts[0])) < len(part) for part in parts]).astype(np.int32)
        for inputs in ({"input_values": waveform[None]}, {"input_values": padded, "audio_attention_mask": mask}):
            expected = model(**{key: torch.from_numpy(value) for key, value in inputs.items()})
            for name, output in zip(names, session.run(None, inputs), strict=True):
                if name in expected:
                    wanted = expected[name].numpy()
                    differences.append(np.abs(output - wanted).max() / max(np.abs(wanted).max(), 1e-12))
    if not differences:
        raise ModelError("there is no audio to compare ONNX Runtime with torch on")
    return float(np.max(differences))  # NaN stays


def load_calibration(files: list[Path], sampling_rate: int) -> Iterable[np.ndarray]:
    """The middle of every file, at most `CALIBRATION_SECONDS`.

    Raises:
        AudioError: a file cannot be read.
    """
    return (load_audio(file, sampling_rate, duration=CALIBRATION_SECONDS, position=0.5) for file in files)


def _audio_model(model: Exportable) -> MulapAudioModel:
    return model if isinstance(model, MulapAudioModel) else model.audio_model


def _problem(model: MulapForAudioClassification) -> str:
    return model.config.problem_type or "single_label_classification"


class _FourierLogMel(nn.Module):
    """`MulapLogMel` with its Fourier transform as a convolution: faster in ONNX Runtime than its STFT (in a run with
    one thread 1.3 against 1.8 ms per chunk), as near to torch's, and known to every other runtime."""

    def __init__(self, log_mel: MulapLogMel):
        super().__init__()
        self.config = config = log_mel.config
        steps = torch.arange(config.n_fft // 2 + 1)[:, None] * torch.arange(config.n_fft) % config.n_fft
        angles = 2 * torch.pi * steps.double() / config.n_fft
        waves = torch.cat([angles.cos(), angles.sin()]) * log_mel.window.double()
        self.register_buffer("waves", waves.float()[:, None])  # (n_fft + 2, 1, n_fft)
        self.register_buffer("mel_filters", log_mel.mel_filters.T.contiguous())

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        edge = self.config.n_fft // 2
        padded = F.pad(waveform[:, None], (edge, edge), mode="reflect")
        cosines, sines = F.conv1d(padded, self.waves, stride=self.config.hop_length).chunk(2, dim=1)
        mel = self.mel_filters @ (cosines.square() + sines.square())  # (chunks, mel bands, frames)
        decibels = 10 * torch.log10(mel.clamp(min=1e-10))
        return decibels.maximum(decibels.amax(dim=(1, 2), keepdim=True) - self.config.top_db)


class _Chunks(nn.Module):
    """`(chunks, samples)` -> features, and logits if there is a head, each `(chunks, size)`."""

    def __init__(self, model: Exportable):
        super().__init__()
        self.audio_model = _audio_model(model)
        self.classifier = getattr(model, "classifier", None)

    def forward(self, chunks: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.audio_model(chunks).pooler_output
        return (features,) if self.classifier is None else (features, self.classifier(features))


def _export_chunks(model: Exportable, opset: int) -> onnx.ModelProto:
    """The tall convolutions stay plain ones, BatchNorm folded in by the exporter: ONNX Runtime computes these at 97 to
    100 of the 101 GFLOP/s of its thread (182 of 205 with two), as products of banded matrices at 93 (140) with six
    heights, unfolded first at 92 (153)."""
    model = copy.deepcopy(model)
    audio_model = _audio_model(model)
    audio_model.log_mel = _FourierLogMel(audio_model.log_mel)
    outputs = ["features"] if model is audio_model else ["features", "scores"]
    with torch.no_grad():
        program = torch.onnx.export(
            _Chunks(model).eval(),
            (torch.zeros(2, audio_model.config.chunk_length),),
            input_names=["chunks"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    return program.model_proto


def _quantize(
    model: onnx.ModelProto, chunk_length: int, how: Quantization, calibration: Iterable[np.ndarray]
) -> onnx.ModelProto:
    """The tall convolutions in int8, with the ReLU and the maximum after them, which then compare 8-bit numbers.

    Measured in the published size: "static" is 1.7 to 2 times as fast as float32, "dynamic" 1.2 times; in the tiny one
    there is next to no gain. The other convolutions in int8 as well give 5 % more speed and up to twice the error.
    """
    nodes = [node for node in model.graph.node if any("timbral" in name for name in node.input)]
    # The exporter has inferred shapes and folded constants, and the quantizer transposes weights under the same name.
    add_pre_process_metadata(model)
    del model.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "int8.onnx")
        if how == "dynamic":
            # Signed weights make it three times slower than float32, and older releases of ONNX Runtime refuse them.
            quantize_dynamic(
                model,
                target,
                nodes_to_quantize=[node.name for node in nodes],
                per_channel=True,
                weight_type=QuantType.QUInt8,
            )
            return onnx.load(target)
        kinds = ["Conv", "Relu", "ReduceMax"]
        for kind in kinds[1:]:
            results = {result for node in nodes for result in node.output}
            nodes += [node for node in model.graph.node if node.op_type == kind and node.input[0] in results]
        quantize_static(
            model,
            target,
            _ChunkReader(calibration, chunk_length),
            op_types_to_quantize=kinds,
            nodes_to_quantize=[node.name for node in nodes],
            per_channel=True,
            activation_type=QuantType.QUInt8,  # with signed ones ONNX Runtime falls back to floats
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)


class _ChunkReader(CalibrationDataReader):
    """The complete chunks of every waveform, and its first one cut off early, as silence is rare in music and common
    around it."""

    def __init__(self, waveforms: Iterable[np.ndarray], chunk_length: int):
        cut = (waveform[: len(waveform) // chunk_length * chunk_length] for waveform in waveforms)
        chunks = (samples.reshape(-1, chunk_length) for samples in cut if len(samples))
        early = np.arange(chunk_length) < chunk_length // 10
        batches = ({"chunks": np.concatenate([each, each[:1] * early])} for each in chunks)
        first = next(batches, None)
        if first is None:
            raise ModelError(f"nothing to calibrate with: no audio is as long as a chunk, {chunk_length} samples")
        self.batches = chain([first], batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def _metadata(model: Exportable, name: str, quantize: Quantization) -> dict[str, str]:
    """What a user of the file has to know, as text."""
    config = _audio_model(model).config
    metadata = {
        "source_model": name,
        "sampling_rate": config.sampling_rate,
        "chunk_length": config.chunk_length,
        "feature_size": config.feature_size,
        "preprocessing": f"mono float32 waveforms at {config.sampling_rate} Hz in [-1, 1]; the log-mel spectrogram is "
        f"computed inside. Tracks are cut into chunks of {config.chunk_length} samples; a last incomplete one is not "
        "heard, unless it is the only one: then it is padded with silence.",
        "quantization": quantize,
    }
    if isinstance(model, MulapForAudioClassification):
        labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
        metadata |= {"labels": json.dumps(labels), "problem_type": _problem(model)}
    return {key: str(value) for key, value in metadata.items()}
