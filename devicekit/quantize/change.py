"""Change: how far a candidate's task metric lies from the float model's, with what chance makes of it.

Both scored the same samples, so they are compared in pairs: what both hit, or both miss, says nothing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Change:
    """Candidate minus float: `value`, and its interval of CONFIDENCE; None where there is but one number."""

    value: float
    low: float | None = None
    high: float | None = None


def of_hits(reference: "NDArray[Any]", candidate: "NDArray[Any]") -> Change:
    """Returns the change of a share of hits, bool [N] each.

    The interval is Bonett and Price's for paired proportions (2012): one sample is added to each of the two
    ways to differ, so that 20 samples on which nothing differs do not prove that nothing does.
    """
    from scipy.stats import norm

    count = len(reference)
    gained, lost = int((candidate & ~reference).sum()), int((reference & ~candidate).sum())
    more, less = (gained + 1) / (count + 2), (lost + 1) / (count + 2)
    error = float(norm.ppf((1 + CONFIDENCE) / 2)) * ((more + less - (more - less) ** 2) / (count + 2)) ** 0.5
    return Change((gained - lost) / count, max(-1.0, more - less - error), min(1.0, more - less + error))


def of_scores(reference: "NDArray[Any]", candidate: "NDArray[Any]") -> Change:
    """Returns the change of a mean of scores, float [N] each; the interval is Student's, for pairs."""
    from scipy.stats import ttest_rel

    differences = candidate - reference
    value = float(differences.mean())
    if len(differences) < 2 or not differences.std() > 0:
        return Change(value, value, value) if len(differences) > 1 else Change(value)
    interval = ttest_rel(candidate, reference).confidence_interval(CONFIDENCE)
    return Change(value, float(interval.low), float(interval.high))
