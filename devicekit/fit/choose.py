"""The choice between candidates that fit, and why each other one was not chosen."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from devicekit.fit.candidate import Candidate, Prefer
from devicekit.fit.pareto import SAME_LATENCY, mark_dominated

# What decides between candidates that fit and that none dominates, by preference: the first in which they
# differ (pareto.py says when they do not); where all are the same, the earlier recipe. Quality is the task
# metric, then the cosine. What was not measured decides nothing, but loses to what was.
TIE_BREAKS: dict[Prefer, tuple[str, ...]] = {
    "latency": ("latency", "size", "quality"),
    "size": ("size", "latency", "quality"),
    "quality": ("quality", "size", "latency"),
}
PREFERENCES = tuple(TIE_BREAKS)


def choose(candidates: Sequence[Candidate], prefer: Prefer) -> list[Candidate]:
    """Returns the candidates with the best one that fits marked "chosen"; none where nothing fits.

    Those that another one dominates are marked too, and never chosen. What was calibrated on random inputs is
    chosen only where nothing else fits.
    """
    candidates = mark_dominated(candidates)
    front = [c for c in candidates if c.status == "fits" and c.dominated_by is None]
    front = [c for c in front if not c.made_up_ranges] or front
    if not front:
        return candidates
    for dimension in TIE_BREAKS[prefer]:
        front = _KEEP_BEST[dimension](front)
    return [replace(c, status="chosen") if c is front[0] else c for c in candidates]


def _fastest(candidates: list[Candidate]) -> list[Candidate]:
    timed = [(c.measurement.latency.typical_us, c) for c in candidates if c.measurement is not None]
    limit = min((median for median, _ in timed), default=0.0) * SAME_LATENCY
    return [c for median, c in timed if median <= limit] or candidates


def _smallest(candidates: list[Candidate]) -> list[Candidate]:
    smallest = min(c.size_bytes or 0 for c in candidates)
    return [c for c in candidates if (c.size_bytes or 0) == smallest]


def _most_faithful(candidates: list[Candidate]) -> list[Candidate]:
    def key(candidate: Candidate) -> tuple[float, float]:
        fidelity = candidate.fidelity
        if fidelity is None:
            return (-math.inf, -math.inf)
        metric = -math.inf if fidelity.task_metric is None else round(fidelity.task_metric, 4)
        return (metric, round(fidelity.cosine, 6))

    best = max(map(key, candidates))
    return [c for c in candidates if key(c) == best]


_KEEP_BEST: dict[str, Callable[[list[Candidate]], list[Candidate]]] = {
    "latency": _fastest,
    "size": _smallest,
    "quality": _most_faithful,
}


def reason(candidates: Sequence[Candidate], prefer: Prefer) -> str:
    """Returns why the chosen one was chosen, in words. One must be chosen."""
    chosen = next(c for c in candidates if c.status == "chosen")
    if prefer == "size":
        return "smallest that keeps quality"
    if prefer == "quality":
        has_metric = chosen.fidelity is not None and chosen.fidelity.task_metric is not None
        return "best task metric" if has_metric else "closest to the float model"
    if chosen.measurement is None:
        return "smallest that keeps quality; nothing was measured, `devicekit deploy` does"
    compared = [c for c in candidates if c.made_up_ranges == chosen.made_up_ranges and not c.findings]
    fastest = min(c.measurement.latency.typical_us for c in compared if c.measurement)
    if chosen.measurement.latency.typical_us <= fastest:
        return "fastest that keeps quality"
    slower = max(chosen.measurement.latency.typical_us / fastest, SAME_LATENCY) - 1
    return f"smallest of those within {math.ceil(slower * 100 - 1e-6)} % of the fastest that keeps quality"


def nearest_miss(candidates: Sequence[Candidate]) -> tuple[str, str]:
    """Returns what the best of the rejected misses by, and what would make it fit."""
    rejected = [c for c in candidates if c.status == "rejected"] or list(candidates)
    if not rejected:
        return "no recipe was tried", "name recipes in the profile's [recipes] try, or with --recipe"

    def distance(candidate: Candidate) -> tuple[bool, int, float]:
        # One that was not measured, as a rule was broken before, may miss by more than is known.
        excess = max(finding.excess or 1 for finding in candidate.findings)
        return candidate.measurement is None, len(candidate.findings), excess

    best = min(rejected, key=distance)
    detail = "; ".join(finding.detail for finding in best.findings)
    remedies = list(dict.fromkeys(finding.remedy for finding in best.findings))
    return f"{best.recipe} comes closest: {detail}", "; and ".join(remedies)
