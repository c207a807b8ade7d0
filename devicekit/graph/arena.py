"""Plans the memory that LiteRT allocates for a Graph's activations, and bounds what a model must have.

The planner is LiteRT's, redone from what arena_planner.cc and simple_memory_arena.cc do: lifetimes, in-place
sharing, then placement by falling size into the smallest gap that fits.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from devicekit.graph.model import Graph, Op, Subgraph, Tensor

Kernels = Literal["builtin", "xnnpack", "tflm"]

_ALIGNMENT = {"builtin": 64, "xnnpack": 64, "tflm": 16}  # bytes
_FOREVER = 2**31 - 1
_SCALAR_BYTES = 4  # kScalarTensorBytes: what is this small is not shared

# How many of the first inputs an operator may write its output over; and those that only change the shape.
_IN_PLACE = {"ADD": 2, "SUB": 2, "MUL": 2, "DIV": 2, "SOFTMAX": 1}
_RESHAPING = {"RESHAPE": 1, "SQUEEZE": 1, "EXPAND_DIMS": 1, "BITCAST": 1}

# Operators that XNNPACK may also compute in place: those that work element by element.
# Measured, LiteRT 2.3.0, 11/2026: EXP, TANH, LOGISTIC behind a convolution need 34.1 MiB, and would need 65.
# fmt: off
_XNNPACK_IN_PLACE = {
    **_IN_PLACE,
    **dict.fromkeys((
        "ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC",
        "NEG", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN", "SIN", "SQRT",
        "SQUARE", "TANH",
    ), 1),
    **dict.fromkeys(("MAXIMUM", "MINIMUM", "POW", "PRELU", "SQUARED_DIFFERENCE"), 2),
}
# fmt: on

# Operators whose weights XNNPACK copies.
_PACKED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")

# Reducing operators, and whether they accumulate in a buffer of their own.
_REDUCERS = {"MEAN": True, "SUM": True, "REDUCE_MAX": False, "REDUCE_MIN": False, "REDUCE_PROD": False}

# Operators whose plan equals the interpreter's tensor by tensor, in float32 and fully int8: each was compared
# behind a convolution with the addresses in ai-edge-litert 2.3.0, one thread (121 of 128 models, 11/2026).
# Not equal: TRANSPOSE_CONV, BATCH_MATMUL (buffers), recurrent cells (variables), UNPACK (order of outputs).
# MobileNetV2 and V3 (float32, int8) have equal arenas too; in one of the four, five tensors of equal size
# swapped places, for std::sort is not stable.
# fmt: off
_VERIFIED = {
    "ABS", "ADD", "ARG_MAX", "AVERAGE_POOL_2D", "CAST", "CONCATENATION", "CONV_2D", "CUMSUM",
    "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EXP", "FLOOR", "FULLY_CONNECTED",
    "GATHER", "GELU", "GREATER", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU", "LOG", "LOGISTIC",
    "LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "PACK", "PAD",
    "POW", "QUANTIZE", "REDUCE_MAX", "RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "RSQRT", "SELECT", "SIN", "SOFTMAX", "SPACE_TO_DEPTH",
    "SPLIT", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE",
    "TRANSPOSE",
}
# fmt: on
_INDEX_DTYPES = {"int32", "int64", "bool"}

# Operators whose later inputs give a shape: computed ones make the output dynamic, on the heap.
# fmt: off
_SHAPED = {
    "RESHAPE", "SLICE", "STRIDED_SLICE", "PAD", "PADV2", "MIRROR_PAD", "TRANSPOSE", "TILE",
    "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN",
    "REDUCE_PROD", "EXPAND_DIMS", "BROADCAST_TO", "FILL",
}
# fmt: on

_OTHER_PLANNERS = {
    "xnnpack": "XNNPACK places activations itself",
    "tflm": "TFLM's persistent part comes on top",
}

# Placing takes quadratic time: beyond this only the bytes alive at once are counted.
_MAX_PLACED = 8000


@dataclass(frozen=True)
class Placement:
    """Where an activation lies: offset and size in bytes; alive from op `first` to op `last`, inclusive."""

    tensor: int
    offset: int
    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class ArenaPlan:
    """`exact`: the interpreter allocates these bytes, on one thread. If not, `reason` says why not.

    `peak_op` is the operator at which most bytes are alive. A temporary's `tensor` is -1 - (index of its op).
    """

    arena_bytes: int
    exact: bool
    reason: str | None
    placements: tuple[Placement, ...]
    peak_op: int | None


def plan_arena(graph: Graph, kernels: Kernels = "builtin") -> ArenaPlan:
    """Returns the plan for the main subgraph, with 1 for each open dimension.

    "builtin" adds the buffers that LiteRT's own kernels work in. XNNPACK places activations itself: for it
    the plan is an estimate. "tflm" is the part of a microcontroller's arena that is reused; the persistent
    part comes on top.
    """
    subgraph = graph.main
    lives = _lifetimes(subgraph, kernels)
    if kernels == "builtin":
        lives += _temporaries(subgraph)
    if kernels == "xnnpack":
        absent = _never_placed(subgraph)
        lives = [life for life in lives if life.tensor not in absent]
    alive = _alive_bytes(subgraph, lives)
    peak_op = max(range(len(alive)), key=alive.__getitem__) if alive else None
    if len(lives) > _MAX_PLACED:
        reason = f"{len(lives)} tensors are too many to place: these bytes are alive at once"
        return ArenaPlan(max(alive, default=0), False, reason, (), peak_op)
    placements = _place(lives, _ALIGNMENT[kernels])
    inexact = _OTHER_PLANNERS.get(kernels) or _inexact_reason(graph)
    arena_bytes = max((p.offset + p.size_bytes for p in placements), default=0)
    return ArenaPlan(arena_bytes, inexact is None, inexact, tuple(placements), peak_op)


def must_have_bound(graph: Graph, kernels: Kernels = "xnnpack") -> int:
    """Returns the memory in bytes that nothing can reclaim while the model runs: a lower bound.

    The arena; with XNNPACK also its packed copy of the weights and its indirection buffers. The mapped file
    is not in it. What runs under less is judged wrongly, so that whatever is in doubt does not count:
    weights that are there twice while the model loads, int8 weights of float32 activations.
    """
    arena_bytes = plan_arena(graph, kernels).arena_bytes
    return arena_bytes + (_packed_bytes(graph.main) if kernels == "xnnpack" else 0)


def _packed_bytes(subgraph: Subgraph) -> int:
    """Returns what XNNPACK keeps of convolutions and products: weights again, pointers to input pixels."""
    widened = _widened(subgraph)
    total = 0
    for op in subgraph.ops:
        if not _is_packed(op, subgraph):
            continue
        weights = subgraph.tensors[op.inputs[1]]
        if weights.is_constant or weights.index in widened:
            total += _size(weights)  # float16 weights are packed as the float32 that they become
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D") and not _is_pointwise(op, subgraph):
            total += _indirection_bytes(op, weights, subgraph.tensors[op.outputs[0]])
    return total


def _is_packed(op: Op, subgraph: Subgraph) -> bool:
    """Returns whether XNNPACK is sure to run this operator with a copy of its weights.

    It has no kernels for 16-bit activations. Of int8 weights with float32 activations it takes some.
    """
    if op.name not in _PACKED or len(op.inputs) < 2 or min(op.inputs[:2]) < 0 or not op.outputs:
        return False
    # The activations of TRANSPOSE_CONV come third; the output has their dtype in all four.
    dtypes = {subgraph.tensors[op.outputs[0]].dtype, subgraph.tensors[op.inputs[1]].dtype}
    return dtypes in ({"float32"}, {"int8"})


def _widened(subgraph: Subgraph) -> set[int]:
    """Returns the tensors that DEQUANTIZE makes of constants: weights that the file stores narrower."""
    return {
        op.outputs[0]
        for op in subgraph.ops
        if op.name == "DEQUANTIZE" and op.outputs and all(_is_constant(i, subgraph) for i in op.inputs)
    }


def _never_placed(subgraph: Subgraph) -> set[int]:
    """Returns the tensors that XNNPACK does without.

    Widened weights, which count once, as packed; and padded inputs, where the convolution behind takes the
    padding over (measured, LiteRT 2.3.0, 11/2026: 37.9 MiB, would be 69.8).
    """
    padded = {op.outputs[0] for op in subgraph.ops if op.name == "PAD" and op.outputs}
    return padded | _widened(subgraph)


def _indirection_bytes(op: Op, weights: Tensor, output: Tensor) -> int:
    """Returns the size of the pointers to input pixels (20 models, 3 % mean error)."""
    height, width = (max(dim, 1) for dim in output.shape[1:3])
    kh, kw = weights.shape[1:3]
    if op.name == "CONV_2D":
        return 8 * height * width * kh * kw
    return 8 * height * (kh * kw + (width - 1) * min(int(op.options.get("stride_w", 1)), kw) * kh)


def _inexact_reason(graph: Graph) -> str | None:
    """Returns why the plan may differ from the interpreter's; None where such graphs were proven equal."""
    subgraph = graph.main
    for tensor in subgraph.tensors:
        if tensor.is_dynamic:
            return f'tensor "{tensor.name}" has an open dimension'
        if tensor.is_variable:
            return f'tensor "{tensor.name}" is a variable'
        if tensor.size_bytes is None:
            return f'tensor "{tensor.name}" is a {tensor.dtype}'
    for op in subgraph.ops:
        if op.label not in _VERIFIED:
            return f"{op.label} may take memory that is not known here"
        dtypes = {subgraph.tensors[i].dtype for i in (*op.inputs[:2], *op.outputs) if i >= 0} - _INDEX_DTYPES
        is_bridge = op.name in ("QUANTIZE", "DEQUANTIZE") and dtypes <= {"float32", "int8"}
        if not (is_bridge or dtypes <= {"float32"} or dtypes <= {"int8"}):
            return f"{op.label} on {' and '.join(sorted(dtypes))} may take memory that is not known here"
        if op.name == "DEQUANTIZE" and _is_constant(op.inputs[0], subgraph):
            return "DEQUANTIZE keeps the constants that it widens"
        if op.name in _SHAPED and any(i >= 0 and not subgraph.tensors[i].is_constant for i in op.inputs[1:]):
            return f"{op.label} takes a computed shape"
    return None


