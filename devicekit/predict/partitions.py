"""Which operators the XNNPACK delegate takes, and how any delegate's operators make partitions.

Source: the nodes and partitions that ai-edge-litert 2.3.0 reports for 770 files of 120 architectures in 8
recipes (11/2026): which operator, on which dtypes (profiles/ops/xnnpack.toml), with which options (here).
Partitions: graph_info.cc of LiteRT.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from devicekit.graph.model import Op, Subgraph, Tensor
from devicekit.profile.op_support import support

_INDEX_DTYPES = {"int32", "int64", "bool"}
_MOST_CONCATENATED = 5
_WIDENED = ("float16", "int8")  # what constants may be for DEQUANTIZE to vanish into the operator behind it


@dataclass(frozen=True)
class Partition:
    """Operators that the delegate runs as one node: `inputs` and `outputs` cross its border."""

    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Delegated:
    """The execution plan: operators that LiteRT runs itself, and partitions, in order."""

    steps: tuple[Op | Partition, ...]

    @property
    def partitions(self) -> tuple[Partition, ...]:
        return tuple(step for step in self.steps if isinstance(step, Partition))


# More operators than any model has: splitting takes quadratic time.
_MOST_OPS = 20_000


def delegated(subgraph: Subgraph) -> Delegated:
    """Returns how LiteRT splits `subgraph` between XNNPACK and its own kernels."""
    if len(subgraph.ops) > _MOST_OPS:
        return Delegated(subgraph.ops)
    links = Links(subgraph)
    return partitioned(links, {op.index for op in subgraph.ops if xnnpack_refuses(op, links) is None})


def partitioned(links: "Links", taken: set[int]) -> Delegated:
    """Returns how LiteRT splits a subgraph whose operators `taken`, by their index, a delegate takes.

    What widens weights in front of them goes with them.
    """
    subgraph = links.subgraph
    taken = taken | {op.index for op in subgraph.ops if _is_absorbed(op, links, taken)}
    steps: list[Op | Partition] = []
    ready = {tensor.index for tensor in subgraph.tensors if tensor.index not in links.maker} | {-1}
    left = list(subgraph.ops)
    while left:
        group = _next_group(left, ready, taken)
        if not group:  # in a cycle: no file that a runtime takes
            steps.extend(left)
            break
        members = {op.index for op in group}
        left = [op for op in left if op.index not in members]
        if group[0].index in taken:
            steps.append(_partition(group, members, links))
        else:
            steps.extend(group)
    return Delegated(tuple(steps))


class Links:
    """A subgraph with the operator that makes each tensor, and the operators that use it."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.subgraph = subgraph
        self.maker = {i: op for op in subgraph.ops for i in op.outputs}
        self.users: dict[int, set[int]] = {}
        for op in subgraph.ops:
            for i in op.inputs:
                self.users.setdefault(i, set()).add(op.index)

    def input(self, op: Op, number: int) -> Tensor | None:
        index = op.inputs[number] if number < len(op.inputs) else -1
        return None if index < 0 else self.subgraph.tensors[index]

    def output(self, op: Op) -> Tensor:
        return self.subgraph.tensors[op.outputs[0]]


def _partition(group: Sequence[Op], members: set[int], links: Links) -> Partition:
    made = [i for op in group for i in op.outputs]
    own, kept = set(made), set(links.subgraph.outputs)
    return Partition(
        tuple(group),
        tuple(dict.fromkeys(i for op in group for i in op.inputs if i >= 0 and i not in own)),
        tuple(i for i in made if i in kept or links.users.get(i, set()) - members),
    )


def _next_group(left: Sequence[Op], ready: set[int], taken: set[int]) -> list[Op]:
    """Returns the operators of one kind that can run now, in turn; `ready` grows by what they make."""
    group: list[Op] = []
    chosen: set[int] = set()
    grows = True
    while grows:
        grows = False
        for op in left:
            if op.index in chosen or not ready.issuperset(op.inputs):
                continue
            if group and (op.index in taken) != (group[0].index in taken):
                continue
            group.append(op)
            chosen.add(op.index)
            ready.update(op.outputs)
            grows = True
    return group


