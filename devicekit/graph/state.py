"""Which ops of a .tflite keep a state from one inference to the next, and how an app begins anew."""

from collections.abc import Iterator
from typing import Any

from devicekit.graph.model import Graph, Op

# Writes a resource variable; in the subgraph that CALL_ONCE runs it only sets the first value.
WRITES_VARIABLE = "ASSIGN_VARIABLE"
RESET_TENSORS = (
    "before each sequence: reset_all_variables() in Python, resetVariableTensors() in Java, "
    "MicroInterpreter::Reset() in TFLM"
)
# reset_all_variables() leaves resource variables as they are (LiteRT 2.3, November 2026).
RESET_RESOURCES = "with a new interpreter for each sequence, in TFLM by MicroInterpreter::Reset()"

# A golden sample's "later/" outputs are those of this inference of one process, on the same input.
LATER = 3


def keeping_state(graph: Graph) -> tuple[str, ...]:
    """Returns the labels of the ops that keep a state, each once; () for a file that keeps none."""
    return tuple(dict.fromkeys(op.label for op, _ in _keeping(graph)))


def begin_anew(graph: Graph) -> str | None:
    """Returns in words how an app makes the file forget, None where it keeps no state."""
    kinds = {writes_resource for _, writes_resource in _keeping(graph)}
    if not kinds:
        return None
    return RESET_RESOURCES if True in kinds else RESET_TENSORS


def state_json(graph: Graph) -> dict[str, Any] | None:
    """Returns {"ops", "begin_anew"} for results that scripts read; None for a file that keeps no state."""
    ops = keeping_state(graph)
    return {"ops": list(ops), "begin_anew": begin_anew(graph)} if ops else None


def _keeping(graph: Graph) -> Iterator[tuple[Op, bool]]:
    """Yields (op, whether its state is a resource variable) for what is written in every inference."""
    once = {
        op.options.get("init_subgraph_index")
        for subgraph in graph.subgraphs
        for op in subgraph.ops
        if op.name == "CALL_ONCE"
    }
    for number, subgraph in enumerate(graph.subgraphs):
        if number in once:
            continue
        for op in subgraph.ops:
            if op.name == WRITES_VARIABLE:
                yield op, True
            elif any(index >= 0 and subgraph.tensors[index].is_variable for index in op.inputs):
                yield op, False