@dataclass(frozen=True)
class _Life:
    tensor: int
    size_bytes: int
    first: int
    last: int


def _lifetimes(subgraph: Subgraph, kernels: Kernels) -> list[_Life]:
    """Returns size and life of each activation that owns its memory, in the order of allocation."""
    inputs_stay = kernels != "tflm"
    owner = _owners(subgraph, _XNNPACK_IN_PLACE if kernels == "xnnpack" else _IN_PLACE)
    uses = [0] * len(subgraph.tensors)
    for op in subgraph.ops:
        for i in op.inputs:
            if i >= 0:
                uses[owner.get(i, i)] += 1
    for i in (*(subgraph.inputs if inputs_stay else ()), *subgraph.outputs):
        uses[i] += 1  # never freed
    first: dict[int, int] = dict.fromkeys(subgraph.inputs, 0)
    last: dict[int, int] = {}
    for op in subgraph.ops:
        for i in op.outputs:
            first.setdefault(i, op.index)
        for i in op.inputs:
            if i >= 0:
                root = owner.get(i, i)
                uses[root] -= 1
                if uses[root] == 0:
                    last[root] = op.index
    return [
        _Life(i, size, start, last.get(i, _FOREVER))
        for i, start in first.items()
        if i >= 0
        and i not in owner
        and _in_arena(subgraph.tensors[i])
        and (size := _size(subgraph.tensors[i]))
    ]


