"""Which candidates another one makes pointless."""

from dataclasses import replace
from typing import Any

import pytest

from devicekit.finding import Finding
from devicekit.fit.candidate import Candidate, reject
from devicekit.fit.choose import choose
from devicekit.fit.pareto import SAME_COSINE, SAME_LATENCY, SAME_MEMORY_BYTES, mark_dominated
from devicekit.measurement import Measurement, Memory, summarize
from devicekit.quantize.fidelity import Fidelity


def candidate(
    recipe: str,
    *,
    size: int = 100,
    memory: int | None = 2**20,
    median_us: float | None = 10.0,
    cosine: float | None = 1.0,
    metric: float | None = None,
    top1: float | None = None,
    p95_us: float | None = None,
) -> Candidate:
    fidelity = cosine if cosine is None else Fidelity(cosine, 40.0, 0.1, top1, metric, metric, 100)
    return Candidate(
        recipe=recipe,
        path=None,
        size_bytes=size,
        sha256="0" * 64,
        status="fits",
        fidelity=fidelity,
        measurement=None if median_us is None else measurement(median_us, memory, p95_us or median_us),
    )


def measurement(median_us: float, must_have: int | None, p95_us: float) -> Measurement:
    return Measurement(
        evidence="simulated",
        runner="script",
        runtime_version="2.3.0",
        threads=1,
        latency=summarize([median_us] * 17 + [p95_us] * 3, first_us=median_us, init_us=1.0),
        memory=Memory(must_have, must_have, 14 * 2**20, "RssAnon"),
        conditions={},
        stability="stable (spread 0.0 %)",
        device="host",
        model="m.tflite",
        model_sha256="0" * 64,
    )


def dominated(*candidates: Candidate) -> dict[str, str]:
    marked = mark_dominated(candidates)
    return {c.recipe: c.dominated_by for c in marked if c.dominated_by is not None}


BETTER: list[dict[str, Any]] = [
    {"size": 99},
    {"memory": 2**20 * 9 // 10},
    {"median_us": 9.0},
    {"metric": 0.91},
]


@pytest.mark.parametrize("better", BETTER, ids=lambda b: next(iter(b)))
def test_better_in_one_and_as_good_in_the_rest_dominates(better: dict[str, Any]) -> None:
    plain = {"metric": 0.9}
    assert dominated(candidate("a", **plain), candidate("b", **{**plain, **better})) == {"a": "b"}


def test_better_in_cosine_dominates() -> None:
    assert dominated(candidate("a", cosine=0.99), candidate("b", cosine=1.0)) == {"a": "b"}


def test_worse_in_one_dominates_nothing() -> None:
    assert dominated(candidate("a", size=50, median_us=20), candidate("b", size=100, median_us=10)) == {}


def test_the_same_in_all_dominates_nothing() -> None:
    assert dominated(candidate("a"), candidate("b")) == {}


def test_what_noise_explains_makes_nothing_better() -> None:
    noisy = {"median_us": 10 * SAME_LATENCY, "memory": 2**20 + SAME_MEMORY_BYTES, "cosine": 1 - SAME_COSINE}
    assert dominated(candidate("a", **noisy), candidate("b")) == {}
    assert dominated(candidate("a", size=101, **noisy), candidate("b")) == {"a": "b"}


SHOWN: list[dict[str, Any]] = [
    {"median_us": 9.99},
    {"p95_us": 9.9},
    {"cosine": 0.9999},
    {"top1": 0.999},
    {"metric": 0.9012},
    {"size": 99},
    {"memory": 9 * 10**5},
]


@pytest.mark.parametrize("better", SHOWN, ids=lambda b: next(iter(b)))
def test_nothing_that_is_shown_is_better_in_the_dominated(better: dict[str, Any]) -> None:
    """As little as the table shows is enough: "better in nothing that is shown here" is said of it."""
    plain: dict[str, Any] = {"cosine": 0.99, "top1": 0.99, "metric": 0.9, "size": 100, "p95_us": 11.0}
    faster = {"median_us": 5.0} if "median_us" not in better else {"size": 50}
    assert dominated(candidate("a", **plain), candidate("b", **{**plain, **faster})) == {"a": "b"}
    assert dominated(candidate("a", **{**plain, **better}), candidate("b", **{**plain, **faster})) == {}


def test_what_reads_the_same_is_the_same() -> None:
    assert dominated(candidate("a", cosine=0.999999), candidate("b", cosine=0.999998, size=50)) == {"a": "b"}


def test_made_up_ranges_dominate_nothing_that_needs_no_data() -> None:
    best = replace(candidate("b", size=1, median_us=1.0), made_up_ranges=True)
    assert dominated(candidate("a"), best) == {}
    assert [c.status for c in choose([candidate("a"), best], "latency")] == ["chosen", "fits"]
    assert [c.status for c in choose([best], "latency")] == ["chosen"]


def test_what_is_unknown_of_one_is_not_compared() -> None:
    unknown = candidate("b", size=99, median_us=None, cosine=None)
    assert dominated(candidate("a"), unknown) == {"a": "b"}
    assert dominated(candidate("a"), candidate("b", size=99, memory=None)) == {"a": "b"}


def test_the_rejected_dominate_nothing_and_are_not_dominated() -> None:
    best = reject(candidate("b", size=1), Finding("memory", "needs 9", "use less"))
    assert dominated(candidate("a"), best) == {}
    assert dominated(reject(candidate("a", size=200), Finding("r", "d", "m")), candidate("c")) == {}


def test_the_dominator_that_is_named_is_itself_not_dominated() -> None:
    assert dominated(candidate("a", size=3), candidate("b", size=2), candidate("c", size=1)) == {
        "a": "c",
        "b": "c",
    }


@pytest.mark.parametrize("prefer", ["latency", "size", "quality"])
def test_a_dominated_candidate_is_never_chosen(prefer: Any) -> None:
    noisy = candidate("a", size=100, median_us=10.4, cosine=0.99)
    better = candidate("b", size=100, median_us=10.0, cosine=1.0)
    chosen = choose([noisy, better], prefer)
    assert [(c.recipe, c.status, c.dominated_by) for c in chosen] == [
        ("a", "fits", "b"),
        ("b", "chosen", None),
    ]
    assert chosen[0].to_json()["dominated_by"] == "b"


@pytest.mark.parametrize(
    ("prefer", "worse", "better"),
    [
        ("latency", {"size": 101}, {"memory": 2**21}),
        ("size", {"median_us": 20.0}, {"memory": 2**21}),
        ("quality", {"size": 101}, {"memory": 2**21}),
    ],
)
def test_ties_go_to_the_next_in_the_documented_order(
    prefer: Any, worse: dict[str, Any], better: dict[str, Any]
) -> None:
    chosen = choose([candidate("a", **worse), candidate("b", **better)], prefer)
    assert next(c.recipe for c in chosen if c.status == "chosen") == "b"


def test_the_last_tie_goes_to_the_earlier_recipe() -> None:
    same = [candidate("a"), candidate("b"), replace(candidate("c"), measurement=None)]
    assert [c.status for c in choose(same, "latency")] == ["chosen", "fits", "fits"]
