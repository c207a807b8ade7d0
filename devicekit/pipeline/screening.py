"""Screening: what the recipes built, as candidates, rejected for the rules and budgets that they break."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.check.rules import check_graph, highest_version
from devicekit.convert.source import Source
from devicekit.errors import ConvertError
from devicekit.finding import Finding
from devicekit.fit import budgets as budget_rules
from devicekit.fit.budgets import NO_BUDGETS, Budgets
from devicekit.fit.candidate import Candidate, Status
from devicekit.graph.arena import plan_arena
from devicekit.graph.layers import NO_LAYERS, Layers, with_layers
from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.measurement import Measurement
from devicekit.pipeline.making import Making, given
from devicekit.predict.memory import delegate_of, plan_memory
from devicekit.quantize.build import ORIGINAL, BuildResult, Built, build, unverified
from devicekit.quantize.fidelity import COSINE_ERROR, Fidelity, Thresholds
from devicekit.quantize.recipes import CALIBRATED, base_of

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

# TensorFlow's own quantizer: only the children of convert import TensorFlow.
SECOND_SOURCE = "devicekit.convert.inside.static_int8"


def quantized(
    source: Source, recipes: Sequence[str], making: Making, *, profile: "Profile | None", out_dir: Path
) -> BuildResult:
    """Returns what the recipes make of the float model; where nothing here runs that, it alone.

    Raises ConvertError where recipes were asked for of a model that is quantized already.
    """
    if source.unverified:
        return unverified(source.float_path, source.unverified, out_dir=out_dir)
    built = build(
        source.float_path,
        recipes,
        data=making.data,
        eval_function=making.eval_function,
        out_dir=out_dir,
        second_source=SECOND_SOURCE,
        **demands(profile),
        **given({"timeout_s": making.timeout_s}),
    )
    if making.recipes and [one.recipe for one in built.candidates] == [ORIGINAL]:
        raise ConvertError(
            str(source.model),
            found=f"it is quantized already, {' and '.join(making.recipes)} needs the float model",
            remedy="give the model that it was quantized from",
        )
    return built


def demands(profile: "Profile | None") -> dict[str, Any]:
    """Returns what `build` must know of the profile: its thresholds, and what its runtime lacks."""
    if profile is None:
        return {}
    quality = profile.quality
    return {
        "wanted": Thresholds(quality.min_cosine, quality.min_top1_agreement),
        "dense_version": highest_version(profile.runtime, "FULLY_CONNECTED"),
    }


def screen(
    profile: "Profile | None",
    built: Iterable[Built],
    layers: Layers = NO_LAYERS,
    budgets: Budgets = NO_BUDGETS,
) -> list[Candidate]:
    """Returns every built file as a candidate, "rejected" where it breaks a rule, a threshold or a budget.

    Without a profile there are no rules: whatever was built within the budgets fits. `layers` name the Keras
    layers in findings.
    """
    return [_screen_one(profile, one, layers, budgets) for one in built]


def _screen_one(profile: "Profile | None", built: Built, layers: Layers, budgets: Budgets) -> Candidate:
    is_calibrated = base_of(built.recipe) in CALIBRATED
    findings = list(built.findings)
    if built.path is not None and not findings:
        graph = with_layers(read_graph(built.path), layers)
        rules = check_graph(profile, graph) if profile is not None else []
        findings = [
            *static_findings(budgets, profile, graph),
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


def static_findings(budgets: Budgets, profile: "Profile | None", graph: Graph) -> Iterator[Finding]:
    """The file is within --max-size, and what the graph is sure to need within --max-memory."""
    yield from budget_rules.size_findings(budgets, graph.size_bytes)
    if budgets.max_memory_bytes is None:
        return
    if profile and profile.device.kind == "microcontroller":
        needed_bytes = plan_arena(graph, "tflm").arena_bytes
    else:
        needed_bytes = plan_memory(graph, delegate_of(profile)).least_bytes
    yield from budget_rules.memory_findings(budgets, needed_bytes, needs="needs at least")


def quality_findings(
    profile: "Profile | None",
    fidelity: Fidelity | None,
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
