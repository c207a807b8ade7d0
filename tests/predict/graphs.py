"""Small graphs, written down."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from devicekit.graph.model import Graph, Op, Subgraph, Tensor


def graph_of(
    *ops: tuple[str, tuple[int, ...], int],
    tensors: Sequence[tuple[str, tuple[int, ...], bool]],
    options: Mapping[int, Mapping[str, int]] = MappingProxyType({}),
) -> Graph:
    """Returns a graph of (op, inputs, output) over (dtype, shape, is constant), from first to last.

    `options` are those of the ops, by their numbers.
    """
    values = []
    for index, (dtype, shape, is_constant) in enumerate(tensors):
        tensor = Tensor(index, f"t{index}", dtype, shape, shape)
        values.append(replace(tensor, data_bytes=(tensor.size_bytes or 0) if is_constant else 0))
    listed = tuple(
        Op(i, name, 1, inputs, (output,), options=options.get(i, {}))
        for i, (name, inputs, output) in enumerate(ops)
    )
    main = Subgraph("main", tuple(values), listed, (0,), (len(values) - 1,))
    return Graph(Path("m.tflite"), 0, "", (main,), (), None, "")
