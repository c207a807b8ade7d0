"""Says which values a model's inputs take, as far as the file tells, and makes random ones."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from devicekit.errors import LoadError, UsageError
from devicekit.graph.model import DTYPE_BITS, Graph, Op, Subgraph, Tensor
from devicekit.graph.read import read_constant
from devicekit.graph.told import NOTHING_TOLD, Told, draw

if TYPE_CHECKING:
    import numpy as np

_FLOATS = ("float32", "float16", "float64")
_QUANTIZED = ("int8", "uint8", "int16")
_FREE_INTEGER_HIGH = 9  # for integers that nothing bounds: small, so that they do as sizes and counts too
_MAX_BYTES = 2**30

# Operators that pass a value on, so that a lookup behind them still bounds the input.
_PASSING = (
    "CAST",
    "RESHAPE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "TRANSPOSE",
    "SLICE",
    "STRIDED_SLICE",
    "PACK",
    "UNPACK",
    "CONCATENATION",
    "MINIMUM",
    "MAXIMUM",
    "RELU",
    "FLOOR",
    "ROUND",
)

# Keras 3's Embedding wraps negative indices: SELECT(i < 0, i + rows, i).
_WRAPPING = ("ADD", "SELECT", "SELECT_V2")


def input_range(graph: Graph, name: str) -> tuple[float, float]:
    """Returns the lowest and highest valid value of the input `name`, inclusive, as fed (raw if quantized).

    Indices of tables and one-hot classes: what the table holds. Other floats: 0..1, the usual range of
    prepared inputs, for the file does not say. Other integers: what the dtype holds.
    """
    tensor = graph.input_tensors[name]
    rows = _lookup_rows(graph, graph.main, tensor.index)
    if rows:
        return 0, rows - 1
    if tensor.dtype.startswith(("int", "uint")):
        bits = DTYPE_BITS[tensor.dtype] or 0
        return (0, 2**bits - 1) if tensor.dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return 0, 1


def random_range(graph: Graph, name: str) -> tuple[float, float]:
    """Returns the range that `random_inputs` draws from: input_range, or the usual part of it.

    Quantized inputs: the raw values of 0..1. Integers that nothing bounds: 0..9.
    """
    tensor = graph.input_tensors[name]
    low, high = input_range(graph, name)
    if not tensor.dtype.startswith(("int", "uint")) or _lookup_rows(graph, graph.main, tensor.index):
        return low, high
    if tensor.dtype in _QUANTIZED and len(tensor.scale) == 1 and tensor.scale[0] > 0:
        zero = tensor.zero_point[0] if tensor.zero_point else 0
        one = min(round(1 / tensor.scale[0]), high - low)
        return min(max(zero, low), high), min(max(zero + one, low), high)
    return 0, min(_FREE_INTEGER_HIGH, high)


def index_inputs(graph: Graph) -> dict[str, int]:
    """Returns the float inputs, by name, that are indices, with the rows of the table they point into."""
    rows = {
        name: _lookup_rows(graph, graph.main, tensor.index)
        for name, tensor in graph.input_tensors.items()
        if tensor.dtype in _FLOATS
    }
    return {name: count for name, count in rows.items() if count}


def ops_before_lookups(graph: Graph) -> list[Op]:
    """Returns the ops that indices in floats go through before they are looked up."""
    inputs = [graph.input_tensors[name].index for name in index_inputs(graph)]
    reached = [pair for index in inputs for pair in _reached(graph.main, index)]
    # Behind a CAST they are integers.
    found = {
        id(op): op
        for op, tensor in reached
        if _passes(op, tensor) and op.name != "CAST" and tensor.dtype in _FLOATS
    }
    return list(found.values())


def random_inputs(
    graph: Graph, count: int, seed: int, told: Mapping[str, Told] = NOTHING_TOLD
) -> dict[str, "np.ndarray[Any, Any]"]:
    """Returns `count` samples for each input, by its name: [count, *shape[1:]] of the input's dtype.

    The first axis is the batch; other open dimensions are 1. Equal seeds give equal values. Float inputs are
    within what is `told` of them by name, else within 0..1. Raises UsageError
    for inputs that cannot be drawn (strings, handles) or that would take more than 1 GiB.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    samples = {}
    for name, tensor in graph.input_tensors.items():
        shape = (count, *(max(dim, 1) for dim in tensor.shape[1:]))
        _check(graph, name, tensor, count=count)
        low, high = random_range(graph, name)
        if tensor.dtype in _FLOATS and name in told:
            values: Any = draw(told[name], shape, generator)
        elif tensor.dtype in _FLOATS:
            values = generator.uniform(low, high, shape)
        elif tensor.dtype.startswith("complex"):
            values = generator.random(shape) + 1j * generator.random(shape)
        else:
            values = generator.integers(int(low), int(high), shape, endpoint=True, dtype=np.int64)
        samples[name] = values.astype(tensor.dtype)
    return samples


