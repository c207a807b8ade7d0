"""The arena plan against the real interpreter, which tells where it put each tensor."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from devicekit.graph.arena import must_have_bound, plan_arena
from devicekit.graph.model import Graph, Op, Subgraph, Tensor
from devicekit.graph.read import read_graph

TESTS = Path(__file__).parent.parent
DATA = TESTS / "data" / "tflite"
STATIC = [DATA / "cnn_float32.tflite", DATA / "cnn_int8.tflite", DATA / "embedding.tflite"]
STATIC += [TESTS / "data" / "digits.float32.tflite"]

# Runs in a child: prints [index, address, bytes] of each tensor, temporaries included, on built-in kernels.
ADDRESSES = """
import json, sys
from ai_edge_litert.interpreter import Interpreter, OpResolverType
resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
interpreter = Interpreter(sys.argv[1], experimental_op_resolver_type=resolver, num_threads=1)
interpreter.allocate_tensors()
spans = []
for detail in interpreter.get_tensor_details():
    try:
        array = interpreter.tensor(detail["index"])()
    except ValueError:
        continue
    spans.append([detail["index"], array.__array_interface__["data"][0], array.nbytes])
print(json.dumps(spans))
"""


def interpreter_offsets(path: Path, graph: Graph) -> set[tuple[int, int]]:
    """Returns (offset, bytes) of every activation and temporary in the interpreter's arena."""
    done = subprocess.run(
        [sys.executable, "-c", ADDRESSES, str(path)], check=True, capture_output=True, text=True
    )
    tensors = graph.main.tensors
    spans = [
        (address, size)
        for index, address, size in json.loads(done.stdout)
        if size and (index >= len(tensors) or not tensors[index].is_constant)
    ]
    base = min(address for address, _ in spans)
    return {(address - base, size) for address, size in spans}


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.stem)
def test_an_exact_plan_places_every_tensor_where_the_interpreter_does(path: Path) -> None:
    graph = read_graph(path)
    plan = plan_arena(graph)
    assert plan.exact and plan.reason is None
    actual = interpreter_offsets(path, graph)
    assert {(p.offset, p.size_bytes) for p in plan.placements} == actual
    assert plan.arena_bytes == max(offset + size for offset, size in actual)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cnn_dynamic_batch", "has an open dimension"),
        ("lstm", "is a variable"),
        ("flex", "FlexMatrixInverse may take memory that is not known here"),
        ("custom", "MatrixInverse may take memory that is not known here"),
    ],
)
def test_a_plan_that_was_not_proven_says_why(name: str, reason: str) -> None:
    plan = plan_arena(read_graph(DATA / f"{name}.tflite"))
    assert not plan.exact
    assert plan.reason and plan.reason.endswith(reason)


def test_int8_weights_with_float_activations_are_not_called_exact() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    weights = graph.main.ops[0].inputs[1]
    tensors = [replace(t, dtype="int8") if t.index == weights else t for t in graph.main.tensors]
    hybrid = replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))
    assert plan_arena(hybrid).reason == "CONV_2D on float32 and int8 may take memory that is not known here"


def test_a_convolution_1x1_needs_no_buffer_and_a_3x3_one_of_its_unfolded_input() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    buffers = [p for p in plan_arena(graph).placements if p.tensor < 0]
    assert [(p.first, p.size_bytes) for p in buffers] == [(0, 6 * 6 * 27 * 4)]
    assert not [p for p in plan_arena(graph, "xnnpack").placements if p.tensor < 0]


def test_no_two_tensors_that_live_at_once_overlap() -> None:
    for path in DATA.glob("*.tflite"):
        placements = plan_arena(read_graph(path)).placements
        for i, a in enumerate(placements):
            for b in placements[:i]:
                apart = a.offset + a.size_bytes <= b.offset or b.offset + b.size_bytes <= a.offset
                assert apart or a.last < b.first or b.last < a.first, (path.name, a, b)


def test_must_have_counts_weights_again_for_xnnpack_only() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    weights = [graph.main.tensors[op.inputs[1]] for op in graph.main.ops if len(op.inputs) == 3]
    weight_bytes = sum(t.data_bytes for t in weights)
    indirection = 8 * 6 * 6 * 9 + 8 * 6 * (9 + 5 * 1 * 3)  # the 3×3 convolution, the depthwise one
    arena = plan_arena(graph, "xnnpack").arena_bytes
    assert must_have_bound(graph) == arena + weight_bytes + indirection
    assert must_have_bound(graph, "builtin") == plan_arena(graph).arena_bytes


