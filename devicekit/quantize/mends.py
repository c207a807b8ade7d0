"""What litert-quantizer 0.11 writes that a runtime refuses or misreads, put right in the file.

Found on unrolled RNNs, dense layers and pruned filters, November 2026.
"""

from typing import Any

from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
from ai_edge_litert.tools import flatbuffer_utils

from devicekit.quantize.dead_filters import with_live_biases
from devicekit.quantize.loops import integer_loops
from devicekit.quantize.signatures import with_signature_outputs

# Ops whose kernels hand values on as they are: all outputs have the dtype and scale of the input.
_HANDING_ON = ("SPLIT", "SPLIT_V", "UNPACK")
# The first version of FULLY_CONNECTED that takes int8 weights of one scale per channel together with float
# activations. Source: tensorflow/lite/tools/versioning/op_version.cc.
PER_CHANNEL_DENSE = 12


def mend(quantized: bytes, float_model: bytes) -> bytes:
    """Returns the quantized model as runtimes take it: outputs, unread outputs and op versions agree."""
    quantized = with_live_biases(with_signature_outputs(quantized, float_model), float_model)
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(quantized))
    mended = [_mend_op(tree, graph, op) for graph in tree.subgraphs for op in graph.operators]
    mended.append(integer_loops(tree))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree)) if any(mended) else quantized


def _mend_op(tree: Any, graph: Any, op: Any) -> bool:
    """Returns whether `op` was changed."""
    code = tree.operatorCodes[op.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin in [getattr(BuiltinOperator, name) for name in _HANDING_ON]:
        return _type_unread_outputs(graph, op)
    if builtin == BuiltinOperator.FULLY_CONNECTED:
        return _raise_dense_version(graph, op, code)
    return False


def _type_unread_outputs(graph: Any, op: Any) -> bool:
    """Gives outputs that nothing reads the type of those that something does.

    The quantizer leaves them float32, which XNNPACK refuses: "failed to delegate SPLIT node". The first step
    of an unrolled LSTM or GRU has such: its zero state drops a gate.
    """
    tensors = [graph.tensors[int(index)] for index in op.outputs]
    typed = [tensor for tensor in tensors if tensor.type in (TensorType.INT8, TensorType.INT16)]
    floats = [tensor for tensor in tensors if tensor.type == TensorType.FLOAT32]
    if not typed:
        return False
    for tensor in floats:
        tensor.type, tensor.quantization = typed[0].type, typed[0].quantization
    return bool(floats)


def _raise_dense_version(graph: Any, op: Any, code: Any) -> bool:
    """Writes the version that tells old runtimes that they cannot compute this op.

    The quantizer writes 1 on every op: tflite-runtime 2.14 would load the file.
    """
    source, weights = (graph.tensors[int(index)] for index in op.inputs[:2])
    scales = weights.quantization.scale if weights.quantization else None
    is_hybrid = source.type == TensorType.FLOAT32 and weights.type == TensorType.INT8
    if not is_hybrid or scales is None or len(scales) < 2 or code.version >= PER_CHANNEL_DENSE:
        return False
    code.version = PER_CHANNEL_DENSE
    return True
