"""Screening: what the recipes built, as candidates, rejected for the rules and budgets that they break."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from devicekit.quantize.fidelity import Fidelity
from devicekit.quantize.quality import MAX_METRIC_DROP, MAX_STEP, MIN_COSINE, MIN_TOP1, Miss, Thresholds
from devicekit.quantize.recipes import CALIBRATED, base_of

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

# TensorFlow's own quantizer: only the children of convert import TensorFlow.
SECOND_SOURCE = "devicekit.convert.inside.static_int8"


def quantized(
    source: Source,
    recipes: Sequence[str],
    making: Making,
    *,
    profile: "Profile | None",
    out_dir: Path,
    budgets: Budgets = NO_BUDGETS,
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
        told=source.told,
        accept_data=making.accept_data,
        keep_worst=making.keep_worst,
        **demands(profile, budgets),
        **given({"timeout_s": making.timeout_s}),
    )
    if making.recipes and [one.recipe for one in built.candidates] == [ORIGINAL]:
        raise ConvertError(
            str(source.model),
            found=f"it is quantized already, {' and '.join(making.recipes)} needs the float model",
            remedy="give the model that it was quantized from",
        )
    return built


def demands(profile: "Profile | None", budgets: Budgets = NO_BUDGETS) -> dict[str, Any]:
    """Returns what `build` must know of the profile: its thresholds, and what its runtime lacks."""
    if profile is None:
        return {}
    return {
        "wanted": thresholds(profile, budgets),
        "dense_version": highest_version(profile.runtime, "FULLY_CONNECTED"),
    }


def thresholds(profile: "Profile | None", budgets: Budgets = NO_BUDGETS) -> Thresholds:
    """Returns what a candidate must keep: what the profile says, and what the caller's flags say instead."""
    cosine, agreement, step = budgets.min_cosine, budgets.min_top1_agreement, budgets.max_step
    asked = tuple(given({MIN_COSINE: cosine, MIN_TOP1: agreement, MAX_STEP: step}))
    if profile is None:
        return Thresholds(cosine, agreement, step, asked=asked)
    of_profile = profile.quality
    return Thresholds(
        min_cosine=of_profile.min_cosine if cosine is None else cosine,
        min_top1_agreement=of_profile.min_top1_agreement if agreement is None else agreement,
        max_step=of_profile.max_step if step is None else step,
        # --max-accuracy-drop says the same, as the caller wants it.
        max_metric_drop=None if budgets.max_accuracy_drop is not None else of_profile.max_metric_drop,
        asked=asked,
    )


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
    findings, notes = list(built.findings), list(built.notes)
    if built.path is not None and not findings:
        graph = with_layers(read_graph(built.path), layers)
        rules = check_graph(profile, graph) if profile is not None else []
        wanted = thresholds(profile, budgets)
        findings = [
            *static_findings(budgets, profile, graph),
            *(finding for finding in rules if finding.rule not in budgets.overridden),
            *quality_findings(wanted, built.fidelity, is_calibrated=base_of(built.recipe) in CALIBRATED),
            *budget_rules.quality_findings(budgets, built.fidelity),
        ]
        notes += _undecided(wanted, built.fidelity)
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
        made_up_ranges=built.made_up_ranges,
        worst=built.worst,
        notes=tuple(notes),
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
    wanted: Thresholds, fidelity: Fidelity | None, *, is_calibrated: bool
) -> Iterator[Finding]:
    """Outputs stay as close to the float model's as is wanted: one finding per rule that is broken."""
    if fidelity is None:
        return
    misses = list(wanted.misses(fidelity))
    # More samples give no finer steps, and no channel another range.
    may_calibrate = is_calibrated and not any(miss.where and "[" in miss.where for miss in misses)
    may_calibrate = may_calibrate and all(miss.rule != MAX_STEP for miss in misses)
    for miss in misses:
        detail, remedy = _WORDED[miss.rule](miss, fidelity, may_calibrate)
        if miss.rule in wanted.asked:
            detail += f" ({_FLAGS[miss.rule]})"
        yield Finding(miss.rule, detail, remedy, excess=_excess(miss))


def _excess(miss: Miss) -> float:
    """Returns how many times the limit is missed."""
    if miss.found > miss.limit:
        return miss.found / max(miss.limit, 1e-6)
    return miss.limit / max(miss.found, 1e-6)


_FLAGS = {MIN_COSINE: "--min-cosine", MIN_TOP1: "--min-top1", MAX_STEP: "--max-step"}


def _cosine_words(miss: Miss, fidelity: Fidelity, may_calibrate: bool) -> tuple[str, str]:
    where = f" of {miss.where}" if miss.where else ""
    detail = f"cosine{where} {miss.found:.6g} < {miss.limit:g}"
    return detail, _accept(miss.found, _FLAGS[miss.rule], may_calibrate=may_calibrate)


def _top1_words(miss: Miss, fidelity: Fidelity, may_calibrate: bool) -> tuple[str, str]:
    detail = f"same class {miss.found * 100:.1f} % < {miss.limit * 100:g} %"
    return detail, _accept(miss.found, _FLAGS[miss.rule], may_calibrate=may_calibrate)


def _step_words(miss: Miss, fidelity: Fidelity, may_calibrate: bool) -> tuple[str, str]:
    of, other = "how much it varies", "add its mean in the app"
    if miss.of_probabilities:
        of, other = "its usual highest probability", "end in logits"
    elif miss.where and "[" in miss.where:
        other = "give what measures different things, or lies far from 0, as outputs of their own around 0"
    detail = f"one step of {miss.where} is {miss.found:.0%} of {of}, > {miss.limit:.3g}"
    return detail, (
        f"leave it in float (dynamic_int8, weight_int8, float16), or {other}; or accept it: "
        f"{_FLAGS[miss.rule]} {_rounded_up(miss.found)}"
    )


def _drop_words(miss: Miss, fidelity: Fidelity, may_calibrate: bool) -> tuple[str, str]:
    change = fidelity.change
    assert change
    interval = "" if change.low is None else f" (95 %: {change.low:+.3g}…{change.high:+.3g})"
    detail = f"task metric {change.value:+.3g}{interval} against the float model, {-miss.limit:+.3g} may be"
    other = "calibrate with more real samples (--data)" if may_calibrate else "use a closer recipe"
    return detail, f"{other}, or accept it: --max-accuracy-drop {_rounded_up(miss.found)}"


def _rounded_up(value: float) -> str:
    """Returns a number of three digits that is not below `value`."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.ceil(value / unit) * unit:.10g}"


_WORDED: dict[str, Callable[[Miss, Fidelity, bool], tuple[str, str]]] = {
    MIN_COSINE: _cosine_words,
    MIN_TOP1: _top1_words,
    MAX_STEP: _step_words,
    MAX_METRIC_DROP: _drop_words,
}


def _undecided(wanted: Thresholds, fidelity: Fidelity | None) -> Iterator[str]:
    """Yields a note where the samples are too few to tell whether the task metric drops too far."""
    if fidelity is None or not wanted.is_undecided(fidelity):
        return
    allowed = wanted.allowed_drop(fidelity)
    note = (
        f"undecided on {fidelity.count} labelled samples whether the task metric drops by more than "
        f"{allowed:.2g}: give more"
    )
    yield note if wanted.metric_decides(fidelity) else f"{note}; how close outputs are decides too"


def _accept(value: float, option: str, *, may_calibrate: bool) -> str:
    """Returns what to do about a quality of `value`: below a half there is nothing to accept."""
    other = "calibrate with more real samples (--data)" if may_calibrate else "use another recipe"
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
