"""Recipes x rules x fidelity -> the chosen artifact, and why each other one was not chosen."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from devicekit import budgets as budget_rules
from devicekit.budgets import NO_BUDGETS, Budgets
from devicekit.finding import Finding
from devicekit.graph.layers import NO_LAYERS, Layers, with_layers
from devicekit.measurement import Measurement
from devicekit.pareto import SAME_LATENCY, mark_dominated
from devicekit.quantize.fidelity import COSINE_ERROR, Thresholds

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile
    from devicekit.quantize.build import Built
    from devicekit.quantize.fidelity import Fidelity

Status = Literal["chosen", "fits", "rejected", "failed"]
Prefer = Literal["latency", "size", "quality"]

# What decides between candidates that fit and that none dominates, by preference: the first in which they
# differ (pareto.py says when they do not); where all are the same, the earlier recipe. Quality is the task
# metric, then the cosine. What was not measured decides nothing, but loses to what was.
TIE_BREAKS: dict[Prefer, tuple[str, ...]] = {
    "latency": ("latency", "size", "quality"),
    "size": ("size", "latency", "quality"),
    "quality": ("quality", "size", "latency"),
}
PREFERENCES = tuple(TIE_BREAKS)


@dataclass(frozen=True)
class Candidate:
    """One recipe's outcome. `path` is None where no file was built or kept.

    `dominated_by` is the recipe that is nowhere worse and somewhere better (pareto.py), None where none is.
    """

    recipe: str
    path: Path | None
    size_bytes: int | None
    sha256: str | None
    status: Status
    findings: tuple[Finding, ...] = ()
    fidelity: "Fidelity | None" = None
    measurement: Measurement | None = None
    golden: Path | None = None
    notes: tuple[str, ...] = field(default=())
    dominated_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe,
            "path": None if self.path is None else str(self.path),
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "status": self.status,
            "dominated_by": self.dominated_by,
            "findings": [finding.to_json() for finding in self.findings],
            "fidelity": None if self.fidelity is None else self.fidelity.to_json(),
            "measurement": None if self.measurement is None else self.measurement.to_json(),
            "notes": list(self.notes),
        }


def demands(profile: "Profile | None") -> dict[str, Any]:
    """Returns what `build` must know of the profile: its thresholds, and what its runtime lacks."""
    from devicekit.check.rules import highest_version

    if profile is None:
        return {}
    quality = profile.quality
    return {
        "wanted": Thresholds(quality.min_cosine, quality.min_top1_agreement),
        "dense_version": highest_version(profile.runtime, "FULLY_CONNECTED"),
    }


def screen(
    profile: "Profile | None",
    built: Iterable["Built"],
    layers: Layers = NO_LAYERS,
    budgets: Budgets = NO_BUDGETS,
) -> list[Candidate]:
    """Returns every built file as a candidate, "rejected" where it breaks a rule, a threshold or a budget.

    Without a profile there are no rules: whatever was built within the budgets fits. `layers` name the Keras
    layers in findings.
    """
    return [_screen_one(profile, one, layers, budgets) for one in built]


def _screen_one(profile: "Profile | None", built: "Built", layers: Layers, budgets: Budgets) -> Candidate:
    from devicekit.check.rules import check_graph
    from devicekit.graph.read import read_graph
    from devicekit.quantize.recipes import CALIBRATED, base_of

    is_calibrated = base_of(built.recipe) in CALIBRATED
    findings = list(built.findings)
    if built.path is not None and not findings:
        graph = with_layers(read_graph(built.path), layers)
        rules = check_graph(profile, graph) if profile is not None else []
        findings = [
            *budget_rules.static_findings(budgets, profile, graph),
            *(finding for finding in rules if finding.rule not in budgets.overridden),
            *quality_findings(profile, built.fidelity, budgets, is_calibrated=is_calibrated),
            *budget_rules.quality_findings(budgets, built.fidelity),
        ]
    status: Status = "failed" if built.path is None else "rejected" if findings else "fits"
    return Candidate(
        recipe=built.recipe,
        path=built.path,
        size_bytes=built.size_bytes,
        sha256=built.sha256,
        status=status,
        findings=tuple(findings),
        fidelity=built.fidelity,
        golden=built.golden,
        notes=built.notes,
    )


def quality_findings(
    profile: "Profile | None",
    fidelity: "Fidelity | None",
    budgets: Budgets = NO_BUDGETS,
    *,
    is_calibrated: bool,
) -> Iterable[Finding]:
    """Outputs stay within quality.min_cosine and quality.min_top1_agreement of the float model's.

    `budgets` win over the profile.
    """
    if fidelity is None:
        return
    minimum, origin = _threshold(budgets.min_cosine, profile, "min_cosine", flag="--min-cosine")
    if minimum is not None and fidelity.cosine < minimum - COSINE_ERROR:
        yield Finding(
            rule="quality.min_cosine",
            detail=f"cosine {fidelity.cosine:.6g} < {minimum:g}{origin}",
            remedy=_accept(fidelity.cosine, "--min-cosine", is_calibrated=is_calibrated),
            excess=minimum / max(fidelity.cosine, 1e-6),
        )
    agreement = fidelity.top1_agreement
    minimum, origin = _threshold(budgets.min_top1_agreement, profile, "min_top1_agreement", flag="--min-top1")
    if agreement is not None and minimum is not None and agreement < minimum:
        yield Finding(
            rule="quality.min_top1_agreement",
            detail=f"top-1 {agreement * 100:.1f} % < {minimum * 100:g} %{origin}",
            remedy=_accept(agreement, "--min-top1", is_calibrated=is_calibrated),
            excess=minimum / max(agreement, 1e-6),
        )


def _threshold(
    budget: float | None, profile: "Profile | None", key: str, *, flag: str
) -> tuple[float | None, str]:
    """Returns the threshold that holds, None for none, and " (FLAG)" where the flag set it."""
    if budget is not None:
        return budget, f" ({flag})"
    return (None if profile is None else getattr(profile.quality, key)), ""


def _accept(value: float, option: str, *, is_calibrated: bool) -> str:
    """Returns what to do about a quality of `value`: below a half there is nothing to accept."""
    other = "calibrate with more real samples (--data)" if is_calibrated else "use another recipe"
    if value < 0.5:
        return other
    return f"{other}, or accept it: {option} {math.floor(value * 1e4) / 1e4:g}"


def reject(candidate: Candidate, finding: Finding) -> Candidate:
    """Returns `candidate`, rejected for `finding`."""
    return replace(candidate, status="rejected", findings=(*candidate.findings, finding))


def measured_findings(
    profile: "Profile", measurement: Measurement, budgets: Budgets = NO_BUDGETS
) -> Iterable[Finding]:
    """A measured artifact stays within limits.memory_mib, and on a device within limits.latency_ms.

    `budgets` win over the profile.
    """
    yield from budget_rules.measured_findings(budgets, measurement)
    limit_mib = None if budgets.max_memory_bytes is not None else profile.limits.memory_mib
    must_have = measurement.memory.must_have_bytes
    if limit_mib is not None and must_have is not None and must_have > limit_mib * 2**20:
        yield Finding(
            rule="memory",
            detail=f"needs {must_have / 2**20:.1f} MiB, limits.memory_mib is {limit_mib:g}",
            remedy="use a smaller input, a smaller model or an int8 recipe, or raise limits.memory_mib",
            excess=must_have / (limit_mib * 2**20),
        )
    limit_ms = None if budgets.max_latency_ms is not None else profile.limits.latency_ms
    median_ms = measurement.latency.typical_us / 1000
    if limit_ms is not None and measurement.evidence == "measured" and median_ms > limit_ms:
        yield Finding(
            rule="latency",
            detail=f"median {median_ms:.3g} ms, limits.latency_ms is {limit_ms:g}",
            remedy="try --threads, an int8 recipe or a smaller model, or raise limits.latency_ms",
            excess=median_ms / limit_ms,
        )


def choose(candidates: Sequence[Candidate], prefer: Prefer) -> list[Candidate]:
    """Returns the candidates with the best one that fits marked "chosen"; none where nothing fits.

    Those that another one dominates are marked too, and never chosen.
    """
    candidates = mark_dominated(candidates)
    front = [c for c in candidates if c.status == "fits" and c.dominated_by is None]
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
    fastest = min(c.measurement.latency.typical_us for c in candidates if c.measurement and not c.findings)
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
