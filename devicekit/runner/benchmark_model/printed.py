"""What a benchmark_model printed: numbers of either tool, in our units."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# "INFO: ", "I tflite  : " behind a logcat time stamp, "INFO: [benchmark_litert_model.h:94] ".
_PREFIX = re.compile(
    r"^(?:\d\d-\d\d [\d:.]+ +\d+ +\d+ )?(?:[VDIWEF] +\w+ *: )?(?:(?:INFO|WARNING|WARN|ERROR|VERBOSE): )?"
    r"(?:\[[\w./\\-]+:\d+\] )?"
)
NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"


COUNT = re.compile(rf"^count=(\d+)((?: \w+={NUMBER})+)\s*$")
_PAIR = re.compile(rf"(\w+)=({NUMBER})")


@dataclass(frozen=True)
class OpTime:
    """One line of a profiling table: microseconds of a run on average, and how many times a run calls it."""

    op: str
    name: str
    average_us: float
    calls: int


@dataclass(frozen=True)
class Printed:
    """Microseconds and bytes; None is what that generation of the tool does not print.

    The statistics are of the measured runs, not of the warm-up. `delegated` says how much of the graph the
    delegate took: "all", "some", "none"; None where no delegate was asked for, or it does not say.
    """

    count: int
    mean_us: float
    init_us: float | None = None
    first_us: float | None = None
    warmup_mean_us: float | None = None
    min_us: float | None = None
    max_us: float | None = None
    stdev_us: float | None = None
    p5_us: float | None = None
    median_us: float | None = None
    p95_us: float | None = None
    init_bytes: int | None = None
    overall_bytes: int | None = None
    peak_bytes: int | None = None
    delegated: str | None = None
    ops: tuple[OpTime, ...] = ()


def messages(output: str) -> list[str]:
    """Returns the lines of an output without what loggers put before them."""
    return [_PREFIX.sub("", line.rstrip("\r")) for line in output.splitlines()]


def first_match(pattern: re.Pattern[str], lines: Iterable[str]) -> re.Match[str] | None:
    return next((match for line in lines if (match := pattern.search(line))), None)


def last_count(lines: Iterable[str]) -> re.Match[str] | None:
    """Returns the match of the last "count=" line: the first is the warm-up's, unless there is none."""
    found = None
    for line in lines:
        found = COUNT.match(line) or found
    return found


def statistics(count: re.Match[str]) -> dict[str, Any]:
    """Returns what a "count=" line says, as fields of Printed; "curr" stands alone where all took as long."""
    values = {key: float(value) for key, value in _PAIR.findall(count[2])}
    if "avg" not in values and "curr" in values:
        values = dict.fromkeys(("avg", "min", "max", "median"), values["curr"])
    fields = {"avg": "mean", "min": "min", "max": "max", "std": "stdev", "p5": "p5"}
    fields |= {"median": "median", "p95": "p95"}
    return {f"{field}_us": values[key] for key, field in fields.items() if key in values}


def megabytes(text: str | None) -> int | None:
    """Returns bytes of the tools' "MB", which are MiB; None for a negative number, their word for unknown."""
    return None if text is None or float(text) < 0 else int(float(text) * 2**20)
