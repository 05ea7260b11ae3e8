"""Export of the backbone or a tagger to one ONNX file, from waveforms to embeddings or labels.

1. torch exports the computation of one chunk.
2. `onnx_quantization` quantizes the graph on request.
3. `onnx_graph` adds the computation from tracks to chunks and back.
4. The outputs of ONNX Runtime are compared with those of torch.
"""

import copy
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig

from .errors import MissingPackageError, ModelError
from .files import replacing
from .loading import model_kind, open_backbone
from .modeling_mulap import MulapForAudioClassification
from .modeling_mulap_audio import MulapAudioModel, MulapMusiCNN
from .modeling_mulap_conv import MulapConv
from .modeling_mulap_products import SpectralTables, Waves, filter_spectra, spectral_tables
from .modeling_mulap_spectrum import MulapLogMel

try:
    import onnx
    import onnxruntime
    import onnxscript  # noqa: F401 - torch.onnx writes with it
except ImportError as error:
    raise MissingPackageError(
        f'ONNX needs packages that are not installed ({error}): pip install "mulap-hf[onnx]"'
    ) from error

from .onnx_graph import assemble
from .onnx_quantization import Quantization, quantize_timbral

# The exporter warns about a missing torchvision, which is not used here.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)

Exportable = MulapAudioModel | MulapForAudioClassification

OLDEST_OPSET = 18  # the oldest that torch writes
# Largest accepted difference to torch, relative to the largest value of an output.
TOLERANCES = {"none": 1e-4, "dynamic": 0.1, "static": 0.1}

_SPECTRAL_CONSTANTS = ("to_real", "to_imaginary", "scale", "shift")
# Multiplications of the plain tall convolutions per chunk below which they are faster than products of spectra.
_FEW = 10**8
# Frames whose products are computed at a time, so that they stay in the cache.
_BLOCK = 64

# ONNX operator from logits to probabilities, by problem type.
_ACTIVATIONS = {"single_label_classification": "Softmax", "multi_label_classification": "Sigmoid", "regression": None}


def open_model(folder: str | Path) -> Exportable:
    """Load a tagger, or the backbone of any other MuLaP model, in float32.

    Args:
        folder: Folder or Hub name.

    Raises:
        ModelError: The model cannot be loaded, or is not a MuLaP model.
    """
    backbone = open_backbone(folder)  # raises a ModelError with the reason
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
    """Write a model to an ONNX file, after comparing its outputs with those of torch.

    Inputs (the output of `MulapFeatureExtractor`):

    * `input_values`: waveforms of any length, float32 `(batch, samples)`, at the sampling rate of the model.
    * `audio_attention_mask`: int32 `(batch, samples)`, 1 = real sample, 0 = padding; optional without padding.

    Outputs: `last_hidden_state`, `pooler_output` and `chunk_mask` as in `MulapAudioOutput`; for a tagger also `logits`
    and `chunk_logits`, and, unless it is a regressor, `probabilities` and `chunk_probabilities`. The metadata have the
    sampling rate, the length of a chunk and the labels.

    Quantization applies to the two tall convolutions, which take nearly all of the operations (`quantize_timbral`).

    Args:
        model: The model in float32 on the CPU.
        output: Path of the file; an existing file is replaced.
        check: Mono waveforms `(samples,)` at the sampling rate of the model, for the comparison with torch.
        name: Name of the model for the metadata.
        opset: Version of the ONNX operators, 18 or newer. With 18 the file runs in ONNX Runtime 1.15 and newer.
        quantize: Kind of quantization.
        calibration: Waveforms for "static", as varied as the intended input. Louder input is clipped.
        tolerance: Largest accepted difference relative to the largest value of an output; by default `TOLERANCES`.

    Returns:
        The largest relative difference.

    Raises:
        ModelError: Calibration data are missing, the opset is unknown, or the difference exceeds the tolerance. No
            file is written then.
    """
    if not output.parent.is_dir():
        raise ModelError(f"{output.parent} does not exist; make the folder first, or choose another output")
    tolerance = TOLERANCES[quantize] if tolerance is None else tolerance
    model = copy.deepcopy(model).eval()
    exported = _export_tracks(model, opset, quantize, calibration)
    onnx.helper.set_model_props(exported, _metadata(model, name, quantize))
    with replacing(output) as temporary:
        onnx.save(exported, temporary)
        difference = largest_difference(temporary, model, check)
        if not difference <= tolerance:
            raise ModelError(
                f"the outputs of ONNX Runtime differ from those of torch by {difference:.1e} of the largest value, "
                f"which exceeds the tolerance {tolerance:.1e}; no file was written"
                + ("; calibrate with more, and more varied, music" if quantize == "static" else "")
            )
    return difference


