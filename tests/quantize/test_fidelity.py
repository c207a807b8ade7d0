"""compare: the numbers it gives, on outputs one can check by hand."""

import numpy as np
import pytest

from devicekit.quantize.fidelity import MAX_SNR_DB, accuracy, compare, predict_function

SCORES = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]], np.float32)


def test_equal_outputs_are_perfect() -> None:
    score = compare({"y": SCORES}, {"y": SCORES.copy()}, np.array([1, 0, 1]))
    assert (score.cosine, score.snr_db, score.max_abs_error) == (1.0, MAX_SNR_DB, 0.0)
    assert (score.top1_agreement, score.count) == (1.0, 3)
    assert score.task_metric == score.float_task_metric == pytest.approx(2 / 3)


def test_cosine_is_the_mean_over_samples_and_the_worst_output_counts() -> None:
    wanted = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert compare({"a": wanted}, {"a": found}).cosine == pytest.approx(0.5)
    assert compare({"a": wanted, "b": wanted}, {"a": wanted, "b": found}).cosine == pytest.approx(0.5)


def test_snr_is_signal_over_noise_power() -> None:
    wanted = np.full((4, 5), 10.0)
    score = compare({"y": wanted}, {"y": wanted + 0.1})
    assert score.snr_db == pytest.approx(40.0)
    assert score.max_abs_error == pytest.approx(0.1)


def test_two_zero_outputs_agree_and_one_does_not() -> None:
    zeros, ones = np.zeros((2, 3)), np.ones((2, 3))
    assert compare({"y": zeros}, {"y": zeros}).cosine == 1.0
    assert compare({"y": zeros}, {"y": ones}).cosine == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite_have_cosine_0(bad: float) -> None:
    found = SCORES.copy()
    found[0, 0] = bad
    score = compare({"y": SCORES}, {"y": found})
    assert (score.cosine, score.snr_db) == (0.0, 0.0)
    assert np.isfinite(score.max_abs_error)


def test_outputs_of_another_shape_have_cosine_0() -> None:
    assert compare({"y": SCORES}, {"y": SCORES[:, :1]}).cosine == 0.0


def test_top1_counts_samples_whose_best_class_is_the_same() -> None:
    assert compare({"y": SCORES}, {"y": SCORES[:, ::-1]}).top1_agreement == 0.0


@pytest.mark.parametrize("values", [np.ones((3, 4, 2), "f4"), np.ones((3, 1), "f4"), np.ones((3, 2), "i4")])
def test_only_outputs_of_scores_have_a_top1(values: np.ndarray) -> None:
    assert compare({"y": values}, {"y": values}).top1_agreement is None


def test_accuracy_of_one_probability_splits_at_one_half() -> None:
    assert accuracy({"y": np.array([[0.4], [0.6]], "f4")}, np.array([0, 1])) == 1.0


def test_accuracy_is_unknown_where_no_output_holds_scores() -> None:
    assert accuracy({"y": np.ones((3, 4, 2), "f4")}, np.array([0, 1, 1])) is None


def test_predict_takes_and_gives_the_bare_array_where_there_is_one() -> None:
    predict = predict_function(lambda arrays: {"y": arrays["x"] * 2}, ("x",))
    np.testing.assert_array_equal(predict(np.ones(3)), np.full(3, 2.0))
    np.testing.assert_array_equal(predict({"x": np.ones(3)}), np.full(3, 2.0))
