"""Calibration against evaluation inputs: a mismatch in words, as either may be prepared the wrong way."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Sets of one kind differ by chance: of 300 random splits of the digits none had ranges that differ more than
# 1.0 times; means by more than 0.19, 0.12 and 0.03 of the deviation with 2, 4 and 100 samples (measured,
# November 2026). What is below is no news; sets smaller than MIN_SAMPLES are not compared.
MIN_SAMPLES = 4
DIFFERENT_SCALE = 4.0  # one span is so many times the other
DIFFERENT_MEAN = 0.5  # of the larger standard deviation
# Images come in 0..255, or in 0..1 or -1..1: bytes reach so far at least, and what is scaled as far as this.
LEAST_OF_BYTES, LEAST_OF_UNIT = 64.0, 0.25
UNIT = 1.01
# Channels in the other order: their means agree swapped (within this share of the deviation), and differ as
# they are by more than CHANNELS_APART of it. Halves of a set differ by 0.03 (above).
CHANNELS_AGREE = 0.1
CHANNELS_APART = 0.15
# Images of many tints differ in their means by chance: so many standard errors are none.
SURE = 4.0
# Values outside the calibrated range are cut off. More than this share of them, further outside than this
# share of the span, is no chance: 4 samples of noise miss 1 % of the others' values, all by less.
MAX_OUTSIDE = 0.01
OUTSIDE_MARGIN = 0.05

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _Statistics:
    low: float
    high: float
    mean: float
    deviation: float

    @property
    def span(self) -> float:
        return self.high - self.low

    @property
    def range(self) -> str:
        """Returns "0..1", to a hundredth of the span: a lowest value of 0.0003 is 0."""
        digits = 2 - math.floor(math.log10(self.span)) if self.span else 6
        low, high = (round(value, digits) + 0.0 for value in (self.low, self.high))
        return f"{low:.3g}..{high:.3g}"


def mismatches(calibration: Arrays, evaluation: Arrays) -> Iterator[str]:
    """Yields a note for each float input whose two sets of samples ([N, …]) look prepared differently.

    Those that `scaled_apart` has words for are left out.
    """
    for name, values in calibration.items():
        against = evaluation[name]
        if _are_compared(values, against) and not scaled_apart(name, values, against):
            note = _mismatch(name, values, against)
            if note:
                yield note


def scaled_apart(name: str, values: NDArray[Any], against: NDArray[Any]) -> str | None:
    """Returns in words that one of two sets of images is not scaled; None where that is not so."""
    if not _are_compared(values, against):
        return None
    ours, theirs = _statistics(values), _statistics(against)
    small, large = sorted((ours, theirs), key=lambda one: one.span)
    is_bytes = large.low >= 0 and LEAST_OF_BYTES < large.high <= 255
    is_scaled = small.low >= -UNIT and LEAST_OF_UNIT < small.high <= UNIT
    if not (is_bytes and is_scaled):
        return None
    scale = 127.5 if small.low < -LEAST_OF_UNIT else 255
    word = "smaller" if small is ours else "larger"
    return (
        f"calibration inputs of {name} look {scale:g} times {word} than the evaluation inputs: "
        "one of them is not scaled"
    )


def _are_compared(values: NDArray[Any], against: NDArray[Any]) -> bool:
    few = min(len(values), len(against)) < MIN_SAMPLES
    return values is not against and not few and values.dtype.kind == "f"


def _mismatch(name: str, values: NDArray[Any], against: NDArray[Any]) -> str | None:
    ours, theirs = _statistics(values), _statistics(against)
    if ours.span == 0 or theirs.span == 0:
        return _constant(name, ours, theirs)
    return (
        _scaled(name, ours, theirs)
        or _shifted(name, ours, theirs)
        or _swapped(name, values, against)
        or _outside(name, ours, theirs, against)
    )


def _constant(name: str, ours: _Statistics, theirs: _Statistics) -> str | None:
    which, one = ("calibration", ours) if ours.span == 0 else ("evaluation", theirs)
    if one.high == 0:
        return f"{which} inputs of {name} are all zero"
    return f"{which} inputs of {name} are all {one.high:g}"


def _scaled(name: str, ours: _Statistics, theirs: _Statistics) -> str | None:
    factor = theirs.span / ours.span
    return None if max(factor, 1 / factor) < DIFFERENT_SCALE else _ranges(name, ours, theirs)


def _shifted(name: str, ours: _Statistics, theirs: _Statistics) -> str | None:
    """Returns a note where one set is around another middle: -1..1 against 0..1."""
    apart = abs(ours.mean - theirs.mean) / max(ours.deviation, theirs.deviation)
    if apart <= DIFFERENT_MEAN:
        return None
    if (ours.low < 0) != (theirs.low < 0) and min(ours.low, theirs.low) < -0.2 * max(ours.span, theirs.span):
        return (
            f"calibration inputs of {name} are shifted against the evaluation inputs: "
            f"{ours.range} against {theirs.range}"
        )
    return _ranges(name, ours, theirs)


def _ranges(name: str, ours: _Statistics, theirs: _Statistics) -> str:
    who = f"calibration and evaluation inputs of {name}"
    if ours.range != theirs.range:
        return f"{who}: ranges differ: {ours.range} against {theirs.range}"
    return f"{who}: means differ: {ours.mean:.3g} against {theirs.mean:.3g}"


def _swapped(name: str, values: NDArray[Any], against: NDArray[Any]) -> str | None:
    """Returns a note where image channels agree better in reversed order (the first three of four)."""
    if values.ndim != 4 or values.shape[-1] not in (3, 4):
        return None
    axes = (0, 1, 2)
    deviation = float(max(values.std(), against.std()))
    ours, theirs = values.mean(axis=axes)[:3], against.mean(axis=axes)[:3]
    as_is = float(np.abs(ours - theirs).max()) / deviation
    reversed_ = float(np.abs(ours[::-1] - theirs).max()) / deviation
    by_image = np.concatenate([one.mean(axis=(1, 2))[:, :3] for one in (values, against)])
    chance = (
        SURE * float(by_image.std(axis=0).max()) * (1 / len(values) + 1 / len(against)) ** 0.5 / deviation
    )
    if as_is > max(CHANNELS_APART, chance) and reversed_ < CHANNELS_AGREE:
        return (
            f"calibration and evaluation inputs of {name}: channel order differs: RGB against BGR is likely"
        )
    return None


def _outside(name: str, ours: _Statistics, theirs: _Statistics, against: NDArray[Any]) -> str | None:
    margin = OUTSIDE_MARGIN * ours.span
    share = float(((against < ours.low - margin) | (against > ours.high + margin)).mean())
    if share <= MAX_OUTSIDE:
        return None
    return (
        f"{share:.0%} of the evaluation values of {name} are far outside the calibrated range {ours.range} "
        f"(they span {theirs.range}): int8 cuts them off"
    )


def _statistics(values: NDArray[Any]) -> _Statistics:
    return _Statistics(
        float(values.min()),
        float(values.max()),
        float(values.mean(dtype=np.float64)),
        float(values.std(dtype=np.float64)),
    )