def graph_of(
    *ops: tuple[str, tuple[int, ...], int], tensors: Sequence[tuple[str, tuple[int, ...], bool]]
) -> Graph:
    """Returns a graph of (op, inputs, output) over (dtype, shape, is constant), from first to last."""
    values = []
    for index, (dtype, shape, is_constant) in enumerate(tensors):
        tensor = Tensor(index, f"t{index}", dtype, shape, shape)
        values.append(replace(tensor, data_bytes=(tensor.size_bytes or 0) if is_constant else 0))
    listed = tuple(Op(i, name, 1, inputs, (output,)) for i, (name, inputs, output) in enumerate(ops))
    main = Subgraph("main", tuple(values), listed, (0,), (len(values) - 1,))
    return Graph(Path("m.tflite"), 0, "", (main,), (), None, "")


# The comments: must-have memory and the budget from which RLIMIT_DATA lets a model like it run (MiB, LiteRT
# 2.3.0, x86_64, one thread): weights of 2048 × 1024 from float16 8.1 while it runs, 16.2 while it loads;
# from int4 8.1 and 10.1; int8 2.1; float32 activations on int8 weights 2.2, but for some models none;
# int16 activations 0.1.
@pytest.mark.parametrize(
    ("stored", "weights", "activation", "packed"),
    [
        ("float16", "float32", "float32", 2**23),
        ("int4", "float32", "float32", 2**23),
        (None, "float32", "float32", 2**23),
        (None, "int8", "int8", 2**21),
        (None, "int8", "float32", 0),
        (None, "int8", "int16", 0),
    ],
)
def test_weights_count_once_and_only_where_xnnpack_is_sure_to_pack_them(
    stored: str | None, weights: str, activation: str, packed: int
) -> None:
    shape = (1024, 2048)
    graph = graph_of(
        *([("DEQUANTIZE", (1,), 2)] if stored else []),
        ("FULLY_CONNECTED", (0, 2), 3),
        tensors=[
            (activation, (1, 2048), False),
            (stored or "int8", shape, True),
            (weights, shape, stored is None),
            (activation, (1, 1024), False),
        ],
    )
    activations = sum(graph.main.tensors[i].size_bytes or 0 for i in (0, 3))
    assert must_have_bound(graph) == activations + packed


def test_xnnpack_computes_element_by_element_in_place() -> None:
    """34.1 MiB were measured for three such operators on 32 MiB; the built-in kernels hold two tensors."""
    small, big = (1, 64), (1, 512, 512, 32)
    ops = [("TILE", (0, 0), 1), ("EXP", (1,), 2), ("TANH", (2,), 3), ("MEAN", (3, 0), 4)]
    kinds = [("float32", shape, False) for shape in (small, big, big, big, small)]
    graph = graph_of(*ops, tensors=kinds)
    assert must_have_bound(graph) == 2**25 + 2 * 256
    assert must_have_bound(graph, "builtin") >= 2**26


def test_a_padding_before_a_convolution_takes_no_memory_with_xnnpack() -> None:
    graph = graph_of(
        ("PAD", (0, 1), 2),
        ("CONV_2D", (2, 3), 4),
        tensors=[
            ("float32", (1, 64, 64, 8), False),
            ("int32", (4, 2), True),
            ("float32", (1, 66, 66, 8), False),
            ("float32", (1, 1, 1, 8), True),
            ("float32", (1, 66, 66, 1), False),
        ],
    )
    assert must_have_bound(graph) == 64 * 64 * 8 * 4 + 32 + 66 * 66 * 4


def test_a_microcontroller_reuses_the_memory_of_its_inputs() -> None:
    graph = read_graph(DATA / "cnn_int8.tflite")
    plan = plan_arena(graph, "tflm")
    assert plan.arena_bytes < plan_arena(graph, "xnnpack").arena_bytes
    assert all(p.offset % 16 == 0 for p in plan.placements)
    assert plan.reason == "TFLM's persistent part comes on top"
