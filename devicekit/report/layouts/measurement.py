"""How a measurement reads on a terminal."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from devicekit import words as fmt
from devicekit.measurement import Measurement, hottest_c
from devicekit.report.text import columns, escape, labelled

TRACE_LINES = 12
BAR = 30


def lines(measurement: Measurement) -> Iterator[Any]:
    """Yields latency, memory, and under what they were taken."""
    latency, memory = measurement.latency, measurement.memory
    runtime = " ".join(part for part in ("LiteRT", measurement.runtime_version) if part)
    where = f"on {measurement.device} ({measurement.evidence}), {runtime}"
    yield labelled(
        [
            (Path(measurement.model).name, escape(where)),
            (
                "latency",
                f"median {fmt.ms(latency.median_us)} ms   p95 {fmt.ms(latency.p95_us)}   "
                f"first {fmt.ms(latency.first_us)}   init {fmt.ms(latency.init_us)}   "
                f"{latency.count} runs   {measurement.stability}",
            ),
            (
                "memory",
                f"must-have {fmt.mib(memory.must_have_bytes)}   peak RSS {fmt.mib(memory.peak_rss_bytes)}   "
                f"over a base of {fmt.mib(memory.base_bytes)}",
            ),
            *pace_rows(measurement),
            *_device_rows(measurement),
            ("threads", str(measurement.threads)),
            ("limits", escape(", ".join(measurement.limits) or "none")),
        ]
    )
    if measurement.trace:
        yield ""
        yield trace_table(measurement)
    if measurement.notes:
        yield labelled([("note", escape(note)) for note in measurement.notes])


def pace_rows(measurement: Measurement) -> Iterator[tuple[str, str]]:
    """Yields what gaps were kept and for how long it ran, where that was asked for."""
    if measurement.pace:
        yield "pace", escape(measurement.pace)


def _device_rows(measurement: Measurement) -> Iterator[tuple[str, str]]:
    """Yields whether the answer was checked, and what the device was like before and after."""
    if verified := measurement.conditions.get("verified"):
        yield "verified", escape(verified_words(verified))
    before, after = (measurement.conditions.get(when) or {} for when in ("before", "after"))
    hot = [reading for one in (before, after) if (reading := hottest_c(one)) is not None]
    words = [" → ".join(f"{reading:.0f} °C" for reading in hot)] if hot else []
    if (charge := after.get("battery_percent")) is not None:
        words.append(f"{charge} % {'charging' if after.get('is_charging') else 'battery'}")
    if governors := after.get("governors"):
        words.append("governor " + ", ".join(sorted(set(governors.values()))))
    if words:
        yield "device", escape(", ".join(words))


def verified_words(verified: Mapping[str, Any]) -> str:
    """Returns how near a device's outputs are to the host's, for the tensors that were compared."""
    difference = verified["max_difference"]
    # Floats differ by a part of the largest value, quantized outputs by whole steps.
    near = (
        f"within {difference:.0e} of"
        if difference < 1
        else f"at most {fmt.plural(int(difference), 'step')} from"
    )
    same = f"{near} the outputs of" if difference else "the same outputs as"
    return f"where it was measured, {same} the reference"


def trace_table(measurement: Measurement) -> Any:
    """Returns the trace, at most 12 lines of it, with a bar for the median."""
    points = measurement.trace
    step = max(1, math.ceil(len(points) / TRACE_LINES))
    shown = points[::step]
    most = max((point.median_us or 0.0 for point in shown), default=0.0) or 1.0
    rows = []
    for point in shown:
        length = round(BAR * (point.median_us or 0.0) / most)
        rows.append(
            (
                f"{point.at_s:.0f} s",
                fmt.ms(point.median_us),
                fmt.UNKNOWN if point.hottest_c is None else f"{point.hottest_c:.0f} °C",
                fmt.UNKNOWN if point.khz is None else f"{point.khz / 1000:.0f} MHz",
                "█" * length,
            )
        )
    return columns(("after", "median ms", "heat", "clock", ""), rows, left=1)
