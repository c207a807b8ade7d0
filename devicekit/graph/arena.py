"""Plans the memory that LiteRT allocates for a Graph's activations.

The planner is LiteRT's, redone from what arena_planner.cc and simple_memory_arena.cc do: lifetimes, in-place
sharing, then placement by falling size into the smallest gap that fits; and a second, persistent arena for
what is kept between inferences.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from devicekit.graph.buffers import ASK_EARLY, Buffer, Kernels, buffers
from devicekit.graph.model import Graph, Subgraph, Tensor
from devicekit.graph.placement import FOREVER, Life, Placement, extent, hash_order, in_order, place
from devicekit.graph.proven import inexact_reason
from devicekit.graph.tflm import lives_in_tflm, place_in_tflm

_ALIGNMENT = 64  # bytes: kDefaultTensorAlignment
_SCALAR_BYTES = 4  # kScalarTensorBytes: what is this small is not shared

# How many of the first inputs an operator may write its output over; and those that only change the shape.
_IN_PLACE = {"ADD": 2, "SUB": 2, "MUL": 2, "DIV": 2, "SOFTMAX": 1}
_RESHAPING = {"RESHAPE": 1, "SQUEEZE": 1, "EXPAND_DIMS": 1, "BITCAST": 1}

# Placing takes quadratic time: beyond this only the bytes alive at once are counted.
_MAX_PLACED = 8000


@dataclass(frozen=True)
class ArenaPlan:
    """Sizes in bytes. `exact`: the interpreter allocates these bytes. If not, `reason` says why not.

    `persistent_bytes` is the second arena: variables, constants that DEQUANTIZE widens, sums over weights.
    `heap_bytes` is what kernels keep apart from both. `alive_bytes` holds, for each operator, the bytes of
    the arena that are in use there.
    """

    arena_bytes: int
    persistent_bytes: int
    heap_bytes: int
    exact: bool
    reason: str | None
    placements: tuple[Placement, ...]
    persistent: tuple[Placement, ...]
    alive_bytes: tuple[int, ...]

    @property
    def peak_op(self) -> int | None:
        """Returns the first operator at which most bytes are alive; None where there is no operator."""
        alive = self.alive_bytes
        return max(range(len(alive)), key=alive.__getitem__) if alive else None


def plan_arena(graph: Graph, kernels: Kernels = "builtin", *, threads: int = 1) -> ArenaPlan:
    """Returns the plan for the main subgraph, with 1 for each open dimension.

    "builtin" adds the buffers that LiteRT's own kernels work in. "tflm" is the part of a microcontroller's
    arena that is reused; the persistent part comes on top.
    """
    if kernels == "tflm":
        return _micro_plan(graph.main)
    return plan_subgraph(graph.main, threads=threads, inexact=inexact_reason(graph))


def _micro_plan(subgraph: Subgraph) -> ArenaPlan:
    reason = "TFLM's persistent part comes on top"
    lives = list(lives_in_tflm(subgraph))
    alive = tuple(
        _alive_bytes(
            subgraph, (replace(life, first=max(life.first - 1, 0), last=life.last - 1) for life in lives)
        )
    )
    if len(lives) > _MAX_PLACED:
        return ArenaPlan(max(alive, default=0), 0, 0, False, reason, (), (), alive)
    placements = place_in_tflm(lives)
    return ArenaPlan(extent(placements), 0, 0, False, reason, tuple(placements), (), alive)


def plan_subgraph(subgraph: Subgraph, *, threads: int = 1, inexact: str | None = None) -> ArenaPlan:
    """Returns the plan for operators that may be a delegate's nodes; `inexact` is its reason."""
    lives = _lives(subgraph, threads)
    alive = tuple(_alive_bytes(subgraph, (life for life in lives if life.where == "arena")))
    heap_bytes = sum(life.size_bytes for life in lives if life.where == "heap")
    if len(lives) > _MAX_PLACED:
        reason = f"{len(lives)} tensors are too many to place: these bytes are alive at once"
        kept_bytes = sum(life.size_bytes for life in lives if life.where == "persistent")
        return ArenaPlan(max(alive, default=0), kept_bytes, heap_bytes, False, reason, (), (), alive)
    ordered = in_order(life for life in lives if life.where != "heap")
    placements = place((life for life in ordered if life.where == "arena"), _ALIGNMENT)
    kept = [replace(life, last=FOREVER) for life in ordered if life.where == "persistent"]
    persistent = place(kept, _ALIGNMENT)
    return ArenaPlan(
        extent(placements),
        extent(persistent),
        heap_bytes,
        inexact is None,
        inexact,
        tuple(placements),
        tuple(persistent),
        alive,
    )