def _owners(subgraph: Subgraph, in_place: Mapping[str, int]) -> dict[int, int]:
    """Returns the tensors that share another's memory -> that other: ArenaPlanner::IdentifyInPlaceTensors."""
    uses = [0] * len(subgraph.tensors)
    for i in (*subgraph.inputs, *subgraph.outputs, *(i for op in subgraph.ops for i in op.inputs)):
        if i >= 0:
            uses[i] += 1
    owner: dict[int, int] = {}
    for op in subgraph.ops:
        shareable = in_place.get(op.name, 0) or _RESHAPING.get(op.name, 0)
        if not op.outputs or op.outputs[0] in subgraph.outputs:
            continue
        for i in op.inputs[:shareable]:
            if i < 0 or i in subgraph.inputs or not _in_arena(subgraph.tensors[i]):
                continue
            source, output = subgraph.tensors[i], subgraph.tensors[op.outputs[0]]
            root = owner.get(i, i)
            if _size(source) != _size(output):
                continue
            if op.name in in_place:
                if uses[i] > 1 or _size(source) <= _SCALAR_BYTES:
                    continue
                if uses[root] > 1:
                    break  # only the first candidate is looked at further
            owner[op.outputs[0]] = root
            break
    return owner


def _temporaries(subgraph: Subgraph) -> Iterator[_Life]:
    """Yields the buffers that LiteRT's own kernels work in, each alive at its operator alone."""
    for op in subgraph.ops:
        sizes: list[int] = []
        if op.name == "CONV_2D" and not _is_pointwise(op, subgraph):
            sizes = [_unfolded_bytes(op, subgraph)]
        elif op.name in _REDUCERS and len(op.inputs) > 1 and min(op.inputs[:2]) >= 0 and op.outputs:
            source, axes = subgraph.tensors[op.inputs[0]], subgraph.tensors[op.inputs[1]]
            sizes = [4 * len(source.shape), 4 * axes.element_count]  # an int32 index and the axes, resolved
            if _REDUCERS[op.name]:  # a float32 or int32 accumulator
                sizes.append(4 * subgraph.tensors[op.outputs[0]].element_count)
        yield from (_Life(-1 - op.index, size, op.index, op.index) for size in sizes if size)


