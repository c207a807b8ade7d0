"""spans: ranges too narrow to compute with, and the ranks of their arrays."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from devicekit.finding import Finding
from devicekit.graph.read import read_graph, read_graph_bytes
from devicekit.quantize import proof, second_source
from devicekit.quantize.bench import Bench, failed, judged
from devicekit.quantize.recipes import Ranges, int8
from devicekit.quantize.spans import MIN_SPAN, widened
from tests.quantize.building import build

# litert-quantizer asks the runtime to keep all tensors, which the runtime warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")
STATIC = ["int8", "int8_float_io", "int16x8", "int16x8_float_io"]


def as_measured(bench: Bench, low: float, high: float) -> Ranges:
    """Returns the calibration with the range of the tensor "dead" as a quantizer would have measured it."""
    limits = {"min": np.full((1, 1, 1, 1), float(low)), "max": np.full((1, 1, 1, 1), float(high))}
    return replace(bench.calibration, ranges={**bench.calibration.ranges, "dead": limits})


def test_a_relu_that_never_fires_is_quantized_and_computed(dead_relu: Path, tmp_path: Path) -> None:
    """With the scale 3.9e-12 XNNPACK refused the file, or ended the process, and int16x8 gave zeros."""
    for one in build(dead_relu, STATIC, data=None, out_dir=tmp_path).candidates:
        assert one.findings == () and one.fidelity and one.fidelity.cosine > 0.999
        assert "TensorFlow" not in " ".join(one.notes)


def test_the_second_source_computes_it_too(dead_relu: Path, make_bench: Callable[..., Bench]) -> None:
    before = failed("int8", Finding("build", "cannot be built", "use dynamic_int8"))
    built = second_source.build(make_bench(dead_relu), before)
    assert built.findings == () and built.fidelity and built.fidelity.cosine > 0.999
    assert built.path
    dead = next(t for t in read_graph(built.path).main.tensors if t.name == "dead")
    assert dead.scale == (pytest.approx(1 / 255),)


def test_a_scale_too_small_is_a_finding_and_the_file_is_not_run(
    dead_relu: Path, make_bench: Callable[..., Bench]
) -> None:
    bench = make_bench(dead_relu)
    model = int8(bench.model, as_measured(bench, 0, 0))
    (finding,) = proof.narrow(read_graph_bytes(model, dead_relu))
    assert finding == Finding(
        "scale",
        "the output of CONV_2D has a scale too small to compute with: 3.9e-12",
        "give samples that reach it with --data, or use dynamic_int8",
        op="CONV_2D",
    )
    assert judged(bench, "int8", model).findings == (finding,)


def test_a_range_at_the_floor_is_none(dead_relu: Path, make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(dead_relu)
    model = int8(bench.model, as_measured(bench, 0, MIN_SPAN * 1.01))
    assert list(proof.narrow(read_graph_bytes(model, dead_relu))) == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 0, (0, 1)),
        (-1e-9, 1e-9, (-1, 1)),
        (0, 1e-3, (0, 1e-3)),
        (-2, 0, (-2, 0)),
        (3, 3, (3, 3)),  # a constant that is not 0 has a scale of its own
    ],
)
def test_only_what_is_as_good_as_zero_is_widened(
    low: float, high: float, expected: tuple[float, float]
) -> None:
    assert widened(low, high) == expected


def test_a_class_token_is_quantized(class_token: Path, tmp_path: Path) -> None:
    """litert-quantizer said "Ranks of scales (4) and zps (4) must be the same as the tensor rank (3)"."""
    for one in build(class_token, STATIC, data=None, out_dir=tmp_path).candidates:
        assert one.findings == () and one.fidelity and one.fidelity.cosine > 0.999
        assert "TensorFlow" not in " ".join(one.notes)


def test_filters_of_zeros_keep_their_biases(dead_filters: Path, tmp_path: Path) -> None:
    """Biases in steps of a scale of 7.9e-12 were cut off: such channels gave 0 without an error."""
    for one in build(dead_filters, STATIC, data=None, out_dir=tmp_path).candidates:
        assert one.findings == () and one.fidelity and one.fidelity.cosine > 0.999
        assert one.fidelity.max_abs_error < 0.1