def _lives(subgraph: Subgraph, threads: int) -> list[Life]:
    """Returns the lives of all tensors and buffers, in the order in which LiteRT lists them."""
    owner = _owners(subgraph)
    kept = widened(subgraph) | {tensor.index for tensor in subgraph.tensors if tensor.is_variable}
    last = _last_uses(subgraph, owner)
    begun: set[int] = set()
    lives: list[Life] = []
    variables = [tensor.index for tensor in subgraph.tensors if tensor.is_variable]
    temporaries = _numbered_buffers(subgraph, threads)
    for number in range(max(len(subgraph.ops), 1)):
        starting = [*variables, *subgraph.inputs] if number == 0 else []
        starting += subgraph.ops[number].outputs if subgraph.ops else ()
        starting = [i for i in starting if i >= 0 and i not in begun]
        begun.update(starting)
        own = temporaries.get(number, {})
        for i in hash_order([*starting, *own]):
            if i in own:
                lives.append(Life(-1 - number, own[i].size_bytes, number, number, own[i].where))
            else:
                where = _where(subgraph.tensors[i], owner, kept)
                lives.append(Life(i, _size(subgraph.tensors[i]), number, last.get(i, FOREVER), where))
    return [life for life in lives if life.size_bytes and not _is_constant(life.tensor, subgraph)]


def _numbered_buffers(subgraph: Subgraph, threads: int) -> dict[int, dict[int, Buffer]]:
    """Returns op -> tensor number -> buffer: numbers follow those of the tensors, from op to op."""
    found: dict[int, dict[int, Buffer]] = {}
    number = len(subgraph.tensors)
    for op in sorted(subgraph.ops, key=lambda op: op.name not in ASK_EARLY):
        own = buffers(op, subgraph, threads=threads)
        found[op.index] = {i: buffer for i, buffer in enumerate(own, start=number) if buffer.size_bytes}
        number += len(own)
    return found


def _where(
    tensor: Tensor, owner: Mapping[int, int], kept: set[int]
) -> Literal["arena", "persistent", "shared"]:
    if tensor.index in kept:
        return "persistent"
    root = owner.get(tensor.index)
    return "shared" if root is not None and root not in kept else "arena"


def _last_uses(subgraph: Subgraph, owner: Mapping[int, int]) -> dict[int, int]:
    """Returns the op behind which each tensor's memory is free; tensors that stay to the end are left out."""
    uses = [0] * len(subgraph.tensors)
    for op in subgraph.ops:
        for i in op.inputs:
            if i >= 0:
                uses[owner.get(i, i)] += 1
    stay = [*subgraph.inputs, *subgraph.outputs]
    for i in (*stay, *(tensor.index for tensor in subgraph.tensors if tensor.is_variable)):
        uses[i] += 1  # never freed
    last: dict[int, int] = {}
    for op in subgraph.ops:
        for i in op.inputs:
            if i >= 0:
                root = owner.get(i, i)
                uses[root] -= 1
                if uses[root] == 0:
                    last[root] = op.index
    return last


def widened(subgraph: Subgraph) -> set[int]:
    """Returns the tensors that DEQUANTIZE makes of constants: weights that the file stores narrower."""
    return {
        op.outputs[0]
        for op in subgraph.ops
        if op.name == "DEQUANTIZE" and op.outputs and all(_is_constant(i, subgraph) for i in op.inputs)
    }


def _owners(subgraph: Subgraph) -> dict[int, int]:
    """Returns the tensors that share another's memory -> that other: ArenaPlanner::IdentifyInPlaceTensors."""
    uses = [0] * len(subgraph.tensors)
    for i in (*subgraph.inputs, *subgraph.outputs, *(i for op in subgraph.ops for i in op.inputs)):
        if i >= 0:
            uses[i] += 1
    owner: dict[int, int] = {}
    for op in subgraph.ops:
        shareable = _IN_PLACE.get(op.name, 0) or _RESHAPING.get(op.name, 0)
        if not op.outputs or op.outputs[0] in subgraph.outputs:
            continue
        for i in op.inputs[:shareable]:
            if i < 0 or i in subgraph.inputs or not _in_arena(subgraph.tensors[i]):
                continue
            source, output = subgraph.tensors[i], subgraph.tensors[op.outputs[0]]
            root = owner.get(i, i)
            if _size(source) != _size(output):
                continue
            if op.name in _IN_PLACE:
                if uses[i] > 1 or _size(source) <= _SCALAR_BYTES:
                    continue
                if uses[root] > 1:
                    break  # only the first candidate is looked at further
            owner[op.outputs[0]] = root
            break
    return owner


def _alive_bytes(subgraph: Subgraph, lives: Iterable[Life]) -> list[int]:
    """Returns the bytes of the arena that are in use at each operator."""
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
