"""MACs and parameters: each formula against a count by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devicekit.graph.macs import macs, op_macs, parameters
from devicekit.graph.model import Graph, Op, Subgraph, Tensor
from devicekit.graph.read import read_graph

DATA = Path(__file__).parent.parent / "data" / "tflite"


def one_op(
    name: str, inputs: list[tuple[int, ...] | None], output: tuple[int, ...], **options: Any
) -> tuple[Op, Subgraph]:
    """Returns an operator on float tensors of these shapes; None is an optional input left out."""
    shapes = [*(shape or () for shape in inputs), output]
    tensors = tuple(Tensor(i, f"t{i}", "float32", shape, shape) for i, shape in enumerate(shapes))
    indices = tuple(-1 if shape is None else i for i, shape in enumerate(inputs))
    op = Op(0, name, 1, indices, (len(inputs),), options=options)
    return op, Subgraph("main", tensors, (op,), (0,), (len(inputs),))


@pytest.mark.parametrize(
    ("name", "inputs", "output", "options", "expected"),
    [
        ("CONV_2D", [(1, 8, 8, 3), (16, 3, 3, 3), (16,)], (1, 8, 8, 16), {}, 8 * 8 * 16 * 27),
        ("CONV_2D", [(1, 8, 8, 4), (16, 3, 3, 2), (16,)], (1, 8, 8, 16), {}, 8 * 8 * 16 * 18),  # two groups
        ("DEPTHWISE_CONV_2D", [(1, 8, 8, 4), (1, 3, 3, 8), (8,)], (1, 4, 4, 8), {}, 4 * 4 * 8 * 9),
        ("FULLY_CONNECTED", [(2, 10), (5, 10), (5,)], (2, 5), {}, 2 * 50),
        ("TRANSPOSE_CONV", [(4,), (6, 3, 3, 2), (1, 4, 4, 2)], (1, 8, 8, 6), {}, 4 * 4 * 2 * 6 * 9),
        ("CONV_3D", [(1, 4, 4, 4, 2), (2, 3, 3, 2, 5)], (1, 3, 2, 2, 5), {}, 3 * 2 * 2 * 5 * 36),
        ("CONV_3D_TRANSPOSE", [(5,), (2, 2, 2, 3, 4), (1, 3, 3, 3, 4)], (1, 6, 6, 6, 3), {}, 27 * 4 * 24),
        ("BATCH_MATMUL", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), {"adj_x": False}, 2 * 3 * 5 * 4),
        ("BATCH_MATMUL", [(2, 4, 3), (2, 4, 5)], (2, 3, 5), {"adj_x": True}, 2 * 3 * 5 * 4),
        ("SVDF", [(1, 10), (8, 10), (8, 6)], (1, 4), {}, 80 + 48),
        ("UNIDIRECTIONAL_SEQUENCE_RNN", [(1, 7, 3), (4, 3), (4, 4)], (1, 7, 4), {}, 7 * (12 + 16)),
        ("ADD", [(1, 8), (1, 8)], (1, 8), {}, 0),
    ],
)
def test_macs_of_one_op(name: str, inputs: Any, output: Any, options: Any, expected: int) -> None:
    assert op_macs(*one_op(name, inputs, output, **options)) == expected


def test_an_lstm_takes_every_weight_once_per_step() -> None:
    graph = read_graph(DATA / "lstm.tflite")
    per_step = 4 * (4 * 3) + 4 * (4 * 4)
    assert macs(graph) == 7 * per_step + 4 * 2


def test_a_whole_cnn_is_the_sum_of_its_ops() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    assert macs(graph) == 36 * 8 * 27 + 36 * 8 * 9 + 36 * 8 * 8 + 72 * 5
    assert macs(read_graph(DATA / "cnn_int8.tflite")) == macs(graph)
    assert macs(read_graph(DATA / "cnn_dynamic_batch.tflite")) == macs(graph), "batch 1 where it is open"


def test_macs_are_unknown_where_height_and_width_are_open() -> None:
    op, subgraph = one_op("CONV_2D", [(1, 1, 1, 3), (16, 3, 3, 3)], (1, 1, 1, 16))
    tensors = list(subgraph.tensors)
    tensors[2] = replace(tensors[2], shape_signature=(1, -1, -1, 16))
    assert op_macs(op, replace(subgraph, tensors=tuple(tensors))) is None


def test_macs_are_unknown_for_ops_with_missing_inputs_or_odd_shapes() -> None:
    assert op_macs(*one_op("CONV_2D", [(1, 8, 8, 3)], (1, 8, 8, 16))) is None
    assert op_macs(*one_op("FULLY_CONNECTED", [(1, 8), None], (1, 8))) is None
    assert op_macs(*one_op("CONV_2D", [(1, 8, 8, 3), (16, 3)], (1, 8, 8, 16))) is None


def graph_of(*subgraphs: Subgraph) -> Graph:
    return Graph(Path("m.tflite"), 0, "", subgraphs, (), None, "")


def test_a_called_subgraph_counts_and_a_loop_makes_the_total_unknown() -> None:
    _, body = one_op("FULLY_CONNECTED", [(2, 10), (5, 10)], (2, 5))
    _, call = one_op("STABLEHLO_COMPOSITE", [(2, 10)], (2, 5), decomposition_subgraph_index=1)
    _, loop = one_op("WHILE", [(2, 10)], (2, 5), cond_subgraph_index=1, body_subgraph_index=1)
    _, endless = one_op("CALL", [(2, 10)], (2, 5), subgraph=0)
    assert macs(graph_of(call, body)) == 100
    assert macs(graph_of(loop, body)) is None
    assert macs(graph_of(endless)) is None


def test_parameters_are_weights_and_biases_but_not_shapes() -> None:
    expected = (8 * 27 + 8) + (9 * 8 + 8) + (64 + 8) + (72 * 5 + 5)
    for name in ("cnn_float32", "cnn_int8", "cnn_dynamic_batch"):
        assert parameters(read_graph(DATA / f"{name}.tflite")) == expected, name


def test_constants_that_share_their_data_count_once() -> None:
    shared = [Tensor(i, f"w{i}", "float32", (4, 4), (4, 4), data_bytes=64, buffer=3) for i in range(2)]
    assert parameters(graph_of(Subgraph("main", tuple(shared), (), (), ()))) == 16
