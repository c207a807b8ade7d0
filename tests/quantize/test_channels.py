"""Which outputs are judged channel by channel, and what that finds."""

import numpy as np
import pytest

from devicekit.quantize.channels import find_channels
from devicekit.quantize.fidelity import Fidelity, compare
from devicekit.quantize.scores import Scores

RNG = np.random.default_rng(3)
COUNT = 64
BOXES = RNG.uniform(0, 320, (COUNT, 4))
SCORES = RNG.uniform(0, 1, (COUNT, 3)) ** 3


def in_steps(values: np.ndarray, step: float) -> np.ndarray:
    return np.round(values / step) * step


def coarse(values: np.ndarray, *, is_random: bool = False) -> Fidelity:
    """Returns the fidelity of an output in the 256 steps of int8, 0 among them."""
    values = values.astype(np.float32)
    step = (max(values.max(), 0) - min(values.min(), 0)) / 255
    found = in_steps(values, step).astype(np.float32)
    return compare({"pred": values}, {"pred": found}, steps={"pred": float(step)}, is_random=is_random)


def test_scores_beside_boxes_are_judged_by_their_own_spread() -> None:
    score = coarse(np.concatenate([BOXES, SCORES], axis=1))
    assert score.cosine < 0.9 and score.worst in ("pred[…, 4]", "pred[…, 5]", "pred[…, 6]")
    assert score.step and score.step > 2 and score.step_of == "pred[…, 4]"


@pytest.mark.parametrize("order", ["scores first", "by anchor", "before anchors"])
def test_wherever_the_channels_lie(order: str) -> None:
    pairs = np.concatenate([SCORES, BOXES], axis=1)
    anchors = np.stack([np.roll(pairs, k, axis=0) for k in range(20)], axis=1)
    outputs = {"scores first": pairs, "by anchor": anchors, "before anchors": anchors.transpose(0, 2, 1)}
    score = coarse(outputs[order])
    wanted = (
        {"pred[:, 0]", "pred[:, 1]", "pred[:, 2]"}
        if order == "before anchors"
        else {
            "pred[…, 0]",
            "pred[…, 1]",
            "pred[…, 2]",
        }
    )
    assert score.cosine < 0.9 and score.worst in wanted


def test_boxes_and_scores_that_keep_their_values_are_good() -> None:
    joined = np.concatenate([BOXES, SCORES], axis=1).astype(np.float32)
    found = joined.copy()
    found[:, :4] = in_steps(joined[:, :4], 320 / 255)
    found[:, 4:] = in_steps(joined[:, 4:], 1 / 256)
    assert compare({"pred": joined}, {"pred": found}).cosine > 0.999


def test_a_class_that_hardly_ever_shows_may_be_as_coarse_as_the_others() -> None:
    scores = np.concatenate([SCORES, RNG.uniform(0, 1e-4, (COUNT, 1)), np.zeros((COUNT, 1))], axis=1)
    joined = np.concatenate([BOXES, scores], axis=1).astype(np.float32)
    found = joined.copy()
    found[:, 4:] = in_steps(joined[:, 4:], 1 / 256)
    assert compare({"pred": joined}, {"pred": found}).cosine > 0.999


@pytest.mark.parametrize(("mean", "spread"), [(293.0, 3.0), (36.8, 0.4), (-1000.0, 10.0)])
@pytest.mark.parametrize("count", [1, 3])
def test_numbers_far_from_0_are_judged_by_how_much_they_vary(mean: float, spread: float, count: int) -> None:
    score = coarse(mean + spread * RNG.normal(size=(COUNT, count)))
    assert score.step and 0.15 < score.step < 0.6
    offset = compare(
        {"pred": np.full((COUNT, 1), mean) + spread * RNG.normal(size=(COUNT, 1))},
        {"pred": np.full((COUNT, 1), mean) + spread * RNG.normal(size=(COUNT, 1))},
    )
    assert offset.cosine < 0.9, "values that vary on their own have nothing in common"


def test_on_random_inputs_how_much_a_number_varies_says_nothing() -> None:
    values = 293 + 0.1 * RNG.normal(size=(COUNT, 1))
    assert coarse(values, is_random=True).step is None
    assert coarse(values, is_random=True).cosine > 0.999


SOUND = {
    "softmax": np.exp(RNG.normal(size=(COUNT, 10)) * 3),
    "embedding": RNG.normal(size=(COUNT, 64)) * RNG.uniform(0.05, 1, 64),
    "features of a ReLU": np.maximum(RNG.normal(size=(COUNT, 64)) - np.linspace(0, 3, 64), 0),
    "logits": RNG.normal(size=(COUNT, 10)) * 3 - 2,
    "sigmoids": 1 / (1 + np.exp(-RNG.normal(size=(COUNT, 5)) * 3)),
    "an image": RNG.uniform(0, 255, (COUNT, 8, 8, 3)),
    "one probability that hardly varies": 0.5 + 0.01 * RNG.normal(size=(COUNT, 1)),
    "one number around 0": RNG.normal(size=(COUNT, 1)),
}


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("is_random", [False, True])
def test_what_int8_holds_well_is_not_refused(kind: str, is_random: bool) -> None:
    values = SOUND[kind]
    if kind == "softmax":
        values = values / values.sum(axis=-1, keepdims=True)
    score = coarse(values, is_random=is_random)
    assert score.cosine > 0.99 and (score.step or 0) <= 0.125


