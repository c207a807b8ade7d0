"""How profiles read on a terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from devicekit.report import format as fmt
from devicekit.report.text import columns, escape

if TYPE_CHECKING:
    from devicekit.profile.lookup import ProfileRow
    from devicekit.profile.schema import Profile


def list_lines(rows: "Sequence[ProfileRow]") -> Iterator[Any]:
    """Yields one line per profile."""
    header = ("profile", "device", "kind", "SoC", "runtime", "memory MiB")
    yield columns(
        header,
        [
            tuple(
                fmt.UNKNOWN if value is None else escape(str(value))
                for value in (row.name, row.title, row.kind, row.soc, row.runtime, row.memory_mib)
            )
            for row in rows
        ],
        left=5,
    )


def lines(profile: "Profile") -> Iterator[Any]:
    """Yields every key that has a value: the value, the file that set it, its source."""
    from devicekit.profile.lookup import origins

    yield f"[bold]{escape(profile.title or profile.name)}[/]"
    yield ""
    yield columns(
        ("key", "value", "set in", "source"),
        [
            (key, escape(_value(value)), file, escape(profile.sources.get(key, "")))
            for key, (value, file) in origins(profile).items()
            if not key.startswith("sources.")
        ],
        left=4,
    )


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