@cache
def _taken() -> Mapping[str, tuple[frozenset[str], ...]]:
    """Returns operator -> the sets of dtypes, of its activations and weights, that XNNPACK takes."""
    ops = support("xnnpack").ops.values()
    return {op.name: tuple(frozenset(one.split("+")) for one in op.types or ()) for op in ops}


def xnnpack_refuses(op: Op, links: Links) -> str | None:
    """Returns why XNNPACK leaves an operator to the built-in kernels, None where it takes it."""
    sets = _taken().get(op.label)
    if sets is None or not op.outputs or op.outputs[0] < 0 or links.input(op, 0) is None:
        return "is not taken"
    tensors = [links.subgraph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    dtypes = frozenset(t.dtype for t in tensors) - _INDEX_DTYPES
    if dtypes not in sets:
        return f"is not taken on {', '.join(sorted(dtypes)) or 'indices'}"
    if any(t.is_variable for t in tensors):
        return "is not taken with variables"
    refuses = _REFUSES.get(op.label)
    if refuses and refuses(op, links):
        return f"is taken with: {support('xnnpack').ops[op.label].note}"
    return None


def _is_absorbed(op: Op, links: Links, taken: set[int]) -> bool:
    """Returns whether it widens weights of operators that the delegate takes."""
    source = links.input(op, 0)
    if op.name != "DEQUANTIZE" or source is None or not source.is_constant or not op.outputs:
        return False
    return source.dtype in _WIDENED and links.users.get(op.outputs[0], set()) <= taken


def _weights_vary(op: Op, links: Links) -> bool:
    """Weights that are computed, or that are stored in 4 bits and widened; a constant input."""
    source, weights = links.input(op, 0), links.input(op, 1)
    if weights is None or source is None or (op.name == "FULLY_CONNECTED" and source.is_constant):
        return True
    if weights.is_constant:
        return False
    maker = links.maker.get(weights.index)
    stored = links.input(maker, 0) if maker and maker.name == "DEQUANTIZE" else None
    return stored is None or stored.dtype not in _WIDENED


def _pools_nothing(op: Op, links: Links) -> bool:
    return op.options.get("filter_width") == op.options.get("filter_height") == 1


def _changes_rank(op: Op, links: Links) -> bool:
    source = links.input(op, 0)
    return source is None or len(source.shape) != len(links.output(op).shape)


def _scale(tensor: Tensor | None) -> float:
    return tensor.scale[0] if tensor and tensor.scale and tensor.scale[0] > 0 else 1.0


def _scales_apart(op: Op, links: Links) -> bool:
    """Between int8 inputs and output, ratios of scales that XNNPACK's fixed-point arithmetic cannot take."""
    output = links.output(op)
    if output.dtype != "int8":
        return False
    first, second = (_scale(links.input(op, number)) for number in (0, 1))
    if op.name == "MUL":
        return not 2.0**-16 <= first * second / _scale(output) < 2.0**8
    return not all(2.0**-10 <= scale / _scale(output) < 2.0**8 for scale in (first, second))


def _is_hybrid(op: Op, links: Links) -> bool:
    weights = links.input(op, 1)
    return weights is None or weights.dtype != links.output(op).dtype


def _is_many(op: Op, links: Links) -> bool:
    return len(op.inputs) > _MOST_CONCATENATED


def _is_constant(op: Op, links: Links) -> bool:
    source = links.input(op, 0)
    return source is not None and source.is_constant


# What the delegate refuses of operators that it takes otherwise.
_REFUSES: Mapping[str, Callable[[Op, Links], bool]] = {
    "CONV_2D": _weights_vary,
    "FULLY_CONNECTED": _weights_vary,
    "DEPTHWISE_CONV_2D": _is_hybrid,
    "AVERAGE_POOL_2D": _pools_nothing,
    "MAX_POOL_2D": _pools_nothing,
    "CONCATENATION": _is_many,
    "STRIDED_SLICE": _changes_rank,
    "DEQUANTIZE": _is_constant,
    "ADD": _scales_apart,
    "SUB": _scales_apart,
    "MUL": _scales_apart,
}
