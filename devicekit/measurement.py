"""Measurement: raw samples, their summary, memory, conditions, and the kind of evidence.

JSON schema history (`schema` in every document)
    1   first version: latency, memory, conditions, stability
        since November 2026 with `round_counts`, then `trace` and `pace`; older documents have none
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

SCHEMA = 1

Evidence = Literal["measured", "simulated", "predicted", "emulated"]

# A spread (interquartile range over median) above this is called noisy.
# Source: this class of machine shows 1-3 % when quiet and 10-60 % under load (measured, November 2026).
NOISY_SPREAD = 0.10
# So is a p95 this many times the median: one run in twenty waited for something else.
NOISY_TAIL = 2.0
# And a last quarter that is so much slower or faster than the first; slower and hotter is throttled.
NOISY_DRIFT = 0.10
HOTTER_C = 5.0
MIN_TAIL_SAMPLES = 40  # below, the p95 is one or two runs
MIN_SAMPLES = 10
# Runners that give statistics alone.
NO_SAMPLES = ("benchmark_model",)


@dataclass(frozen=True)
class Gate:
    """What a device must be before it is measured, and how long to wait for that.

    60 °C is well below where boards and phones begin to slow down (a Raspberry Pi 4 at 80); a low battery
    makes phones save power, mostly from 15 % down.
    """

    start_below_c: float = 60.0
    min_battery_percent: int = 20
    wait_s: float = 600.0


@dataclass(frozen=True)
class Plan:
    """How to measure. Warm-up and repeats last until both count and time are reached, within `max_s`.

    `memory_bytes` is the budget of must-have memory to enforce, None for no limit. `cpus` pins the process,
    None leaves it free. `kernel` is "xnnpack" or "builtin". `timeout_s` ends a run that hangs. `max_runs`
    keeps the raw samples of a very short inference to a sensible number. `notes` say what of the profile
    this plan cannot honour.

    `rate_hz` leaves gaps: so many inferences start per second, None for no gap. `sustain_s` runs for so long,
    with a trace over time, instead of until enough is known. `governor` is set meanwhile, None leaves it.
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
    rate_hz: float | None = None
    sustain_s: float | None = None
    governor: str | None = None
    gate: Gate = Gate()


@dataclass(frozen=True)
class TracePoint:
    """A stretch of a sustained run: its start in seconds, its samples' median in microseconds.

    `hottest_c` and `khz` (the fastest CPU's clock) were read at its start; None where nothing says so.
    """

    at_s: float
    count: int
    median_us: float | None
    hottest_c: float | None = None
    khz: int | None = None