def test_probabilities_finer_than_a_step_are_too_fine() -> None:
    values = np.exp(RNG.normal(size=(COUNT, 1000)))
    values = (values / values.sum(axis=1, keepdims=True)).astype(np.float32)
    score = compare({"p": values}, {"p": in_steps(values, 1 / 256)}, steps={"p": 1 / 256})
    assert score.step and score.step > 0.125 and score.step_of == "p"


def beside(*channels: np.ndarray) -> np.ndarray:
    return np.stack(channels, axis=-1)


NORMAL = RNG.normal(size=(COUNT, 8))
LOST = {
    "channels of an image": (
        np.stack([RNG.uniform(0, 320, (COUNT, 6, 6)), RNG.uniform(0, 1, (COUNT, 6, 6))], axis=1),
        {"y[:, 1]"},
    ),
    "quantities by quantiles": (
        np.stack([NORMAL[:, :3] * 300, NORMAL[:, 3:6], NORMAL[:, :3] * 200, NORMAL[:, 3:6] * 2], axis=1),
        {"y[:, 1]", "y[:, 3]"},
    ),
    "a chain of spreads": (NORMAL[:, :5] * [1, 5, 25, 125, 600], {"y[…, 0]"}),
    "a share far from 0": (beside(NORMAL[:, 0] * 0.1 + 0.5, 0.96 + 0.001 * NORMAL[:, 1]), {"y[…, 1]"}),
    "small offsets beside sigmoids": (
        beside(RNG.uniform(0, 1, COUNT), RNG.uniform(-1e-3, 1e-3, COUNT)),
        {"y[…, 1]"},
    ),
    "a large constant": (beside(np.full(COUNT, 640.0), NORMAL[:, 0], NORMAL[:, 1]), {"y[…, 1]", "y[…, 2]"}),
}


@pytest.mark.parametrize("kind", LOST)
def test_a_channel_that_int8_loses_is_named(kind: str) -> None:
    values, where = LOST[kind]
    values = values.astype(np.float32)
    step = float((max(values.max(), 0) - min(values.min(), 0)) / 255)
    score = compare({"y": values}, {"y": in_steps(values, step).astype(np.float32)}, steps={"y": step})
    assert score.cosine < 0.95 and score.worst in where


KEPT = {
    "logits of a class that never shows": np.concatenate(
        [NORMAL[:, :4] * 3, -20 + 0.3 * NORMAL[:, 4:5]], axis=1
    ),
    "an embedding with an outlier": np.concatenate(
        [RNG.normal(size=(COUNT, 31)), 15 * RNG.normal(size=(COUNT, 1))], axis=1
    ),
    "samples that stand still": np.where(np.arange(COUNT)[:, None] % 2, NORMAL[:, :3], NORMAL[:, :3] * 1e-4),
    "pitches that hardly sound": np.concatenate(
        [RNG.uniform(0, 1, (COUNT, 60)) ** 3, 0.02 + 2e-4 * RNG.normal(size=(COUNT, 28))], axis=1
    ),
    "a picture of one channel": RNG.uniform(0, 1, (COUNT, 8, 8, 1)) ** 4,
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_an_app_can_use_is_kept(kind: str) -> None:
    score = coarse(KEPT[kind])
    assert score.cosine > 0.98 and (score.step or 0) <= 0.125


def test_calibration_inputs_show_how_much_an_output_varies_where_few_are_scored() -> None:
    joined = np.concatenate([BOXES, SCORES], axis=1).astype(np.float32)
    found = in_steps(joined, 320 / 255).astype(np.float32)
    one = np.abs(SCORES - 0.5).max(axis=1).argmin()
    few = {"pred": joined[one : one + 1]}, {"pred": found[one : one + 1]}
    assert compare(*few).cosine > 0.999
    known = compare(*few, usual={"pred": joined})
    assert known.cosine < 0.99 and known.worst and known.worst.startswith("pred[…, ")


def test_of_several_outputs_labels_are_about_one() -> None:
    labels = np.arange(COUNT) % 3
    classes = np.eye(3, dtype=np.float32)[labels]
    scores = Scores(("classes",), "classes", labels)
    boxes = BOXES.astype(np.float32)
    wanted, found = {"classes": classes, "boxes": boxes}, {"classes": classes, "boxes": boxes[::-1]}
    score = compare(wanted, found, scores)
    assert score.change and score.change.value == 0 and score.beside
    assert score.beside.worst and score.beside.worst.startswith("boxes") and score.beside.cosine < 0.9
    assert compare({"classes": classes}, {"classes": classes}, scores).beside is None


def test_integers_and_few_numbers_have_no_channels() -> None:
    assert find_channels(np.arange(40).reshape(8, 5), is_random=False) is None
    assert find_channels(np.array([[293.0], [294.0]]), is_random=False) is None
    assert find_channels(np.zeros((COUNT, 4)), is_random=False) is None
