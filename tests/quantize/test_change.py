"""The change of a task metric, and what chance makes of it."""

import numpy as np
import pytest

from devicekit.quantize.change import Change, of_hits, of_scores


def hits(count: int, missed: range) -> np.ndarray:
    return np.array([index not in missed for index in range(count)])


def test_what_both_hit_or_miss_says_nothing() -> None:
    few = of_hits(hits(100, range(50)), hits(100, range(50)))
    assert few.value == 0 and few.low is not None and few.high is not None
    assert -few.low == pytest.approx(few.high) and 0.02 < few.high < 0.03


def test_the_interval_is_that_of_pairs() -> None:
    """10 more misses of 1000 are sure where the same samples show it, and hidden where they do not."""
    float_hits = hits(1000, range(100))
    paired = of_hits(float_hits, hits(1000, range(110)))
    assert paired.value == pytest.approx(-0.01) and paired.high is not None and paired.high < 0
    unlike = of_hits(float_hits, hits(1000, range(100, 210)))
    assert unlike.value == pytest.approx(-0.01) and unlike.high is not None and unlike.high > 0


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(1000):
        reference = rng.random(80) < 0.9
        candidate = np.where(rng.random(80) < 0.06, ~reference, reference)
        truth = 0.06 * (0.1 - 0.9)
        change = of_hits(reference, candidate)
        assert change.low is not None and change.high is not None
        held += change.low <= truth <= change.high
    assert 0.93 < held / 1000 < 0.99


def test_a_mean_of_scores_has_the_interval_of_their_differences() -> None:
    rng = np.random.default_rng(6)
    reference = rng.normal(size=50)
    change = of_scores(reference, reference - 0.5 + 0.01 * rng.normal(size=50))
    assert change.low is not None and change.high is not None
    assert -0.51 < change.low < change.value < change.high < -0.49
    assert of_scores(reference, reference) == Change(0.0, 0.0, 0.0)
    assert of_scores(np.ones(1), np.zeros(1)) == Change(-1.0)
