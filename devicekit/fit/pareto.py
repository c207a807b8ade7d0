"""The Pareto front: which candidates another one makes pointless, and within what noise two are the same.

A candidate is dominated when another one that fits is at least as good in every dimension that is known of
both (file size, must-have memory, median latency, cosine, task metric), and better in one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

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
# Sizes and task metrics are exact: the same file and the same samples give the same number again.


def mark_dominated(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Returns the candidates, those that fit with `dominated_by` where another one that fits dominates them.

    A dominator that nothing dominates is named where there is one. As equality within noise is not
    transitive, candidates could dominate each other in a circle: the last link of one is left out, so that
    something is always left to choose.
    """
    fitting = [c for c in candidates if c.status == "fits"]
    by = {c.recipe: [d for d in fitting if dominates(d, c)] for c in fitting}
    marked: dict[str, str] = {}
    for recipe, dominators in by.items():
        for dominator in sorted(dominators, key=lambda d: bool(by[d.recipe])):
            if recipe not in _chain(dominator.recipe, marked):
                marked[recipe] = dominator.recipe
                break
    return [replace(c, dominated_by=marked.get(c.recipe)) for c in candidates]


def dominates(one: Candidate, other: Candidate) -> bool:
    """Returns whether `one` is nowhere worse than `other` and somewhere better, in what is known of both."""
    gains = list(_gains(one, other))
    return all(gain >= 0 for gain in gains) and any(gain > 0 for gain in gains)


def _gains(one: Candidate, other: Candidate) -> Iterator[int]:
    """Yields 1 where `one` is better, 0 where they are the same, -1 where it is worse."""
    if one.size_bytes is not None and other.size_bytes is not None:
        yield _lower(one.size_bytes, other.size_bytes, slack=0)
    if one.measurement and other.measurement:
        mine, theirs = one.measurement, other.measurement
        if mine.memory.must_have_bytes is not None and theirs.memory.must_have_bytes is not None:
            yield _lower(mine.memory.must_have_bytes, theirs.memory.must_have_bytes, slack=SAME_MEMORY_BYTES)
        medians = mine.latency.typical_us, theirs.latency.typical_us
        yield _lower(*medians, slack=min(medians) * (SAME_LATENCY - 1))
    if one.fidelity and other.fidelity:
        yield _lower(-one.fidelity.cosine, -other.fidelity.cosine, slack=SAME_COSINE)
        if one.fidelity.task_metric is not None and other.fidelity.task_metric is not None:
            yield _lower(-one.fidelity.task_metric, -other.fidelity.task_metric, slack=0)


def _lower(mine: float, theirs: float, *, slack: float) -> int:
    if abs(mine - theirs) <= slack:
        return 0
    return 1 if mine < theirs else -1


def _chain(recipe: str, marked: Mapping[str, str]) -> Iterator[str]:
    """Yields `recipe`, what dominates it, what dominates that, and so on."""
    yield recipe
    while recipe in marked:
        recipe = marked[recipe]
        yield recipe
