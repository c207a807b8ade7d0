"""Mixed precision: real digits with one channel of outliers, which 8 bits cannot hold beside the others."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils

from devicekit.graph.read import read_graph
from devicekit.quantize import mixed, proof
from devicekit.quantize.bench import Bench, judged
from devicekit.quantize.build import BuildResult
from devicekit.quantize.quality import Thresholds
from devicekit.quantize.recipes import int8, scope_of
from tests.quantize.building import build

# litert-quantizer asks the runtime to keep all tensors, which the runtime warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")

DATA = Path(__file__).parent.parent / "data"
OUTLIER = 4000.0
DEPTHWISE, POINTWISE = 6, 7  # ops of the digits: the second separable convolution


def changed_digits(path: Path, factors: dict[tuple[int, int], float]) -> Path:
    """Writes the digits with channel 0 of constants multiplied: (op, input) -> factor."""
    content = bytearray((DATA / "digits.float32.tflite").read_bytes())
    tree = flatbuffer_utils.read_model_from_bytearray(content)
    graph = tree.subgraphs[0]
    for (op, number), factor in factors.items():
        tensor = graph.tensors[graph.operators[op].inputs[number]]
        buffer = tree.buffers[tensor.buffer]
        values = np.frombuffer(bytes(buffer.data), np.float32).reshape(tensor.shape).copy()
        values[..., 0] *= factor
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(tree))
    return path


@pytest.fixture(scope="module")
def outlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits with one channel between two convolutions 4000 times larger, undone by the second one."""
    factors = {(DEPTHWISE, 1): OUTLIER, (DEPTHWISE, 2): OUTLIER, (POINTWISE, 1): 1 / OUTLIER}
    return changed_digits(tmp_path_factory.mktemp("outlier") / "outlier.tflite", factors)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples without labels, which would decide in place of how close outputs are."""
    path = tmp_path_factory.mktemp("unlabelled") / "digits.npz"
    with np.load(DATA / "digits.npz") as file:
        np.savez(path, x=file["x"], x_eval=file["x_eval"])
    return path


@pytest.fixture(scope="module")
def result(outlier: Path, unlabelled: Path) -> BuildResult:
    return build(
        outlier,
        ["int8", "int8_float_io", "float16"],
        data=unlabelled,
        out_dir=outlier.parent / "out",
        wanted=Thresholds(0.98, 0.98),
    )


def test_int8_that_misses_the_thresholds_is_followed_by_one_with_a_few_ops_in_float(
    result: BuildResult,
) -> None:
    names = [one.recipe for one in result.candidates]
    assert names == ["int8", "int8_mixed", "int8_float_io", "int8_float_io_mixed", "float16"]
    for plain, better in (result.candidates[:2], result.candidates[2:4]):
        assert plain.fidelity and plain.fidelity.cosine < 0.2 and plain.findings == ()
        assert better.fidelity and better.fidelity.cosine > 0.999 and better.findings == ()
        assert better.fidelity.top1_agreement and better.fidelity.top1_agreement > 0.99
        assert better.size_bytes and plain.size_bytes and plain.size_bytes < better.size_bytes < 80_000


def test_it_keeps_the_two_ops_around_the_outliers_in_float_and_no_other(result: BuildResult) -> None:
    path = result.candidates[1].path
    assert path
    graph = read_graph(path)
    in_float = proof.float_ops(graph)
    assert [op.name for op in in_float] == ["DEPTHWISE_CONV_2D", "CONV_2D"]
    scopes = frozenset(scope_of(op, graph.main) for op in in_float)
    assert list(proof.unquantized("int8", graph, keep_float=scopes)) == []
    assert graph.input_tensors["image"].dtype == graph.output_tensors["digit"].dtype == "int8"


def test_a_note_shows_the_trade(result: BuildResult) -> None:
    plain, better = result.candidates[:2]
    assert (
        plain.fidelity
        and better.fidelity
        and plain.fidelity.top1_agreement
        and better.fidelity.top1_agreement
    )
    assert plain.size_bytes and better.size_bytes
    assert better.notes == (
        f"2 of 14 ops in float: cosine {plain.fidelity.cosine:.4f} → {better.fidelity.cosine:.4f}, "
        f"same class {plain.fidelity.top1_agreement * 100:.1f} → "
        f"{better.fidelity.top1_agreement * 100:.1f} %, "
        f"{plain.size_bytes / 1024:.1f} → {better.size_bytes / 1024:.1f} KiB",
        "in float: DEPTHWISE_CONV_2D (digits/separable_2/separable_conv2d/depthwise1), "
        "CONV_2D (digits/re_lu_1/Relu6)",
    )


def test_an_op_in_float_that_nobody_asked_for_is_a_finding(result: BuildResult) -> None:
    path = result.candidates[1].path
    assert path
    graph = read_graph(path)
    one = frozenset({scope_of(proof.float_ops(graph)[0], graph.main)})
    (finding,) = proof.unquantized("int8", graph, keep_float=one)
    assert finding.detail == "not int8, computed in float32: CONV_2D"


def test_ops_that_need_no_float_are_taken_back(unlabelled: Path, tmp_path: Path) -> None:
    """A small channel has weights so large that those beside them vanish in 8 bits; its tensor does not."""
    factors = {(DEPTHWISE, 1): 1e-4, (DEPTHWISE, 2): 1e-4, (POINTWISE, 1): 1e4}
    model = changed_digits(tmp_path / "uneven.tflite", factors)
    wanted = Thresholds(0.98, 0.98)
    result = build(model, ["int8"], data=unlabelled, out_dir=tmp_path / "out", wanted=wanted)
    plain, better = result.candidates
    assert plain.fidelity and plain.fidelity.cosine < 0.98
    assert better.path
    assert [op.name for op in proof.float_ops(read_graph(better.path))] == ["CONV_2D"]


def test_thresholds_that_no_half_in_float_meets_are_a_note_on_int8(
    outlier: Path, unlabelled: Path, tmp_path: Path
) -> None:
    result = build(outlier, ["int8_float_io"], data=unlabelled, out_dir=tmp_path, wanted=Thresholds(1.0, 1.0))
    (plain,) = result.candidates
    (note,) = plain.notes
    assert note.startswith(
        "no mixed precision: up to 7 of 14 ops in float are not enough "
        "(keeping any single op and its readers in float gains at most 0."
    )
    assert note.endswith(" of cosine)")


def test_borders_that_miss_the_thresholds_alone_are_said_without_a_search(
    outlier: Path, unlabelled: Path, tmp_path: Path
) -> None:
    result = build(outlier, ["int8"], data=unlabelled, out_dir=tmp_path, wanted=Thresholds(1.0, 1.0))
    assert [one.notes for one in result.candidates] == [
        (
            "no mixed precision: with all ops in float, inputs in 8 bits miss it still; dynamic_int8 and "
            "weight_int8 keep them in float",
        )
    ]


def test_with_labels_they_decide_what_is_enough(outlier: Path, tmp_path: Path) -> None:
    wanted = Thresholds(0.98, 0.98, max_metric_drop=0.01)
    result = build(outlier, ["int8"], data=DATA / "digits.npz", out_dir=tmp_path, wanted=wanted)
    plain, better = result.candidates
    assert plain.fidelity and plain.fidelity.change and plain.fidelity.change.value < -0.5
    assert better.fidelity and better.fidelity.change and better.fidelity.change.value > -0.01
    assert better.path
    assert [op.name for op in proof.float_ops(read_graph(better.path))] == ["DEPTHWISE_CONV_2D", "CONV_2D"]


def test_on_random_inputs_nothing_is_searched(outlier: Path, tmp_path: Path) -> None:
    result = build(outlier, ["int8"], data=None, out_dir=tmp_path, wanted=Thresholds(0.98, 0.98))
    assert [one.notes for one in result.candidates] == [
        (
            "calibrated on random data",
            "no mixed precision on random inputs: give real samples with --data",
        )
    ]


def test_int8_that_meets_the_thresholds_is_left_alone(
    digits: Path, digits_data: Path, tmp_path: Path
) -> None:
    result = build(digits, ["int8"], data=digits_data, out_dir=tmp_path, wanted=Thresholds(0.98, 0.98))
    assert [(one.recipe, one.notes) for one in result.candidates] == [("int8", ())]


def test_without_thresholds_there_is_no_search(outlier: Path, unlabelled: Path, tmp_path: Path) -> None:
    result = build(outlier, ["int8"], data=unlabelled, out_dir=tmp_path)
    assert [(one.recipe, one.notes) for one in result.candidates] == [("int8", ())]


def test_no_set_holds_more_than_half_of_the_ops(
    outlier: Path, unlabelled: Path, make_bench: Callable[..., Bench]
) -> None:
    bench = make_bench(outlier, data=unlabelled, wanted=asdict(Thresholds(0.98, 0.98)))
    search = mixed._Search(bench, judged(bench, "int8", bench.quantized("int8", int8)), int8)
    scopes = list(search.ops)
    assert len(scopes) == 14
    ranked = [frozenset(scopes[:5]), frozenset(scopes[4:9]), frozenset(scopes[9:11]), frozenset(scopes[:2])]
    assert search._prefixes(ranked) == [ranked[0], ranked[0] | ranked[2]]
    assert all(len(kept) <= 7 for kept in search.sets)


def test_a_search_that_runs_out_of_time_says_so(
    outlier: Path, unlabelled: Path, make_bench: Callable[..., Bench]
) -> None:
    """The search may take half of what the parent waits for a step: here, as good as nothing."""
    wanted = Thresholds(0.98, 0.98)
    bench = make_bench(outlier, data=unlabelled, timeout_s=0.0, wanted=asdict(wanted))
    plain = judged(bench, "int8", bench.quantized("int8", int8))
    note = mixed.build(bench, plain, int8)
    assert note == "no mixed precision found: the search ended after 0 s, with 0 of 15 tried alone"
