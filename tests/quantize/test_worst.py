"""The worst samples: labels that only the float model hits, then the largest errors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from devicekit.quantize.scores import NO_SCORES, Scores
from devicekit.quantize.worst import worst_samples
from tests.quantize.building import build
from tests.quantize.outputs import outputs_of

RNG = np.random.default_rng(4)


def test_the_largest_error_comes_first() -> None:
    wanted = RNG.normal(size=(20, 5))
    found = wanted.copy()
    found[7] += 1
    found[3] += 0.1
    assert worst_samples({"y": wanted}, {"y": found}, NO_SCORES) == [7, 3]


def test_errors_count_by_channel() -> None:
    wanted = np.concatenate([RNG.uniform(0, 320, (20, 4)), RNG.uniform(0, 1, (20, 2))], axis=1)
    found = wanted.copy()
    found[7, 0] += 1
    found[3, 4] += 0.5
    assert worst_samples({"y": wanted}, {"y": found}, NO_SCORES) == [3, 7]


def test_a_label_that_is_lost_is_worse() -> None:
    wanted, found = np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[0, 1, 2, 0]].copy()
    found[1] = [0.4, 0.3, 0.3]
    found[2] = [-9, -9, 9]
    assert worst_samples({"y": wanted}, {"y": found}, Scores(("y",), "y", np.array([0, 1, 2, 0]))) == [1, 2]


def test_the_worst_are_named_and_kept_as_they_went_in(
    digits: Path, digits_data: Path, tmp_path: Path
) -> None:
    result = build(digits, ["float32", "int8"], data=digits_data, out_dir=tmp_path, keep_worst=3)
    float32, int8 = result.candidates
    assert float32.worst is None and float32.fidelity and float32.fidelity.worst_sample is None
    assert int8.worst and int8.path and int8.fidelity
    with np.load(int8.worst) as kept, np.load(digits_data) as data:
        assert int8.fidelity.worst_sample == f"x_eval[{kept['index'][0]}]" and len(kept["index"]) == 3
        np.testing.assert_array_equal(kept["x"], data["x_eval"][kept["index"]])
        np.testing.assert_array_equal(kept["y"], data["y"][kept["index"]])
        again = outputs_of(int8.path, {"image": kept["x"]})["digit"]
        np.testing.assert_allclose(kept["out/digit"], again, atol=1e-6)
        in_float = outputs_of(digits, {"image": kept["x"]})["digit"]
        np.testing.assert_allclose(kept["float/digit"], in_float, atol=1e-6)


def test_random_inputs_have_no_worst(digits: Path, tmp_path: Path) -> None:
    [int8] = build(digits, ["int8"], data=None, out_dir=tmp_path, keep_worst=3).candidates
    assert int8.worst is None and int8.fidelity and int8.fidelity.worst_sample is None


def test_the_worst_can_be_given_again(
    digits: Path, digits_data: Path, save_npz: Callable[..., Path], tmp_path: Path
) -> None:
    first = build(digits, ["int8"], data=digits_data, out_dir=tmp_path / "a", keep_worst=20).candidates[0]
    assert first.worst
    with np.load(first.worst) as kept, np.load(digits_data) as data:
        path = save_npz(x=data["x"], x_eval=kept["x"], y=kept["y"])
    again = build(digits, ["int8"], data=path, out_dir=tmp_path / "b").candidates[0]
    assert again.fidelity and first.fidelity and again.fidelity.cosine < first.fidelity.cosine
