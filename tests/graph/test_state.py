from pathlib import Path

import pytest

from devicekit.graph.read import read_graph
from devicekit.graph.state import RESET_RESOURCES, RESET_TENSORS, begin_anew, keeping_state, state_json

MODELS = Path(__file__).parent.parent / "data" / "tflite"


@pytest.mark.parametrize(
    ("name", "ops", "how"),
    [
        ("lstm", ("UNIDIRECTIONAL_SEQUENCE_LSTM",), RESET_TENSORS),
        ("lstm_bidirectional", ("UNIDIRECTIONAL_SEQUENCE_LSTM",), RESET_TENSORS),
        ("remembering", ("ASSIGN_VARIABLE",), RESET_RESOURCES),
        ("lstm_unrolled", (), None),
        ("gru_loop", (), None),
        ("cnn_int8", (), None),
    ],
)
def test_what_keeps_a_state_and_how_to_begin_anew(name: str, ops: tuple[str, ...], how: str | None) -> None:
    graph = read_graph(MODELS / f"{name}.tflite")
    assert (keeping_state(graph), begin_anew(graph)) == (ops, how)
    assert state_json(graph) == ({"ops": list(ops), "begin_anew": how} if ops else None)


def test_the_value_that_call_once_sets_is_no_state() -> None:
    """The variable of `remembering` is assigned twice: once in the beginning, and in every inference."""
    graph = read_graph(MODELS / "remembering.tflite")
    writing = [op for subgraph in graph.subgraphs for op in subgraph.ops if op.name == "ASSIGN_VARIABLE"]
    assert len(writing) == 2
