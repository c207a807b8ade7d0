"""What XNNPACK allocates for a partition: its copy of the weights, pointers to input pixels, and a workspace.

Sources: XNNPACK's memory-planner.c; sizes of packed weights were read off the allocations of LiteRT 2.3.0 on
x86_64 with AVX-512 (11/2026: DenseNet121 to the byte). Other processors pack to other multiples of channels,
which moves the sum by less than 1 % from 16 channels on.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from devicekit.graph.buffers import is_hybrid, is_pointwise, shape_of
from devicekit.graph.model import Op, Subgraph
from devicekit.graph.placement import Life, extent, place
from devicekit.predict.partitions import Partition

_VALID = 1  # Padding.VALID in LiteRT's schema.fbs
_EXTRA_BYTES = 16  # XNN_EXTRA_BYTES: kernels read that far behind a tensor
_POINTER = 8  # bytes
# Depthwise filters of more taps run as one convolution per channel.
_MOST_DEPTHWISE_TAPS = 25

# Operators that are computed in place, and how many of their inputs that may be; the last ones change only
# shapes.
# fmt: off
_IN_PLACE = {
    **dict.fromkeys((
        "ABS", "CEIL", "COS", "ELU", "EXP", "EXPAND_DIMS", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU",
        "LOG", "LOGISTIC", "NEG", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE", "ROUND",
        "RSQRT", "SIGN", "SIN", "SOFTMAX", "SQRT", "SQUARE", "SQUEEZE", "TANH",
    ), 1),
    **dict.fromkeys((
        "ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "POW", "PRELU", "SQUARED_DIFFERENCE", "SUB",
    ), 2),
}
# fmt: on
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_PACKED = (*_CONVOLUTIONS, "FULLY_CONNECTED", "TRANSPOSE_CONV")


@dataclass(frozen=True)
class Allocated:
    """Bytes of one partition. `alive_bytes` are those of the workspace in use at each of its operators."""

    packed_bytes: int
    indirection_bytes: int
    workspace_bytes: int
    alive_bytes: tuple[int, ...]


def allocated(partition: Partition, subgraph: Subgraph) -> Allocated:
    """Returns what XNNPACK keeps for `partition`, with 1 for open dimensions."""
    lives = _lives(partition, subgraph)
    placed = place(sorted(lives, key=lambda life: -life.size_bytes), alignment=_EXTRA_BYTES)
    alive = [
        sum(life.size_bytes for life in lives if life.first <= time <= life.last)
        for time in range(2 * len(partition.ops))
    ]
    return Allocated(
        sum(_packed_bytes(op, subgraph) for op in partition.ops),
        sum(_indirection_bytes(op, subgraph) for op in partition.ops),
        extent(placed),
        tuple(max(alive[2 * n : 2 * n + 2]) for n in range(len(partition.ops))),
    )


def widens(partition: Partition, subgraph: Subgraph) -> bool:
    """Returns whether weights are made wider while the model loads: for a while they are there twice."""
    return any(op.name == "DEQUANTIZE" and subgraph.tensors[op.inputs[0]].is_constant for op in partition.ops)


@dataclass(frozen=True)
class _Packing:
    """Output channels come in multiples of `channels`, input channels of `depth`; behind each output
    channel's weights of `element_bytes` lie its bias, scale and sum: `extra_bytes`."""

    channels: int
    depth: int
    element_bytes: int
    extra_bytes: int

    def size_bytes(self, outputs: int, taps: int, inputs: int) -> int:
        row = taps * _up(inputs, self.depth) * self.element_bytes + self.extra_bytes
        return _up(outputs, self.channels) * row


_FLOAT = _Packing(channels=16, depth=1, element_bytes=4, extra_bytes=4)
_INT8 = _Packing(channels=16, depth=8, element_bytes=1, extra_bytes=8)
_HYBRID_PRODUCT = _Packing(channels=32, depth=8, element_bytes=1, extra_bytes=12)
_HYBRID_CONVOLUTION = _Packing(channels=16, depth=8, element_bytes=1, extra_bytes=12)
# Per output channel: scales and multipliers, of convolutions in LiteRT and in XNNPACK.
_REQUANTIZATION_BYTES, _DENSE_REQUANTIZATION_BYTES = 16, 8


