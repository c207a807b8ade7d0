"""What a .tflite needs of memory: planned from the graph, or measured once where that fails."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from devicekit.graph.arena import ArenaPlan, plan_arena, plan_subgraph, widened
from devicekit.graph.buffers import is_hybrid
from devicekit.graph.model import Graph, Op, Subgraph
from devicekit.graph.proven import unplanned_reason
from devicekit.predict import xnnpack
from devicekit.predict.partitions import Delegated, Partition, delegated
from devicekit.words import attributes

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

Delegate = Literal["xnnpack", "builtin"]
Kernels = Literal["xnnpack", "builtin", "tflm"]
Verdict = Literal["fits", "tight", "does not fit"]
KIB, MIB = 1024, 2**20

# RSS of the board script with LiteRT 2.3.0 loaded and warmed, before the model: x86_64, 1008 runs, 11/2026.
BASE_BYTES = int(18.6 * MIB)
# What is not in any plan: tables of nodes and tensors, allocators' pages. Fitted to 564 files in XNNPACK and
# 906 on built-in kernels (LiteRT 2.3.0, x86_64, 11/2026); see `tools/bench prediction`.
_FIXED_BYTES = 58 * KIB
_DELEGATED_OP_BYTES, _OWN_OP_BYTES, _TENSOR_BYTES = 3660, 1830, 190
# Code pages of kernels that a model is the first to touch: 0 .. 0.8 MiB, the median.
_CODE_BYTES = int(0.3 * MIB)
# Operators whose built-in kernels pack matrices while they run: how much is only guessed, 30 % off for some.
_PACKING = ("CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "UNIDIRECTIONAL_SEQUENCE_LSTM")
# Errors seen: 9.8 % at most above 1 MiB, 0.12 MiB below.
_RELATIVE_ERROR, _ABSOLUTE_ERROR_BYTES = 0.10, int(0.15 * MIB)
# Of a measured run: it repeats within 0.1 MiB.
_RUN_RELATIVE_ERROR, _RUN_ABSOLUTE_ERROR_BYTES = 0.02, int(0.1 * MIB)


@dataclass(frozen=True)
class OpMemory:
    """Bytes of activations in use while operator `op` of the main subgraph runs."""

    op: int
    name: str
    alive_bytes: int


@dataclass(frozen=True)
class MemoryPrediction:
    """Bytes, as growth over the runtime's own `base_bytes`. The parts add up to `planned_bytes`.

    `weights_bytes` are the constants of the file. `packed_bytes` is XNNPACK's copy of them,
    `indirection_bytes` its pointers to input pixels. `arena_bytes` holds all activations: LiteRT's two arenas
    and XNNPACK's workspace. `scratch_bytes` is what built-in kernels allocate while they run,
    `overhead_bytes` tables and allocators. `must_have_bytes` is what nothing can reclaim, `peak_rss_bytes`
    adds the mapped file. `evidence` is "predicted" where they are the plan, "simulated" where they were
    measured in a run on this host, because the plan is only a lower bound: `reason` says why. None: not
    known. `arena_exact`: LiteRT's interpreter allocates these bytes. `error_bytes` is how far off the figure
    may be.
    """

    evidence: Literal["predicted", "simulated"]
    delegate: Kernels
    file_bytes: int
    weights_bytes: int
    packed_bytes: int
    indirection_bytes: int
    arena_bytes: int
    arena_exact: bool
    scratch_bytes: int
    overhead_bytes: int
    base_bytes: int | None
    planned_bytes: int
    must_have_bytes: int | None
    peak_rss_bytes: int | None
    reason: str | None
    timeline: tuple[OpMemory, ...]

    @property
    def error_bytes(self) -> int:
        if self.delegate == "tflm":
            return 0
        known = self.must_have_bytes or self.planned_bytes
        if self.evidence == "simulated":
            return max(int(known * _RUN_RELATIVE_ERROR), _RUN_ABSOLUTE_ERROR_BYTES)
        return max(int(known * _RELATIVE_ERROR), _ABSOLUTE_ERROR_BYTES)

    @property
    def least_bytes(self) -> int:
        """Returns what must-have memory is at least, planned or measured, by all that is known of errors."""
        if self.evidence == "simulated" and self.must_have_bytes is not None:
            return self.must_have_bytes - self.error_bytes
        if self.delegate == "tflm":
            return self.planned_bytes
        surely = int((1 - _RELATIVE_ERROR) * (self.planned_bytes - self.overhead_bytes))
        return max(surely, self.planned_bytes - max(self.error_bytes, _ABSOLUTE_ERROR_BYTES))

    @property
    def peak(self) -> OpMemory | None:
        """Returns the operator at which most activations are alive."""
        return max(self.timeline, key=lambda one: one.alive_bytes, default=None)

    def verdict(self, limit_bytes: int | None) -> Verdict | None:
        """Returns whether must-have memory is within the limit; "tight" within the error; None: no limit, or
        only a lower bound below it."""
        if limit_bytes is None:
            return None
        if self.least_bytes > limit_bytes:
            return "does not fit"
        if self.must_have_bytes is None:
            return None
        return "fits" if self.must_have_bytes + self.error_bytes <= limit_bytes else "tight"

    def to_json(self, limit_bytes: int | None) -> dict[str, Any]:
        peak = self.peak
        return {
            **attributes(
                self,
                *("evidence", "delegate", "file_bytes", "weights_bytes", "packed_bytes", "indirection_bytes"),
                *("arena_bytes", "arena_exact", "scratch_bytes", "overhead_bytes", "base_bytes"),
                *("planned_bytes", "must_have_bytes", "peak_rss_bytes", "error_bytes", "reason"),
            ),
            "limit_bytes": limit_bytes,
            "verdict": self.verdict(limit_bytes),
            "peak_op": None if peak is None else {"index": peak.op, "name": peak.name},
            "timeline": [attributes(one, "op", "name", "alive_bytes") for one in self.timeline],
        }


def plan_memory(graph: Graph, delegate: Delegate = "xnnpack", *, threads: int = 1) -> MemoryPrediction:
    """Returns the plan for the main subgraph, with 1 for each open dimension. Nothing runs.

    Where the plan is a lower bound, must-have and peak RSS are None and `reason` says why.
    """
    subgraph = graph.main
    if delegate == "builtin":
        steps = Delegated(subgraph.ops)
        arena = plan_arena(graph, threads=threads)
    else:
        steps = delegated(subgraph)
        arena = plan_subgraph(replace(subgraph, ops=_nodes(steps, subgraph)), threads=threads)
    kept = [xnnpack.allocated(partition, subgraph) for partition in steps.partitions]
    workspace_bytes = max((one.workspace_bytes for one in kept), default=0)
    own = [op for op in steps.steps if isinstance(op, Op)]
    scratch_bytes = _scratch_bytes(own, subgraph)
    overhead_bytes = (
        _FIXED_BYTES
        + _OWN_OP_BYTES * len(own)
        + _DELEGATED_OP_BYTES * (len(subgraph.ops) - len(own))
        + _TENSOR_BYTES * len(subgraph.tensors)
    )
    packed_bytes = sum(one.packed_bytes for one in kept)
    indirection_bytes = sum(one.indirection_bytes for one in kept)
    arena_bytes = arena.arena_bytes + arena.persistent_bytes + arena.heap_bytes + workspace_bytes
    planned = packed_bytes + indirection_bytes + arena_bytes + scratch_bytes + overhead_bytes
    reason = unplanned_reason(graph) or _transient(steps, subgraph)
    if reason is None and delegate == "builtin" and any(op.name in _PACKING for op in own):
        reason = "the built-in kernels pack matrices while they run, by rules of their libraries"
    return MemoryPrediction(
        evidence="predicted",
        delegate=delegate,
        file_bytes=graph.size_bytes,
        weights_bytes=weights_bytes(graph),
        packed_bytes=packed_bytes,
        indirection_bytes=indirection_bytes,
        arena_bytes=arena_bytes,
        arena_exact=arena.exact and not steps.partitions,
        scratch_bytes=scratch_bytes,
        overhead_bytes=overhead_bytes,
        base_bytes=BASE_BYTES,
        planned_bytes=planned,
        must_have_bytes=None if reason else planned,
        peak_rss_bytes=None if reason else planned + graph.size_bytes - _unread_bytes(graph) + _CODE_BYTES,
        reason=reason,
        timeline=tuple(_timeline(steps, arena, kept)),
    )


def measured_memory(
    plan: MemoryPrediction, must_have_bytes: int, peak_rss_bytes: int | None, base_bytes: int | None
) -> MemoryPrediction:
    """Returns the prediction with what a run on this host needed in place of the plan."""
    return replace(
        plan,
        evidence="simulated",
        must_have_bytes=must_have_bytes,
        peak_rss_bytes=peak_rss_bytes,
        base_bytes=base_bytes or plan.base_bytes,
    )


# What a lookup in a mapped table brings in around it (Linux maps what lies in the page cache nearby).
_LOOKUP_BYTES = 96 * KIB


def _unread_bytes(graph: Graph) -> int:
    """Returns the bytes of tables of which an inference looks up a few rows: the rest is never mapped."""
    tensors = graph.main.tensors
    lookups = [op for op in graph.main.ops if op.name == "GATHER" and min(op.inputs[:2], default=-1) >= 0]
    others = {i for op in graph.main.ops if op.name != "GATHER" for i in op.inputs}
    read: dict[int, int] = {}
    for op in lookups:
        if len(op.inputs) > 1 and tensors[op.inputs[0]].is_constant and op.inputs[0] not in others:
            count = tensors[op.inputs[1]].element_count
            read[op.inputs[0]] = read.get(op.inputs[0], 0) + count * _LOOKUP_BYTES
    return sum(max(tensors[table].data_bytes - touched, 0) for table, touched in read.items())


def micro_memory(graph: Graph, needed_bytes: int | None, reason: str | None) -> MemoryPrediction:
    """Returns a microcontroller's memory: its arena, as TFLM needs it, or planned without the persistent
    part.

    `needed_bytes` is None where it was not run, or does not run: `reason` says why.
    """
    plan = plan_arena(graph, "tflm")
    names = {op.index: op.label for op in graph.main.ops}
    return MemoryPrediction(
        evidence="predicted" if needed_bytes is None else "simulated",
        delegate="tflm",
        file_bytes=graph.size_bytes,
        weights_bytes=weights_bytes(graph),
        packed_bytes=0,
        indirection_bytes=0,
        arena_bytes=plan.arena_bytes if needed_bytes is None else needed_bytes,
        arena_exact=needed_bytes is not None,
        scratch_bytes=0,
        overhead_bytes=0,
        base_bytes=None,
        planned_bytes=plan.arena_bytes,
        must_have_bytes=needed_bytes,
        peak_rss_bytes=None,
        reason=reason,
        timeline=tuple(
            OpMemory(i, names[i], alive) for i, alive in enumerate(plan.alive_bytes) if i in names
        ),
    )


def delegate_of(profile: "Profile | None") -> Delegate:
    """Returns what runs a model on the CPU there: the built-in kernels alone, or XNNPACK."""
    return "builtin" if profile and profile.runtime.delegate == "none" else "xnnpack"


def weights_bytes(graph: Graph) -> int:
    """Returns the bytes of all constants in the file; those that share a buffer count once."""
    sizes = {
        t.buffer: t.data_bytes for subgraph in graph.subgraphs for t in subgraph.tensors if t.is_constant
    }
    return sum(sizes.values())


def _nodes(steps: Delegated, subgraph: Subgraph) -> tuple[Op, ...]:
    """Returns the execution plan as LiteRT's planner sees it: a partition is one node.

    Widened weights that another partition uses get a place, which nobody ever writes to: they are left out.
    """
    absent = widened(subgraph)
    return tuple(
        Op(number, "DELEGATE", 1, step.inputs, tuple(i for i in step.outputs if i not in absent))
        if isinstance(step, Partition)
        else replace(step, index=number)
        for number, step in enumerate(steps.steps)
    )


def _transient(steps: Delegated, subgraph: Subgraph) -> str | None:
    """Returns why loading takes more than running; None where it does not."""
    if any(xnnpack.widens(partition, subgraph) for partition in steps.partitions):
        return "weights are widened while the model loads, and are there twice for a while"
    return None


def _scratch_bytes(own: Iterable[Op], subgraph: Subgraph) -> int:
    """Returns what LiteRT's matrix products pack while they run, of the largest one.

    ruy packs both operands of 8-bit products, Eigen about half of the weights of float ones (906 files).
    """
    most = 0.0
    for op in own:
        if op.name not in ("CONV_2D", "FULLY_CONNECTED") or min(op.inputs[:2], default=-1) < 0:
            continue
        if len(op.inputs) < 2 or min(op.outputs, default=-1) < 0:
            continue
        weights, output = subgraph.tensors[op.inputs[1]], subgraph.tensors[op.outputs[0]]
        if not weights.shape or not weights.shape[0]:
            continue
        rows = output.element_count // weights.shape[0]
        depth = weights.element_count // weights.shape[0]
        if rows <= 1 and op.name == "FULLY_CONNECTED":  # a vector is not packed, nor the matrix beside it
            continue
        if is_hybrid(output, weights) or output.dtype == "int8":
            most = max(most, 1.19 * (rows * depth + weights.element_count))
        elif output.dtype == "float32":
            most = max(most, 0.5 * 4 * weights.element_count)
    return int(most)


def _timeline(steps: Delegated, arena: ArenaPlan, kept: Iterable[xnnpack.Allocated]) -> Iterator[OpMemory]:
    of_partitions = iter(kept)
    for alive, step in zip(arena.alive_bytes, steps.steps, strict=True):
        if isinstance(step, Op):
            yield OpMemory(step.index, step.label, alive)
            continue
        for op, inner in zip(step.ops, next(of_partitions).alive_bytes, strict=True):
            yield OpMemory(op.index, op.label, alive + inner)
