"""Choosing among candidates: rules, thresholds, preference, and the nearest miss."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from devicekit.finding import Finding
from devicekit.fit.candidate import Candidate, reject
from devicekit.fit.choose import choose, nearest_miss, reason
from devicekit.measurement import Measurement, Memory, summarize
from devicekit.pipeline.screening import measured_findings, quality_findings
from devicekit.quantize.fidelity import Fidelity
from devicekit.quantize.quality import Thresholds

MIB = 2**20
WANTED = Thresholds(0.98, 0.98)


def fidelity(cosine: float = 1.0, top1: float | None = 1.0, metric: float | None = None) -> Fidelity:
    return Fidelity(
        cosine=cosine,
        snr_db=40.0,
        max_abs_error=0.1,
        top1_agreement=top1,
        task_metric=metric,
        float_task_metric=metric,
        count=100,
    )


def measurement(median_us: float, must_have_mib: float = 1.0, evidence: Any = "simulated") -> Measurement:
    return Measurement(
        evidence=evidence,
        runner="script",
        runtime_version="2.3.0",
        threads=1,
        latency=summarize([median_us] * 10, first_us=median_us, init_us=1.0),
        memory=Memory(int(must_have_mib * MIB), int(must_have_mib * MIB), 14 * MIB, "RssAnon"),
        conditions={},
        stability="stable (spread 0.0 %)",
        device="host",
        model="m.tflite",
        model_sha256="0" * 64,
    )


def candidate(recipe: str, size: int, median_us: float | None = None, **fields: Any) -> Candidate:
    made = Candidate(recipe=recipe, path=None, size_bytes=size, sha256="0" * 64, status="fits", **fields)
    return made if median_us is None else replace(made, measurement=measurement(median_us))


def profile(**limits: Any) -> Any:
    return SimpleNamespace(
        name="p",
        limits=SimpleNamespace(**{"memory_mib": None, "latency_ms": None, **limits}),
        quality=SimpleNamespace(min_cosine=0.98, min_top1_agreement=0.98),
    )


def chosen(candidates: list[Candidate], prefer: Any) -> str:
    return next(c.recipe for c in choose(candidates, prefer) if c.status == "chosen")


def test_latency_prefers_the_fastest() -> None:
    assert chosen([candidate("float32", 10, 30.0), candidate("int8", 20, 10.0)], "latency") == "int8"


def test_latency_within_noise_prefers_the_smaller_file() -> None:
    assert chosen([candidate("float32", 400, 10.0), candidate("int8", 100, 10.3)], "latency") == "int8"


def test_size_prefers_the_smallest() -> None:
    assert chosen([candidate("float32", 10, 30.0), candidate("int8", 20, 10.0)], "size") == "float32"


def test_quality_prefers_the_task_metric_over_cosine() -> None:
    close = candidate("float16", 10, 1.0, fidelity=fidelity(cosine=0.9999, metric=0.90))
    right = candidate("int8", 10, 1.0, fidelity=fidelity(cosine=0.99, metric=0.95))
    assert chosen([close, right], "quality") == "int8"


@pytest.mark.parametrize("prefer", ["latency", "size", "quality"])
def test_a_rejected_candidate_is_never_chosen(prefer: Any) -> None:
    best = reject(candidate("int4", 1, 1.0), Finding("memory", "needs 9", "use less"))
    assert chosen([best, candidate("float32", 100, 100.0)], prefer) == "float32"


def test_nothing_fits_nothing_is_chosen() -> None:
    candidates = [reject(candidate("int8", 1, 1.0), Finding("r", "d", "m"))]
    assert choose(candidates, "latency") == candidates


def test_the_nearest_miss_is_nearest_in_what_it_exceeds() -> None:
    far = reject(candidate("weight_int4", 1), Finding("memory", "needs 21", "m", excess=21.0))
    near = reject(candidate("dynamic_int8", 2), Finding("memory", "needs 11", "m", excess=11.0))
    assert nearest_miss([far, near])[0] == "dynamic_int8 comes closest: needs 11"


def test_the_nearest_miss_breaks_the_fewest_rules() -> None:
    finding = Finding("model_mib", "file 5 MiB, limits.model_mib is 4", "use int8")
    twice = reject(reject(candidate("float32", 1, 1.0), finding), Finding("memory", "x", "y"))
    once = reject(candidate("float16", 2, 1.0), finding)
    assert nearest_miss([twice, once]) == (
        "float16 comes closest: file 5 MiB, limits.model_mib is 4",
        "use int8",
    )


def test_the_nearest_miss_is_one_whose_every_miss_is_known() -> None:
    slow = reject(candidate("int8", 2, 10.0), Finding("--max-latency", "10 ms", "m", excess=10.0))
    poor = reject(candidate("weight_int4", 1), Finding("quality.min_cosine", "0.94", "m", excess=1.04))
    assert nearest_miss([poor, slow])[0] == "int8 comes closest: 10 ms"


def test_quality_below_a_threshold_is_a_finding_with_the_way_to_accept_it() -> None:
    [finding] = quality_findings(WANTED, fidelity(top1=0.962), is_calibrated=True)
    assert finding.rule == "quality.min_top1_agreement"
    assert finding.detail == "same class 96.2 % < 98 %"
    assert finding.remedy.endswith("or accept it: --min-top1 0.962")


def test_the_remedy_names_a_threshold_that_is_met() -> None:
    [finding] = quality_findings(WANTED, fidelity(cosine=0.97999), is_calibrated=False)
    assert finding.remedy.startswith("use another recipe"), "there is nothing to calibrate"
    assert finding.remedy.endswith("--min-cosine 0.9799")


def test_a_useless_candidate_is_not_offered_for_acceptance() -> None:
    [finding] = quality_findings(WANTED, fidelity(cosine=0.0), is_calibrated=True)
    assert finding.remedy == "calibrate with more real samples (--data)"


def test_the_float_model_equals_itself_whatever_the_rounding() -> None:
    strict = Thresholds(1.0, 0.98)
    assert list(quality_findings(strict, fidelity(cosine=0.9999999999999998), is_calibrated=True)) == []


def test_the_reason_says_what_decided() -> None:
    first = choose([candidate("float32", 400, 10.0), candidate("int8", 500, 9.0)], "latency")
    assert reason(first, "latency") == "fastest that keeps quality"
    smaller = choose([candidate("float32", 400, 10.0), candidate("int8", 100, 10.3)], "latency")
    assert reason(smaller, "latency") == "smallest of those within 5 % of the fastest that keeps quality"
    scored = choose([candidate("int8", 10, 1.0, fidelity=fidelity(metric=0.9))], "quality")
    assert reason(scored, "quality") == "best task metric"
    unmeasured = choose([candidate("int8", 10)], "latency")
    assert "nothing was measured" in reason(unmeasured, "latency")


def test_top1_is_not_judged_where_the_output_is_no_scores() -> None:
    assert list(quality_findings(WANTED, fidelity(top1=None), is_calibrated=True)) == []


def test_measured_memory_over_the_limit_is_a_finding() -> None:
    [finding] = measured_findings(profile(memory_mib=2), measurement(1.0, must_have_mib=3))
    assert finding.detail == "needs 3.0 MiB, limits.memory_mib is 2"


def test_latency_limits_judge_devices_and_never_this_host() -> None:
    limited = profile(latency_ms=1)
    assert list(measured_findings(limited, measurement(5000.0))) == []
    [finding] = measured_findings(limited, measurement(5000.0, evidence="measured"))
    assert finding.detail == "median 5 ms, limits.latency_ms is 1"
