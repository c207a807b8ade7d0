"""Verdicts on synthetic rounds with a known answer."""

import random
import statistics
from collections.abc import Callable

import pytest

from devicekit.compare.significance import (
    ROUNDS,
    Ratio,
    ratio_apart,
    ratio_in_turns,
    round_medians,
)
from devicekit.measurement import Measurement, Memory, summarize

REPEATS = 400


def in_turns(
    rng: random.Random, *, ratio: float, noise: float = 0.02, drift: float = 0.0, outlier: float = 1.0
) -> Ratio:
    """Returns the verdict on ROUNDS rounds of two models whose latencies have this ratio.

    `noise` is the spread that all samples of one round share, `drift` what both gain from the first round to
    the last, `outlier` a factor on one round of the second model.
    """
    first, other = [], []
    for number in range(ROUNDS):
        level = 100 * (1 + drift * number / (ROUNDS - 1))
        first.append(level * rng.lognormvariate(0, noise))
        other.append(level * ratio * rng.lognormvariate(0, noise))
    other[rng.randrange(ROUNDS)] *= outlier
    found = ratio_in_turns(first, other)
    assert found is not None
    return found


def share(make: Callable[[random.Random], Ratio]) -> float:
    """Returns in how many of REPEATS runs a difference was found."""
    rng = random.Random(2026)
    return statistics.fmean(make(rng).is_different for _ in range(REPEATS))


def test_no_difference_is_rarely_taken_for_one() -> None:
    assert share(lambda rng: in_turns(rng, ratio=1.0)) <= 0.06


def test_drift_is_no_difference() -> None:
    assert share(lambda rng: in_turns(rng, ratio=1.0, drift=0.5)) <= 0.06


def test_a_disturbed_round_is_no_difference() -> None:
    assert share(lambda rng: in_turns(rng, ratio=1.0, outlier=3.0)) <= 0.06


@pytest.mark.parametrize("drift", [0.0, 0.5])
@pytest.mark.parametrize("outlier", [1.0, 1 / 3])
def test_ten_percent_is_found_through_drift_and_a_disturbed_round(drift: float, outlier: float) -> None:
    assert share(lambda rng: in_turns(rng, ratio=1.1, drift=drift, outlier=outlier)) >= 0.95


def test_the_interval_holds_the_true_ratio() -> None:
    rng = random.Random(2026)
    found = [in_turns(rng, ratio=1.1, noise=0.05) for _ in range(REPEATS)]
    assert statistics.fmean(one.low <= 1.1 <= one.high for one in found) >= 0.94


def test_many_samples_of_a_round_count_once() -> None:
    """Samples within a round agree to 0.1 %, rounds differ by 5 %: the interval is that of the rounds."""
    rng = random.Random(2026)
    first, other = [], []
    for rounds in (first, other):
        for _ in range(ROUNDS):
            level = 100 * rng.lognormvariate(0, 0.05)
            rounds.append(statistics.median(level * rng.lognormvariate(0, 0.001) for _ in range(500)))
    found = ratio_in_turns(first, other)
    assert found is not None and found.high - found.low > 0.02 and not found.is_different


def test_a_difference_below_one_percent_is_none() -> None:
    found = ratio_in_turns([100.0] * ROUNDS, [100.5] * ROUNDS)
    assert found is not None and not found.is_different
    assert found.verdict == "no difference that this noise would show (±0.5 %)"


def test_too_few_rounds_give_no_ratio() -> None:
    assert ratio_in_turns([1.0] * 5, [2.0] * 5) is None
    assert ratio_apart([1.0] * 2, [2.0] * 3) is None


def test_rounds_that_were_taken_apart_are_compared_by_their_own_spread() -> None:
    found = ratio_apart([100.0, 101.0, 99.0], [120.0, 121.0, 119.0])
    assert found is not None and found.is_different and found.low < 1.2 < found.high
    noisy = ratio_apart([100.0, 140.0, 80.0], [120.0, 90.0, 150.0])
    assert noisy is not None and not noisy.is_different


def test_rounds_apart_without_a_difference_are_rarely_taken_for_one() -> None:
    rng = random.Random(2026)

    def make(_: random.Random) -> Ratio:
        found = ratio_apart(*([100 * rng.lognormvariate(0, 0.03) for _ in range(3)] for _ in range(2)))
        assert found is not None
        return found

    assert share(make) <= 0.06


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Ratio(0.88, 0.85, 0.91), "12 % faster (95 %: 9-15 %)"),
        (Ratio(1.21, 1.15, 1.28), "21 % slower (95 %: 15-28 %)"),
        (Ratio(0.6901, 0.6884, 0.6931), "31 % faster (95 %: 30.7-31.2 %)"),
        (Ratio(1.02, 0.97, 1.06), "no difference that this noise would show (±6 %)"),
        (Ratio(0.25, 0.2, 0.4), "4 times faster (95 %: 2.5-5)"),
        (Ratio(30.5, 29.0, 31.0), "30.5 times slower (95 %: 29-31)"),
    ],
)
def test_a_verdict_says_how_much_and_how_sure(ratio: Ratio, verdict: str) -> None:
    assert ratio.verdict == verdict


def test_the_rounds_of_a_measurement_are_found_again() -> None:
    def measurement(counts: tuple[int, ...]) -> Measurement:
        return Measurement(
            evidence="simulated",
            runner="script",
            runtime_version="2.3.0",
            threads=1,
            latency=summarize([1.0, 2.0, 3.0, 10.0, 20.0], first_us=1.0, init_us=1.0),
            memory=Memory(1, 1, 1, "none"),
            conditions={},
            stability="",
            device="host",
            model="m",
            model_sha256="0",
            round_counts=counts,
        )

    assert round_medians(measurement((3, 2))) == (2.0, 15.0)
    assert round_medians(measurement(())) == (3.0,), "an older document knows no rounds"
