"""Estimates what a delegate takes of a model: how many operators, in how many partitions, what breaks it.

XNNPACK's part is exact for what was measured (predict.delegation). GPU, NNAPI and Edge TPU follow
profiles/ops/, and the conditions below; a device's own driver may refuse more.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from devicekit.graph.model import Graph, Op, Subgraph, Tensor
from devicekit.predict.partitions import Links, Partition, partitioned, xnnpack_refuses
from devicekit.profile.op_support import Support, support
from devicekit.words import attributes

# Which input holds an operator's activations, where it is not the first; -1: its output tells.
_ACTIVATIONS = {
    **dict.fromkeys(("SPLIT", "SELECT", "SELECT_V2", "FILL"), 1),
    **dict.fromkeys(("TRANSPOSE_CONV", "ONE_HOT"), 2),
    **dict.fromkeys(("QUANTIZE", "EMBEDDING_LOOKUP"), -1),
}
# The input that holds its weights.
_WEIGHTS = dict.fromkeys(
    ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "EMBEDDING_LOOKUP"), 1
)
_MOST_OPS = 20_000  # splitting takes quadratic time


@dataclass(frozen=True)
class Beside:
    """Operators of one name that stay on the CPU, and why, as the end of a sentence."""

    name: str
    why: str
    ops: tuple[Op, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "op": self.name,
            "why": self.why,
            "ops": [op.index for op in self.ops],
            "layers": sorted({op.layer for op in self.ops if op.layer}),
        }


@dataclass(frozen=True)
class Delegation:
    """What a delegate takes of a model's main subgraph: `taken` of `nodes` operators, in `partitions`.

    `possible` counts the partitions before the delegate's own limit. `beside` are the rest, by reason, in the
    order of the model: the first of them is what breaks it.
    """

    delegate: str
    title: str
    nodes: int
    taken: int
    partitions: int
    possible: int
    beside: tuple[Beside, ...]

    def to_json(self) -> dict[str, Any]:
        names = ("delegate", "nodes", "taken", "partitions", "possible", "beside")
        return {"evidence": "predicted", **attributes(self, *names)}


def delegation(graph: Graph, delegate: str, *, device_os: str | None = None) -> Delegation:
    """Returns what `delegate` takes of `graph`. Raises UsageError for a delegate that is not known.

    `device_os` is the profile's device.os: an Android older than an operator's first one does without it.
    """
    found, subgraph = support(delegate), graph.main
    links = Links(subgraph)
    refuses = xnnpack_refuses if delegate == "xnnpack" else partial(_refuses, found, _android(device_os))
    reasons = {op.index: why for op in subgraph.ops if (why := refuses(op, links)) is not None}
    if len(subgraph.ops) > _MOST_OPS:
        reasons = {op.index: f"is one of more than {_MOST_OPS} operators" for op in subgraph.ops}
        possible: list[Partition] = []
    else:
        taken = {op.index for op in subgraph.ops} - reasons.keys()
        possible = list(partitioned(links, taken).partitions)
    kept = possible
    if found.max_partitions is not None and len(possible) > found.max_partitions:
        ranked = possible if found.takes_first else sorted(possible, key=lambda one: -len(one.ops))
        kept = ranked[: found.max_partitions]
    inside = {op.index for one in kept for op in one.ops}
    limit = f"lies in a partition beyond the {_which(found)}" if len(kept) < len(possible) else "is not taken"
    beside: dict[tuple[str, str], list[Op]] = {}
    for op in subgraph.ops:
        if op.index not in inside:
            beside.setdefault((op.label, reasons.get(op.index, limit)), []).append(op)
    return Delegation(
        delegate,
        found.title,
        len(subgraph.ops),
        len(inside),
        len(kept),
        len(possible),
        tuple(Beside(name, why, tuple(ops)) for (name, why), ops in beside.items()),
    )


def dtype_of(op: Op, subgraph: Subgraph) -> str | None:
    """Returns what an operator computes on: "int8", or "float32+int8" for 8-bit weights under float
    activations; None where it has no such tensor."""
    place = _ACTIVATIONS.get(op.label, 0)
    activations = _at(op.outputs, 0, subgraph) if place < 0 else _at(op.inputs, place, subgraph)
    if activations is None:
        return None
    weights = _at(op.inputs, _WEIGHTS[op.label], subgraph) if op.label in _WEIGHTS else None
    is_mixed = weights is not None and weights.dtype != activations.dtype
    return f"{activations.dtype}+{weights.dtype}" if weights and is_mixed else activations.dtype


def in_words(dtype: str) -> str:
    """Returns "float32 with int8 weights" for "float32+int8"."""
    activations, _, weights = dtype.partition("+")
    return f"{activations} with {weights} weights" if weights else activations


def _at(indices: tuple[int, ...], place: int, subgraph: Subgraph) -> Tensor | None:
    index = indices[place] if place < len(indices) else -1
    return None if index < 0 else subgraph.tensors[index]


def _which(found: Support) -> str:
    if found.max_partitions == 1:
        return "first" if found.takes_first else "largest"
    return f"{found.max_partitions} {'first' if found.takes_first else 'largest'}"


def _android(device_os: str | None) -> int | None:
    """Returns 15 for "Android 15", None for what is no Android."""
    match = re.match(r"Android (\d{1,3})\b", device_os or "")
    return int(match[1]) if match else None


def _refuses(found: Support, android: int | None, op: Op, links: Links) -> str | None:
    """Returns why a delegate leaves an operator to the CPU, None where it takes it."""
    known = found.ops.get(op.label)
    if known is None:
        return "is not taken"
    if known.version is not None and op.version > known.version:
        return f"is version {op.version}, taken up to {known.version}"
    if known.android is not None and android is not None and android < known.android:
        return f"is taken from Android {known.android} on"
    dtype = dtype_of(op, links.subgraph)
    if known.types is not None and dtype is not None and dtype not in known.types:
        return f"is not taken on {in_words(dtype)}"
    tensors = [links.subgraph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    if any(tensor.is_dynamic for tensor in tensors):
        return "is not taken with open shapes"
    breaks = _CONDITIONS.get((found.name, op.label))
    return f"is taken with: {known.note}" if breaks and breaks(op, links) else None


def _rank(op: Op, links: Links) -> int:
    source = links.input(op, 0)
    return 0 if source is None else len(source.shape)


def _is_no_image(op: Op, links: Links) -> bool:
    return _rank(op, links) not in (3, 4)


def _is_above_rank_4(op: Op, links: Links) -> bool:
    return _rank(op, links) > 4


def _has_no_bias(op: Op, links: Links) -> bool:
    return links.input(op, 2) is None


def _is_fed_a_constant(op: Op, links: Links) -> bool:
    source = links.input(op, 0)
    return source is not None and source.is_constant


def _multiplies_depth(op: Op, links: Links) -> bool:
    source = links.input(op, 0)
    depth = source.shape[-1] if source and source.shape else 1
    return depth != 1 and links.output(op).shape[-1:] != (depth,)


def _adds_many(op: Op, links: Links) -> bool:
    return len(op.inputs) != 2


def _rescales(op: Op, links: Links) -> bool:
    source, output = links.input(op, 0), links.output(op)
    if source is None or not output.shape:
        return True
    return (source.scale, source.zero_point) != (output.scale, output.zero_point)


def _is_large_softmax(op: Op, links: Links) -> bool:
    source = links.input(op, 0)
    if source is None:
        return False
    return sum(size > 1 for size in source.shape) > 1 or math.prod(source.shape) > 16_000


def _is_permuted_at_run_time(op: Op, links: Links) -> bool:
    order = links.input(op, 1)
    return order is None or not order.is_constant


# (delegate, operator) -> whether an operator breaks the condition that its note puts in words.
_CONDITIONS: Mapping[tuple[str, str], Callable[[Op, Links], bool]] = {
    **{("gpu", name): _is_no_image for name in ("SLICE", "STRIDED_SLICE", "PAD", "PADV2", "MIRROR_PAD")},
    ("gpu", "DEPTHWISE_CONV_2D"): _multiplies_depth,
    ("gpu", "FULLY_CONNECTED"): _is_fed_a_constant,
    ("gpu", "ADD_N"): _adds_many,
    **{("nnapi", name): _is_above_rank_4 for name in ("SOFTMAX", "CONCATENATION", "SUB")},
    ("nnapi", "CONV_2D"): _has_no_bias,
    ("nnapi", "MEAN"): _rescales,
    ("nnapi", "TRANSPOSE"): _is_permuted_at_run_time,
    ("edgetpu", "SOFTMAX"): _is_large_softmax,
}
