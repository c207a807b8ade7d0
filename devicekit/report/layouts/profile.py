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
        ("profile", "device", "kind", "runtime", "file", "memory"),
        [
            tuple(
                fmt.UNKNOWN if value is None else escape(str(value))
                for value in (
                    row.name,
                    row.title,
                    row.kind,
                    row.runtime,
                    _size(row.model_mib, row.model_kib),
                    _size(row.memory_mib, row.arena_kib),
                )
            )
            for row in rows
        ],
        left=4,
    )


def _size(mib: float | None, kib: float | None) -> str | None:
    """Returns "64 MiB", or "128 KiB" of a microcontroller."""
    return f"{kib:g} KiB" if kib is not None else None if mib is None else f"{mib:g} MiB"


def lines(profile: "Profile") -> Iterator[Any]:
    """Yields every key that has a value, with the file that set it, then the sources."""
    from devicekit.profile.lookup import origins

    yield f"[bold]{escape(profile.title or profile.name)}[/]"
    yield ""
    yield columns(
        ("key", "value", "set in"),
        [
            (key, escape(_calibrations(profile) if key == "calibration" else _value(one.value)), one.place)
            for key, one in origins(profile).items()
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
