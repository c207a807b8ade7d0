"""Models that do not convert, or not to what can be quantized, are rewritten into equal ones that do."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from devicekit.convert.source import Source, convert_source
from devicekit.errors import ConvertError, Unsupported
from devicekit.graph.inline import with_inline_buffers
from devicekit.graph.read import read_graph
from devicekit.graph.state import keeping_state
from devicekit.runner.micro import is_installed

pytestmark = pytest.mark.slow


def ops_of(source: Source) -> Counter[str]:
    return Counter(op.label for op in read_graph(source.float_path).ops)


def difference(source: Source, recorded: Path) -> float:
    """Returns how far the .tflite is from what Keras computed when the model was saved."""
    interpreter = Interpreter(model_path=str(source.float_path))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    [(name, detail)] = runner.get_input_details().items()
    outputs = []
    with np.load(recorded) as arrays:
        for sample in arrays["x"].astype(detail["dtype"]):
            outputs.append(np.copy(next(iter(runner(**{name: sample[None]}).values()))))
        expected: Any = arrays["y"]
    return float(np.abs(np.concatenate(outputs) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "remedies", "layers", "has", "has_not"),
    [
        ("lstm.keras", ["lstm"], ("lstm", "top"), "FULLY_CONNECTED", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("bilstm.keras", ["lstm"], None, "FULLY_CONNECTED", "WHILE"),
        ("lstm2.h5", ["lstm"], None, "FULLY_CONNECTED", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("long_lstm.keras", ["lstm"], None, "DYNAMIC_UPDATE_SLICE", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("long_lstm2.h5", ["lstm"], ("lstm", "top"), "WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("long_masked.keras", ["lstm"], ("masked", "top"), "WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("odd_lstm.h5", ["lstm"], ("odd",), "RELU", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("folded_lstm.h5", ["lstm_calls"], None, "WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("lstm_saved", ["lstm_calls"], None, "FULLY_CONNECTED", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("gru.keras", ["loops"], ("gru",), "FULLY_CONNECTED", "WHILE"),
        ("gru2.h5", ["loops"], ("gru",), "FULLY_CONNECTED", "WHILE"),
        ("masked.keras", ["lstm"], ("masked",), "FULLY_CONNECTED", "WHILE"),
        ("state.h5", ["lstm"], ("decoder",), "FULLY_CONNECTED", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ("long_gru.keras", [], None, "WHILE", "CUSTOM"),
        ("long_rnn", ["fixed_sizes"], None, "WHILE", "CUSTOM"),
        ("double.h5", ["float64"], None, "FULLY_CONNECTED", "CUSTOM"),
        ("bicubic.keras", ["separable_resize"], ("bigger",), "FULLY_CONNECTED", "CUSTOM"),
        ("antialiased.keras", ["separable_resize"], None, "FULLY_CONNECTED", "CUSTOM"),
        ("area.h5", ["separable_resize"], None, "FULLY_CONNECTED", "CUSTOM"),
        ("pool3d.h5", ["pool_3d"], ("pool",), "MAX_POOL_2D", "CUSTOM"),
        ("average3d.keras", ["pool_3d"], ("pool",), "AVERAGE_POOL_2D", "CUSTOM"),
        ("broadcast_sum.keras", [], None, "ADD", "BROADCAST_TO"),
        ("lookup.keras", ["integer_lookup"], ("ids",), "GATHER", "HASHTABLE"),
        ("far_lookup.h5", ["integer_lookup"], ("ids",), "EQUAL", "HASHTABLE"),
    ],
)
def test_a_rewritten_model_equals_what_keras_computed(
    ailing: Path, name: str, remedies: list[str], layers: tuple[str, ...] | None, has: str, has_not: str
) -> None:
    source = convert_source(ailing / name)
    assert [one.remedy for one in source.rewrites] == remedies
    assert all(one.difference is not None and one.difference <= 1e-4 for one in source.rewrites)
    if layers is not None:
        assert source.rewrites[0].layers == layers
    ops = ops_of(source)
    assert has in ops
    assert has_not not in ops
    assert difference(source, (ailing / name).with_suffix(".npz")) <= 1e-5


@pytest.mark.parametrize(
    ("name", "remedies"),
    [
        ("half.keras", ["float16"]),
        ("half_lstm.keras", ["lstm", "float16"]),
        ("sensitive_half_lstm.keras", ["lstm", "float16"]),
        ("bfloat_lstm.keras", ["lstm", "bfloat16"]),
    ],
)
def test_half_precision_is_computed_in_float32(ailing: Path, name: str, remedies: list[str]) -> None:
    source = convert_source(ailing / name)
    assert [one.remedy for one in source.rewrites] == remedies
    graph = read_graph(source.float_path)
    assert {tensor.dtype for tensor in graph.main.tensors} <= {"float32", "int32"}
    # float16 has 10 bits behind the point: what Keras computed is off by a few steps of 1e-3; bfloat16 has 7.
    few_steps = 4e-2 if "bfloat" in name else 5e-3
    assert difference(source, (ailing / name).with_suffix(".npz")) < few_steps
    assert source.max_difference is not None
    assert source.max_difference < 1e-5  # against the same model in float32


def test_augmentation_that_was_called_for_training_is_left_out(ailing: Path) -> None:
    source = convert_source(ailing / "augmented.h5")
    [rewrite] = source.rewrites
    assert (rewrite.remedy, rewrite.layers) == ("random_layers", ("flip",))
    assert set(ops_of(source)) == {"CONV_2D"}
    assert difference(source, ailing / "augmented.npz") <= 1e-5


@pytest.mark.skipif(not is_installed(), reason="pip install tflite-micro (Linux on x86-64)")
@pytest.mark.parametrize("name", ["lstm.keras", "sequence_lstm.h5", "long_lstm.keras", "long_lstm2.h5"])
def test_tflm_gives_what_keras_gives_for_every_sample_in_a_row(ailing: Path, name: str) -> None:
    from tflite_micro.python.tflite_micro import runtime

    source = convert_source(ailing / name)
    content = with_inline_buffers(source.float_path.read_bytes())
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=1 << 20)
    with np.load((ailing / name).with_suffix(".npz")) as arrays:
        samples, expected = arrays["x"], arrays["y"]
    outputs = []
    for sample in samples:
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        outputs.append(np.copy(interpreter.get_output(0)))
    assert np.abs(np.concatenate(outputs) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_long_lstm_takes_little_of_tflms_arena(ailing: Path) -> None:
    """Its inputs are multiplied with the kernel in the loop: all at once is 4 units' worth per step."""
    source = convert_source(ailing / "wide_lstm.h5")
    graph = read_graph(source.float_path)
    assert max(tensor.element_count for one in graph.subgraphs for tensor in one.tensors) <= 32 * 4 * 32


