"""LiteRT's own benchmark_model (litert/tools/benchmark_litert_model): milliseconds, no files in or out."""

import re
from typing import Any

from devicekit.measurement import Plan
from devicekit.runner.benchmark_model.printed import (
    NUMBER,
    Printed,
    first_match,
    last_count,
    megabytes,
    messages,
    statistics,
)

_STARTS = "BENCHMARK RESULTS"


def _line(name: str, unit: str = "ms") -> re.Pattern[str]:
    return re.compile(rf"^\s*{re.escape(name)}:\s+({NUMBER})(?: {unit})?(?:\s+\((\d+) runs?\))?\s*$")


_INIT = _line("Model initialization")
_FIRST = _line("Warmup (first)")
_WARMUP = _line("Warmup (avg)")
_MEAN = _line("Inference (avg)")
_MIN = _line("Inference (min)")
_MAX = _line("Inference (max)")
_STDEV = _line("Inference (std)")
_INIT_MB = _line("Init footprint", "MB")
_OVERALL_MB = _line("Overall footprint", "MB")
_PEAK_MB = _line("Peak memory", "MB")


def arguments(plan: Plan, *, model: str, require_delegate: bool = False) -> list[str]:
    """Returns the tool's arguments: on the CPU, with XNNPACK, which it always takes."""
    return [
        f"--graph={model}",
        "--use_cpu=true",
        f"--num_threads={plan.threads}",
        f"--warmup_runs={plan.warmup_runs}",
        f"--warmup_min_secs={plan.warmup_s:g}",
        f"--num_runs={plan.min_runs}",
        f"--min_secs={plan.min_s:g}",
        f"--max_secs={plan.max_s:g}",
        "--report_peak_memory_footprint=true",
        *(["--require_full_delegation=true"] if require_delegate else []),
    ]


def read(output: str) -> Printed | None:
    """Returns what the tool printed; None where it did not come to its results."""
    lines = messages(output)
    counted = last_count(lines)
    start = next((i for i, line in enumerate(lines) if _STARTS in line), None)
    lines = lines[start:] if start is not None else []
    mean = first_match(_MEAN, lines)
    if mean is None or mean[2] is None:
        return None

    def us(pattern: re.Pattern[str]) -> float | None:
        found = first_match(pattern, lines)
        return float(found[1]) * 1000 if found else None

    def size(pattern: re.Pattern[str]) -> int | None:
        found = first_match(pattern, lines)
        return megabytes(found[1]) if found else None

    # To the microsecond, and with percentiles, where the line of its counts is there.
    is_counted = counted is not None and int(counted[1]) == int(mean[2])
    values: dict[str, Any] = {
        "mean_us": float(mean[1]) * 1000,
        "min_us": us(_MIN),
        "max_us": us(_MAX),
        "stdev_us": us(_STDEV),
        **(statistics(counted) if counted and is_counted else {}),
    }
    return Printed(
        **{**values, "count": int(mean[2])},
        init_us=us(_INIT),
        first_us=us(_FIRST),
        warmup_mean_us=us(_WARMUP),
        init_bytes=size(_INIT_MB),
        overall_bytes=size(_OVERALL_MB),
        peak_bytes=size(_PEAK_MB),
    )
