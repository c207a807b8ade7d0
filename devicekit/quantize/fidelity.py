"""Fidelity: how close a candidate's outputs stay to the float model's."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from devicekit.quantize.change import Change, of_hits
from devicekit.quantize.channels import are_probabilities, find_channels
from devicekit.quantize.scores import NO_SCORES, Scores, hits

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outputs = Mapping[str, "NDArray[Any]"]
NO_STEPS: Mapping[str, float] = {}

MAX_SNR_DB = 140.0  # float32 rounding alone gives about this much: 24 bits of mantissa at 6.02 dB each

# The error of a single number counts against how much that number varies, but against no less than this share
# of its size: where the samples look alike, or there is one, the variation says nothing. Chosen so that a
# cosine of 0.99 allows an error of 2.8 % of a number that hardly varies, as int8 gives (a step of 0.4 % of
# the range, and what comes before it), and none that hides a variation of more than that.
MIN_VARIATION = 0.2


@dataclass(frozen=True)
class Fidelity:
    """`count` samples compared with the float model; of several outputs, the worst.

    `cosine` is the mean over samples or that of all samples together, whichever is lower. An output of one
    number has no direction: its `cosine` is 1 / sqrt(1 + noise / variation), what noise at right angles to
    the signal would give. Integers and booleans (an argmax) are names: `cosine` is the share of equal ones.
    `snr_db` is at most MAX_SNR_DB. `top1_agreement` is the share (0..1) of samples with the same best class,
    None where no output holds scores. `task_metric` is the accuracy on labels (0..1) or the user's own
    metric, `float_task_metric` the float model's, and `change` how far apart they are; None without labels.
    Outputs that are not finite: cosine 0, snr_db 0. Where the channels of an output measure different things
    (channels.py) each is judged by its own spread; `worst` names the output or channel that `cosine` is of,
    None for the only output. `step` is the largest share (0.4: 40 %) that one step of a quantized output is
    of how much `step_of` varies, or of its usual highest probability; None where no such is quantized.
    `worst_sample` names the evaluation sample that is furthest from the float model's.
    """

    cosine: float
    snr_db: float
    max_abs_error: float
    top1_agreement: float | None
    task_metric: float | None
    float_task_metric: float | None
    count: int
    worst: str | None = None
    step: float | None = None
    step_of: str | None = None
    change: Change | None = None
    worst_sample: str | None = None

    @property
    def channel(self) -> str | None:
        """Returns the channel that `cosine` is of; None where it is of a whole output."""
        return self.worst if self.worst and "[" in self.worst else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Fidelity":
        """Returns what `to_json` gave, of this version or an earlier one."""
        change = document.get("change")
        return cls(**{**document, "change": None if change is None else Change(**change)})


def compare(
    reference: Outputs,
    candidate: Outputs,
    scores: Scores = NO_SCORES,
    *,
    steps: Mapping[str, float] = NO_STEPS,
    is_random: bool = False,
) -> Fidelity:
    """Returns the fidelity of `candidate` to `reference`: {output: [N, ...]}, dequantized.

    `scores` says which outputs rank classes, and what the labels are; `steps` the step of each quantized
    output; `is_random` that the inputs were made up.
    """
    found = [
        _distance(name, values, candidate[name], step=steps.get(name), is_random=is_random)
        for name, values in reference.items()
    ]
    worst = min(found, key=lambda one: one.cosine)
    coarsest = max(found, key=lambda one: one.step or 0)
    ours, theirs = (hits(outputs, scores) for outputs in (candidate, reference))
    agreements = [_same_best(reference[name], candidate[name]) for name in scores.ranked]
    return Fidelity(
        cosine=worst.cosine,
        snr_db=min(one.snr_db for one in found),
        max_abs_error=max(one.max_abs_error for one in found),
        top1_agreement=min(agreements, default=None),
        task_metric=None if ours is None else float(ours.mean()),
        float_task_metric=None if theirs is None else float(theirs.mean()),
        count=len(next(iter(reference.values()))),
        worst=worst.where if len(found) > 1 or worst.where not in reference else None,
        step=coarsest.step,
        step_of=None if coarsest.step is None else coarsest.step_of,
        change=_change(ours, theirs, are_equal=all(one.max_abs_error == 0 for one in found)),
    )


def _change(ours: "NDArray[Any] | None", theirs: "NDArray[Any] | None", *, are_equal: bool) -> Change | None:
    """Returns the change of the share of hits; that of equal outputs leaves nothing to chance."""
    if ours is None or theirs is None:
        return None
    return Change(0.0, 0.0, 0.0) if are_equal else of_hits(theirs, ours)


def all_finite(outputs: Outputs) -> bool:
    import numpy as np

    return all(bool(np.isfinite(v).all()) for v in outputs.values() if np.issubdtype(v.dtype, np.floating))


def _same_best(reference: "NDArray[Any]", candidate: "NDArray[Any]") -> float:
    return float((reference.argmax(axis=-1) == candidate.argmax(axis=-1)).mean())


@dataclass(frozen=True)
class _Distance:
    """One output's: `where` is the output or channel that `cosine` is of, `step_of` the one `step` is of."""

    where: str
    cosine: float
    snr_db: float
    max_abs_error: float
    step: float | None = None
    step_of: str | None = None


def _distance(
    name: str,
    reference: "NDArray[Any]",
    candidate: "NDArray[Any]",
    *,
    step: float | None,
    is_random: bool,
) -> _Distance:
    """Returns how far one output [N, ...] is from the reference's; `step` is its step where quantized."""
    import numpy as np

    if reference.shape != candidate.shape:
        error = float(np.abs(np.nan_to_num(reference.astype(np.float64))).max(initial=0.0))
        return _Distance(name, 0.0, 0.0, error)
    wanted, found = (values.astype(np.float64).reshape(len(values), -1) for values in (reference, candidate))
    finite = np.isfinite(wanted) & np.isfinite(found)
    difference = np.where(finite, found, 0) - np.where(finite, wanted, 0)
    largest = float(np.abs(difference).max(initial=0.0))
    if not finite.all():
        return _Distance(name, 0.0, 0.0, largest)
    if reference.dtype.kind in "iub":
        unequal = float((difference != 0).mean())
        return _Distance(name, 1 - unequal, _decibel(1.0, unequal), largest)
    snr_db = _decibel(float((wanted**2).sum()), float((difference**2).sum()))
    whole = _Distance(name, _cosine(wanted, found, difference), snr_db, largest)
    if step is not None and are_probabilities(reference):
        return replace(whole, step=step / float(np.median(reference.max(axis=-1))), step_of=name)
    channels = find_channels(reference, is_random=is_random)
    if channels is None:
        return whole
    cosines = channels.cosines(difference.reshape(reference.shape))
    lowest = int(cosines.argmin())
    if cosines[lowest] < whole.cosine:
        whole = replace(whole, cosine=float(cosines[lowest]), where=channels.name(name, lowest))
    if step is None:
        return whole
    shares = channels.shares(step)
    coarsest = int(shares.argmax())
    return replace(whole, step=float(shares[coarsest]), step_of=channels.name(name, coarsest))


def _cosine(wanted: "NDArray[Any]", found: "NDArray[Any]", difference: "NDArray[Any]") -> float:
    """Returns the cosine over all numbers, or the mean over samples, whichever is lower."""
    if not difference.any():
        return 1.0
    pooled = float(_cosines(wanted.reshape(1, -1), found.reshape(1, -1))[0])
    if wanted.shape[1] == 1:
        return min(pooled, _cosine_of_noise(wanted, difference))
    return min(pooled, float(_cosines(wanted, found).mean()))


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
