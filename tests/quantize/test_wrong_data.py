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
from devicekit.quantize.wrong_data import as_told, doubts
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
    assert told.warnings == (f"x: values span 0..1: taken as that, stretched from {low}..1",)


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
