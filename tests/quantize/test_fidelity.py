"""compare: the numbers it gives, on outputs one can check by hand."""

import numpy as np
import pytest

from devicekit.quantize.fidelity import MAX_SNR_DB, compare
from devicekit.quantize.scores import Scores

SCORES = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]], np.float32)


def test_equal_outputs_are_perfect() -> None:
    score = compare({"y": SCORES}, {"y": SCORES.copy()}, Scores(("y",), "y", np.array([1, 0, 1])))
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


def test_the_cosine_of_all_samples_sees_that_their_sizes_are_mixed_up() -> None:
    wanted = np.array([[1.0, 1.0], [100.0, 100.0]])
    assert compare({"y": wanted}, {"y": wanted[::-1]}).cosine == pytest.approx(200 / 10001)


@pytest.mark.parametrize("shape", [(3, 1), (3,), (3, 1, 1)])
def test_outputs_of_one_number_that_are_all_wrong_are_not_perfect(shape: tuple[int, ...]) -> None:
    """Per sample, the cosine of two positive numbers is always 1."""
    wanted, found = np.array([1.0, 20.0, 300.0]), np.array([900.0, 0.1, 0.1])
    score = compare({"y": wanted.reshape(shape)}, {"y": found.reshape(shape)})
    assert score.cosine == pytest.approx((900 + 2 + 30) / np.sqrt((wanted**2).sum() * (found**2).sum()))


def test_a_constant_in_place_of_one_number_that_varies_is_far_off() -> None:
    wanted = np.linspace(0.4, 0.6, 50)[:, None]
    found = np.full_like(wanted, 0.5)
    pooled = 0.25 * 50 / np.sqrt((wanted**2).sum() * (found**2).sum())
    assert pooled > 0.99
    assert compare({"y": wanted}, {"y": found}).cosine < 0.9


def test_one_number_twice_as_large_is_far_off() -> None:
    wanted = np.linspace(1, 2, 50)[:, None]
    assert compare({"y": wanted}, {"y": wanted * 2}).cosine < 0.3


@pytest.mark.parametrize("count", [1, 2])
def test_one_number_that_hardly_varies_is_judged_by_its_relative_error(count: int) -> None:
    wanted = np.linspace(0.98, 0.99, count)[:, None]
    assert compare({"y": wanted}, {"y": wanted - 0.004}).cosine > 0.999
    assert compare({"y": wanted}, {"y": wanted * 0.95}).cosine < 0.98


def test_one_number_that_varies_keeps_a_high_cosine_through_8_bits() -> None:
    wanted = np.random.default_rng(0).normal(size=(100, 1))
    step = (wanted.max() - wanted.min()) / 255
    assert compare({"y": wanted}, {"y": np.round(wanted / step) * step}).cosine > 0.9999


def test_integers_and_booleans_are_judged_by_the_share_of_equal_ones() -> None:
    wanted = np.array([[7], [8], [9], [9]])
    score = compare({"best": wanted}, {"best": np.array([[7], [8], [9], [0]])})
    assert (score.cosine, score.snr_db, score.max_abs_error) == (0.75, pytest.approx(6.02, abs=0.01), 9.0)
    equal = compare({"best": wanted}, {"best": wanted})
    assert (equal.cosine, equal.snr_db) == (1.0, MAX_SNR_DB)
    assert compare({"is": wanted > 8}, {"is": wanted > 7}).cosine == 0.75


def test_outputs_without_elements_agree() -> None:
    nothing = np.zeros((3, 0, 4), np.float32)
    assert compare({"boxes": nothing}, {"boxes": nothing}).cosine == 1.0


def test_top1_counts_samples_whose_best_class_is_the_same() -> None:
    assert compare({"y": SCORES}, {"y": SCORES[:, ::-1]}, Scores(("y",))).top1_agreement == 0.0


def test_of_two_classifiers_the_worse_one_counts() -> None:
    wanted = {"a": SCORES, "b": SCORES}
    found = {"a": SCORES, "b": SCORES[:, ::-1]}
    assert compare(wanted, found, Scores(("a", "b"))).top1_agreement == 0.0
