"""The ONNX graph around the network: it splits tracks into chunks, and combines the outputs of chunks to tracks.

Only real chunks pass through the network, one at a time. Memory for activations therefore does not grow with the
length or the number of tracks, and padding takes no time.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Chunks, and the mask of real chunks. The sample mask is broadcast; its default is a single one. As in
# `MulapAudioModel`, an incomplete last chunk is dropped unless it is the only one.
_CHUNKS = """
    input_shape = Shape (input_values)
    samples = Shape <start = 1, end = 2> (input_values)
    complete_chunks = Div (samples, chunk_length)
    num_chunks = Max (complete_chunks, one)
    used_samples = Mul (num_chunks, chunk_length)
    excess = Sub (used_samples, samples)
    missing = Max (excess, zero)
    pads = Concat <axis = 0> (zero, zero, zero, missing)
    chunk_shape = Concat <axis = 0> (minus_one, num_chunks, chunk_length)
    flat_shape = Concat <axis = 0> (minus_one, chunk_length)

    is_real = Cast <to = 9> (audio_attention_mask)
    unmasked = Where (is_real, input_values, silence)
    padded = Pad (unmasked, pads)
    cropped = Slice (padded, zero, used_samples, one)
    all_chunks = Reshape (cropped, flat_shape)

    mask = Cast <to = 2> (is_real)
    full_mask = Expand (mask, input_shape)
    padded_mask = Pad (full_mask, pads)
    cropped_mask = Slice (padded_mask, zero, used_samples, one)
    chunks_of_mask = Reshape (cropped_mask, chunk_shape)
    complete = ReduceMin <keepdims = 0> (chunks_of_mask, two)
    any_complete = ReduceMax <keepdims = 1> (complete, one)
    some_complete = Cast <to = 9> (any_complete)
    none_complete = Not (some_complete)
    chunk_count = Squeeze (num_chunks)
    positions = Range (first, chunk_count, step)
    is_first = Equal (positions, first)
    only = And (is_first, none_complete)
    is_complete = Cast <to = 9> (complete)
    is_used = Or (is_complete, only)
    chunk_mask = Cast <to = 7> (is_used)

    flat_is_used = Reshape (is_used, minus_one)
    chunks = Compress <axis = 0> (all_chunks, flat_is_used)
    where_across = NonZero (is_used)
    where = Transpose (where_across)
    chunk_mask_shape = Shape (is_used)
    weights = Cast <to = 1> (is_used)
    real_chunks = ReduceSum <keepdims = 1> (weights, one)
"""
# `(real chunks, size)` -> `(batch, chunks, size)`, with zeros for padding, and its mean over the real chunks.
_TRACKS = """
    {name}_size = Shape <start = 1, end = 2> ({name})
    {name}_shape = Concat <axis = 0> (chunk_mask_shape, {name}_size)
    {name}_zeros = Expand (silence, {name}_shape)
    {chunks} = ScatterND ({name}_zeros, where, {name})
    {name}_sum = ReduceSum <keepdims = 0> ({chunks}, one)
    {track} = Div ({name}_sum, real_chunks)
"""
_PROBABILITIES = """
    probabilities = {activation} (logits)
    all_chunk_probabilities = {activation} (chunk_logits)
    chunk_weights = Unsqueeze (weights, two)
    chunk_probabilities = Mul (all_chunk_probabilities, chunk_weights)
