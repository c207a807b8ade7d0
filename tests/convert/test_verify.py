"""Which differences between Keras and the .tflite are another model."""

from pathlib import Path

import numpy as np
import pytest

from devicekit.convert.inside.verify import check_finite, compare, constant_outputs
from devicekit.errors import ConvertError

BOXES = np.array([[[640, 10, 0.9], [320, 20, 0.1]]], np.float32)


def test_integers_and_booleans_must_be_equal() -> None:
    wanted = np.array([[30000, 7, 7]])
    assert compare(wanted, wanted) == (0.0, "")
    assert compare(wanted, np.array([[30010, 7, 7]])) == (0.0, "in 1 of 3 values, which must be equal")
    assert compare(np.array([True]), np.array([False])) == (0.0, "in 1 of 1 values, which must be equal")


def test_a_small_channel_beside_a_large_one_is_compared_with_itself() -> None:
    changed = BOXES.copy()
    changed[0, 0, 2] = 0.3
    difference, found = compare(BOXES, changed)
    assert difference == pytest.approx(0.6 / 640)
    assert found == "by 0.67 of the largest value of a channel, more than 0.01"


def test_a_large_channel_that_changes_is_another_model() -> None:
    assert compare(BOXES, BOXES * 1.01)[1] == "by 0.01 of its largest value, more than 0.001"


def test_noise_in_a_channel_near_zero_is_no_difference() -> None:
    wanted = np.array([[1000, 1e-9], [500, 0]], np.float32)
    assert compare(wanted, wanted + np.float32(1e-3)) == (pytest.approx(1e-6, rel=0.1), "")


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 0)])
def test_outputs_of_zeros_or_of_no_size_compare(shape: tuple[int, ...]) -> None:
    assert compare(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) == (0.0, "")


def test_complex_outputs_are_compared_by_magnitude() -> None:
    wanted = np.array([[3 + 4j, 5j]], np.complex64)
    difference, found = compare(wanted, wanted + np.complex64(5e-6j))
    assert (difference, found) == (pytest.approx(1e-6, rel=0.2), "")
    assert compare(wanted, wanted.conj())[1] == "by 2 of its largest value, more than 0.001"


def test_other_shapes_are_another_model() -> None:
    assert compare(np.zeros((4, 2)), np.zeros((4, 3)))[1] == "in shape: [3], not [2]"


def test_values_that_are_not_finite_in_keras_are_left_out() -> None:
    wanted = np.array([[np.nan, 1.0], [2.0, np.inf]])
    assert compare(wanted, np.array([[5.0, 1.0], [2.0, 5.0]])) == (0.0, "")


def test_an_output_that_random_inputs_do_not_change_is_noted() -> None:
    constant = {"zeros": np.zeros((4, 2)), "same": np.array([[1, 2], [1, 2]]), "moved": np.eye(2)}
    assert constant_outputs(constant) == (
        'output "zeros" is constant on random inputs: that it equals Keras proves little',
        'output "same" is constant on random inputs: that it equals Keras proves little',
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tflite_that_is_not_finite_where_keras_is_does_not_pass(value: float) -> None:
    wanted = {"y": np.array([[1.0, np.nan], [2.0, 3.0]])}
    given = {"y": np.array([[1.0, 0.0], [2.0, value]])}
    with pytest.raises(ConvertError) as caught:
        check_finite(Path("m.keras"), wanted, given)
    assert caught.value.message == (
        'm.keras does not convert: output "y" of the .tflite is NaN or infinite where Keras is not'
    )


def test_what_is_not_finite_in_keras_too_is_noted() -> None:
    wanted = {"y": np.array([[1.0, np.nan], [2.0, 3.0]]), "n": np.array([[1], [2]])}
    assert check_finite(Path("m.keras"), wanted, wanted) == (
        'output "y" is NaN or infinite for some random inputs, in Keras too',
    )


def test_a_model_that_gives_nothing_finite_is_refused() -> None:
    wanted = {"y": np.full((4, 2), np.nan)}
    with pytest.raises(ConvertError, match='output "y" is NaN or infinite in Keras already'):
        check_finite(Path("m.keras"), wanted, wanted)
