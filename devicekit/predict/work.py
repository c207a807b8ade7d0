"""What an inference has to do, operator by operator: multiply-accumulates of a kind, and bytes to move."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from devicekit.graph.macs import op_macs
from devicekit.graph.model import Graph, Op, Subgraph

Kind = Literal["product", "conv", "depthwise", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_CONVOLUTIONS = ("CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE")
# Operators that only rename memory: nothing is computed, nothing moves.
_FREE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "BITCAST")
# Operators of the same intensity run into the same wall: one bin per 1/8 of a factor of two.
_BINS_PER_OCTAVE = 8


@dataclass(frozen=True)
class Work:
    """`count` operators of a kind, their multiply-accumulates, and bytes of inputs, outputs, weights."""

    kind: Kind
    macs: int
    bytes: int
    count: int


def work_of(graph: Graph) -> tuple[Work, ...]:
    """Returns the work of the main subgraph, gathered by kind and by MACs per byte; see `unpredictable`."""
    subgraph = graph.main
    return gathered(work for op in subgraph.ops if (work := _work(op, subgraph)))


def unpredictable(graph: Graph) -> str | None:
    """Returns why the work is not known from the graph alone; None where it is."""
    for op in graph.main.ops:
        if op.label in ("WHILE", "IF", "CALL", "STABLEHLO_WHILE", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE"):
            return f"{op.label} runs another subgraph"
        if op.custom_code:
            return f"{op.label} is a custom operator"
        if op_macs(op, graph.main) is None:
            return f"{op.label} (op {op.index}) has an open dimension"
    for tensor in graph.main.tensors:
        if -1 in tensor.shape_signature[1:]:
            return f'tensor "{tensor.name}" has an open dimension'
    if not any(tensor.is_constant for tensor in graph.main.tensors):
        return "the file has no weights"
    return None


def gathered(works: Iterable[Work]) -> tuple[Work, ...]:
    """Returns one Work for those of a kind whose MACs per byte are within 9 % of each other."""
    bins: dict[tuple[Kind, int | None], list[Work]] = {}
    for work in works:
        has_both = work.macs and work.bytes
        intensity = round(math.log2(work.macs / work.bytes) * _BINS_PER_OCTAVE) if has_both else None
        bins.setdefault((work.kind, intensity), []).append(work)
    return tuple(
        Work(kind, sum(w.macs for w in found), sum(w.bytes for w in found), sum(w.count for w in found))
        for (kind, _), found in sorted(bins.items(), key=lambda item: (item[0][0], item[0][1] or 0))
    )


def _work(op: Op, subgraph: Subgraph) -> Work | None:
    inputs = [subgraph.tensors[i] for i in dict.fromkeys(op.inputs) if i >= 0]
    if op.name in _FREE or (op.name == "DEQUANTIZE" and inputs and inputs[0].is_constant):
        return None
    outputs = [subgraph.tensors[i] for i in op.outputs if i >= 0]
    moved = sum(tensor.size_bytes or 0 for tensor in (*inputs, *outputs))
    return Work(_kind(op, subgraph), op_macs(op, subgraph) or 0, moved, 1)


def _kind(op: Op, subgraph: Subgraph) -> Kind:
    if op.name == "DEPTHWISE_CONV_2D":
        return "depthwise"
    if op.name in _CONVOLUTIONS:
        weights = subgraph.tensors[op.inputs[1]] if len(op.inputs) > 1 and op.inputs[1] >= 0 else None
        is_pointwise = weights is not None and op.name == "CONV_2D" and weights.shape[1:3] == (1, 1)
        return "product" if is_pointwise else "conv"
    return "product" if op_macs(op, subgraph) else "other"