def test_with_stateless_a_stateful_rnn_starts_from_zeros(ailing: Path) -> None:
    source = convert_source(ailing / "stateful.h5", stateless=True)
    assert next((one.remedy, one.layers, one.difference) for one in source.rewrites) == (
        "stateless",
        ("gru",),
        None,
    )
    assert keeping_state(read_graph(source.float_path)) == ()
    assert difference(source, ailing / "stateful.npz") <= 1e-5


def test_stateless_says_where_it_changes_nothing(ailing: Path) -> None:
    note = "--stateless changes nothing: no layer of the model is stateful"
    assert note in convert_source(ailing / "gru2.h5", stateless=True).notes
    assert note not in convert_source(ailing / "gru2.h5").notes


@pytest.mark.parametrize("name", ["stateful_lstm.h5", "stateful_lstm.keras"])
def test_a_stateful_rnn_keeps_its_state_and_gives_what_keras_gives_for_the_sequence(
    ailing: Path, name: str
) -> None:
    source = convert_source(ailing / name)
    assert "stateless" not in [one.remedy for one in source.rewrites]
    assert keeping_state(read_graph(source.float_path)) == ("ASSIGN_VARIABLE",)
    assert difference(source, ailing / f"{name}.npz") <= 1e-5
    alone = convert_source(ailing / name, stateless=True)
    assert difference(alone, ailing / f"{name}.npz") > 1e-4


def test_a_file_that_keeps_a_state_which_the_model_does_not_is_refused(ailing: Path) -> None:
    """As the model is, the converter fuses its LSTM: an app would get other answers from the second on."""
    with pytest.raises(ConvertError) as caught:
        convert_source(ailing / "lstm2.h5", rewrite=False)
    assert "keeps a state that the model does not have" in caught.value.message
    assert "inference 2 depends on those before it (UNIDIRECTIONAL_SEQUENCE_LSTM)" in caught.value.message
    assert caught.value.remedy == "leave out --no-rewrite; without it, report this model"


def test_a_model_that_mixes_the_samples_of_a_batch_says_so(ailing: Path, own_layers: Path) -> None:
    [note] = convert_source(ailing / "mixing.keras", custom_objects=own_layers).notes
    assert re.fullmatch(
        r'output "centred" of a batch of 3 differs by [\d.e+-]+ from that of its samples one by one: '
        "the .tflite gives what Keras gives for one",
        note,
    )


def test_a_long_loop_stays_one_and_says_why(ailing: Path) -> None:
    assert convert_source(ailing / "long_gru.keras").notes == (
        "rewrite loops not applied: a loop of more than 32 steps would make a large file",
    )


def test_no_rewrite_converts_the_model_as_it_is(ailing: Path) -> None:
    assert "WHILE" in ops_of(convert_source(ailing / "gru.keras", rewrite=False))
    with pytest.raises(Unsupported) as caught:
        convert_source(ailing / "bicubic.keras", rewrite=False)
    assert caught.value.message == (
        f"{ailing / 'bicubic.keras'} does not convert: "
        "layer bigger (Resizing): tf.ResizeBicubic has no builtin kernel in LiteRT"
    )
    assert caught.value.remedy == (
        "resize or warp before the model, or use bilinear Resizing: outputs change, so fine-tune"
    )


def test_what_no_remedy_mends_is_a_finding_per_layer(ailing: Path, own_layers: Path) -> None:
    with pytest.raises(Unsupported) as caught:
        convert_source(ailing / "inverse.keras", custom_objects=own_layers)
    found = {(finding.op, finding.layer) for finding in caught.value.findings}
    assert ("tf.MatrixInverse", "inverse (Inverse)") in found
    assert all(finding.remedy for finding in caught.value.findings)


def test_custom_ops_and_flex_pass_and_are_called_not_verified(ailing: Path, own_layers: Path) -> None:
    model = ailing / "inverse.keras"
    names = ("MatrixDeterminant", "MatrixInverse")
    own = convert_source(model, custom_objects=own_layers, custom_ops=names)
    assert {op for op in ops_of(own) if op in names} == set(names)
    assert own.max_difference is None
    assert (
        own.unverified
        == "MatrixDeterminant, MatrixInverse: LiteRT has no kernel here, so it was not compared with Keras"
    )
    flex = convert_source(model, custom_objects=own_layers, flex=True)
    assert "FlexMatrixInverse" in ops_of(flex)
    assert flex.unverified is not None
    with pytest.raises(ConvertError):  # one of the two is not enough
        convert_source(model, custom_objects=own_layers, custom_ops=names[:1])
