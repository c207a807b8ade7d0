"""The arena plan against the real interpreter, which tells where it put each tensor."""

from dataclasses import replace
from pathlib import Path

import pytest

from devicekit.graph.arena import plan_arena
from devicekit.graph.placement import FOREVER, Life, hash_order, in_order, place
from devicekit.graph.read import read_graph
from tests.graph.addresses import misplaced

TESTS = Path(__file__).parent.parent
DATA = TESTS / "data" / "tflite"
STATIC = [
    DATA / "cnn_float32.tflite",
    DATA / "cnn_int8.tflite",
    DATA / "embedding.tflite",
    DATA / "lstm.tflite",
]
STATIC += [DATA / "cnn_dynamic_batch.tflite", TESTS / "data" / "digits.float32.tflite"]


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.stem)
def test_an_exact_plan_places_every_tensor_where_the_interpreter_does(path: Path) -> None:
    plan = plan_arena(read_graph(path))
    assert plan.exact and plan.reason is None
    assert misplaced(path) == []


def test_with_more_threads_the_weights_of_a_float_convolution_lie_in_the_persistent_arena() -> None:
    path = DATA / "cnn_float32.tflite"
    assert plan_arena(read_graph(path), threads=2).persistent_bytes > 0
    assert plan_arena(read_graph(path), threads=1).persistent_bytes == 0
    assert misplaced(path, threads=2) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("flex", "FlexMatrixInverse may take memory that is not known here"),
        ("custom", "MatrixInverse may take memory that is not known here"),
    ],
)
def test_a_plan_that_was_not_proven_says_why(name: str, reason: str) -> None:
    plan = plan_arena(read_graph(DATA / f"{name}.tflite"))
    assert not plan.exact
    assert plan.reason and plan.reason.endswith(reason)


def test_a_kernel_that_was_never_compared_on_such_dtypes_is_not_called_exact() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    weights = graph.main.ops[0].inputs[1]
    tensors = [
        replace(t, dtype="uint8", data_bytes=t.element_count) if t.index == weights else t
        for t in graph.main.tensors
    ]
    changed = replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))
    assert plan_arena(changed).reason == "CONV_2D on float32 and uint8 may take memory that is not known here"


def test_a_convolution_1x1_needs_no_buffer_and_a_3x3_one_of_its_unfolded_input() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    buffers = [p for p in plan_arena(graph).placements if p.tensor < 0]
    assert [(p.first, p.size_bytes) for p in buffers] == [(0, 6 * 6 * 27 * 4)]
    assert not [p for p in plan_arena(graph, "tflm").placements if p.tensor < 0]


def test_no_two_tensors_that_live_at_once_overlap() -> None:
    for path in DATA.glob("*.tflite"):
        placements = plan_arena(read_graph(path)).placements
        for i, a in enumerate(placements):
            for b in placements[:i]:
                apart = a.offset + a.size_bytes <= b.offset or b.offset + b.size_bytes <= a.offset
                assert apart or a.last < b.first or b.last < a.first, (path.name, a, b)


def test_a_microcontroller_reuses_the_memory_of_its_inputs() -> None:
    graph = read_graph(DATA / "cnn_int8.tflite")
    plan = plan_arena(graph, "tflm")
    assert plan.arena_bytes < plan_arena(graph).arena_bytes
    assert all(p.offset % 16 == 0 for p in plan.placements)
    assert plan.reason == "TFLM's persistent part comes on top"


# What a C++ program printed (GCC 12's libstdc++): the order of an std::unordered_set<int> after inserting
# these, and of 48 indices after std::sort by their remainder of 3.
SET_OF_SIX = (27, 25, 13, 39, 26, 0)
SET_OF_TWENTY = (133, 126, 119, 112, 105, 98, 91, 0, 7, 14, 21, 28, 35, 42, 49, 56, 63, 70, 77, 84)
# fmt: off
SORTED = (
    12, 24, 27, 21, 30, 18, 33, 15, 36, 39, 9, 42, 6, 45, 3, 0, 37, 1, 40, 34, 31, 43, 28, 46, 25, 22, 4, 19,
    16, 7,
    13, 10, 47, 23, 2, 44, 5, 41, 8, 38, 11, 35, 14, 32, 17, 29, 20, 26,
)
# fmt: on


def test_tensors_of_one_size_are_ordered_as_libstdcxx_does() -> None:
    assert tuple(hash_order([0, 25, 26, 27, 39, 13])) == SET_OF_SIX
    assert tuple(hash_order([7 * i for i in range(20)])) == SET_OF_TWENTY
    lives = [Life(i, 64, 1 + i % 3, 9) for i in range(48)]
    assert tuple(life.tensor for life in in_order(lives)) == SORTED


def test_a_tensor_goes_into_the_tightest_gap() -> None:
    lives = [
        Life(0, 256, 0, 1),
        Life(1, 128, 0, 9),
        Life(2, 192, 1, 1),
        Life(3, 64, 1, 9),
        Life(4, 100, 3, 4),
    ]
    assert {p.tensor: p.offset for p in place(lives, 64)} == {0: 0, 1: 256, 2: 384, 3: 576, 4: 384}
    assert place([Life(0, 64, 0, FOREVER)], 64)[0].offset == 0
