"""What a loop carries is integers, of one scale wherever it goes."""

from pathlib import Path

import numpy as np
import pytest

from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.quantize.spans import with_loops
from tests.quantize.building import build

# A loop of 60 turns at most, which ends where a float that it carries is small.
CONDITION = Path(__file__).parent.parent / "data" / "tflite" / "loop_until.tflite"
LOOP = Path(__file__).parent.parent / "data" / "tflite" / "gru_loop.tflite"


def carried(graph: Graph) -> list[set[tuple[str, tuple[float, ...], tuple[int, ...]]]]:
    """Returns, of each value that the loop carries, its dtypes with their scales and zero points."""
    [(subgraph, op)] = [(one, op) for one in graph.subgraphs for op in one.ops if op.name == "WHILE"]
    body, condition = (graph.subgraphs[op.options[f"{name}_subgraph_index"]] for name in ("body", "cond"))
    places = zip(
        [subgraph.tensors[index] for index in op.inputs],
        [subgraph.tensors[index] for index in op.outputs],
        [body.tensors[index] for index in body.inputs],
        [body.tensors[index] for index in body.outputs],
        [condition.tensors[index] for index in condition.inputs],
        strict=True,
    )
    return [{(one.dtype, one.scale, one.zero_point) for one in each} for each in places]


@pytest.mark.parametrize(("recipe", "dtype"), [("int8", "int8"), ("int16x8", "int16")])
def test_a_loop_carries_integers_of_one_scale(recipe: str, dtype: str, tmp_path: Path) -> None:
    (one,) = build(LOOP, [recipe], data=None, out_dir=tmp_path).candidates
    assert one.path and one.findings == ()
    values = carried(read_graph(one.path))
    assert all(len(value) == 1 for value in values)
    assert dtype in {next(iter(value))[0] for value in values}


def test_with_float_borders_a_loop_carries_floats_and_computes_in_integers(tmp_path: Path) -> None:
    (one,) = build(LOOP, ["int8_float_io"], data=None, out_dir=tmp_path).candidates
    assert one.path and one.findings == () and one.fidelity and one.fidelity.cosine > 0.999
    values = carried(read_graph(one.path))
    assert {dtype for value in values for dtype, _, _ in value} <= {"float32", "int32"}


@pytest.mark.parametrize("recipe", ["int8", "int8_float_io", "int16x8", "dynamic_int8"])
def test_a_condition_reads_what_the_loop_carries(recipe: str, tmp_path: Path) -> None:
    (one,) = build(CONDITION, [recipe], data=None, out_dir=tmp_path).candidates
    assert one.findings == () and one.path
    assert one.fidelity and one.fidelity.cosine > 0.99
    assert all(len({dtype for dtype, *_ in value}) == 1 for value in carried(read_graph(one.path)))


def test_all_that_a_loop_carries_has_the_range_of_all_its_values() -> None:
    graph = read_graph(LOOP)
    [op] = [op for op in graph.main.ops if op.name == "WHILE"]
    body = graph.subgraphs[op.options["body_subgraph_index"]]
    number = next(n for n, index in enumerate(op.inputs) if graph.main.tensors[index].dtype == "float32")
    before, behind = body.tensors[body.inputs[number]], body.tensors[body.outputs[number]]
    own = {
        before.name: {"min": np.array([-1.0]), "max": np.array([2.0])},
        behind.name: {"min": np.array([-3.0]), "max": np.array([1.0])},
    }
    found = with_loops(own, graph)
    outside = graph.main.tensors[op.outputs[number]].name
    for name in (before.name, behind.name, outside):
        assert (float(found[name]["min"].min()), float(found[name]["max"].max())) == (-3, 2)
