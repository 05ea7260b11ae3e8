"""Quantization of an exported network to int8, with results that are right on every processor."""

import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from .audio import load_audio
from .errors import ModelError

Quantization = Literal["none", "dynamic", "static"]

CALIBRATION_SECONDS = 30.0


def quantize_timbral(
    model: onnx.ModelProto, chunk_length: int, how: Quantization, calibration: Iterable[np.ndarray]
) -> onnx.ModelProto:
    """Quantize the tall convolutions to int8: weights per channel, activations to 8 bits.

    In the published size, "static" is 1.7 to 2 times and "dynamic" 1.2 times as fast as float32; in the tiny size
    there is hardly any gain. Quantizing the other convolutions as well gives 5 % more speed and up to twice the error.

    Args:
        model: Graph of chunks, as the exporter writes it.
        chunk_length: Length of a chunk in samples.
        how: "dynamic": scales of the activations are computed for each chunk; "static": once, on calibration data.
        calibration: For "static", mono waveforms `(samples,)`, as varied as the intended input.

    Raises:
        ModelError: Calibration data are missing.
    """
    nodes = [node for node in model.graph.node if any("timbral" in name for name in node.input)]
    # The exporter already inferred shapes and folded constants. Stored shapes must be deleted, because the quantizer
    # transposes weights without renaming them.
    add_pre_process_metadata(model)
    del model.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "int8.onnx")
        if how == "dynamic":
            # Signed weights are three times slower than float32, and older releases of ONNX Runtime refuse them.
            quantize_dynamic(
                model,
                target,
                nodes_to_quantize=[node.name for node in nodes],
                per_channel=True,
                weight_type=QuantType.QUInt8,
            )
        else:
            _quantize_static(model, target, nodes, _ChunkReader(calibration, chunk_length))
        return onnx.load(target)


def load_calibration(files: list[Path], sampling_rate: int) -> Iterable[np.ndarray]:
    """Return the middle of each file as a waveform, at most `CALIBRATION_SECONDS` long.

    Raises:
        AudioError: A file cannot be read.
    """
    return (load_audio(file, sampling_rate, duration=CALIBRATION_SECONDS, position=0.5) for file in files)


def _quantize_static(model: onnx.ModelProto, target: Path, nodes: list[onnx.NodeProto], reader: CalibrationDataReader):
    """Quantize convolutions with the ReLU and the maximum that follow them.

    Weights have 7 bits. Processors with AVX2 but without VNNI add two products of an unsigned and a signed byte in 16
    bits, which saturates: 2 * 255 * 127 > 32767, but 2 * 255 * 64 < 32767. Relative error of the published size's
    embeddings (three clips; the older processor emulated by qemu), and its time on one core with VNNI:

    | activations, weights | with VNNI | AVX2 only | time per 9 s |
    |---|---|---|---|
    | unsigned, signed 8 bits | .0026 | .068 | 123 ms |
    | unsigned, signed 7 bits | .0036 | .0036 | 113 ms |
    | unsigned, unsigned | .0026 | .0026 | 173 ms |
    | signed, signed (computed in float32) | .0026 | .0026 | 216 ms |
    """
    kinds = ["Conv", "Relu", "ReduceMax"]
    nodes = list(nodes)
    for kind in kinds[1:]:
        results = {result for node in nodes for result in node.output}
        nodes += [node for node in model.graph.node if node.op_type == kind and node.input[0] in results]
    quantize_static(
        model,
        target,
        reader,
        op_types_to_quantize=kinds,
        nodes_to_quantize=[node.name for node in nodes],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


class _ChunkReader(CalibrationDataReader):
    """Calibration batches: the complete chunks of each waveform, and its first chunk with silence after a tenth.

    Silence is rare within music, but common before and after it.
    """

    def __init__(self, waveforms: Iterable[np.ndarray], chunk_length: int):
        cut = (waveform[: len(waveform) // chunk_length * chunk_length] for waveform in waveforms)
        chunks = (samples.reshape(-1, chunk_length) for samples in cut if len(samples))
        early = np.arange(chunk_length) < chunk_length // 10
        batches = ({"chunks": np.concatenate([each, each[:1] * early])} for each in chunks)
        first = next(batches, None)
        if first is None:
            raise ModelError(
                f"no calibration audio has the length of a chunk ({chunk_length} samples); pass longer files"
            )
        self.batches = chain([first], batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)
