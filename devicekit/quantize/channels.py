"""Channels: where the numbers of one output are not one thing, each is judged by how much it varies itself.

Boxes in pixels beside scores in 0..1 give a cosine of 0.9999 whatever the scores are; a temperature of 293 K
that varies by 3 K gives 1.0000 whatever it is. A softmax and an embedding are one thing: there the small
numbers count for as little as they are.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Channels whose spreads lie further apart than this measure different things. So far from 0 lies what has a
# mean of more than this times its spread.
APART = 8.0
# A channel's error counts against its spread, but against no less than the largest spread of its group by
# this: within what measures one thing, a class that hardly ever shows may be as coarse as the others.
WITHIN = 8.0
# More channels than this are the features of one thing: what hardly varies among them says little.
FEW = 16
# A channel that measures the same as the others is bad where its error is this share of its spread: it tells
# next to nothing then. Less may be a class that hardly ever shows, or a model that tells little itself.
LOST = 0.6
# One step of several numbers that all lie far from 0 counts from this share of their spread on: those of
# untrained models come to 0.27, temperatures of a body to 0.36 (int8, December 2026).
THIRD = 0.3
# Fewer numbers than this show no spread.
MIN_NUMBERS = 8
# What spreads less than this share of its size, or of the largest spread, is constant: float32 sums differ by
# as much.
CONSTANT = 1e-6
# The error of what does not vary counts against no less than this share of its size: above a cosine of 0.99
# it is then within 2.8 % of what it should be.
OF_ITS_SIZE = 0.2
# How far the largest probability and the sum of all may stray from 1 (see scores.TOLERANCE).
TOLERANCE = 1e-3
ROUNDING = 1e-6


@dataclass(frozen=True)
class Channels:
    """The channels of an output [N, ...] that are judged one by one; they lie on `axis` (0: there is one).

    By channel: `units`, against which an error counts, 0 where it is not judged, and `least`, the share of
    that below which there is none; `spreads`, against which one step counts, 0 where none does, and
    `least_step`.
    """

    axis: int
    rank: int
    units: "NDArray[Any]"
    least: "NDArray[Any]"
    spreads: "NDArray[Any]"
    least_step: "NDArray[Any]"

    def cosines(self, difference: "NDArray[Any]") -> "NDArray[Any]":
        """Returns for each channel the cosine that its error, at right angles to the signal, would give."""
        import numpy as np

        errors = np.sqrt((_by_channel(difference, self.axis) ** 2).mean(axis=1))
        ratios = np.divide(errors, self.units, out=np.zeros_like(errors), where=self.units > 0)
        cosines: NDArray[Any] = np.where(ratios >= self.least, (1 + ratios**2) ** -0.5, 1.0)
        return cosines

    def shares(self, step: float) -> "NDArray[Any]":
        """Returns for each channel what share of its spread one step of the output is; 0 without one."""
        import numpy as np

        shares = np.divide(step, self.spreads, out=np.zeros_like(self.spreads), where=self.spreads > 0)
        kept: NDArray[Any] = np.where(shares >= self.least_step, shares, 0.0)
        return kept

    def name(self, output: str, channel: int) -> str:
        """Returns "pred[…, 5]" for channel 5 of the last axis; the output's name where there is but one."""
        if len(self.units) == 1:
            return output
        behind = ["…"] if self.axis == self.rank - 1 else [":"] * self.axis
        return f"{output}[{', '.join([*behind, str(channel)])}]"


def find_channels(values: "NDArray[Any]", *, is_random: bool) -> Channels | None:
    """Returns the channels of an output [N, ...] that are judged one by one; None where it is one thing.

    They lie on the last axis; on another one where they measure different things there alone (a detector's
    [N, 4 + classes, boxes]). `is_random`: the inputs were made up, so how much an output varies by itself
    says nothing; how channels differ does.
    """
    if values.dtype.kind != "f" or values.size < MIN_NUMBERS or are_probabilities(values):
        return None
    if values.ndim == 1 or values.size == len(values):
        return None if is_random else _judged(values, 0, is_random=False)
    last = _judged(values, values.ndim - 1, is_random=is_random)
    if last is not None and not last.least.any():
        return last
    others = (_judged(values, axis, is_random=True) for axis in range(1, values.ndim - 1))
    return next((one for one in others if one is not None), last)


def _judged(values: "NDArray[Any]", axis: int, *, is_random: bool) -> Channels | None:
    """Returns the channels of one axis; where `is_random`, only if they measure different things."""
    import numpy as np

    columns = _by_channel(values.astype(np.float64), axis)
    if columns.shape[1] < MIN_NUMBERS:
        return None
    sizes, spreads = np.sqrt((columns**2).mean(axis=1)), columns.std(axis=1)
    varies = spreads > CONSTANT * np.maximum(sizes, spreads.max())
    if not varies.any():
        return None
    is_far = np.abs(columns.mean(axis=1)) > APART * spreads
    is_share = (columns.min(axis=1) >= 0) & (columns.max(axis=1) <= 1 + ROUNDING)
    own = np.where(is_share & ~is_far | ~varies, np.maximum(spreads, OF_ITS_SIZE * sizes), spreads)
    groups = _groups(own, varies, is_share)
    largest = own.copy()
    for group in groups:
        largest[group] = own[group].max()
    none, lost = np.zeros_like(own), np.full_like(own, LOST)
    by_spread = np.where(own == largest, largest, 0) * varies
    if axis == 0:
        least = lost if is_share[0] and is_far[0] else none
        return Channels(axis, values.ndim, own, least, by_spread, least)
    if _are_different(groups, varies, is_share, sizes, largest):
        smallest = min(largest[group[0]] for group in groups) / WITHIN
        units = np.maximum(own, np.where(varies, largest / WITHIN, smallest))
        return Channels(axis, values.ndim, units, none, by_spread, lost)
    if is_random:
        return None
    is_few = len(columns) <= FEW
    units = own if is_few else np.maximum(own, largest / WITHIN)
    is_judged = varies & (is_far | ~is_share) if is_few else varies & is_far & ~is_share
    all_far = bool(np.all(is_far[varies] & ~is_share[varies]))
    least_step = np.full_like(own, THIRD) if all_far else lost
    return Channels(
        axis, values.ndim, units * is_judged, lost, np.where(is_far & is_judged, own, 0), least_step
    )


def _are_different(
    groups: list["NDArray[Any]"],
    varies: "NDArray[Any]",
    is_share: "NDArray[Any]",
    sizes: "NDArray[Any]",
    largest: "NDArray[Any]",
) -> bool:
    """Returns whether channels measure different things: groups, scores beside others, a large constant."""
    is_few = len(varies) <= FEW
    if is_few and bool((sizes[~varies] > APART * largest[varies].max()).any()):
        return True
    has_scores = any(is_share[group].all() for group in groups)
    return len(groups) > 1 and (is_few or has_scores)


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
