"""Scores: which outputs rank classes, which of them the labels are about, and how many labels they hit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from devicekit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outputs = Mapping[str, "NDArray[Any]"]

# How far the probabilities of a float32 softmax may stray from 0..1 and their sum from 1: rounding gives 1e-6
# for 1000 classes; rows that are no probabilities miss by far more.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Scores:
    """`ranked` are the outputs whose best class counts; `labels` (int [N]) are about the output `labelled`.

    Both None: no labels, or no output that they could be about.
    """

    ranked: tuple[str, ...] = ()
    labelled: str | None = None
    labels: "NDArray[Any] | None" = None

    def first(self, count: int) -> "Scores":
        """Returns the same for the first `count` samples."""
        return self if self.labels is None else replace(self, labels=self.labels[:count])


NO_SCORES = Scores()


def find_scores(reference: Outputs, labels: "NDArray[Any] | None", *, source: str) -> Scores:
    """Returns which of the float model's outputs {name: [N, ...]} rank classes.

    Those are probabilities [N, C] that sum to 1: other vectors (an embedding) have no best class, unless
    labels say so. `source` names the labels' file. Raises UsageError where labels are out of range, or fit
    several outputs.
    """
    ranked = tuple(name for name, values in reference.items() if _sums_to_1(values))
    if labels is None:
        return Scores(ranked)
    labelled = _labelled(reference, labels, source)
    if labelled is None:
        return Scores(ranked)
    is_new = _is_row_of_floats(reference[labelled]) and labelled not in ranked
    return Scores((*ranked, labelled) if is_new else ranked, labelled, labels)


def hits(outputs: Outputs, scores: Scores) -> "NDArray[Any] | None":
    """Returns which labels an output hits, bool [N]; None without labels.

    A single probability counts as class 1 from 0.5 on.
    """
    if scores.labelled is None or scores.labels is None:
        return None
    values = outputs[scores.labelled].reshape(len(scores.labels), -1)
    best = values.argmax(axis=1) if values.shape[1] > 1 else values[:, 0] >= 0.5
    found: NDArray[Any] = best == scores.labels
    return found


def _labelled(reference: Outputs, labels: "NDArray[Any]", source: str) -> str | None:
    """Returns the output that holds a score for each label, by the surest sign that finds one.

    The signs: probabilities that sum to 1, values within 0..1 (sigmoids), the only vector (logits).
    """
    vectors = [name for name, values in reference.items() if _is_row_of_floats(values)]
    signs = (
        [name for name in vectors if _sums_to_1(reference[name])],
        [name for name, values in reference.items() if _is_within_0_1(values)],
        vectors if len(vectors) == 1 else [],
    )
    low, high = int(labels.min()), int(labels.max())
    for names in signs:
        fitting = [name for name in names if low >= 0 and high < _class_count(reference[name])]
        if len(fitting) > 1:
            raise UsageError(
                f"{source}: y: fits {len(fitting)} outputs of scores: {', '.join(fitting)}; expected one",
                remedy="leave y out, and score with --eval file.py:function",
            )
        if fitting:
            return fitting[0]
    considered = [name for names in signs for name in names]
    if not considered:
        return None
    widest = max(considered, key=lambda name: _class_count(reference[name]))
    last = _class_count(reference[widest]) - 1
    raise UsageError(
        f"{source}: y: found labels {low}..{high}, expected 0..{last}: the output {widest} has "
        f"{last + 1} classes",
        remedy="correct y, or leave it out and score with --eval file.py:function",
    )


def _class_count(values: "NDArray[Any]") -> int:
    """Returns the classes of [N, C]; 2 for one probability."""
    return max(2, values.size // len(values))


def _is_row_of_floats(values: "NDArray[Any]") -> bool:
    return values.ndim == 2 and values.shape[1] > 1 and values.dtype.kind == "f"


def _sums_to_1(values: "NDArray[Any]") -> bool:
    import numpy as np

    if not _is_row_of_floats(values):
        return False
    return bool(values.min() >= -TOLERANCE and np.all(np.abs(values.sum(axis=1) - 1) <= TOLERANCE))


def _is_within_0_1(values: "NDArray[Any]") -> bool:
    is_single = values.dtype.kind == "f" and values.size == len(values)
    if not is_single and not _is_row_of_floats(values):
        return False
    return bool(values.min() >= -TOLERANCE and values.max() <= 1 + TOLERANCE)
