"""Data that the float model makes nothing of: said, and what merely is unlike it let pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devicekit.errors import UsageError
from devicekit.graph.told import Told
from devicekit.quantize.samples import Data
from devicekit.quantize.scores import NO_SCORES, Scores
from devicekit.quantize.wrong_data import as_told, doubts, unused_labels
from tests.quantize.building import build

RNG = np.random.default_rng(2)
BYTES = Told((0.0,), (255.0,), "scale", is_exact=True)
UNIT = RNG.random((40, 8, 8, 3), dtype=np.float32)


def data_of(values: np.ndarray, evaluation: np.ndarray | None = None, **fields: Any) -> Data:
    calibration = {"x": values}
    given = calibration if evaluation is None else {"x": evaluation}
    return Data(calibration, given, None, "x.npz", False, (), **fields)


def said(reference: np.ndarray, scores: Scores = NO_SCORES, data: Data | None = None) -> list[str]:
    def run(inputs: Any) -> dict[str, np.ndarray]:
        return {"y": reference}

    return list(doubts(data or data_of(UNIT), {"y": reference}, scores, {}, run))


def scored(hit: float, *, classes: int, count: int) -> tuple[np.ndarray, Scores]:
    """Returns outputs of which the first `hit` share is right, and their labels."""
    labels = np.arange(count) % classes
    found = np.where(np.arange(count) < hit * count, labels, (labels + 1) % classes)
    return np.eye(classes, dtype=np.float32)[found], Scores(("y",), "y", labels)


@pytest.mark.parametrize(("classes", "count"), [(2, 100), (10, 40), (10, 1000), (1000, 500)])
def test_labels_hit_by_chance_are_wrong(classes: int, count: int) -> None:
    [words] = said(*scored(1 / classes, classes=classes, count=count))
    assert words.endswith(f"as guessing among {classes} classes would ({1 / classes:.1%})")


def test_labels_that_are_all_off_by_one_are_wrong() -> None:
    assert said(*scored(0.0, classes=10, count=100))


@pytest.mark.parametrize(
    ("hit", "classes", "count"),
    [(0.7, 2, 40), (0.5, 2, 10), (0.25, 10, 12), (0.3, 10, 100), (0.02, 1000, 500)],
)
def test_poor_models_and_few_samples_are_let_pass(hit: float, classes: int, count: int) -> None:
    assert said(*scored(hit, classes=classes, count=count)) == []


def test_labels_that_are_hit_less_than_by_guessing_may_be_in_another_order() -> None:
    [words] = said(*scored(0.0, classes=10, count=100))
    assert words.endswith("less than guessing among 10 classes would: they may be in another order")


def test_outputs_that_may_be_no_scores_leave_labels_unused() -> None:
    """An embedding, a forecast, an autoencoder: their y may be about something else."""
    labels = np.arange(200) % 5
    outputs = {"y": RNG.normal(size=(200, 32)).astype(np.float32)}
    scores = Scores(("y",), "y", labels)
    assert said(outputs["y"], scores) == []
    words = unused_labels(outputs, scores)
    assert words and words.endswith("of y, which may be no scores of classes")
    logits = np.eye(32, dtype=np.float32)[labels] * 5
    assert unused_labels({"y": logits}, scores) is None, "they are hit"


def test_a_threshold_that_is_off_is_no_chance() -> None:
    labels = np.arange(100) % 2
    rare = (0.1 + 0.2 * labels + 0.05 * RNG.normal(size=100)).clip(0, 0.49).astype(np.float32)[:, None]
    scores = Scores((), "y", labels)
    assert said(rare, scores) == []
    assert said(rare[RNG.permutation(100)], scores)


def test_the_same_outputs_that_hit_all_labels_are_right() -> None:
    sure = np.eye(3, dtype=np.float32)[[1] * 6]
    assert said(sure, Scores(("y",), "y", np.ones(6, int))) == []


def test_answering_one_class_is_no_better_scale() -> None:
    """Scaled wrongly a model gives one class always, which hits all of an evaluation of that class."""
    labels = np.ones(60, int)
    given = np.eye(2, dtype=np.float32)[(np.arange(60) % 4 > 0).astype(int)]
    always = np.eye(2, dtype=np.float32)[labels]

    def run(inputs: Any) -> dict[str, np.ndarray]:
        return {"y": always}

    assert list(doubts(data_of(UNIT), {"y": given}, Scores(("y",), "y", labels), {}, run)) == []


def test_the_best_way_is_named_and_a_model_that_takes_no_such_values_is_left_alone() -> None:
    labels = np.arange(200) % 4

    def outputs(hit: float) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[np.where(np.arange(200) < hit * 200, labels, (labels + 1) % 4)]

    def run(inputs: Any) -> dict[str, np.ndarray]:
        return {"y": outputs(0.95 if inputs["x"].min() < -0.5 else 0.7)}

    scores = Scores(("y",), "y", labels)
    images = data_of(np.linspace(0, 255, 200, dtype=np.float32)[:, None])
    [words] = doubts(images, {"y": outputs(0.5)}, scores, {}, run)
    assert "95.0% with x / 127.5 - 1" in words
    assert list(doubts(images, {"y": outputs(0.5)}, scores, {}, lambda inputs: {})) == []


@pytest.mark.parametrize("low", [-1e-6, -0.03])
def test_a_little_below_0_is_no_range_of_its_own(low: float) -> None:
    values = UNIT.copy()
    values[0, 0, 0, 0] = low
    told = as_told(data_of(values, strays={"x": "values span"}), {"x": BYTES})
    assert told and told.is_stretched
    np.testing.assert_allclose(told.calibration["x"][1:], UNIT[1:] * 255, atol=1e-3)


def test_sound_prepared_for_its_unit_is_brought_back_around_0() -> None:
    sound = Told((-32768.0,), (32767.0,), "scale", is_exact=True)
    values = RNG.uniform(-0.4, 0.4, (20, 100)).astype(np.float32)
    told = as_told(data_of(values, strays={"x": "values span"}), {"x": sound})
    assert told
    np.testing.assert_allclose(told.calibration["x"], values * 32767, rtol=1e-5)


def test_the_same_outputs_for_all_samples_are_wrong() -> None:
    assert said(np.ones((40, 3), np.float32))
    assert said(np.ones((3, 3), np.float32)) == [], "three may be alike"
    assert said(np.ones((40, 3), np.int64)) == [], "so may the best classes of many"
    assert said(1 + 1e-3 * RNG.normal(size=(40, 3)).astype(np.float32)) == []


def test_random_inputs_are_nobodys_fault() -> None:
    random = Data({"x": UNIT}, {"x": UNIT}, None, "random inputs", True, ())
    assert said(np.ones((40, 3), np.float32), data=random) == []


@pytest.mark.parametrize(("values", "low"), [(UNIT, 0), (UNIT * 2 - 1, -1)])
def test_images_prepared_for_0_to_1_are_taken_as_the_model_tells(values: np.ndarray, low: int) -> None:
    told = as_told(data_of(values, strays={"x": "values span 0..1"}), {"x": BYTES})
    assert told
    np.testing.assert_allclose(told.calibration["x"], UNIT * 255, atol=1e-3)
    assert told.evaluation is told.calibration and told.calibration["x"].dtype == np.float32
    assert told.warnings == (
        f"x: values span 0..1: taken as that, stretched from {low}..1; --accept-data takes it as is",
    )


def test_what_does_not_stray_is_left_alone() -> None:
    assert as_told(data_of(UNIT * 255), {"x": BYTES}) is None
    assert as_told(data_of(UNIT * 20, strays={"x": "values span 0..20"}), {"x": BYTES}) is None


def test_labels_say_whether_the_scale_is_wrong(
    digits: Path, digits_data: Path, save_npz: Callable[..., Path], tmp_path: Path
) -> None:
    with np.load(digits_data) as file:
        data = {key: file[key] for key in file.files}
    path = save_npz(**{**data, "x": data["x"] * 255, "x_eval": data["x_eval"] * 255})
    with pytest.raises(UsageError, match=r"% of 719 labels with image as given, and 99.4% with image / 255"):
        build(digits, ["float32"], data=path, out_dir=tmp_path)
    accepted = build(digits, ["float32"], data=path, out_dir=tmp_path, accept_data=True)
    assert accepted.data.warnings[0].endswith("it is not scaled as for training")
    assert build(digits, ["float32"], data=digits_data, out_dir=tmp_path).data.warnings == ()
