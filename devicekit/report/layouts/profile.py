"""How profiles read on a terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from devicekit.report import format as fmt
from devicekit.report.text import columns, escape, labelled

if TYPE_CHECKING:
    from devicekit.profile.lookup import ProfileRow
    from devicekit.profile.schema import Profile


def list_lines(rows: "Sequence[ProfileRow]") -> Iterator[Any]:
    """Yields one line per profile."""
    yield columns(
        ("profile", "device", "kind", "runtime", "file MiB", "memory MiB"),
        [
            tuple(
                fmt.UNKNOWN if value is None else escape(str(value))
                for value in (row.name, row.title, row.kind, row.runtime, row.model_mib, row.memory_mib)
            )
            for row in rows
        ],
        left=4,
    )


def lines(profile: "Profile") -> Iterator[Any]:
    """Yields every key that has a value, with the file that set it, then the sources."""
    from devicekit.profile.lookup import origins

    yield f"[bold]{escape(profile.title or profile.name)}[/]"
    yield ""
    yield columns(
        ("key", "value", "set in"),
        [
            (key, escape(_calibrations(profile) if key == "calibration" else _value(value)), file)
            for key, (value, file) in origins(profile).items()
            if not key.startswith("sources.")
        ],
        left=3,
    )
    if profile.sources:
        yield "\n[bold]sources[/]"
        yield labelled([(f"{key}  ", escape(source)) for key, source in profile.sources.items()])


def _calibrations(profile: "Profile") -> str:
    from devicekit.predict.latency import calibration_label

    return "; ".join(
        f"{calibration_label(one)}: {fmt.plural(len(one.rows), 'model')}" for one in profile.calibration
    )


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
