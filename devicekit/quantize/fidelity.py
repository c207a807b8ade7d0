"""Fidelity: how close a candidate's outputs stay to the float model's."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from devicekit.quantize.scores import NO_SCORES, Scores, accuracy

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outputs = Mapping[str, "NDArray[Any]"]

MAX_SNR_DB = 140.0  # float32 rounding alone gives about this much: 24 bits of mantissa at 6.02 dB each

# The error of a single number counts against how much that number varies, but against no less than this share
# of its size: where the samples look alike, or there is one, the variation says nothing. Chosen so that a
# cosine of 0.99 allows an error of 2.8 % of a number that hardly varies, as int8 gives (a step of 0.4 % of
# the range, and what comes before it), and none that hides a variation of more than that.
MIN_VARIATION = 0.2
# Cosines are computed in float64 of float32 outputs: equal ones come out within this of 1.
COSINE_ERROR = 1e-9


@dataclass(frozen=True)
class Fidelity:
    """`count` samples compared with the float model; of several outputs, the worst.

    `cosine` is the mean over samples or that of all samples together, whichever is lower. An output of one
    number has no direction: its `cosine` is 1 / sqrt(1 + noise / variation), what noise at right angles to
    the signal would give. Integers and booleans (an argmax) are names: `cosine` is the share of equal ones.
    `snr_db` is at most MAX_SNR_DB. `top1_agreement` is the share (0..1) of samples with the same best class,
    None where no output holds scores. `task_metric` is the accuracy on labels (0..1) or the user's own
    metric, `float_task_metric` the float model's; None without labels.
    Outputs that are not finite: cosine 0, snr_db 0.
    """

    cosine: float
    snr_db: float
    max_abs_error: float
    top1_agreement: float | None
    task_metric: float | None
    float_task_metric: float | None
    count: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Thresholds:
    """What a candidate should keep: quality.min_cosine and quality.min_top1_agreement of a profile."""

    min_cosine: float
    min_top1_agreement: float

    def shortfall(self, fidelity: Fidelity) -> float:
        """Returns by how much `fidelity` misses the thresholds, both misses added; 0 where it meets them."""
        agreement = fidelity.top1_agreement
        missing = max(0.0, self.min_cosine - COSINE_ERROR - fidelity.cosine)
        return missing + (0.0 if agreement is None else max(0.0, self.min_top1_agreement - agreement))


def compare(reference: Outputs, candidate: Outputs, scores: Scores = NO_SCORES) -> Fidelity:
    """Returns the fidelity of `candidate` to `reference`: {output: [N, ...]}, dequantized.

    `scores` says which outputs rank classes, and what the labels are.
    """
    worst = [_distance(reference[name], candidate[name]) for name in reference]
    agreements = [_same_best(reference[name], candidate[name]) for name in scores.ranked]
    return Fidelity(
        cosine=min(one[0] for one in worst),
        snr_db=min(one[1] for one in worst),
        max_abs_error=max(one[2] for one in worst),
        top1_agreement=min(agreements, default=None),
        task_metric=accuracy(candidate, scores),
        float_task_metric=accuracy(reference, scores),
        count=len(next(iter(reference.values()))),
    )


def all_finite(outputs: Outputs) -> bool:
    import numpy as np

    return all(bool(np.isfinite(v).all()) for v in outputs.values() if np.issubdtype(v.dtype, np.floating))


def _same_best(reference: "NDArray[Any]", candidate: "NDArray[Any]") -> float:
    return float((reference.argmax(axis=-1) == candidate.argmax(axis=-1)).mean())


def _distance(reference: "NDArray[Any]", candidate: "NDArray[Any]") -> tuple[float, float, float]:
    """Returns (cosine, snr_db, max_abs_error) of one output [N, ...]."""
    import numpy as np

    if reference.shape != candidate.shape:
        return 0.0, 0.0, float(np.abs(np.nan_to_num(reference.astype(np.float64))).max(initial=0.0))
    wanted, found = (values.astype(np.float64).reshape(len(values), -1) for values in (reference, candidate))
    finite = np.isfinite(wanted) & np.isfinite(found)
    difference = np.where(finite, found, 0) - np.where(finite, wanted, 0)
    largest = float(np.abs(difference).max(initial=0.0))
    if not finite.all():
        return 0.0, 0.0, largest
    if reference.dtype.kind in "iub":
        unequal = float((difference != 0).mean())
        return 1 - unequal, _decibel(1.0, unequal), largest
    if largest == 0:
        return 1.0, MAX_SNR_DB, 0.0
    snr_db = _decibel(float((wanted**2).sum()), float((difference**2).sum()))
    pooled = float(_cosines(wanted.reshape(1, -1), found.reshape(1, -1))[0])
    if wanted.shape[1] == 1:
        return min(pooled, _cosine_of_noise(wanted, difference)), snr_db, largest
    return min(pooled, float(_cosines(wanted, found).mean())), snr_db, largest


def _cosines(wanted: "NDArray[Any]", found: "NDArray[Any]") -> "NDArray[Any]":
    """Returns the cosine of each row of two arrays; two zero vectors agree, one does not."""
    import numpy as np

    norms = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    same = np.where((wanted == found).all(axis=1), 1.0, 0.0)
    cosines = np.where(norms > 0, (wanted * found).sum(axis=1) / np.where(norms > 0, norms, 1), same)
    return np.clip(cosines, -1, 1)


def _cosine_of_noise(wanted: "NDArray[Any]", difference: "NDArray[Any]") -> float:
    """Returns the cosine that noise of this power, at right angles to the signal, would give.

    The signal is how the numbers vary over the samples (see MIN_VARIATION). Both plain cosines are blind
    here: one number's own is always 1, that of many positive numbers stays near 1 whatever they are.
    """
    signal = max(float(wanted.var()), MIN_VARIATION**2 * float((wanted**2).mean()))
    noise = float((difference**2).mean())
    return 0.0 if signal == 0 else float((1 + noise / signal) ** -0.5)


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return MAX_SNR_DB
    return 0.0 if signal == 0 else min(10 * math.log10(signal / noise), MAX_SNR_DB)
