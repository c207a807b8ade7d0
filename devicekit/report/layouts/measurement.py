"""How a measurement reads on a terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.report import format as fmt
from devicekit.report.text import escape, labelled

if TYPE_CHECKING:
    from devicekit.measurement import Measurement


def lines(measurement: "Measurement") -> Iterator[Any]:
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
            ("threads", str(measurement.threads)),
            ("limits", escape(", ".join(measurement.limits) or "none")),
        ]
    )
    if measurement.notes:
        yield labelled([("note", escape(note)) for note in measurement.notes])
