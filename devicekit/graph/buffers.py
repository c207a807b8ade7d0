"""The buffers that LiteRT's own kernels work in, beside an operator's inputs and outputs.

Sources: the `Prepare` functions under tflite/kernels/ of LiteRT 2.3.0, checked against the interpreter's
addresses (tests/graph/test_arena.py). What a kernel allocates while it runs is not here, nor are the kernels
of delegates.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from devicekit.graph.model import Op, Subgraph, Tensor

Where = Literal["arena", "persistent", "heap"]
Kernels = Literal["builtin", "xnnpack", "tflm"]


# Operators whose buffers get their numbers when the model is read, before those of all others.
ASK_EARLY = ("UNIDIRECTIONAL_SEQUENCE_LSTM",)


@dataclass(frozen=True)
class Buffer:
    """Alive at its operator alone in the arena; for good where it is persistent, or on the heap."""

    size_bytes: int
    where: Where = "arena"


def buffers(op: Op, subgraph: Subgraph, *, threads: int = 1) -> tuple[Buffer, ...]:
    """Returns the buffers of `op` in the order of their numbers; () where it has none.

    Some kernels ask for more than they use: the others have 0 bytes. Of an operator with fewer inputs or
    dimensions than its kernel takes nothing is known.
    """
    find = _BUFFERS.get(op.name)
    try:
        return () if find is None else tuple(find(_Site(op, subgraph, threads)))
    except (IndexError, ValueError, ZeroDivisionError):
        return ()


@dataclass(frozen=True)
class _Site:
    """An operator where it stands."""

    op: Op
    subgraph: Subgraph
    threads: int

    def input(self, number: int) -> Tensor:
        index = self.op.inputs[number]
        if index < 0:
            raise IndexError(f"input {number} of {self.op.name} is left out")
        return self.subgraph.tensors[index]

    def has(self, number: int) -> bool:
        return number < len(self.op.inputs) and self.op.inputs[number] >= 0

    @property
    def output(self) -> Tensor:
        return self.subgraph.tensors[self.op.outputs[0]]

    def option(self, name: str, default: int = 1) -> int:
        return int(self.op.options.get(name, default))


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Returns the shape with 1 for what the file leaves open."""
    return tuple(max(dim, 1) if dim < 0 else dim for dim in tensor.shape)


def is_pointwise(op: Op, subgraph: Subgraph) -> bool:
    """Returns whether a CONV_2D is a matrix product: 1×1, no stride, no dilation."""
    shapes = [subgraph.tensors[i].shape for i in (*op.inputs[:2], *op.outputs[:1]) if i >= 0]
    if [len(shape) for shape in shapes] != [4, 4, 4]:
        return True  # no convolution that a runtime takes
    steps = ("stride_w", "stride_h", "dilation_w_factor", "dilation_h_factor")
    return shapes[1][1:3] == (1, 1) and all(op.options.get(step, 1) == 1 for step in steps)


def is_hybrid(source: Tensor, weights: Tensor) -> bool:
    """Returns whether a kernel quantizes its float input on the way to integer weights."""
    return source.dtype == "float32" and weights.dtype in ("int8", "uint8", "int4", "int2")


