"""Finds the outputs that differ from run to run: those that depend on operators that draw numbers."""

from devicekit.graph.model import Graph, Op, Subgraph
from devicekit.graph.read import SUBGRAPH_OPTIONS

# Source: LiteRT's builtin operators with random kernels (tensorflow/lite/kernels/random_ops.cc).
RANDOM_OPS = frozenset({"RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL"})


def random_ops(graph: Graph) -> tuple[str, ...]:
    """Returns the names of the operators that draw numbers, each once, sorted."""
    return tuple(sorted({op.name for op in graph.ops} & RANDOM_OPS))


def random_outputs(graph: Graph) -> tuple[str, ...]:
    """Returns the names of the outputs, as callers use them, that depend on drawn numbers."""
    drawn = _drawn(graph, graph.main)
    return tuple(name for name, tensor in graph.output_tensors.items() if tensor.index in drawn)


def _drawn(graph: Graph, subgraph: Subgraph) -> set[int]:
    """Returns the tensors that depend on drawn numbers; operators stand in the order of their execution."""
    drawing = _drawing_subgraphs(graph)
    drawn: set[int] = set()
    for op in subgraph.ops:
        if op.name in RANDOM_OPS or drawing.intersection(_called(op)) or drawn.intersection(op.inputs):
            drawn.update(index for index in op.outputs if index >= 0)
    return drawn


def _drawing_subgraphs(graph: Graph) -> set[int]:
    """Returns the indices of the subgraphs that draw numbers, themselves or by what they call."""
    drawing: set[int] = set()
    while True:
        found = {
            index
            for index, subgraph in enumerate(graph.subgraphs)
            if any(op.name in RANDOM_OPS or drawing.intersection(_called(op)) for op in subgraph.ops)
        }
        if found == drawing:
            return drawing
        drawing = found


def _called(op: Op) -> list[int]:
    return [op.options[key] for key in SUBGRAPH_OPTIONS if key in op.options]
