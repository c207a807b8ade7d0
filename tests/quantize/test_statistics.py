"""Calibration against evaluation inputs: what is said of a mismatch, and that equal kinds raise no alarm."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from devicekit.quantize.statistics import mismatches, scaled_apart
from tests.quantize.building import build

RNG = np.random.default_rng(0)
UNIT = RNG.random((40, 8, 8, 1), dtype=np.float32)
OTHER = RNG.random((60, 8, 8, 1), dtype=np.float32)
# Three channels of different brightness, as in photographs.
COLOUR = (RNG.random((80, 8, 8, 3)) * [0.9, 0.6, 0.4]).astype(np.float32)
WHO = "calibration and evaluation inputs of image"


def notes(calibration: np.ndarray, evaluation: np.ndarray) -> list[str]:
    return list(mismatches({"image": calibration}, {"image": evaluation}))


@pytest.mark.parametrize(
    ("calibration", "evaluation", "expected"),
    [
        (np.zeros_like(UNIT), OTHER, "calibration inputs of image are all zero"),
        (UNIT, np.zeros_like(OTHER), "evaluation inputs of image are all zero"),
        (UNIT, np.ones_like(OTHER), "evaluation inputs of image are all 1"),
        (
            UNIT * 2 - 1,
            OTHER,
            "calibration inputs of image are shifted against the evaluation inputs: -1..1 against 0..1",
        ),
        (UNIT * 0.1, OTHER, f"{WHO}: ranges differ: 0..0.1 against 0..1"),
        (
            COLOUR[:40],
            COLOUR[40:, :, :, ::-1],
            f"{WHO}: channel order differs: RGB against BGR is likely",
        ),
        (
            UNIT * 0.8,
            OTHER,
            "16% of the evaluation values of image are far outside the calibrated range 0..0.8 "
            "(they span 0..1): int8 cuts them off",
        ),
    ],
)
def test_a_mismatch_is_said_in_words(calibration: np.ndarray, evaluation: np.ndarray, expected: str) -> None:
    assert notes(calibration, evaluation) == [expected]


@pytest.mark.parametrize(
    ("calibration", "evaluation", "expected"),
    [
        (UNIT, OTHER * 255, "look 255 times smaller than"),
        (UNIT * 255, OTHER, "look 255 times larger than"),
        (UNIT * 255, OTHER * 2 - 1, "look 127.5 times larger than"),
    ],
)
def test_images_of_which_one_is_not_scaled_are_wrong(
    calibration: np.ndarray, evaluation: np.ndarray, expected: str
) -> None:
    words = scaled_apart("image", calibration, evaluation)
    assert words == (
        f"calibration inputs of image {expected} the evaluation inputs: one of them is not scaled"
    )
    assert notes(calibration, evaluation) == []


def test_other_spans_that_lie_so_far_apart_are_no_images() -> None:
    quiet = RNG.uniform(-0.004, 0.004, (40, 100)).astype(np.float32)
    loud = RNG.uniform(-1, 1, (40, 100)).astype(np.float32)
    amounts = RNG.lognormal(0, 1.9, (40, 3)).astype(np.float32)
    assert scaled_apart("x", quiet, loud) is None
    assert scaled_apart("x", amounts / amounts.max() * 2, amounts / amounts.max() * 400) is None


@pytest.mark.parametrize("size", [4, 8, 20, 100, 400])
def test_random_splits_of_one_set_raise_no_alarm(size: int, digits_data: Path) -> None:
    with np.load(digits_data) as data:
        images = np.concatenate([data["x"], data["x_eval"]])
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(len(images))
        assert notes(images[order[:size]], images[order[size : 2 * size]]) == []


def test_tints_that_differ_by_chance_are_no_order_of_channels() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        images = rng.random((40, 8, 8, 3)) * 0.3 + rng.random((40, 1, 1, 3)) * 0.7
        assert not any("RGB" in note for note in notes(*np.split(images.astype(np.float32), 2)))


@pytest.mark.parametrize("size", [4, 20, 40])
def test_random_splits_of_colour_images_raise_no_alarm(size: int) -> None:
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(len(COLOUR))
        assert notes(COLOUR[order[:size]], COLOUR[order[size : 2 * size]]) == []


def test_too_few_samples_one_set_for_both_and_integers_are_not_compared() -> None:
    assert notes(UNIT[:3], OTHER * 255) == []
    assert notes(UNIT, UNIT) == []
    assert notes(np.arange(40)[:, None], np.arange(40)[:, None] * 255) == []


def test_the_user_reads_it_with_the_data(digits: Path, save_npz: Callable[..., Path], tmp_path: Path) -> None:
    data = save_npz(x=UNIT * 0.1, x_eval=OTHER)
    result = build(digits, ["float32"], data=data, out_dir=tmp_path)
    assert result.data.warnings == (f"{WHO}: ranges differ: 0..0.1 against 0..1",)
