from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devicekit.errors import LoadError, WrongOutput
from devicekit.graph.read import read_graph
from devicekit.runner.tensors import compare, read_inputs
from devicekit.testing import warmup_model, write_string_model

DATA = Path(__file__).parent.parent / "data" / "tflite"


def golden(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "golden.npz", **{name.replace("__", "/"): array for name, array in arrays.items()})
    return folder / "golden.npz"


def difference(folder: Path, expected: Any, found: Any, *, name: str = "y") -> dict[str, Any]:
    file = golden(folder, out__y=expected)
    data = {(name, "tensor:0"): np.asarray(found).tobytes()}
    return compare(warmup_model(), file, outputs=data, where="host")


def test_golden_inputs_are_fed_byte_for_byte(tmp_path: Path) -> None:
    big_step = np.arange(12, dtype=np.int16).reshape(3, 4)[:, ::2]  # not contiguous
    file = golden(tmp_path, in__x=big_step, in__ok=np.array([True, False]), out__y=np.zeros(1))
    assert read_inputs(warmup_model(), file) == {"x": big_step.tobytes(), "ok": b"\x01\x00"}


def test_without_golden_inputs_they_are_random_and_repeat() -> None:
    first, second = read_inputs(warmup_model(), None), read_inputs(warmup_model(), None)
    assert first == second
    values = np.frombuffer(first["x"], np.float32)
    assert values.shape == (8,) and values.min() >= 0 and values.max() <= 1 and values.std() > 0


def test_no_random_inputs_are_made_for_strings(tmp_path: Path) -> None:
    assert read_inputs(write_string_model(tmp_path / "s.tflite"), None) == {}


def test_equal_outputs_differ_by_nothing(tmp_path: Path) -> None:
    values = np.array([1.5, np.nan, np.inf, -2], np.float32)
    assert difference(tmp_path, values, values) == {"outputs": 1, "max_difference": 0.0}


def quantized_difference(folder: Path, expected: Any, found: Any) -> dict[str, Any]:
    """Compares the only output of a model whose output has a scale."""
    model = DATA / "cnn_int8.tflite"
    (name,) = read_graph(model).output_tensors
    file = golden(folder, **{f"out__{name}": expected})
    return compare(model, file, outputs={(name, "tensor:0"): np.asarray(found).tobytes()}, where="host")


def test_quantized_values_may_be_one_step_apart_and_no_more(tmp_path: Path) -> None:
    expected = np.array([-128, 127, 5], np.int8)
    near = np.array([-127, 127, 5], np.int8)
    assert quantized_difference(tmp_path, expected, near)["max_difference"] == 1
    with pytest.raises(WrongOutput) as caught:
        quantized_difference(tmp_path, expected, np.array([127, 127, 5], np.int8))
    name = next(iter(read_graph(DATA / "cnn_int8.tflite").output_tensors))
    assert caught.value.message == (
        f"cnn_int8.tflite: outputs on host differ from the reference by 255 steps (output {name})"
    )


@pytest.mark.parametrize(
    ("expected", "found"),
    [(np.array([True, False]), np.array([False, True])), (np.array([3], np.int64), np.array([4], np.int64))],
    ids=["truth values", "class index"],
)
def test_what_has_no_scale_must_be_equal(tmp_path: Path, expected: Any, found: Any) -> None:
    assert difference(tmp_path, expected, expected) == {"outputs": 1, "max_difference": 0.0}
    with pytest.raises(WrongOutput) as caught:
        difference(tmp_path, expected, found)
    assert caught.value.message == (
        "warmup.tflite: outputs on host differ from the reference by 1 (must be equal) (output y)"
    )


def test_floats_may_differ_by_a_ten_thousandth_of_the_largest(tmp_path: Path) -> None:
    expected = np.array([0.001, -10], np.float32)
    near = expected + np.array([0.0009, 0], np.float32)
    assert difference(tmp_path, expected, near)["max_difference"] == pytest.approx(9e-5, rel=0.01)
    with pytest.raises(WrongOutput, match=r"0\.00011 of the largest value \(output y\)"):
        difference(tmp_path, expected, expected + np.array([0.0011, 0], np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_no_number_only_there_is_wrong(tmp_path: Path, bad: float) -> None:
    with pytest.raises(WrongOutput, match="inf of the largest value"):
        difference(tmp_path, np.array([1, 2], np.float32), np.array([1, bad], np.float32))


def test_an_output_of_another_size_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(WrongOutput, match="y has 0 bytes instead of 8"):
        difference(tmp_path, np.zeros(2, np.float32), np.zeros(0, np.float32))


def test_an_output_goes_by_signature_or_tensor_name(tmp_path: Path) -> None:
    file = golden(tmp_path, out__a=np.int8(1), **{"out__b:0": np.int8(2)})
    one, two = np.int8(1).tobytes(), np.int8(2).tobytes()
    outputs = {("b", "b:0"): two, ("a", "a:0"): one}
    assert compare(warmup_model(), file, outputs=outputs, where="host")["max_difference"] == 0
    with pytest.raises(WrongOutput, match="an output: a is missing"):
        compare(warmup_model(), file, outputs={("b", "b:0"): two, ("c", "c:0"): one}, where="host")


def test_a_broken_golden_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "g.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(LoadError, match="no golden sample"):
        read_inputs(warmup_model(), tmp_path / "g.npz")