@dataclass(frozen=True)
class Latency:
    """Microseconds of one inference: the first, and the statistics of those after the warm-up.

    A tool that keeps no samples gives its own statistics: then `samples_us` is (), and what it does not print
    is None.
    """

    samples_us: tuple[float, ...]
    first_us: float | None
    init_us: float | None
    median_us: float | None
    p95_us: float | None
    mean_us: float
    stdev_us: float | None
    count: int

    @property
    def typical_us(self) -> float:
        """The median, or where nobody knows that the mean."""
        return self.mean_us if self.median_us is None else self.median_us


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
    """What one run on one device gave, or several: `round_counts` is how many samples each gave, in order.

    `trace` is of a sustained run, () for others; `pace` says in words what gaps it kept, or for how long.
    """

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
    trace: tuple[TracePoint, ...] = ()
    pace: str = ""

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
    values["trace"] = tuple(TracePoint(**point) for point in document.get("trace", ()))
    latency = document["latency"]
    samples = tuple(map(float, latency["samples_us"]))
    counts = values["round_counts"]
    if not samples and document["runner"] in NO_SAMPLES:
        values["latency"] = Latency(**{**latency, "samples_us": ()})
        return Measurement(**{**values, "memory": Memory(**document["memory"])})
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

    First inference and set-up are those of the first round; conditions before the first, after the last. Of
    rounds without samples the middle one by its mean stands for all.
    """
    first, last = rounds[0], rounds[-1]
    if any(not one.latency.samples_us for one in rounds):
        return sorted(rounds, key=lambda one: one.latency.mean_us)[len(rounds) // 2]
    samples = [sample for one in rounds for sample in one.latency.samples_us]
    most = max(rounds, key=lambda one: one.memory.must_have_bytes or 0).memory
    conditions = {**first.conditions, "after": last.conditions.get("after")}
    return replace(
        first,
        latency=summarize(samples, first_us=first.latency.first_us, init_us=first.latency.init_us),
        memory=most,
        conditions=conditions,
        stability=stability(samples, conditions),
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


def stability(samples_us: Sequence[float], conditions: Mapping[str, Any] | None = None) -> str:
    """Returns the verdict on samples in the order they were taken, with its rule: "stable (spread 1.4 %)".

    `conditions` are the device's before and after, as a measurement has them. It is throttled where the
    device says so afterwards, or is slower at the end and hotter than at the start.
    """
    before, after = ((conditions or {}).get(when) or {} for when in ("before", "after"))
    if said := after.get("throttled"):
        return f"throttled (the device says: {said})"
    if len(samples_us) < MIN_SAMPLES:
        return f"too few samples ({len(samples_us)} of at least {MIN_SAMPLES})"
    drift, width = _drift(samples_us), spread(samples_us)
    cool, hot = hottest_c(before), hottest_c(after)
    if drift > NOISY_DRIFT and cool is not None and hot is not None and hot >= cool + HOTTER_C:
        return (
            f"throttled (last quarter {drift * 100:.0f} % slower than the first, {cool:.0f} → {hot:.0f} °C)"
        )
    if width is None:
        return "unknown"
    if width > NOISY_SPREAD:
        return f"noisy (spread {width * 100:.1f} %, above {NOISY_SPREAD * 100:.0f} %)"
    tail = percentile(sorted(samples_us), 95) / statistics.median(samples_us)
    if tail > NOISY_TAIL and len(samples_us) >= MIN_TAIL_SAMPLES:
        return f"noisy (p95 is {tail:.1f} × the median, above {NOISY_TAIL:g})"
    if abs(drift) > NOISY_DRIFT and len(samples_us) >= MIN_TAIL_SAMPLES:
        way = "slower" if drift > 0 else "faster"
        return f"noisy (last quarter {abs(drift) * 100:.0f} % {way} than the first)"
    return f"stable (spread {width * 100:.1f} %)"


def stability_of(latency: Latency) -> str:
    """Returns the verdict on a latency without samples, as far as its statistics allow one."""
    if latency.median_us and latency.p95_us is not None and latency.count >= MIN_TAIL_SAMPLES:
        tail = latency.p95_us / latency.median_us
        verdict = "stable" if tail <= NOISY_TAIL else "noisy"
        return f"{verdict} (p95 is {tail:.1f} × the median; no samples were kept)"
    if latency.stdev_us is not None and latency.mean_us and latency.count >= MIN_SAMPLES:
        part = latency.stdev_us / latency.mean_us
        verdict = "stable" if part <= NOISY_SPREAD else "noisy"
        return f"{verdict} (standard deviation {part * 100:.1f} % of the mean; no samples were kept)"
    return "unknown (no samples were kept)"


def _drift(samples_us: Sequence[float]) -> float:
    """Returns by how much the median of the last quarter is above that of the first, as a part of it."""
    quarter = max(len(samples_us) // 4, 1)
    first, last = statistics.median(samples_us[:quarter]), statistics.median(samples_us[-quarter:])
    return last / first - 1 if first else 0.0


def hottest_c(condition: Mapping[str, Any]) -> float | None:
    """Returns the highest temperature in a condition: the device's own word for it, or of its zones."""
    zones = condition.get("temperature_c") or {}
    readings = [*zones.values(), condition.get("hottest_c")]
    return max((one for one in readings if one is not None and 0 < one < 150), default=None)
