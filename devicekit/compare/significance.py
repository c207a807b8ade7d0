"""Whether one model is faster than another: a ratio of medians, its interval, and a verdict in words.

The rule. Samples within a round share a process, its place in memory, and what else ran just then: they are
correlated, and thousands of them say little more than one. So a round counts once, by its median.
- Of models that took turns, each round gives one ratio, in which slow drift (heat, load) cancels. Their
  median is the result, and its interval lies between two of them: of 9 ratios, from the second smallest to
  the second largest, which holds the true median in 96.1 % of cases (binomial), whatever the noise looks
  like. So one disturbed round on either side changes nothing.
- Of models that were measured apart there are few rounds, and none belong together: the interval is Welch's,
  for the difference of the means of the logarithms of their medians.
- A difference is called one where the interval leaves out 1, and the ratio is SMALLEST away from it at least.
- Each model is compared with the first alone: of 20 models that equal it, one may seem to differ.
Measured on a machine that others used too (63 rounds of one model in turns with itself, on 1 and 2 threads,
November 2026): the intervals of any 9 rounds in a row left out 1 in 2 and 11 % of cases, in none with a ratio
of 1 % or more; they were ±0.8 and ±2.1 % wide, though 2 and 5 of the 63 ratios were off by more than 10 %.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from devicekit.measurement import Measurement

CONFIDENCE = 0.95
ROUNDS = 9  # the fewest whose interval of CONFIDENCE leaves out the smallest and the largest ratio
MIN_ROUNDS_IN_TURNS = 6  # below, not even the smallest and the largest ratio make an interval of CONFIDENCE
MIN_ROUNDS_APART = 3  # of two, the interval is 12.7 standard errors wide: no verdict would ever be reached
# Smaller differences are none that anybody plans with; a change of linker or kernel moves as much.
SMALLEST = 0.01
# From here on a factor reads better than a percentage.
FACTOR = 2.0

# Student's t, two-sided 95 %, by degrees of freedom from 1; the last one is used for more, which widens the
# interval by 6 % at most. Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)


@dataclass(frozen=True)
class Ratio:
    """How many times the first one's latency another one takes, and the interval of CONFIDENCE."""

    ratio: float
    low: float
    high: float

    @property
    def is_different(self) -> bool:
        return not self.low <= 1 <= self.high and abs(self.ratio - 1) >= SMALLEST

    @property
    def verdict(self) -> str:
        """Returns "12 % faster (95 %: 9-15 %)" or "no difference that this noise would show (±6 %)"."""
        if not self.is_different:
            margin = max(abs(self.low - 1), abs(self.high - 1))
            return f"no difference that this noise would show (±{_percent(margin)} %)"
        word = "faster" if self.ratio < 1 else "slower"
        if 1 / FACTOR < self.ratio < FACTOR:
            value, *ends = (abs(one - 1) for one in (self.ratio, self.low, self.high))
            texts = [_percent(end) for end in sorted(ends)]
            if texts[0] == texts[1]:
                texts = [f"{end * 100:.1f}" for end in sorted(ends)]
            return f"{_percent(value)} % {word} (95 %: {'-'.join(texts)} %)"
        value, *ends = (one if word == "slower" else 1 / one for one in (self.ratio, self.low, self.high))
        low, high = sorted(ends)
        return f"{value:.3g} times {word} (95 %: {low:.3g}-{high:.3g})"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "confidence": CONFIDENCE, "is_different": self.is_different}


def round_medians(measurement: Measurement) -> tuple[float, ...]:
    """Returns the median of each round in microseconds; of a measurement that knows no rounds, of all."""
    samples, start, medians = measurement.latency.samples_us, 0, []
    for count in measurement.round_counts or (len(samples),):
        medians.append(statistics.median(samples[start : start + count]))
        start += count
    return tuple(medians)


def ratio_in_turns(first_us: Sequence[float], other_us: Sequence[float]) -> Ratio | None:
    """Returns other / first of medians that were taken in turns, round by round.

    None for too few rounds, and where a clock shows no time at all.
    """
    if min(len(first_us), len(other_us)) < MIN_ROUNDS_IN_TURNS or min(*first_us, *other_us) <= 0:
        return None
    ratios = sorted(other / first for first, other in zip(first_us, other_us, strict=False))
    outside = _outside(len(ratios))
    return Ratio(statistics.median(ratios), ratios[outside], ratios[-1 - outside])


def _outside(count: int) -> int:
    """Returns how many of `count` sorted values lie outside the interval for their median, on either side.

    Each value is below the true median with probability 1/2: the interval misses it where no more than so
    many are below, or above.
    """
    outside, missed = -1, 0.0
    while True:
        missed += 2 * math.comb(count, outside + 1) / 2**count
        if missed > 1 - CONFIDENCE:
            return outside
        outside += 1


def ratio_apart(first_us: Sequence[float], other_us: Sequence[float]) -> Ratio | None:
    """Returns other / first of medians that were taken at different times; None as in `ratio_in_turns`."""
    if min(len(first_us), len(other_us)) < MIN_ROUNDS_APART or min(*first_us, *other_us) <= 0:
        return None
    sides = [[math.log(median) for median in medians] for medians in (first_us, other_us)]
    variances = [statistics.variance(side) / len(side) for side in sides]
    total = sum(variances)
    # Welch and Satterthwaite's degrees of freedom; without any variance the interval is a point anyway.
    parts = sum(v**2 / (len(side) - 1) for v, side in zip(variances, sides, strict=True))
    freedom = total**2 / parts if parts else 1.0
    means = [statistics.fmean(side) for side in sides]
    half = _STUDENT[min(int(freedom), len(_STUDENT)) - 1] * math.sqrt(total)
    middle = means[1] - means[0]
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half))


def _percent(share: float) -> str:
    """Returns a share in percent: whole from 1 on, one decimal below."""
    return f"{share * 100:.0f}" if share >= 0.00995 else f"{share * 100:.1f}"