def _unfolded_bytes(op: Op, subgraph: Subgraph) -> int:
    """Returns the size of the im2col buffer of a convolution: [n, oh, ow, kh·kw·cin] of the input's dtype."""
    source, weights, output = (subgraph.tensors[i] for i in (*op.inputs[:2], op.outputs[0]))
    rows = math.prod(max(dim, 1) for dim in output.shape[:3])
    return rows * math.prod(weights.shape[1:]) * _size(source) // max(source.element_count, 1)


def _is_pointwise(op: Op, subgraph: Subgraph) -> bool:
    shapes = [subgraph.tensors[i].shape for i in (*op.inputs[:2], *op.outputs[:1]) if i >= 0]
    if [len(shape) for shape in shapes] != [4, 4, 4]:
        return True  # no convolution that a runtime takes
    steps = ("stride_w", "stride_h", "dilation_w_factor", "dilation_h_factor")
    return shapes[1][1:3] == (1, 1) and all(op.options.get(step, 1) == 1 for step in steps)


def _place(lives: list[_Life], alignment: int) -> list[Placement]:
    """Returns the placements: lives of the whole run first, then by falling size, into the tightest gap.

    Of equal tensors of one operator, LiteRT takes the last first: it keeps them in a std::unordered_set,
    which yields the newest element first.
    """

    def order(life: _Life) -> tuple[int, int, int]:
        is_whole = life.first == 0 and life.last == _FOREVER
        return (0, life.tensor, 0) if is_whole else (1, -life.size_bytes, life.first)

    placed: list[Placement] = []  # by offset
    for life in sorted(reversed(lives), key=order):
        offset = _offset(life, placed, alignment)
        placed.append(Placement(life.tensor, offset, life.size_bytes, life.first, life.last))
        placed.sort(key=lambda p: p.offset)
    return placed


def _offset(life: _Life, placed: list[Placement], alignment: int) -> int:
    best: int | None = None
    best_gap = _FOREVER**2
    end = 0
    for other in placed:
        if other.last < life.first or other.first > life.last:
            continue
        start = -(-end // alignment) * alignment
        if start + life.size_bytes <= other.offset and other.offset - start < best_gap:
            best, best_gap = start, other.offset - end
        end = max(end, other.offset + other.size_bytes)
        if best_gap == 0:
            break
    return -(-end // alignment) * alignment if best is None else best


def _alive_bytes(subgraph: Subgraph, lives: list[_Life]) -> list[int]:
    """Returns the bytes of activations that are alive at each operator."""
    changes = [0] * (len(subgraph.ops) + 1)
    for life in lives:
        changes[life.first] += life.size_bytes
        changes[min(life.last + 1, len(subgraph.ops))] -= life.size_bytes
    return list(accumulate(changes[:-1]))


def _is_constant(index: int, subgraph: Subgraph) -> bool:
    return index >= 0 and subgraph.tensors[index].is_constant


def _in_arena(tensor: Tensor) -> bool:
    return not tensor.is_constant and not tensor.is_variable


def _size(tensor: Tensor) -> int:
    return tensor.size_bytes or 0
