"""Measurement: raw samples, their summary, memory, conditions, and the kind of evidence.

JSON schema history (`schema` in every document)
    1   first version: latency, memory, conditions, stability
        since November 2026 with `round_counts`; older documents have none
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

SCHEMA = 1

Evidence = Literal["measured", "simulated", "predicted", "emulated"]

# A spread (interquartile range over median) above this is called unstable.
# Source: this class of machine shows 1-3 % when quiet and 10-60 % under load (measured, November 2026).
UNSTABLE_SPREAD = 0.10
# So is a p95 this many times the median: one run in twenty waited for something else.
UNSTABLE_TAIL = 2.0
MIN_TAIL_SAMPLES = 40  # below, the p95 is one or two runs
MIN_SAMPLES = 10


@dataclass(frozen=True)
class Plan:
    """How to measure. Warm-up and repeats last until both count and time are reached, within `max_s`.

    `memory_bytes` is the budget of must-have memory to enforce, None for no limit. `cpus` pins the process,
    None leaves it free. `kernel` is "xnnpack" or "builtin". `timeout_s` ends a run that hangs. `max_runs`
    keeps the raw samples of a very short inference to a sensible number. `notes` say what of the profile
    this plan cannot honour.
    """

    threads: int = 1
    warmup_runs: int = 3
    warmup_s: float = 0.2
    min_runs: int = 50
    min_s: float = 0.5
    max_s: float = 30.0
    memory_bytes: int | None = None
    cpus: tuple[int, ...] | None = None
    kernel: Literal["xnnpack", "builtin"] = "xnnpack"
    timeout_s: float = 300.0
    max_runs: int = 10_000
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Latency:
    """Microseconds of one inference: the first, and the statistics of those after the warm-up."""

    samples_us: tuple[float, ...]
    first_us: float | None
    init_us: float | None
    median_us: float
    p95_us: float
    mean_us: float
    stdev_us: float | None
    count: int


@dataclass(frozen=True)
class Memory:
    """Growth over the runtime's own base (`base_bytes`: the runtime loaded and warmed with a tiny model).

    `must_have_bytes` is anonymous memory, which nothing can reclaim; `peak_rss_bytes` includes mapped files.
    None where the system gives no such figure. `source` names the readings.
    """

    must_have_bytes: int | None
    peak_rss_bytes: int | None
    base_bytes: int | None
    source: str


@dataclass(frozen=True)
class Measurement:
    """What one run on one device gave, or several: `round_counts` is how many samples each gave, in order."""

    evidence: Evidence
    runner: str
    runtime_version: str | None
    threads: int
    latency: Latency
    memory: Memory
    conditions: Mapping[str, Any]
    stability: str
    device: str
    model: str
    model_sha256: str
    limits: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    round_counts: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


def from_json(document: Mapping[str, Any]) -> Measurement:
    """Returns the measurement that `to_json` wrote. Raises KeyError, TypeError or ValueError for another."""
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']}, expected {SCHEMA}")
    known = {one.name for one in fields(Measurement)}
    values = {key: value for key, value in document.items() if key in known}
    for key in ("limits", "notes", "round_counts"):
        values[key] = tuple(document.get(key, ()))
    latency = document["latency"]
    samples = tuple(map(float, latency["samples_us"]))
    counts = values["round_counts"]
    if not samples or min(samples) < 0 or (counts and (sum(counts) != len(samples) or min(counts) < 1)):
        raise ValueError(f"{len(samples)} samples in rounds of {counts}")
    values["latency"] = summarize(samples, first_us=latency["first_us"], init_us=latency["init_us"])
    return Measurement(**{**values, "memory": Memory(**document["memory"])})


def summarize(samples_us: Sequence[float], *, first_us: float | None, init_us: float | None) -> Latency:
    """Returns the summary of `samples_us` (microseconds, at least one)."""
    ordered = sorted(samples_us)
    return Latency(
        samples_us=tuple(samples_us),
        first_us=first_us,
        init_us=init_us,
        median_us=statistics.median(ordered),
        p95_us=percentile(ordered, 95),
        mean_us=statistics.fmean(ordered),
        stdev_us=statistics.stdev(ordered) if len(ordered) > 1 else None,
        count=len(ordered),
    )


def pooled(rounds: Sequence[Measurement]) -> Measurement:
    """Returns one measurement of several rounds of the same model: all samples, the most memory of any.

    First inference and set-up are those of the first round; conditions before the first, after the last.
    """
    first, last = rounds[0], rounds[-1]
    samples = [sample for one in rounds for sample in one.latency.samples_us]
    most = max(rounds, key=lambda one: one.memory.must_have_bytes or 0).memory
    conditions = {**first.conditions, "after": last.conditions.get("after")}
    return replace(
        first,
        latency=summarize(samples, first_us=first.latency.first_us, init_us=first.latency.init_us),
        memory=most,
        conditions=conditions,
        stability=stability(samples),
        round_counts=tuple(one.latency.count for one in rounds),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Returns the nearest-rank percentile of ascending values."""
    rank = max(math.ceil(percent / 100 * len(ordered)), 1)
    return ordered[rank - 1]


def spread(samples_us: Sequence[float]) -> float | None:
    """Returns the interquartile range over the median; None below four samples."""
    if len(samples_us) < 4:
        return None
    low, _, high = statistics.quantiles(samples_us, n=4)
    median = statistics.median(samples_us)
    return (high - low) / median if median else None


def stability(samples_us: Sequence[float]) -> str:
    """Returns the verdict on the samples, in words: "stable (spread 1.4 %)"."""
    if len(samples_us) < MIN_SAMPLES:
        return f"too few samples ({len(samples_us)} of at least {MIN_SAMPLES})"
    width = spread(samples_us)
    if width is None:
        return "unknown"
    tail = percentile(sorted(samples_us), 95) / statistics.median(samples_us)
    if width <= UNSTABLE_SPREAD and tail > UNSTABLE_TAIL and len(samples_us) >= MIN_TAIL_SAMPLES:
        return f"unstable (p95 is {tail:.1f} × the median)"
    verdict = "stable" if width <= UNSTABLE_SPREAD else "unstable"
    return f"{verdict} (spread {width * 100:.1f} %)"
