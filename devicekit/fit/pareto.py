"""The Pareto front: which candidates another one makes pointless, and within what noise two are the same.

A candidate is dominated when another one that fits is at least as good in every number that is shown of both,
as it is shown, and better in one by more than noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from devicekit import words as fmt
from devicekit.fit.candidate import Candidate

# Medians closer than this are the same on a noisy host; the smaller file wins then.
# Source: medians of one model in alternating rounds differ by up to 5 % (November 2026).
SAME_LATENCY = 1.05
# Must-have memory closer than this is the same: twice what was seen. Source: the readings are whole pages,
# those of one model differ by up to 2 of them, 8 KiB, from run to run (8 candidates, 3 runs, November 2026).
SAME_MEMORY_BYTES = 16 * 2**10
# Cosines closer than this are the same: the last digit that the table shows. It is an error of 1.4 % of the
# outputs' norm, which other samples change by as much.
SAME_COSINE = 1e-4
# Sizes, shares of the same class and task metrics are exact: the same file and the same samples give the same
# number again.


@dataclass(frozen=True)
class _Column:
    """A number that the table shows (less is better), how it reads there, and what noise makes of it."""

    value: Callable[[Candidate], float | None]
    shown: Callable[[Candidate, float], str]
    slack: Callable[[float, float], float]


def _fidelity(name: str) -> Callable[[Candidate], float | None]:
    def value(candidate: Candidate) -> float | None:
        found = getattr(candidate.fidelity, name, None)
        return None if found is None else -found

    return value


def _latency(name: str) -> Callable[[Candidate], float | None]:
    return lambda one: getattr(one.measurement.latency, name) if one.measurement else None


def _memory(candidate: Candidate) -> float | None:
    return candidate.measurement.memory.must_have_bytes if candidate.measurement else None


def _memory_words(candidate: Candidate, value: float) -> str:
    is_arena = candidate.measurement is not None and candidate.measurement.runner == "micro"
    return fmt.size(value) if is_arena else fmt.mib(value)


def _relative(mine: float, theirs: float) -> float:
    return min(mine, theirs) * (SAME_LATENCY - 1)


def _exact(mine: float, theirs: float) -> float:
    return 0


# The columns of report/layouts/deployment.py: what is said of candidates is true of what is shown of them.
COLUMNS = (
    _Column(lambda c: c.size_bytes, lambda c, value: str(value), _exact),
    _Column(_memory, _memory_words, lambda mine, theirs: SAME_MEMORY_BYTES),
    _Column(_latency("typical_us"), lambda c, value: fmt.ms(value), _relative),
    _Column(_latency("median_us"), lambda c, value: fmt.ms(value), _relative),
    _Column(_latency("p95_us"), lambda c, value: fmt.ms(value), _relative),
    _Column(_fidelity("cosine"), lambda c, value: fmt.cosine(-value), lambda mine, theirs: SAME_COSINE),
    _Column(_fidelity("top1_agreement"), lambda c, value: fmt.percent(-value), _exact),
    _Column(_fidelity("task_metric"), lambda c, value: str(value), _exact),
)


def mark_dominated(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Returns the candidates, those that fit with `dominated_by` where another one that fits dominates them.

    Named is one that nothing dominates. What was calibrated on random inputs dominates nothing that was not.
    """
    fitting = [c for c in candidates if c.status == "fits"]
    by = {c.recipe: [d for d in fitting if dominates(d, c)] for c in fitting}
    best = {recipe: next((d.recipe for d in found if not by[d.recipe]), None) for recipe, found in by.items()}
    return [replace(c, dominated_by=best.get(c.recipe)) for c in candidates]


def dominates(one: Candidate, other: Candidate) -> bool:
    """Returns whether `one` is nowhere worse than `other` and somewhere better, in what is known of both."""
    if one.made_up_ranges and not other.made_up_ranges:
        return False
    gains = list(_gains(one, other))
    return all(gain >= 0 for gain in gains) and any(gain > 0 for gain in gains)


def _gains(one: Candidate, other: Candidate) -> Iterator[int]:
    """Yields for each column -1 where `one` reads worse, 1 where it is better by more than noise, else 0."""
    for column in COLUMNS:
        mine, theirs = column.value(one), column.value(other)
        if mine is None or theirs is None or column.shown(one, mine) == column.shown(other, theirs):
            continue
        yield -1 if mine > theirs else 1 if theirs - mine > column.slack(mine, theirs) else 0
