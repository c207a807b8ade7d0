"""Plans the reused part of a microcontroller's arena as TensorFlow Lite Micro does.

Redone from micro_allocation_info.cc and greedy_memory_planner.cc: every tensor has memory of its own, the
largest goes first, each into the first gap that holds it. Compared with tflite-micro
(tests/runner/test_micro.py).
"""

from collections.abc import Iterable, Iterator, Sequence

from devicekit.graph.model import Op, Subgraph, Tensor
from devicekit.graph.placement import Life, Placement

ALIGNMENT = 16  # bytes: MicroArenaBufferAlignment


def place_in_tflm(lives: Iterable[Life]) -> list[Placement]:
    """Returns where each of the lives lies, by offset. Of equal ones the later goes first."""
    placed: list[Placement] = []
    for life in sorted(reversed(list(lives)), key=lambda life: -life.size_bytes):
        offset = _first_gap(life, placed)
        placed.append(Placement(life.tensor, offset, life.size_bytes, life.first, life.last))
        placed.sort(key=lambda one: one.offset)
    return placed


def _first_gap(life: Life, placed: Sequence[Placement]) -> int:
    end = 0
    for other in placed:
        if other.last < life.first or other.first > life.last:
            continue
        if other.offset - end >= life.size_bytes:
            break
        end = max(end, other.offset + other.size_bytes)
    return end


def lives_in_tflm(subgraph: Subgraph) -> Iterator[Life]:
    """Yields tensors in the order of their numbers, then the kernels' buffers; operators count from 1."""
    first = {i: 0 for i in subgraph.inputs}
    last: dict[int, int] = {}
    for step, op in enumerate(subgraph.ops, start=1):
        for i in op.outputs:
            first.setdefault(i, step)
        for i in op.inputs:
            last[i] = step
    for i in subgraph.outputs:
        last[i] = len(subgraph.ops)
    for i in sorted(first):
        tensor = subgraph.tensors[i] if i >= 0 else None
        if tensor and tensor.size_bytes and not tensor.is_constant and not tensor.is_variable:
            yield Life(i, _aligned(tensor.size_bytes), first[i], max(last.get(i, 0), first[i]))
    for step, op in enumerate(subgraph.ops, start=1):
        for size in _scratch(op, subgraph):
            yield Life(-step, _aligned(size), step, step)


def _scratch(op: Op, subgraph: Subgraph) -> Iterator[int]:
    """Yields the bytes of the buffers that TFLM's reference kernels ask for."""
    if not op.outputs or not op.inputs or min(op.outputs[0], op.inputs[0]) < 0:
        return
    source, output = subgraph.tensors[op.inputs[0]], subgraph.tensors[op.outputs[0]]
    is_integer = output.dtype in ("int8", "int16")
    if op.name == "TRANSPOSE_CONV" and is_integer:
        yield output.element_count * (8 if output.dtype == "int16" else 4)
    elif op.name in ("MEAN", "SUM") and is_integer:
        yield 4 * output.element_count
    elif op.name in ("REDUCE_MAX", "REDUCE_MIN"):
        yield from (4 * len(source.shape), 4 * len(source.shape))
    elif op.name == "UNIDIRECTIONAL_SEQUENCE_LSTM" and len(op.inputs) > 19 and op.inputs[19] >= 0:
        yield from [_size(subgraph.tensors[op.inputs[19]])] * 4


def _size(tensor: Tensor) -> int:
    return tensor.size_bytes or 0


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