def open_session(path: str | Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Open an ONNX Runtime session on the CPU.

    Args:
        path: Path of the ONNX file.
        threads: Number of threads; None for as many as torch has.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3  # hides the warning that the mask is optional
    # Threads that spin after a run would keep the cores from the next computation.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def largest_difference(path: Path, model: Exportable, waveforms: Iterable[np.ndarray]) -> float:
    """Return the largest difference between ONNX Runtime and torch, relative to the largest value of each output.

    Each waveform is compared alone, and its first half and first tenth together as a padded batch.

    Args:
        path: Path of the ONNX file.
        model: The model in torch.
        waveforms: Mono waveforms, `(samples,)`.

    Raises:
        ModelError: There are no waveforms.
    """
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    differences = []
    for waveform in waveforms:
        parts = [waveform[: max(1, len(waveform) // divisor)] for divisor in (2, 10)]
        padded = np.stack([np.pad(part, (0, len(parts[0]) - len(part))) for part in parts])
        mask = np.stack([np.arange(len(parts[0])) < len(part) for part in parts]).astype(np.int32)
        for inputs in ({"input_values": waveform[None]}, {"input_values": padded, "audio_attention_mask": mask}):
            expected = model(**{key: torch.from_numpy(value) for key, value in inputs.items()})
            for name, output in zip(names, session.run(None, inputs), strict=True):
                if name in expected:
                    wanted = expected[name].numpy()
                    differences.append(np.abs(output - wanted).max() / max(np.abs(wanted).max(), 1e-12))
    if not differences:
        raise ModelError("no audio to compare ONNX Runtime with torch; pass at least one waveform")
    return float(np.max(differences))  # NaN if any difference is NaN


def _audio_model(model: Exportable) -> MulapAudioModel:
    return model if isinstance(model, MulapAudioModel) else model.audio_model


def _problem(model: MulapForAudioClassification) -> str:
    return model.config.problem_type or "single_label_classification"


class _FourierLogMel(nn.Module):
    """`MulapLogMel` with the Fourier transform as a convolution.

    In ONNX Runtime this is faster than its STFT operator (1.3 instead of 1.8 ms per chunk, in a run with one thread),
    equally accurate, and supported by other runtimes.
    """

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


class _SpectralMusiCNN(MulapMusiCNN):
    """`MulapMusiCNN` whose tall convolutions are products of spectra, as in `modeling_mulap_conv`, in constant shapes.

    The constants are the spectra of the filters, and BatchNorm as a scale and a shift.
    """

    def __init__(self, musicnn: MulapMusiCNN):
        super().__init__(musicnn.config)
        self.load_state_dict(musicnn.state_dict())
        self.tables: list[SpectralTables] = []
        for number, layer in enumerate(self.timbral):
            tables, constants = self._constants(layer)
            self.tables.append(tables)
            # The same for all layers: it takes the image to its spectrum, (2 * bins, bands).
            self.register_buffer("analysis", tables.analysis.float())
            for name, value in zip(_SPECTRAL_CONSTANTS, constants, strict=True):
                self.register_buffer(f"{name}{number}", value.float())

    def _constants(self, layer: MulapConv) -> tuple[SpectralTables, list[torch.Tensor]]:
        conv, norm = layer.conv, layer.norm
        height, bands = conv.kernel_size[0], self.config.num_mel_bins
        tables = spectral_tables(bands, bands - height + 1, torch.float64)
        scale = norm.weight.double() * torch.rsqrt(norm.running_var.double() + norm.eps)
        shift = norm.bias + (conv.bias - norm.running_mean) * scale
        sign = torch.where(scale < 0, -1.0, 1.0).double()
        filters = (sign[:, None, None] * conv.weight[:, 0]).permute(2, 1, 0)  # (width, height, channels)
        return tables, [*filter_spectra(filters, tables), sign * scale, shift]

    def timbre(self, image: torch.Tensor) -> list[torch.Tensor]:
        frames, width = image.shape[3], self.config.timbral_width
        padded = F.pad(image[:, 0], (width // 2, width // 2))  # (chunks, bands, frames + width - 1)
        spectrum = (self.analysis @ padded).unflatten(1, (2, -1))  # (chunks, 2, bins, columns)
        shifted = [spectrum[..., tap : tap + frames] for tap in range(width)]
        taps = torch.stack(shifted, dim=-1).permute(2, 0, 3, 4, 1).flatten(3)  # (bins, chunks, frames, 2 * width)
        outputs = []
        for number, tables in enumerate(self.tables):
            to_real, to_imaginary, scale, shift = (getattr(self, f"{name}{number}") for name in _SPECTRAL_CONSTANTS)
            blocks = []
            for block in taps.split(_BLOCK, dim=2):
                bins, chunks, rows, _ = block.shape
                block = block.reshape(bins, chunks * rows, -1)
                even = _to_distances(block @ to_real, tables.paired, tables.cosines)
                odd = _to_distances(block @ to_imaginary, tables.paired, tables.sines)
                if tables.symmetric < len(odd):
                    odd = torch.cat([odd[: tables.symmetric].abs(), odd[tables.symmetric :]])
                else:
                    odd = odd.abs()
                blocks.append(_highest(even + odd).view(chunks, rows, -1))
            highest = torch.cat(blocks, dim=1)  # (chunks, frames, channels)
            outputs.append(F.relu(highest * scale + shift).transpose(1, 2))
        return outputs


def _to_distances(products: torch.Tensor, paired: int, waves: Sequence[Waves]) -> torch.Tensor:
    """`(bins, rows, channels)` -> sums of cosines or of sines, `(distances, rows * channels)`."""
    products = products.flatten(1)
    if paired:
        low, middle, high = products.split([paired, len(products) - 2 * paired, paired])
        products = torch.cat([low + high, middle, low - high])
    return torch.cat([wave.table.float() @ products[wave.bins] for wave in waves])


def _plain_products(model: MulapAudioModel) -> int:
    """Return the number of multiplications of the plain tall convolutions of a chunk."""
    config = model.config
    frames, bands = config.chunk_length // config.hop_length + 1, config.num_mel_bins
    convolutions = [layer.conv for layer in model.musicnn.timbral]
    return sum(frames * (bands - conv.kernel_size[0] + 1) * conv.weight.numel() for conv in convolutions)


def _highest(values: torch.Tensor) -> torch.Tensor:
    """`(rows, size)` -> `(size,)`: the maximum of the rows, by halves: in ONNX Runtime amax is 3 times slower."""
    while (rows := len(values)) > 1:
        values = torch.maximum(values[: (rows + 1) // 2], values[rows // 2 :])
    return values[0]


class _Chunks(nn.Module):
    """The computation of chunks: `(chunks, samples)` -> features and, with a head, logits, each `(chunks, size)`."""

    def __init__(self, model: Exportable):
        super().__init__()
        self.audio_model = _audio_model(model)
        self.classifier = getattr(model, "classifier", None)

    def forward(self, chunks: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.audio_model(chunks).pooler_output
        return (features,) if self.classifier is None else (features, self.classifier(features))


def _export_tracks(
    model: Exportable, opset: int, quantize: Quantization, calibration: Iterable[np.ndarray]
) -> onnx.ModelProto:
    """Export the whole computation, quantized on request.

    Raises:
        ModelError: The opset is unknown, or calibration data are missing.
    """
    if not OLDEST_OPSET <= opset <= onnx.defs.onnx_opset_version():
        raise ModelError(
            f"opset {opset} is not supported; choose one from {OLDEST_OPSET} to {onnx.defs.onnx_opset_version()}"
        )
    chunk_length = _audio_model(model).config.chunk_length
    graph = _export_chunks(model, opset, spectral=quantize == "none")
    if quantize != "none":
        graph = quantize_timbral(graph, chunk_length, quantize, calibration)
    activation = None if isinstance(model, MulapAudioModel) else _ACTIVATIONS[_problem(model)]
    exported = assemble(graph, chunk_length, activation)
    onnx.checker.check_model(exported, full_check=True)
    return exported


def _export_chunks(model: Exportable, opset: int, spectral: bool) -> onnx.ModelProto:
    """Export the computation of chunks.

    Args:
        model: The model.
        opset: Version of the ONNX operators.
        spectral: Tall convolutions as products of spectra, where these are faster: the published size takes 0.49 of
            the time of plain ones with one thread and 0.53 with two, although ONNX Runtime computes plain ones at the
            rate of the machine. Only plain ones can be quantized.
    """
    model = copy.deepcopy(model)
    audio_model = _audio_model(model)
    audio_model.log_mel = _FourierLogMel(audio_model.log_mel)
    if spectral and _plain_products(audio_model) > _FEW:
        audio_model.musicnn = _SpectralMusiCNN(audio_model.musicnn).eval()
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


def _metadata(model: Exportable, name: str, quantize: Quantization) -> dict[str, str]:
    """Return the metadata of the ONNX file: preprocessing, sizes, quantization and labels."""
    config = _audio_model(model).config
    metadata = {
        "source_model": name,
        "sampling_rate": config.sampling_rate,
        "chunk_length": config.chunk_length,
        "feature_size": config.feature_size,
        "preprocessing": f"mono float32 waveforms at {config.sampling_rate} Hz in [-1, 1]; the log-mel spectrogram is "
        f"computed inside. Tracks are split into chunks of {config.chunk_length} samples. An incomplete last chunk is "
        "dropped; a track shorter than a chunk is padded with silence.",
        "quantization": quantize,
    }
    if isinstance(model, MulapForAudioClassification):
        labels = [model.config.id2label[index] for index in range(model.config.num_labels)]
        metadata |= {"labels": json.dumps(labels), "problem_type": _problem(model)}
    return {key: str(value) for key, value in metadata.items()}
