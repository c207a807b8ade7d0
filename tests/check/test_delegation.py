"""What a delegate takes of a model, and what TFLM has no kernel for."""

from dataclasses import replace
from pathlib import Path

import pytest

import devicekit
from devicekit.check.delegation import delegation, dtype_of
from devicekit.check.rules import check_graph
from devicekit.errors import UsageError
from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.profile.lookup import load_profile
from devicekit.report.text import render

DATA = Path(__file__).parent.parent / "data" / "tflite"


def model(name: str) -> Graph:
    return read_graph(DATA / f"{name}.tflite")


def with_op(graph: Graph, index: int, **changes: object) -> Graph:
    """Returns the graph with one operator of the main subgraph changed."""
    ops = tuple(replace(op, **changes) if op.index == index else op for op in graph.main.ops)
    return replace(graph, subgraphs=(replace(graph.main, ops=ops), *graph.subgraphs[1:]))


@pytest.mark.parametrize("delegate", ["gpu", "nnapi", "edgetpu"])
def test_an_int8_cnn_is_taken_as_a_whole(delegate: str) -> None:
    found = delegation(model("cnn_int8"), delegate)
    assert (found.taken, found.nodes, found.partitions, found.beside) == (8, 8, 1, ())


def test_xnnpack_leaves_an_int8_softmax_to_the_built_in_kernels() -> None:
    found = delegation(model("cnn_int8"), "xnnpack")
    assert (found.taken, found.nodes, found.partitions) == (7, 8, 1)
    assert [(one.name, one.why) for one in found.beside] == [("SOFTMAX", "is not taken on int8")]


def test_the_edge_tpu_takes_no_float() -> None:
    found = delegation(model("cnn_float32"), "edgetpu")
    assert (found.taken, found.partitions) == (0, 0)
    assert {one.why for one in found.beside} == {"is not taken on float32"}


def test_an_operator_in_the_middle_breaks_a_model_in_two() -> None:
    graph = with_op(model("cnn_int8"), 3, name="CUMSUM")
    both = delegation(graph, "xnnpack")
    assert (both.taken, both.partitions, both.possible) == (6, 2, 2)
    assert (both.beside[0].name, both.beside[0].why) == ("CUMSUM", "is not taken")
    assert both.beside[0].ops[0].index == 3
    largest = delegation(graph, "gpu")
    assert (largest.taken, largest.partitions, largest.possible) == (4, 1, 2)
    assert {one.why for one in largest.beside} == {
        "is not taken on int8",  # CUMSUM
        "lies in a partition beyond the largest",
    }
    assert {op.index for one in largest.beside for op in one.ops} == {0, 1, 2, 3}
    first = delegation(graph, "edgetpu")
    assert (first.taken, first.partitions) == (3, 1)
    assert {one.why for one in first.beside} == {"is not taken", "lies in a partition beyond the first"}


def test_a_version_above_the_delegates_stays_on_the_cpu() -> None:
    graph = with_op(model("cnn_int8"), 0, version=6)
    assert [one.why for one in delegation(graph, "nnapi").beside] == ["is version 6, taken up to 3"]
    assert delegation(graph, "gpu").beside == ()


def test_an_older_android_has_fewer_operators() -> None:
    graph = with_op(model("cnn_float32"), 7, name="LOG_SOFTMAX", version=1)
    assert delegation(graph, "nnapi", device_os="Android 15").beside == ()
    (old,) = delegation(graph, "nnapi", device_os="Android 9").beside
    assert (old.name, old.why) == ("LOG_SOFTMAX", "is taken from Android 10 on")


def test_open_shapes_stay_on_the_cpu() -> None:
    found = delegation(model("cnn_dynamic_batch"), "gpu")
    assert found.taken == 0 and {one.why for one in found.beside} == {"is not taken with open shapes"}


def test_a_condition_is_said_in_words() -> None:
    graph = model("cnn_float32")
    conv = next(op for op in graph.main.ops if op.name == "CONV_2D")
    bare = with_op(graph, conv.index, inputs=(*conv.inputs[:2], -1))
    (one,) = delegation(bare, "nnapi").beside
    assert one.why == "is taken with: with a bias"


def test_dtypes_tell_activations_from_weights() -> None:
    graph = model("cnn_int8")
    assert {dtype_of(op, graph.main) for op in graph.main.ops} == {"int8"}
    lookup = model("embedding")
    assert "float32" in {dtype_of(op, lookup.main) for op in lookup.main.ops}


def test_an_unknown_delegate_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean gpu"):
        delegation(model("cnn_int8"), "gpy")


def test_check_estimates_the_profiles_delegate_or_another() -> None:
    path = DATA / "lstm_stacked.tflite"
    ours, theirs = (
        devicekit.check_model(path, "pixel7"),
        devicekit.check_model(path, "pixel7", delegate="gpu"),
    )
    assert ours.delegation and ours.delegation.delegate == "xnnpack"
    assert theirs.delegation and theirs.to_json()["delegation"]["taken"] == 2
    assert "GPU         takes 2 of 4 operators, estimated; 1 partition" in render(theirs)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM (op 0) (×2) is not taken" in render(theirs)
    assert devicekit.check_model(path, "pixel7", delegate="none").delegation is None
    assert devicekit.check_model(path, "esp32s3").delegation is None


@pytest.mark.parametrize(
    ("profile", "delegate", "message"),
    [
        ("pixel7", "gpus", 'no delegate "gpus"; did you mean gpu?'),
        ("rp2040", "gpu", "rp2040 is a microcontroller: TFLM has no delegates"),
    ],
)
def test_a_delegate_that_cannot_be_is_refused(profile: str, delegate: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        devicekit.check_model(DATA / "cnn_int8.tflite", profile, delegate=delegate)
    assert caught.value.message == message


def test_full_delegation_on_request_finds_what_breaks_it(tmp_path: Path) -> None:
    place = tmp_path / "gpu.toml"
    place.write_text('schema = 1\nextends = "pixel7"\n[runtime]\ndelegate = "gpu"\n')
    assert check_graph(load_profile(place), model("lstm_stacked")) == []
    place.write_text(place.read_text() + "require_full_delegation = true\n")
    (finding,) = check_graph(load_profile(place), model("lstm_stacked"))
    assert finding.rule == "delegate"
    assert finding.detail == (
        "UNIDIRECTIONAL_SEQUENCE_LSTM is not taken (×2), runtime.require_full_delegation is true"
    )
    assert check_graph(load_profile(place), model("cnn_int8")) == []


def test_a_microcontroller_lacks_operators_and_dtypes() -> None:
    profile = load_profile("esp32s3")
    graph = with_op(model("cnn_float32"), 7, name="RESIZE_BICUBIC")
    assert [f.detail for f in check_graph(profile, graph)] == [
        "RESIZE_BICUBIC is not in TensorFlow Lite Micro"
    ]
    hybrid = model("cnn_int8")
    conv = next(op for op in hybrid.main.ops if op.name == "CONV_2D")
    tensors = tuple(
        replace(tensor, dtype="float32") if tensor.index in (conv.inputs[0], conv.outputs[0]) else tensor
        for tensor in hybrid.main.tensors
    )
    mixed = replace(hybrid, subgraphs=(replace(hybrid.main, tensors=tensors),))
    found = [f for f in check_graph(profile, mixed) if f.op and f.op.startswith("CONV_2D")]
    assert found and found[0].rule == "kernel"
    assert found[0].detail == (
        "CONV_2D on float32 with int8 weights is not in TensorFlow Lite Micro, which has float32, int8, "
        "int8 with int4 weights, int16 with int8 weights"
    )