def _check(graph: Graph, name: str, tensor: Tensor, *, count: int) -> None:
    drawn = (*_FLOATS, "complex64", "complex128", "bool", *_INTEGERS)
    if tensor.dtype not in drawn:
        raise UsageError(
            f'{graph.path.name}: input "{name}" is {tensor.dtype}, which cannot be drawn at random',
            remedy="give real samples with --data",
        )
    sample_bytes = tensor.size_bytes or 0
    if sample_bytes * count > _MAX_BYTES:
        raise UsageError(
            f'{graph.path.name}: {count} random samples of input "{name}" {list(tensor.shape)} would take '
            f"{sample_bytes * count / 2**30:.1f} GiB",
            remedy="give fewer real samples with --data",
        )


_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


def _lookup_rows(graph: Graph, subgraph: Subgraph, index: int) -> int | None:
    """Returns the entries of the smallest table that tensor `index` is looked up in; None without one."""
    found = (
        _rows(graph, subgraph, op, tensor=tensor.index)
        for op, tensor in _reached(subgraph, index)
        if not _passes(op, tensor)
    )
    return min((rows for rows in found if rows is not None), default=None)


def _reached(subgraph: Subgraph, index: int) -> Iterator[tuple[Op, Tensor]]:
    """Yields the ops that read tensor `index`, or what passes it on, each with the tensor that it reads."""
    pending, seen = [index], {index}
    consumers = _consumers(subgraph)
    while pending:
        tensor = subgraph.tensors[pending.pop()]
        for op in consumers.get(tensor.index, ()):
            yield op, tensor
            if _passes(op, tensor):
                new = set(op.outputs) - seen
                pending.extend(new)
                seen |= new


def _passes(op: Op, tensor: Tensor) -> bool:
    if op.name in _WRAPPING:
        return tensor.dtype.startswith("int")
    return op.name in _PASSING and (op.inputs[0] == tensor.index or op.name in ("CONCATENATION", "PACK"))


def _consumers(subgraph: Subgraph) -> dict[int, list[Op]]:
    consumers: dict[int, list[Op]] = {}
    for op in subgraph.ops:
        for index in set(op.inputs):
            consumers.setdefault(index, []).append(op)
    return consumers


def _rows(graph: Graph, subgraph: Subgraph, op: Op, *, tensor: int) -> int | None:
    """Returns the number of values that `op` takes for its input `tensor`, if it looks something up by it."""
    if len(op.inputs) < 2 or min(op.inputs[:2]) < 0:
        return None
    first, second = (subgraph.tensors[i] for i in op.inputs[:2])
    if op.name == "GATHER" and second.index == tensor and first.shape:
        axis = op.options.get("axis", 0)
        return _positive(first.shape[axis]) if -len(first.shape) <= axis < len(first.shape) else None
    if op.name == "EMBEDDING_LOOKUP" and first.index == tensor and second.shape:
        return _positive(second.shape[0])
    if op.name == "ONE_HOT" and first.index == tensor and second.dtype == "int32":
        return _positive(_scalar(graph, second))
    return None


def _positive(count: int) -> int | None:
    return count if count > 0 else None


def _scalar(graph: Graph, tensor: Tensor) -> int:
    """Returns the value of a constant int32 scalar; 0 where it cannot be read."""
    try:
        return int.from_bytes(read_constant(graph.path, tensor)[:4], "little", signed=True)
    except LoadError:  # a graph that was read from bytes
        return 0