"""
_CONSTANTS = {
    **{name: np.array([value]) for name, value in {"zero": 0, "one": 1, "two": 2, "minus_one": -1}.items()},
    "first": np.array(0),
    "step": np.array(1),
    "silence": np.array(0, dtype=np.float32),
}
_OUTPUTS = {
    "last_hidden_state": (["batch", "chunks", "features"], "features of each chunk, zero for padding"),
    "pooler_output": (["batch", "features"], "embedding of each track: the mean of the features of its chunks"),
    "chunk_mask": (["batch", "chunks"], "1 = real chunk, 0 = padding"),
    "logits": (["batch", "labels"], "logits of each track: the mean over its chunks"),
    "chunk_logits": (["batch", "chunks", "labels"], "logits of each chunk, zero for padding"),
    "probabilities": (["batch", "labels"], "probabilities of each track, computed from its logits"),
    "chunk_probabilities": (["batch", "chunks", "labels"], "probabilities of each chunk, zero for padding"),
}


def assemble(chunks: onnx.ModelProto, chunk_length: int, activation: str | None = None) -> onnx.ModelProto:
    """Return the ONNX model of tracks, built around the ONNX model of chunks.

    Args:
        chunks: A model with the input `chunks` `(chunks, samples)` and the outputs `features` `(chunks, features)`
            and, for a tagger, `scores` `(chunks, labels)`.
        chunk_length: Length of a chunk in samples.
        activation: ONNX operator from scores to probabilities; None for no probabilities.
    """
    parts = [_CHUNKS, _TRACKS.format(name="features", chunks="last_hidden_state", track="pooler_output")]
    names = ["last_hidden_state", "pooler_output", "chunk_mask"]
    if len(chunks.graph.output) > 1:
        parts.append(_TRACKS.format(name="scores", chunks="chunk_logits", track="logits"))
        names = ["logits", "chunk_logits", *names]
    if activation is not None:
        parts.append(_PROBABILITIES.format(activation=activation))
        names = ["probabilities", "chunk_probabilities", *names]
    nodes = [onnx.parser.parse_node(line) for part in parts for line in part.splitlines() if line.strip()]
    position = next(index for index, node in enumerate(nodes) if "chunks" in node.output) + 1
    nodes.insert(position, _scan(chunks.graph, chunk_length))
    constants = {**_CONSTANTS, "chunk_length": np.array([chunk_length])}
    graph = helper.make_graph(
        nodes,
        "mulap",
        inputs=[
            _value("input_values", TensorProto.FLOAT, ["batch", "samples"], "mono waveforms in [-1, 1]"),
            _value(
                "audio_attention_mask",
                TensorProto.INT32,
                ["mask_batch", "mask_samples"],
                "same shape as input_values: 1 = real sample, 0 = padding; optional, by default all samples are real",
            ),
        ],
        outputs=[
            _value(name, TensorProto.INT64 if name == "chunk_mask" else TensorProto.FLOAT, *_OUTPUTS[name])
            for name in names
        ],
        initializer=[
            numpy_helper.from_array(value, name)
            for name, value in {**constants, "audio_attention_mask": np.ones((1, 1), dtype=np.int32)}.items()
        ],
    )
    # The oldest format that has the operators: the exporter's own is refused by older releases of ONNX Runtime.
    version = helper.find_min_ir_version_for(chunks.opset_import)
    return helper.make_model(graph, opset_imports=chunks.opset_import, ir_version=version, producer_name="mulap-hf")


def _scan(graph: onnx.GraphProto, chunk_length: int) -> onnx.NodeProto:
    """Return a Scan node that applies the graph of chunks to each chunk of `(real chunks, samples)`."""
    outputs = [output.name for output in graph.output]
    inside = onnx.compose.add_prefix_graph(graph, "chunk/")  # names must differ from those of the outer graph
    nodes = [
        helper.make_node("Unsqueeze", ["chunk", "chunk_axis"], ["chunk/chunks"]),
        *inside.node,
        *(helper.make_node("Squeeze", [f"chunk/{name}", "chunk_axis"], [f"chunk_{name}"]) for name in outputs),
    ]
    body = helper.make_graph(
        nodes,
        "chunk",
        inputs=[_value("chunk", TensorProto.FLOAT, [chunk_length])],
        outputs=[_value(f"chunk_{name}", TensorProto.FLOAT, [f"{name}_size"]) for name in outputs],
        initializer=[*inside.initializer, numpy_helper.from_array(np.array([0]), "chunk_axis")],
    )
    return helper.make_node("Scan", ["chunks"], outputs, body=body, num_scan_inputs=1)


def _value(name: str, kind: int, shape: list[str | int], doc: str = "") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape, doc_string=doc)
