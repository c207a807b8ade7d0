"""Fidelity: how close a candidate's outputs stay to the float model's."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outputs = Mapping[str, "NDArray[Any]"]

MAX_SNR_DB = 140.0  # float32 rounding alone gives about this much: 24 bits of mantissa at 6.02 dB each


@dataclass(frozen=True)
class Fidelity:
    """`count` samples compared with the float model; of several outputs, the worst.

    `cosine` is the mean over samples, `snr_db` at most MAX_SNR_DB. `top1_agreement` is the share (0..1) of
    samples with the same best class, None where no output holds scores. `task_metric` is the accuracy on
    labels (0..1) or the user's own metric, `float_task_metric` the float model's; None without labels.
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


def compare(reference: Outputs, candidate: Outputs, labels: "NDArray[Any] | None" = None) -> Fidelity:
    """Returns the fidelity of `candidate` to `reference`: {output: [N, ...]}, dequantized; labels int [N]."""
    worst = [_distance(reference[name], candidate[name]) for name in reference]
    scores = next((name for name, values in reference.items() if looks_like_scores(values)), None)
    agreement = None
    if scores is not None:
        same = reference[scores].argmax(axis=-1) == candidate[scores].argmax(axis=-1)
        agreement = float(same.mean())
    return Fidelity(
        cosine=min(one[0] for one in worst),
        snr_db=min(one[1] for one in worst),
        max_abs_error=max(one[2] for one in worst),
        top1_agreement=agreement,
        task_metric=accuracy(candidate, labels),
        float_task_metric=accuracy(reference, labels),
        count=len(next(iter(reference.values()))),
    )


def looks_like_scores(values: "NDArray[Any]") -> bool:
    """Returns whether an output [N, C] of floats can be read as one score per class."""
    import numpy as np

    return values.ndim == 2 and values.shape[1] > 1 and bool(np.issubdtype(values.dtype, np.floating))


def accuracy(outputs: Outputs, labels: "NDArray[Any] | None") -> float | None:
    """Returns the share of `labels` that the first output of scores hits; None without labels or scores.

    A single score [N, 1] counts as class 1 from 0.5 on, where the labels are 0 and 1.
    """
    import numpy as np

    if labels is None:
        return None
    for values in outputs.values():
        if looks_like_scores(values):
            return float((values.argmax(axis=-1) == labels).mean())
    for values in outputs.values():
        single = values.reshape(len(labels), -1)
        if (
            single.shape[1] == 1
            and np.issubdtype(values.dtype, np.floating)
            and set(labels.tolist()) <= {0, 1}
        ):
            return float(((single[:, 0] >= 0.5) == labels).mean())
    return None


def all_finite(outputs: Outputs) -> bool:
    import numpy as np

    return all(bool(np.isfinite(v).all()) for v in outputs.values() if np.issubdtype(v.dtype, np.floating))


def predict_function(
    predict: Callable[[Outputs], Outputs], inputs: tuple[str, ...]
) -> "Callable[[NDArray[Any] | Outputs], NDArray[Any] | Outputs]":
    """Returns what `--eval` functions are given: predict(inputs) -> outputs for [N, ...] arrays.

    A model with one input takes the bare array as well; a model with one output returns the bare array.
    """
    import numpy as np

    def run(samples: "NDArray[Any] | Outputs") -> "NDArray[Any] | Outputs":
        named = samples if isinstance(samples, Mapping) else {inputs[0]: samples}
        arrays = {name: np.asarray(named[name]) for name in inputs}
        outputs = predict(arrays)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    return run


def _distance(reference: "NDArray[Any]", candidate: "NDArray[Any]") -> tuple[float, float, float]:
    """Returns (cosine, snr_db, max_abs_error) of one output [N, ...]."""
    import numpy as np

    if reference.shape != candidate.shape:
        return 0.0, 0.0, float(np.abs(np.nan_to_num(reference.astype(np.float64))).max(initial=0.0))
    wanted = reference.astype(np.float64).reshape(len(reference), -1)
    found = candidate.astype(np.float64).reshape(len(candidate), -1)
    finite = np.isfinite(wanted) & np.isfinite(found)
    difference = np.where(finite, found, 0) - np.where(finite, wanted, 0)
    largest = float(np.abs(difference).max(initial=0.0))
    if not finite.all():
        return 0.0, 0.0, largest
    norms = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    same = np.where((wanted == found).all(axis=1), 1.0, 0.0)  # two zero vectors agree, one does not
    dots = (wanted * found).sum(axis=1)
    cosines = np.where(norms > 0, dots / np.where(norms > 0, norms, 1), same)
    noise, signal = float((difference**2).sum()), float((wanted**2).sum())
    snr_db = MAX_SNR_DB if noise == 0 else 0.0 if signal == 0 else 10 * float(np.log10(signal / noise))
    return float(np.clip(cosines, -1, 1).mean()), min(snr_db, MAX_SNR_DB), largest
