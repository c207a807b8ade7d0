"""For which graphs the arena plan equals the interpreter's, tensor by tensor."""

from collections.abc import Mapping

from devicekit.graph.model import Graph, Op, Subgraph, Tensor

# Operators whose plan was compared with the addresses in ai-edge-litert 2.3.0: 985 files of 120 architectures
# in 8 recipes, single-threaded, x86_64 (11/2026). Those that work in buffers of their own, and on which
# activations and weights; the others allocate nothing whatever they compute on.
_FLOAT, _INT8, _HYBRID, _INT16 = {"float32"}, {"int8"}, {"float32", "int8"}, {"int16", "int8"}
_WITH_BUFFERS: Mapping[str, tuple[set[str], ...]] = {
    "CONV_2D": (_FLOAT, _INT8, _HYBRID, _INT16),
    "DEPTHWISE_CONV_2D": (_FLOAT, _INT8, _HYBRID, _INT16),
    "FULLY_CONNECTED": (_FLOAT, _INT8, _HYBRID, _INT16),
    "TRANSPOSE_CONV": (_FLOAT, _INT8, _HYBRID, _INT16),
    "BATCH_MATMUL": (_FLOAT, _INT8, {"int16"}),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (_FLOAT, _INT8, _HYBRID),
    "CONV_3D": (_FLOAT,),
    "CONV_3D_TRANSPOSE": (_FLOAT,),
    "RFFT2D": ({"float32", "complex64"},),
    "MEAN": (_FLOAT, _INT8, {"int16"}),
    "SUM": (_FLOAT, _INT8, {"int16"}),
    "REDUCE_MAX": (_FLOAT, _INT8),
    "REDUCE_ANY": (set(),),
}
# fmt: off
_WITHOUT_BUFFERS = {
    "ABS", "ADD", "ARG_MAX", "ATAN2", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BROADCAST_TO", "BUCKETIZE",
    "CAST", "COMPLEX_ABS", "CONCATENATION", "CUMSUM", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EXP",
    "FLOOR", "FLOOR_MOD", "GATHER", "GELU", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "IMAG",
    "L2_NORMALIZATION", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND", "LOGISTIC",
    "LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "NOT_EQUAL",
    "ONE_HOT", "PACK", "PAD", "POW", "PRELU", "QUANTIZE", "RANDOM_STANDARD_NORMAL", "REAL", "RELU",
    "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "RSQRT", "SELECT",
    "SELECT_V2", "SIN", "SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SQRT",
    "SQUARE", "SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB", "TANH", "TILE", "TOPK_V2", "TRANSPOSE",
    "UNPACK",
}
# fmt: on
_DTYPES = {"float32", "float16", "int8", "uint8", "int16", "complex64", "int4"}
_INDEX_DTYPES = {"int32", "int64", "bool"}

# The inputs that an operator takes its output's shape from: computed ones make it dynamic, on the heap.
_SHAPING: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("SPLIT", "TRANSPOSE_CONV", "CONV_3D_TRANSPOSE", "RANDOM_STANDARD_NORMAL"), (0,)),
    **dict.fromkeys(("RESHAPE", "PAD", "MIRROR_PAD", "TRANSPOSE", "TILE", "BROADCAST_TO"), (1,)),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "ONE_HOT", "TOPK_V2", "RFFT2D"), (1,)),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_ANY", "ARG_MAX"), (1,)),
    **dict.fromkeys(("SLICE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"), (1, 2)),
    "STRIDED_SLICE": (1, 2, 3),
}


# Operators that run other subgraphs, which have arenas of their own.
_CALLING = ("WHILE", "IF", "CALL", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE")
# Operators whose output is as large as the data say.
_DYNAMIC = ("WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")


def _unsized(tensor: Tensor) -> str | None:
    if -1 in tensor.shape_signature[1:]:  # an open batch is planned as 1, which the file stores
        return f'tensor "{tensor.name}" has an open dimension'
    return f'tensor "{tensor.name}" is a {tensor.dtype}' if tensor.size_bytes is None else None


def unplanned_reason(graph: Graph) -> str | None:
    """Returns why the plan is only a lower bound: what it cannot see; None where it sees all."""
    subgraph = graph.main
    for tensor in subgraph.tensors:
        if reason := _unsized(tensor):
            return reason
    for op in subgraph.ops:
        if op.label in _CALLING:
            return f"{op.label} runs another subgraph"
        if op.custom_code:
            return f"{op.label} is a custom operator"
        if op.label in _DYNAMIC:
            return f"the output of {op.label} is as large as the data say"
        if reason := _computed_shape(op, subgraph):
            return reason
    return None


def inexact_reason(graph: Graph) -> str | None:
    """Returns why the plan may differ from the interpreter's; None where such graphs were proven equal."""
    subgraph = graph.main
    for tensor in subgraph.tensors:
        if reason := _unsized(tensor):
            return reason
        if tensor.is_constant and tensor.data_bytes != tensor.size_bytes:
            return f'tensor "{tensor.name}" is sparse'
    return next((reason for op in subgraph.ops if (reason := _unproven(op, subgraph))), None)


def _unproven(op: Op, subgraph: Subgraph) -> str | None:
    known = _WITH_BUFFERS.get(op.label)
    if known is None and op.label not in _WITHOUT_BUFFERS:
        return f"{op.label} may take memory that is not known here"
    tensors = [subgraph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    # Biases and shapes are constants of index types, and a recurrent cell has inner int16 states.
    dtypes = {t.dtype for t in tensors if not t.is_variable} - _INDEX_DTYPES
    if dtypes - _DTYPES or (known is not None and dtypes not in known):
        kinds = " and ".join(sorted(dtypes)) or "integers"
        return f"{op.label} on {kinds} may take memory that is not known here"
    return _computed_shape(op, subgraph)


def _computed_shape(op: Op, subgraph: Subgraph) -> str | None:
    for number in _SHAPING.get(op.label, ()):
        if (
            number < len(op.inputs)
            and (index := op.inputs[number]) >= 0
            and not subgraph.tensors[index].is_constant
        ):
            return f"{op.label} takes a computed shape"
    return None
