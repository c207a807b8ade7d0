"""Counts multiply-accumulates and parameters of a Graph."""

import math
from collections.abc import Callable, Mapping

from devicekit.graph.model import Graph, Op, Subgraph, Tensor

_WEIGHT_FLOATS = ("float32", "float16", "bfloat16", "float64")


class _Unknown(Exception):
    """The file does not say enough to count."""


def macs(graph: Graph) -> int | None:
    """Returns the multiply-accumulates of one inference, with batch 1 where the batch is open.

    Only convolutions, matrix products and recurrent cells count, as is usual. None where a shape other than
    the batch is open, or where it depends on data how often a part runs (WHILE, IF).
    """
    try:
        return _subgraph_macs(graph, 0, frozenset())
    except _Unknown:
        return None


def op_macs(op: Op, subgraph: Subgraph) -> int | None:
    """Returns the multiply-accumulates of one operator; None where its shapes are unknown."""
    try:
        return _op_macs(op, subgraph)
    except _Unknown:
        return None


def parameters(graph: Graph) -> int:
    """Returns the number of weights: elements of constants that are float or quantized.

    Plain integer constants are shapes, axes and indices. Constants that share their data count once.
    """
    counts: dict[int, int] = {}
    for subgraph in graph.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.is_constant and (tensor.dtype in _WEIGHT_FLOATS or tensor.scale):
                counts[tensor.buffer] = tensor.element_count
    return sum(counts.values())


def _subgraph_macs(graph: Graph, number: int, callers: frozenset[int]) -> int:
    if number in callers:
        raise _Unknown
    subgraph = graph.subgraphs[number]
    total = 0
    for op in subgraph.ops:
        if op.name in ("WHILE", "IF", "STABLEHLO_WHILE", "STABLEHLO_CASE"):
            raise _Unknown
        called = op.options.get("subgraph", op.options.get("decomposition_subgraph_index"))
        if called is not None:
            total += _subgraph_macs(graph, called, callers | {number})
        else:
            total += _op_macs(op, subgraph)
    return total


def _op_macs(op: Op, subgraph: Subgraph) -> int:
    count = _COUNTS.get(op.name)
    if count is None:
        return 0
    try:
        inputs = [None if i < 0 else subgraph.tensors[i] for i in op.inputs]
        return count(op, inputs, subgraph.tensors[op.outputs[0]])
    except (IndexError, AttributeError) as error:  # fewer inputs or dimensions than the operator has
        raise _Unknown from error


_Inputs = list[Tensor | None]


def _dims(tensor: Tensor | None, rank: int | None = None) -> tuple[int, ...]:
    """Returns the shape, with 1 for an open batch."""
    if tensor is None or -1 in tensor.shape_signature[1:] or (rank and len(tensor.shape) != rank):
        raise _Unknown
    return tuple(1 if dim < 0 else dim for dim in tensor.shape)


def _elements(inputs: _Inputs, indices: range | tuple[int, ...]) -> int:
    present = [inputs[i] for i in indices if i < len(inputs)]
    return sum(math.prod(_dims(tensor)) for tensor in present if tensor is not None)


def _conv_2d(op: Op, inputs: _Inputs, output: Tensor) -> int:
    """Each output element takes kh·kw·cin; the filter is [cout, kh, kw, cin per group]."""
    return math.prod(_dims(output)) * math.prod(_dims(inputs[1], 4)[1:])


def _depthwise(op: Op, inputs: _Inputs, output: Tensor) -> int:
    """Each output element takes kh·kw; the filter is [1, kh, kw, cout]."""
    return math.prod(_dims(output)) * math.prod(_dims(inputs[1], 4)[1:3])


def _fully_connected(op: Op, inputs: _Inputs, output: Tensor) -> int:
    """Each output element takes one row of the filter [out, in]."""
    return math.prod(_dims(output)) * _dims(inputs[1], 2)[1]


def _transpose_conv(op: Op, inputs: _Inputs, output: Tensor) -> int:
    """Each input element spreads over cout·kh·kw; the filter is [cout, kh, kw, cin]."""
    return math.prod(_dims(inputs[2])) * math.prod(_dims(inputs[1], 4)[:3])


def _conv_3d(op: Op, inputs: _Inputs, output: Tensor) -> int:
    """Each output element takes kd·kh·kw·cin; the filter is [kd, kh, kw, cin, cout]."""
    return math.prod(_dims(output)) * math.prod(_dims(inputs[1], 5)[:4])


def _conv_3d_transpose(op: Op, inputs: _Inputs, output: Tensor) -> int:
    """Each input element spreads over kd·kh·kw·cout; the filter is [kd, kh, kw, cout, cin]."""
    return math.prod(_dims(inputs[2])) * math.prod(_dims(inputs[1], 5)[:4])


def _batch_matmul(op: Op, inputs: _Inputs, output: Tensor) -> int:
    shape = _dims(inputs[0])
    return math.prod(_dims(output)) * (shape[-2] if op.options.get("adj_x") else shape[-1])


def _cell(weights: range | tuple[int, ...]) -> Callable[[Op, _Inputs, Tensor], int]:
    """Returns the count of a recurrent cell: each step takes each element of the `weights` inputs once."""

    def count(op: Op, inputs: _Inputs, output: Tensor) -> int:
        return math.prod(_dims(inputs[0])[:-1]) * _elements(inputs, weights)

    return count


# Input numbers of the weights: the kernels' constants in LiteRT (lstm_shared.h, svdf.cc, …).
_LSTM = (*range(1, 9), 16)
_COUNTS: Mapping[str, Callable[[Op, _Inputs, Tensor], int]] = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transpose_conv,
    "CONV_3D": _conv_3d,
    "CONV_3D_TRANSPOSE": _conv_3d_transpose,
    "BATCH_MATMUL": _batch_matmul,
    "LSTM": _cell(_LSTM),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _cell(_LSTM),
    "BIDIRECTIONAL_SEQUENCE_LSTM": _cell((*_LSTM, *range(18, 26), 33)),
    "RNN": _cell((1, 2)),
    "UNIDIRECTIONAL_SEQUENCE_RNN": _cell((1, 2)),
    "BIDIRECTIONAL_SEQUENCE_RNN": _cell((1, 2, 5, 6)),
    "SVDF": _cell((1, 2)),
}
