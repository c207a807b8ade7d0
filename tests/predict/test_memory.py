"""Must-have and peak memory: planned, and as a clean process measured it."""

from pathlib import Path

import pytest

from devicekit.graph.read import read_graph
from devicekit.predict.memory import MIB, MemoryPrediction, plan_memory
from devicekit.predict.partitions import Partition, delegated
from tests.predict.graphs import graph_of

TESTS = Path(__file__).parent.parent
DATA = TESTS / "data" / "tflite"


def test_must_have_is_the_sum_of_its_parts_and_peak_rss_adds_the_file() -> None:
    plan = plan_memory(read_graph(DATA / "cnn_float32.tflite"))
    parts = plan.packed_bytes + plan.indirection_bytes + plan.arena_bytes + plan.scratch_bytes
    assert plan.must_have_bytes == parts + plan.overhead_bytes
    assert plan.peak_rss_bytes and plan.peak_rss_bytes - plan.must_have_bytes > plan.file_bytes
    assert plan.evidence == "predicted" and plan.reason is None


def test_xnnpack_packs_weights_with_their_biases_in_multiples_of_16_channels() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    plan = plan_memory(graph)
    expected = 0
    for op in graph.main.ops:
        if op.name == "DEPTHWISE_CONV_2D":
            expected += 16 * (9 * 4 + 4)
        elif op.name in ("CONV_2D", "FULLY_CONNECTED"):
            weights = graph.main.tensors[op.inputs[1]]
            rows = -(-weights.shape[0] // 16) * 16
            expected += rows * (weights.element_count // weights.shape[0] * 4 + 4)
    assert plan.packed_bytes == expected
    # The 3×3 convolution, and the depthwise one, which shares pointers between columns.
    assert plan.indirection_bytes == 8 * 6 * 6 * 9 + 8 * 6 * (9 + 5 * 1 * 3)
    assert plan_memory(graph, "builtin").packed_bytes == 0


# MiB of must-have memory that fresh processes needed for 2048 x 1024 weights (LiteRT 2.3.0, x86_64, one
# thread): float32 8.1, int8 2.1, float32 activations on int8 weights 2.2, int16 activations 0.1.
@pytest.mark.parametrize(
    ("weights", "activation", "measured_mib"),
    [("float32", "float32", 8.1), ("int8", "int8", 2.1), ("int8", "float32", 2.2), ("int8", "int16", 0.1)],
)
def test_weights_count_where_xnnpack_packs_them(weights: str, activation: str, measured_mib: float) -> None:
    graph = graph_of(
        ("FULLY_CONNECTED", (0, 1), 2),
        tensors=[
            (activation, (1, 2048), False),
            (weights, (1024, 2048), True),
            (activation, (1, 1024), False),
        ],
    )
    plan = plan_memory(graph)
    assert plan.must_have_bytes
    assert abs(plan.must_have_bytes / MIB - measured_mib) < 0.15


@pytest.mark.parametrize("stored", ["float16", "int8"])
def test_weights_that_are_widened_while_loading_make_the_plan_a_lower_bound(stored: str) -> None:
    shape = (1024, 2048)
    graph = graph_of(
        ("DEQUANTIZE", (1,), 2),
        ("FULLY_CONNECTED", (0, 2), 3),
        tensors=[
            ("float32", (1, 2048), False),
            (stored, shape, True),
            ("float32", shape, False),
            ("float32", (1, 1024), False),
        ],
    )
    plan = plan_memory(graph)
    assert plan.must_have_bytes is None and plan.peak_rss_bytes is None
    assert plan.reason == "weights are widened while the model loads, and are there twice for a while"
    assert 8 * MIB < plan.planned_bytes < 8.3 * MIB
    assert plan.verdict(7 * MIB) == "does not fit"
    assert plan.verdict(9 * MIB) is None  # a lower bound below the limit says nothing


def test_xnnpack_computes_element_by_element_in_place() -> None:
    """34.1 MiB were measured for three such operators on 32 MiB; the built-in kernels hold two tensors."""
    small, big = (1, 64), (1, 512, 512, 32)
    ops = [("TILE", (0, 0), 1), ("EXP", (1,), 2), ("TANH", (2,), 3), ("MEAN", (3, 0), 4)]
    kinds = [("float32", shape, False) for shape in (small, big, big, big, small)]
    graph = graph_of(*ops, tensors=kinds)
    assert plan_memory(graph).arena_bytes < 2.01 * 2**25
    assert plan_memory(graph, "builtin").arena_bytes >= 2**26


def test_a_padding_before_a_convolution_takes_no_memory_with_xnnpack() -> None:
    graph = graph_of(
        ("RELU", (0,), 1),
        ("PAD", (1, 2), 3),
        ("CONV_2D", (3, 4), 5),
        tensors=[
            ("float32", (1, 64, 64, 8), False),
            ("float32", (1, 64, 64, 8), False),
            ("int32", (4, 2), True),
            ("float32", (1, 66, 66, 8), False),
            ("float32", (1, 1, 1, 8), True),
            ("float32", (1, 66, 66, 1), False),
        ],
        options={2: {"padding": 1}},
    )
    one, out = 64 * 64 * 8 * 4, 66 * 66 * 4
    assert plan_memory(graph).arena_bytes - (2 * one + out) < 256


def test_an_operator_that_xnnpack_does_not_take_splits_the_graph() -> None:
    shape = (1, 8, 8, 4)
    graph = graph_of(
        ("RELU", (0,), 1),
        ("REVERSE_V2", (1, 4), 2),
        ("RELU", (2,), 3),
        tensors=[
            *[("float32", shape, False)] * 4,
            ("int32", (1,), True),
            ("float32", shape, False),
        ],
    )
    steps = delegated(graph.main).steps
    assert [isinstance(step, Partition) for step in steps] == [True, False, True]


def prediction(must_have_mib: float) -> MemoryPrediction:
    graph = read_graph(DATA / "cnn_float32.tflite")
    plan = plan_memory(graph)
    bytes_ = int(must_have_mib * MIB)
    return MemoryPrediction(**{**vars(plan), "must_have_bytes": bytes_, "planned_bytes": bytes_})


@pytest.mark.parametrize(
    ("limit_mib", "verdict"), [(12, "fits"), (10.9, "tight"), (9.1, "tight"), (8.9, "does not fit")]
)
def test_a_limit_within_the_error_is_tight(limit_mib: float, verdict: str) -> None:
    assert prediction(10).verdict(int(limit_mib * MIB)) == verdict


def test_no_limit_no_verdict() -> None:
    assert prediction(10).verdict(None) is None


@pytest.mark.parametrize("path", sorted(DATA.glob("*.tflite")), ids=lambda path: path.stem)
def test_the_timeline_names_every_operator_and_its_peak_is_no_more_than_all_activations(path: Path) -> None:
    graph = read_graph(path)
    for delegate in ("xnnpack", "builtin"):
        plan = plan_memory(graph, delegate)  # type: ignore[arg-type]
        assert sorted(one.op for one in plan.timeline) == [op.index for op in graph.main.ops]
        if plan.peak:
            assert plan.peak.alive_bytes <= plan.arena_bytes + 64 * len(graph.main.tensors)