def _packed_bytes(op: Op, subgraph: Subgraph) -> int:
    if op.name not in _PACKED or len(op.inputs) < 2 or min(op.inputs[:2]) < 0:
        return 0
    source, weights = (subgraph.tensors[i] for i in op.inputs[:2])
    output = subgraph.tensors[op.outputs[0]]
    rank = 2 if op.name == "FULLY_CONNECTED" else 4
    if len(weights.shape) != rank or not output.shape or not source.shape:
        return 0  # no operator that a runtime takes
    packing, scales = _FLOAT, 0
    taps = math.prod(weights.shape[1:-1])
    if is_hybrid(output, weights):  # the activations of TRANSPOSE_CONV come third: the output has their dtype
        packing = _HYBRID_CONVOLUTION if taps > 1 else _HYBRID_PRODUCT
    elif weights.dtype == "int8":
        each = _DENSE_REQUANTIZATION_BYTES if op.name == "FULLY_CONNECTED" else _REQUANTIZATION_BYTES
        packing, scales = _INT8, each * output.shape[-1]
    if op.name == "DEPTHWISE_CONV_2D":
        channels = weights.shape[3]
        if taps > _MOST_DEPTHWISE_TAPS:
            return channels * packing.size_bytes(1, taps, 1) + scales
        return _up(channels, packing.channels) * (taps * packing.element_bytes + packing.extra_bytes) + scales
    groups = 1
    if op.name == "CONV_2D":
        groups = max(source.shape[-1] // max(weights.shape[3], 1), 1)
    return groups * packing.size_bytes(weights.shape[0] // groups, taps, weights.shape[-1]) + scales


def _indirection_bytes(op: Op, subgraph: Subgraph) -> int:
    """Returns the size of the pointers to input pixels that a convolution over several of them needs."""
    if op.name not in _CONVOLUTIONS or min(op.inputs[:2]) < 0:
        return 0
    weights, output = subgraph.tensors[op.inputs[1]], subgraph.tensors[op.outputs[0]]
    if len(weights.shape) != 4 or len(output.shape) != 4:
        return 0
    _, height, width, _ = shape_of(output)
    _, kh, kw, _ = weights.shape
    if op.name == "DEPTHWISE_CONV_2D" and kh * kw <= _MOST_DEPTHWISE_TAPS:
        step = min(int(op.options.get("stride_w", 1)), kw)
        return _POINTER * height * (kh * kw + (width - 1) * step * kh)
    return 0 if is_pointwise(op, subgraph) else _POINTER * height * width * kh * kw


def _lives(partition: Partition, subgraph: Subgraph) -> list[Life]:
    """Returns the lives of the tensors that never leave the partition. Operator n takes the times 2n and 2n +
    1.

    Float activations of 8-bit weights are converted first: the operator itself reads the 8-bit copy, which
    operators behind it share.
    """
    outside = {*partition.inputs, *partition.outputs}
    uses: dict[int, int] = {}
    maker: dict[int, int] = {}
    for number, op in enumerate(partition.ops):
        maker.update(dict.fromkeys(op.outputs, number))
        for i in op.inputs:
            uses[i] = uses.get(i, 0) + 1
    absent = dict(_never_made(partition, subgraph, maker, uses, outside))
    owner: dict[int, int] = {}
    begin: dict[int, int] = {}
    end: dict[int, int] = {}
    copies: dict[int, tuple[int, int]] = {}  # of an activation in 8 bits: from when to when
    for number, op in enumerate(partition.ops):
        source = _overwritten(op, subgraph, uses, outside | absent.keys(), maker)
        if source is not None and op.outputs[0] not in outside:
            owner[op.outputs[0]] = owner.get(source, source)
        converted = _converted(op, subgraph)
        for i in op.outputs:
            root = owner.get(i, i)
            begin.setdefault(root, 2 * number + (converted is not None))
            end[root] = 2 * number + 1
        for i in op.inputs:
            if i == converted:
                is_first = i not in copies
                copies[i] = (copies.get(i, (2 * number, 0))[0], 2 * number + 1)
                if not is_first:
                    continue
            while i in absent:  # what is padded on the fly is read at the convolution
                i = absent[i]
            end[owner.get(i, i)] = 2 * number + (i != converted)
    lives = [
        Life(i, subgraph.tensors[i].size_bytes or 0, begin[i], end[i])
        for i in begin
        if i not in outside and i not in absent
    ]
    lives += [Life(-1 - i, subgraph.tensors[i].element_count, *span) for i, span in copies.items()]
    return [
        replace(life, size_bytes=_up(life.size_bytes + _EXTRA_BYTES, _EXTRA_BYTES))
        for life in lives
        if life.size_bytes
    ]


def _converted(op: Op, subgraph: Subgraph) -> int | None:
    """Returns the float activation that is converted to 8 bits for an operator with 8-bit weights."""
    if op.name not in ("CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV") or len(op.inputs) < 2:
        return None
    source = op.inputs[2 if op.name == "TRANSPOSE_CONV" and len(op.inputs) > 2 else 0]
    if min(source, op.inputs[1]) < 0:
        return None
    return source if is_hybrid(subgraph.tensors[source], subgraph.tensors[op.inputs[1]]) else None


def _never_made(
    partition: Partition, subgraph: Subgraph, maker: dict[int, int], uses: dict[int, int], outside: set[int]
) -> Iterator[tuple[int, int]]:
    """Yields (tensor, what it is made of) of tensors that vanish: widened weights, which count once, as
    packed; and padded inputs, where the convolution behind takes the padding over."""
    for op in partition.ops:
        if op.name == "DEQUANTIZE" and subgraph.tensors[op.inputs[0]].is_constant:
            yield op.outputs[0], op.inputs[0]
        elif op.name in _CONVOLUTIONS and op.options.get("padding") == _VALID:
            padded = op.inputs[0]
            if padded in maker and padded not in outside and uses[padded] == 1:
                pad = partition.ops[maker[padded]]
                if pad.name == "PAD":
                    yield padded, pad.inputs[0]


def _overwritten(
    op: Op, subgraph: Subgraph, uses: dict[int, int], kept: set[int], maker: dict[int, int]
) -> int | None:
    """Returns the input that the output is written over; None where it gets memory of its own."""
    if not op.outputs:
        return None
    size = subgraph.tensors[op.outputs[0]].size_bytes
    for i in op.inputs[: _IN_PLACE.get(op.name, 0)]:
        if i in maker and i not in kept and uses[i] == 1 and subgraph.tensors[i].size_bytes == size:
            return i
    return None


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
