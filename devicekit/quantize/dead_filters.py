"""Filters whose weights are all 0, as pruning and strong decay leave them: their outputs are their biases.

litert-quantizer 0.11 gives such a channel the scale 7.9e-12. A bias is an integer in steps of input scale x
weight scale: 0.5 would be 1e13 of them, is cut off at 2**31, and the channel gives 0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import BufferT, BuiltinOperator, TensorType
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

# Ops with weights as input 1 and a bias as input 2 (tensorflow/lite/kernels/*.cc).
_WITH_BIAS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def with_live_biases(quantized: bytes, float_model: bytes) -> bytes:
    """Returns the quantized model with biases of dead filters in the steps of the coarsest live one."""
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(quantized))
    before = flatbuffer_utils.read_model_from_bytearray(bytearray(float_model))
    biases = {
        graph.tensors[int(op.outputs[0])].name: _constant(before, graph.tensors[int(op.inputs[2])], "<f4")
        for graph, op in _ops_with_bias(before)
    }
    mended = [
        _mend(tree, graph, op, biases.get(graph.tensors[int(op.outputs[0])].name))
        for graph, op in _ops_with_bias(tree)
    ]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree)) if any(mended) else quantized


def _ops_with_bias(tree: Any) -> Iterator[tuple[Any, Any]]:
    wanted = [getattr(BuiltinOperator, name) for name in _WITH_BIAS]
    for graph in tree.subgraphs:
        for op in graph.operators:
            code = tree.operatorCodes[op.opcodeIndex]
            has_bias = len(op.inputs) > 2 and op.inputs[2] >= 0
            if has_bias and max(code.builtinCode, code.deprecatedBuiltinCode) in wanted:
                yield graph, op


def _mend(tree: Any, graph: Any, op: Any, floats: NDArray[Any] | None) -> bool:
    """Returns whether biases of `op` were put anew; `floats` are those of the float model."""
    source, weights, bias = (graph.tensors[int(index)] for index in op.inputs[:3])
    dtype = {TensorType.INT32: "<i4", TensorType.INT64: "<i8"}.get(bias.type)
    scales = np.array(weights.quantization.scale if weights.quantization else [], np.float64)
    if dtype is None or floats is None or weights.type != TensorType.INT8 or len(scales) < 2:
        return False
    is_dead = _dead_channels(tree, weights)
    integers = _constant(tree, bias, dtype)
    if integers is None or not is_dead.any():
        return False
    live = scales[~is_dead]
    scales[is_dead] = live.max() if live.size else 1.0
    steps = scales * float(source.quantization.scale[0])
    limit = np.iinfo(np.int32).max
    found = np.where(is_dead, np.clip(np.round(floats / steps), -limit, limit), integers).astype(dtype)
    buffer = BufferT()
    buffer.data = np.frombuffer(found.tobytes(), np.uint8)
    tree.buffers.append(buffer)  # its own: other biases may share the old one
    bias.buffer = len(tree.buffers) - 1
    weights.quantization.scale, bias.quantization.scale = list(scales), list(steps)
    return True


def _dead_channels(tree: Any, weights: Any) -> NDArray[Any]:
    """Returns bool [channels]: which have int8 weights of 0 only; none where there are no constants."""
    values, axis = _constant(tree, weights, "i1"), weights.quantization.quantizedDimension
    if values is None:
        return np.zeros(weights.shape[axis], bool)
    others = tuple(i for i in range(len(weights.shape)) if i != axis)
    dead: NDArray[Any] = ~np.any(values.reshape(weights.shape), axis=others)
    return dead


def _constant(tree: Any, tensor: Any, dtype: str) -> NDArray[Any] | None:
    data = tree.buffers[tensor.buffer].data
    return None if data is None else np.frombuffer(bytes(data), dtype)
