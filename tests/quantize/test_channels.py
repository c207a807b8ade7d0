"""Which outputs are judged channel by channel, and what that finds."""

import numpy as np
import pytest

from devicekit.quantize.channels import find_channels
from devicekit.quantize.fidelity import Fidelity, compare

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


@pytest.mark.parametrize(("mean", "spread"), [(293.0, 3.0), (36.8, 0.4), (-1000.0, 20.0)])
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


def test_integers_and_few_numbers_have_no_channels() -> None:
    assert find_channels(np.arange(40).reshape(8, 5), is_random=False) is None
    assert find_channels(np.array([[293.0], [294.0]]), is_random=False) is None
    assert find_channels(np.zeros((COUNT, 4)), is_random=False) is None
