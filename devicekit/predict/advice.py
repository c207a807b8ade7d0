"""What makes up a model's memory, and what would lower it, in words."""

from devicekit import words as fmt
from devicekit.graph.model import Graph, Tensor
from devicekit.predict.memory import MIB, MemoryPrediction


def in_parts(plan: MemoryPrediction) -> str:
    """Returns "activations 6.3 + packed weights 13.4 + input pointers 1.5 MiB", the largest first."""
    parts = {
        "activations": plan.arena_bytes,
        "packed weights": plan.packed_bytes,
        "input pointers": plan.indirection_bytes,
        "scratch": plan.scratch_bytes,
        "tables": plan.overhead_bytes,
    }
    shown = sorted(parts.items(), key=lambda part: -part[1])
    return " + ".join(f"{name} {fmt.size(size)}" for name, size in shown if size >= 0.01 * plan.planned_bytes)


def peak_in_words(plan: MemoryPrediction, graph: Graph) -> str | None:
    """Returns "CONV_2D (op 3): 4.6 MiB = 1.5 MiB in + 3.1 MiB out"; None for a graph without operators."""
    peak = plan.peak
    if peak is None:
        return None
    op = graph.main.ops[peak.op]
    tensors = graph.main.tensors
    read = sum(_activation_bytes(tensors[i]) for i in dict.fromkeys(op.inputs) if i >= 0)
    made = sum(_activation_bytes(tensors[i]) for i in op.outputs if i >= 0)
    other = peak.alive_bytes - read - made
    parts = [(read, "in"), (made, "out"), (other, "kept for later or scratch")]
    words = " + ".join(f"{fmt.size(size)} {what}" for size, what in parts if size > 0.01 * peak.alive_bytes)
    return f"{peak.name} (op {peak.op}): {fmt.size(peak.alive_bytes)} = {words}"


def lower(plan: MemoryPrediction, graph: Graph) -> str | None:
    """Returns what would lower must-have memory most; None where nothing is known to."""
    tensors = graph.main.tensors
    is_float = any(
        t.is_constant and t.dtype in ("float32", "float16") and t.data_bytes > 4096 for t in tensors
    )
    if plan.reason and "widened" in plan.reason:
        return "a recipe that keeps its weights as they are (dynamic_int8, int8) needs no widened copy"
    if plan.packed_bytes > plan.arena_bytes:
        if is_float:
            saved = fmt.size(0.75 * plan.packed_bytes)
            return f"8-bit weights (--recipe dynamic_int8 or int8) take about {saved} less"
        return "the copy of the weights is most of it: only a smaller model lowers that"
    peak = plan.peak
    if peak is None or plan.arena_bytes < MIB // 64:
        return None
    if is_float and any(_is_float_activation(t) for t in tensors):
        return f"8-bit activations (--recipe int8) take about {fmt.size(0.75 * plan.arena_bytes)} less"
    return "half the input's height and width takes about three quarters of the activations away (--shape)"


def _activation_bytes(tensor: Tensor) -> int:
    return 0 if tensor.is_constant else tensor.size_bytes or 0


def _is_float_activation(tensor: Tensor) -> bool:
    return not tensor.is_constant and tensor.dtype == "float32" and (tensor.size_bytes or 0) > 4096
