"""RNNs as int8: fused LSTMs by TensorFlow, unrolled ones by litert-quantizer, loops with a reason."""

from collections.abc import Callable
from pathlib import Path

import pytest

from devicekit.child import ChildFailed, run_child
from devicekit.finding import Finding
from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.quantize import proof, second_source
from devicekit.quantize.bench import Bench, failed
from tests.quantize.building import build

MODELS = Path(__file__).parent.parent / "data" / "tflite"
FUSED = "UNIDIRECTIONAL_SEQUENCE_LSTM"


def dtypes(graph: Graph, name: str) -> set[tuple[str, str]]:
    """Returns the dtypes of (input weights, cell state) of the ops of that name."""
    tensors = graph.main.tensors
    return {
        (tensors[op.inputs[2]].dtype, tensors[op.inputs[19]].dtype) for op in graph.ops if op.name == name
    }


@pytest.mark.parametrize("name", ["lstm", "lstm_stacked", "lstm_bidirectional"])
def test_a_fused_lstm_becomes_int8_by_the_second_source(name: str, tmp_path: Path) -> None:
    result = build(MODELS / f"{name}.tflite", ["int8", "int8_float_io"], data=None, out_dir=tmp_path)
    for one, border in zip(result.candidates, ("int8", "float32"), strict=True):
        assert one.findings == () and one.path
        assert one.notes == (second_source.NOTE, "calibrated on random data")
        assert one.fidelity and one.fidelity.cosine > 0.99
        graph = read_graph(one.path)
        assert list(proof.unquantized("int8", graph)) == []
        assert dtypes(graph, FUSED) == {("int8", "int16")}
        assert {tensor.dtype for tensor in graph.input_tensors.values()} == {border}


@pytest.mark.parametrize("name", ["lstm_unrolled", "gru_unrolled", "rnn_unrolled"])
def test_an_unrolled_rnn_becomes_int8_without_it(name: str, tmp_path: Path) -> None:
    """litert-quantizer left unread outputs of SPLIT float, which XNNPACK refuses."""
    (one,) = build(MODELS / f"{name}.tflite", ["int8"], data=None, out_dir=tmp_path).candidates
    assert one.findings == () and "TensorFlow" not in " ".join(one.notes)
    assert one.fidelity and one.fidelity.cosine > 0.99


def test_a_loop_becomes_int8_without_it(tmp_path: Path) -> None:
    dynamic, int8, wide = build(
        MODELS / "gru_loop.tflite", ["dynamic_int8", "int8", "int16x8"], data=None, out_dir=tmp_path
    ).candidates
    for one in (dynamic, int8, wide):
        assert one.findings == () and one.fidelity and one.fidelity.cosine > 0.999
        assert "TensorFlow" not in " ".join(one.notes)


@pytest.mark.usefixtures("own_children")
def test_a_crash_of_tensorflows_quantizer_is_a_reason_and_no_crash(
    make_bench: Callable[..., Bench],
) -> None:
    """Its calibrator really crashes in a loop: this is why such models are not given to it."""
    path = MODELS / "gru_loop.tflite"
    before = failed("int8", Finding("build", "cannot be built", "use dynamic_int8"))
    assert not second_source.is_needed(before, read_graph(path))
    after = second_source.build(make_bench(path), before)
    assert after.path is None
    assert after.findings == (
        Finding("build", "cannot be built (TensorFlow's quantizer: crashed (SIGSEGV))", "use dynamic_int8"),
    )


def test_what_tensorflow_leaves_in_float_is_no_better(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(MODELS / "lstm_unrolled.tflite")
    (bench.out_dir / "second_source.int8.tflite").write_bytes(bench.model)  # as if it had made this
    before = failed("int8", Finding("quantized", "not int8: X", "use dynamic_int8"))
    after = second_source.build(bench, before)
    [finding] = after.findings
    assert after.path is None and finding.remedy == "use dynamic_int8"
    assert finding.detail.startswith("not int8: X (TensorFlow's quantizer: not int8, computed in float32: ")


@pytest.mark.usefixtures("own_children")
def test_samples_go_to_the_input_of_their_name(
    two_inputs: Path, make_bench: Callable[..., Bench], save_npz: Callable[..., Path]
) -> None:
    """The file lists zeta before alpha; their shapes differ, and so do their ranges."""
    import numpy as np

    rng = np.random.default_rng(0)
    data = save_npz(
        alpha=rng.uniform(0, 1, (20, 6)).astype("f4"), zeta=rng.uniform(0, 50, (20, 4)).astype("f4")
    )
    before = failed("int8", Finding("build", "cannot be built", "use dynamic_int8"))
    built = second_source.build(make_bench(two_inputs, data=data), before)
    assert built.findings == () and built.path and built.fidelity and built.fidelity.cosine > 0.99
    assert built.notes == (
        "quantized by TensorFlow's quantizer: litert-quantizer's file fails (cannot be built)",
    )
    inputs = read_graph(built.path).input_tensors
    assert inputs["zeta"].scale[0] == pytest.approx(50 / 255, rel=0.05)
    assert inputs["alpha"].scale[0] == pytest.approx(1 / 255, rel=0.05)


@pytest.mark.usefixtures("own_children")
def test_a_hang_or_lack_of_memory_of_the_child_is_an_error_that_the_caller_sees(tmp_path: Path) -> None:
    request = {"float_path": str(MODELS / "lstm.tflite"), "samples_path": "none", "out_paths": {}}
    with pytest.raises(ChildFailed) as caught:
        list(run_child("devicekit.convert.inside.static_int8", request, timeout_s=300, memory_bytes=64 << 20))
    assert caught.value.reason == "out of memory"