def _conv_2d(at: _Site) -> Iterator[Buffer]:
    source, weights, output = at.input(0), at.input(1), at.output
    batch, height, width, channels = shape_of(source)
    _, out_height, out_width, out_channels = shape_of(output)
    hybrid = is_hybrid(source, weights)
    dilated = any(at.option(f"dilation_{side}_factor") != 1 for side in "wh")
    transposes = at.threads > 1 and source.dtype == "float32" and not hybrid and not dilated
    if not is_pointwise(at.op, at.subgraph) and not (transposes and weights.is_constant):
        taps = math.prod(weights.shape[1:])
        each = 1 if hybrid else _element_bytes(source)
        yield Buffer(batch * out_height * out_width * taps * each)  # the unfolded input, im2col
    if transposes and weights.is_constant:
        yield Buffer(_size(weights), "persistent")  # for Eigen's threads: measured, 86 MB on a ResNet50
    if hybrid:
        rows = batch * height * width * max(channels // max(weights.shape[3], 1), 1)
        yield Buffer(source.element_count)
        yield Buffer(4 * rows)
        yield Buffer(4 * batch * out_height * out_width * out_channels)
        if len(set(weights.scale)) > 1:
            yield Buffer(4 * rows)
            yield Buffer(4 * out_channels, "persistent")


def _depthwise_conv_2d(at: _Site) -> Iterator[Buffer]:
    source = at.input(0)
    if is_hybrid(source, at.input(1)):
        yield from (
            Buffer(source.element_count),
            Buffer(4 * shape_of(source)[0]),
            Buffer(4 * shape_of(source)[0]),
        )


def _numbered(count: int, found: Iterator[Buffer]) -> Iterator[Buffer]:
    """Yields `found`, and empty ones up to `count`."""
    number = 0
    for number, buffer in enumerate(found, start=1):  # noqa: B007
        yield buffer
    yield from (Buffer(0) for _ in range(number, count))


# optimized_4bit: rows of weights are packed by 4, their columns by 32; inputs by as many rows as there are,
# up to 4.
_PACK_UNITS, _PACK_DEPTH, _PACK_ROWS = 4, 32, 4


def _fully_connected(at: _Site) -> Iterator[Buffer]:
    source, weights = at.input(0), at.input(1)
    if not is_hybrid(source, weights):
        return
    units, depth = shape_of(weights)
    rows = source.element_count // max(depth, 1)
    packs = weights.dtype == "int4" and weights.is_constant and depth % 2 == 0
    if packs and rows and units >= _PACK_UNITS and depth >= _PACK_DEPTH:
        together = next(n for n in (_PACK_ROWS, 2, 1) if rows >= n)
        rows, units = _up(rows, together), _up(units, _PACK_UNITS)
        sizes = (rows * _up(depth, _PACK_DEPTH), 4 * rows, 4 * rows * units, 4 * rows)
        yield from map(Buffer, sizes)
        return
    yield from map(Buffer, (source.element_count, 4 * rows, 4 * units * rows, 4 * rows))
    yield Buffer(4 * units, "persistent")


def _batch_matmul(at: _Site) -> Iterator[Buffer]:
    left, right = at.input(0), at.input(1)
    yield Buffer(_size(left))
    yield Buffer(_size(right), "persistent" if right.is_constant else "arena")
    if is_hybrid(left, right):
        *batches, rows, depth = shape_of(left)
        *matrices, inner, units = shape_of(right)
        rows = depth if at.option("adj_x", 0) else rows
        units = inner if at.option("adj_y", 0) else units
        count = math.prod(batches) * rows
        yield from map(Buffer, (left.element_count, 4 * count, 4 * units * rows, 4 * count))
        yield Buffer(4 * math.prod(matrices) * units, "persistent")


def _transpose_conv(at: _Site) -> Iterator[Buffer]:
    weights, source, output = at.input(1), at.input(2), at.output
    taps = math.prod(weights.shape[:3])
    _, height, width, channels = shape_of(source)
    yield Buffer(4 * height * width * taps, "heap")  # col2im
    yield Buffer(_size(weights), "heap")  # the weights, transposed
    if source.dtype in ("int8", "uint8", "int16"):
        yield Buffer((8 if source.dtype == "int16" else 4) * output.element_count, "heap")
    if is_hybrid(source, weights):
        rows = source.element_count // max(channels, 1)
        yield from (Buffer(source.element_count), Buffer(4 * rows), Buffer(4 * rows))


def _conv_3d(at: _Site) -> Iterator[Buffer]:
    weights, output = at.input(1), at.output
    steps = ("stride_d", "stride_w", "stride_h")
    if weights.shape[:3] != (1, 1, 1) or any(at.option(step) != 1 for step in steps):
        yield Buffer(4 * math.prod(shape_of(output)[:4]) * math.prod(weights.shape[:4]))


def _conv_3d_transpose(at: _Site) -> Iterator[Buffer]:
    weights, source = at.input(1), at.input(2)
    yield Buffer(4 * math.prod(shape_of(source)[1:4]) * math.prod(weights.shape[:4]), "heap")


def _rfft2d(at: _Site) -> Iterator[Buffer]:
    """The working areas of a transform over the two last dimensions; its output has width / 2 + 1 columns."""
    *_, height, columns = shape_of(at.output)
    width = max(2 * (columns - 1), 1)
    longest = max(height, width // 2)
    yield Buffer(4 * (2 + int(math.sqrt(longest))))
    yield Buffer(8 * (longest // 2 + width // 4))
    yield Buffer(8 * height)
    yield Buffer(8 * height * (width + 2))


def _sequence_lstm(at: _Site) -> Iterator[Buffer]:
    """Inputs by number: 1 the input gate's weights (left out: coupled gates), 4 and 8 the output gate's, 16 a
    projection, 18 and 19 the two states."""
    source, weights = at.input(0), at.input(4)
    batch = shape_of(source)[1 if at.option("time_major", 0) else 0]
    cells, outputs = shape_of(weights)[0], shape_of(at.input(8))[-1]
    coupled = not at.has(1)
    if source.dtype == "int8":
        yield from (Buffer(each * batch * cells) for each in (2, 2, 2, 2, 1, 4))
        return
    yield Buffer(_element_bytes(source) * batch * (cells * (4 if coupled else 5) + 16))
    if is_hybrid(source, weights):
        states = at.input(18).element_count, at.input(19).element_count
        yield from map(Buffer, (source.element_count, *states, 4 * batch, 4 * batch, 4 * batch))
        yield from map(Buffer, (4 * cells, 4 * cells * batch, 4 * batch, 4 * batch))
        rows = (6 if coupled else 8) + (math.ceil(outputs / cells) if at.has(16) else 0)
        yield Buffer(4 * rows * cells, "persistent")


def _reducer(at: _Site) -> Iterator[Buffer]:
    source, axes = at.input(0), at.input(1)
    yield Buffer(4 * len(source.shape))  # an index
    yield Buffer(4 * axes.element_count)  # the axes, resolved
    if at.op.name in ("MEAN", "SUM"):
        yield Buffer(4 * at.output.element_count)  # a float32 or int32 accumulator


_BUFFERS: Mapping[str, Callable[[_Site], Iterator[Buffer]]] = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": lambda at: _numbered(6, _fully_connected(at)),
    "BATCH_MATMUL": lambda at: _numbered(7, _batch_matmul(at)),
    "TRANSPOSE_CONV": _transpose_conv,
    "CONV_3D": _conv_3d,
    "CONV_3D_TRANSPOSE": _conv_3d_transpose,
    "RFFT2D": _rfft2d,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lambda at: _numbered(12, _sequence_lstm(at)),
    **dict.fromkeys(
        ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"),
        lambda at: _numbered(4, _reducer(at)),
    ),
}


def _element_bytes(tensor: Tensor) -> int:
    return _size(tensor) // max(tensor.element_count, 1)


def _size(tensor: Tensor) -> int:
    return tensor.size_bytes or 0


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
