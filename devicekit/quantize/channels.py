"""Channels: where the numbers of one output are not one thing, each is judged by how much it varies itself.

Boxes in pixels beside scores in 0..1 give a cosine of 0.9999 whatever the scores are; a temperature of 293 K
that varies by 3 K gives 1.0000 whatever it is. A softmax and an embedding are one thing: there the small
numbers count for as little as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Channels whose spreads lie further apart than this measure different things; so do a mean and a spread.
APART = 8.0
# A channel's error counts against its spread, but against no less than the largest spread of its group by
# this: within what measures one thing, a class that hardly ever shows may be as coarse as the others.
WITHIN = 8.0
# Where several numbers lie far from 0, an error is one from this share of their spread on: the logits of a
# class that never shows lie far from 0 too, and hardly vary.
HALF = 0.5
# Fewer numbers than this show no spread.
MIN_NUMBERS = 8
# What spreads less than this share of its size, or of the largest spread, is constant: float32 sums differ by
# as much.
CONSTANT = 1e-6
# The error of what does not vary, or lies within 0..1, counts against no less than this share of its size: a
# probability of 0.5 may vary little. Above a cosine of 0.99 it is then within 2.8 % of what it should be.
OF_ITS_SIZE = 0.2
# How far probabilities may stray from 0..1 and their sum from 1 (see scores.TOLERANCE).
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Channels:
    """The channels of an output [N, ...] that are judged one by one; they lie on `axis` (0: there is one).

    By channel: `is_judged`; `units`, against which an error counts; and `spreads`, the largest standard
    deviation among the channels that measure the same thing. Errors below `least` of a unit are none.
    """

    axis: int
    rank: int
    least: float
    is_judged: "NDArray[Any]"
    units: "NDArray[Any]"
    spreads: "NDArray[Any]"

    def cosines(self, difference: "NDArray[Any]") -> "NDArray[Any]":
        """Returns for each channel the cosine that its error, at right angles to the signal, would give."""
        import numpy as np

        power = (_by_channel(difference, self.axis) ** 2).mean(axis=1)
        ratios = np.divide(power, self.units**2, out=np.where(power > 0, np.inf, 0.0), where=self.units > 0)
        is_error = self.is_judged & (ratios >= self.least**2)
        cosines: NDArray[Any] = np.where(is_error, (1 + ratios) ** -0.5, 1.0)
        return cosines

    def shares(self, step: float) -> "NDArray[Any]":
        """Returns for each channel what share of its spread one step of the output is; 0 without one."""
        import numpy as np

        known = self.is_judged & (self.spreads > 0)
        shares: NDArray[Any] = np.divide(step, self.spreads, out=np.zeros_like(self.spreads), where=known)
        return shares

    def name(self, output: str, channel: int) -> str:
        """Returns "pred[…, 5]" for channel 5 of the last axis; the output's name where there is but one."""
        if self.axis == 0:
            return output
        return f"{output}[…, {channel}]" if self.axis == self.rank - 1 else f"{output}[:, {channel}]"


def find_channels(values: "NDArray[Any]", *, is_random: bool) -> Channels | None:
    """Returns the channels of an output [N, ...] that are judged one by one; None where it is one thing.

    Those are: channels whose spreads lie more than APART apart, numbers with a mean more than APART times
    their spread, and an output of a single number. Channels lie on the last axis, or on the first behind the
    samples where that is the shorter of two (a detector's [N, 4 + classes, boxes]). `is_random`: the inputs
    were made up, so how much an output varies by itself says nothing; how channels differ does.
    """
    if values.dtype.kind != "f" or values.size < MIN_NUMBERS or are_probabilities(values):
        return None
    for axis in _axes(values):
        found = _channels(values, axis, is_random=is_random)
        if found is not None:
            return found
    return None


def _axes(values: "NDArray[Any]") -> Iterator[int]:
    if values.ndim == 1 or values.size == len(values):
        yield 0
        return
    yield values.ndim - 1
    if values.ndim == 3 and 1 < values.shape[1] < values.shape[2]:
        yield 1


def _channels(values: "NDArray[Any]", axis: int, *, is_random: bool) -> Channels | None:
    import numpy as np

    columns = _by_channel(values.astype(np.float64), axis)
    if columns.shape[1] < MIN_NUMBERS:
        return None
    sizes = np.sqrt((columns**2).mean(axis=1))
    spreads = columns.std(axis=1)
    varies = spreads > CONSTANT * np.maximum(sizes, spreads.max())
    if not varies.any():
        return None
    is_share = (columns.min(axis=1) >= -TOLERANCE) & (columns.max(axis=1) <= 1 + TOLERANCE)
    floors = np.where(varies & ~is_share, 0, OF_ITS_SIZE * sizes)
    own = np.maximum(spreads, floors)
    groups = _groups(own, varies, is_share)
    largest = own.copy()
    for group in groups:
        largest[group] = own[group].max()
    smallest = min(own[group].max() for group in groups) / WITHIN
    units = np.where(varies, np.maximum(own, largest / WITHIN), np.maximum(own, smallest))
    if len(groups) > 1:
        return Channels(axis, values.ndim, 0.0, np.ones(len(columns), bool), units, largest)
    if is_random:
        return None
    if axis == 0:
        return Channels(axis, values.ndim, 0.0, varies, units, largest)
    is_far = varies & ~is_share & (np.abs(columns.mean(axis=1)) > APART * units)
    return Channels(axis, values.ndim, HALF, is_far, units, largest) if is_far.any() else None


def _groups(
    spreads: "NDArray[Any]", varies: "NDArray[Any]", is_share: "NDArray[Any]"
) -> list["NDArray[Any]"]:
    """Returns the channels that vary, in groups that measure one thing each.

    Neighbours by spread that are not APART belong together; those within 0..1 do in any case.
    """
    import numpy as np

    shares, others = np.flatnonzero(varies & is_share), np.flatnonzero(varies & ~is_share)
    alike = np.where(varies & is_share, spreads[shares].max(initial=0.0), spreads)
    order = np.concatenate([shares, others])
    order = order[np.argsort(alike[order], kind="stable")]
    gaps = np.flatnonzero(alike[order][1:] > APART * alike[order][:-1])
    return list(np.split(order, gaps + 1))


def _by_channel(values: "NDArray[Any]", axis: int) -> "NDArray[Any]":
    """Returns [channels, numbers]; of axis 0, a single channel."""
    import numpy as np

    if axis == 0:
        return values.reshape(1, -1)
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def are_probabilities(values: "NDArray[Any]") -> bool:
    """Returns whether the last axis of [N, ...] holds probabilities that sum to 1: then it is one thing."""
    import numpy as np

    if values.dtype.kind != "f" or values.ndim < 2 or values.shape[-1] < 2 or not values.size:
        return False
    return bool(values.min() >= -TOLERANCE and np.all(np.abs(values.sum(axis=-1) - 1) <= TOLERANCE))
