"""Fidelity: how close a candidate's outputs stay to the float model's."""

import math
from collections.abc import Mapping, Sequence
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
# A sample whose outputs are smaller than this share of the largest sample's has no direction: it counts in
# the cosine of all numbers.
MIN_SIZE = 0.02


@dataclass(frozen=True)
class Closeness:
    """How close some of the outputs are; the fields are as in Fidelity."""

    cosine: float
    top1_agreement: float | None
    worst: str | None = None
    step: float | None = None
    step_of: str | None = None
    of_probabilities: bool = False


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
    of how much `step_of` varies, or of its usual highest probability (`of_probabilities`); None where no such
    is quantized. `distance` is the sum of what all outputs and channels lack of a cosine of 1.
    `worst_sample` names the evaluation sample that is furthest from the float model's. `beside` is how close
    the outputs are that the labels are not about, None where there are none.
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
    of_probabilities: bool = False
    distance: float = 0.0
    change: Change | None = None
    worst_sample: str | None = None
    beside: Closeness | None = None

    @property
    def channel(self) -> str | None:
        """Returns the channel that `cosine` is of; None where it is of a whole output."""
        return self.worst if self.worst and "[" in self.worst else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Fidelity":
        """Returns what `to_json` gave, of this version or an earlier one."""
        nested = {"change": Change, "beside": Closeness}
        given = {name: document.get(name) for name in nested}
        return cls(**{**document, **{name: one and nested[name](**one) for name, one in given.items()}})


def compare(
    reference: Outputs,
    candidate: Outputs,
    scores: Scores = NO_SCORES,
    *,
    steps: Mapping[str, float] = NO_STEPS,
    is_random: bool = False,
    usual: Outputs | None = None,
) -> Fidelity:
    """Returns the fidelity of `candidate` to `reference`: {output: [N, ...]}, dequantized.

    `scores` says which outputs rank classes, and what the labels are; `steps` the step of each quantized
    output; `is_random` that the inputs were made up. `usual` are outputs that show how much each varies, None
    for the reference itself.
    """
    usual = reference if usual is None else usual
    found = {
        name: _distance(name, values, candidate[name], usual[name], step=steps.get(name), is_random=is_random)
        for name, values in reference.items()
    }
    agreements = {name: _same_best(reference[name], candidate[name]) for name in scores.ranked}
    ours, theirs = (hits(outputs, scores) for outputs in (candidate, reference))
    whole = _closeness(list(found), found, agreements)
    unlabelled = [] if scores.labels is None else [name for name in found if name != scores.labelled]
    return Fidelity(
        **vars(whole),
        snr_db=min(one.snr_db for one in found.values()),
        max_abs_error=max(one.max_abs_error for one in found.values()),
        task_metric=None if ours is None else float(ours.mean()),
        float_task_metric=None if theirs is None else float(theirs.mean()),
        count=len(next(iter(reference.values()))),
        distance=sum(one.distance for one in found.values()),
        change=_change(ours, theirs, are_equal=all(one.max_abs_error == 0 for one in found.values())),
        beside=_closeness(unlabelled, found, agreements) if unlabelled else None,
    )


def _closeness(
    names: Sequence[str], found: Mapping[str, "_Distance"], agreements: Mapping[str, float]
) -> Closeness:
    """Returns how close the outputs `names` are: of several, the worst."""
    worst = min((found[name] for name in names), key=lambda one: one.cosine)
    coarsest = max((found[name] for name in names), key=lambda one: one.step or 0)
    return Closeness(
        cosine=worst.cosine,
        top1_agreement=min((agreements[name] for name in names if name in agreements), default=None),
        worst=worst.where if len(found) > 1 or worst.where not in found else None,
        step=coarsest.step,
        step_of=coarsest.step_of,
        of_probabilities=coarsest.of_probabilities,
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
    distance: float = 0.0
    step: float | None = None
    step_of: str | None = None
    of_probabilities: bool = False


def _distance(
    name: str,
    reference: "NDArray[Any]",
    candidate: "NDArray[Any]",
    usual: "NDArray[Any]",
    *,
    step: float | None,
    is_random: bool,
) -> _Distance:
    """Returns how far one output [N, ...] is from the reference's; `step` is its step where quantized.

    `usual` [M, ...] shows how much it varies.
    """
    import numpy as np

    if reference.shape != candidate.shape:
        error = float(np.abs(np.nan_to_num(reference.astype(np.float64))).max(initial=0.0))
        return _Distance(name, 0.0, 0.0, error, distance=1.0)
    wanted, found = (values.astype(np.float64).reshape(len(values), -1) for values in (reference, candidate))
    finite = np.isfinite(wanted) & np.isfinite(found)
    difference = np.where(finite, found, 0) - np.where(finite, wanted, 0)
    largest = float(np.abs(difference).max(initial=0.0))
    if not finite.all():
        return _Distance(name, 0.0, 0.0, largest, distance=1.0)
    if reference.dtype.kind in "iub":
        unequal = float((difference != 0).mean())
        return _Distance(name, 1 - unequal, _decibel(1.0, unequal), largest, distance=unequal)
    snr_db = _decibel(float((wanted**2).sum()), float((difference**2).sum()))
    cosine = _cosine(wanted, found, difference)
    whole = _Distance(name, cosine, snr_db, largest, distance=1 - cosine)
    if step is not None and are_probabilities(reference):
        share = step / float(np.median(reference.max(axis=-1)))
        return replace(whole, step=share, step_of=name, of_probabilities=True)
    channels = find_channels(usual, is_random=is_random)
    if channels is None:
        return whole
    cosines = channels.cosines(difference.reshape(reference.shape))
    whole = replace(whole, distance=whole.distance + float((1 - cosines).sum()))
    lowest = int(cosines.argmin())
    if cosines[lowest] < whole.cosine:
        whole = replace(whole, cosine=float(cosines[lowest]), where=channels.name(name, lowest))
    if step is None:
        return whole
    shares = channels.shares(step)
    coarsest = int(shares.argmax())
    if not shares[coarsest]:
        return whole
    return replace(whole, step=float(shares[coarsest]), step_of=channels.name(name, coarsest))


def _cosine(wanted: "NDArray[Any]", found: "NDArray[Any]", difference: "NDArray[Any]") -> float:
    """Returns the cosine over all numbers, or the mean over samples, whichever is lower."""
    import numpy as np

    if not difference.any():
        return 1.0
    pooled = float(_cosines(wanted.reshape(1, -1), found.reshape(1, -1))[0])
    if wanted.shape[1] == 1:
        return min(pooled, _cosine_of_noise(wanted, difference))
    sizes = np.linalg.norm(wanted, axis=1)
    has_direction = sizes > MIN_SIZE * sizes.max()
    if not has_direction.any():
        return pooled
    return min(pooled, float(_cosines(wanted[has_direction], found[has_direction]).mean()))


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
