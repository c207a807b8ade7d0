"""How devices, and what is missing for them, read on a terminal."""

from collections.abc import Iterator
from typing import Any

from devicekit import words as fmt
from devicekit.device.discover import Devices, Found
from devicekit.doctor import Diagnosis
from devicekit.report.text import columns, escape, labelled

_MARKS = {"ok": "[green]✓[/]", "note": "[yellow]·[/]", "missing": "[red]✗[/]"}


def lines(devices: Devices) -> Iterator[Any]:
    """Yields a line per device, then what to do for each that does not answer."""
    if not devices.rows:
        yield "no device is attached, and no fleet file names one"
        yield "  → attach a phone with USB debugging, or name boards in fleet.toml; `devicekit doctor` helps"
        return
    yield columns(
        ("device", "state", "model", "soc", "abi", "ram", "os", "battery", "temp", "profile"),
        [_row(one) for one in devices.rows],
        left=10,
        optional=("os", "soc", "temp", "ram"),
    )
    errors = [(one.address, one.error) for one in devices.rows if one.error]
    if errors:
        yield ""
        yield labelled([(f"{address}  ", escape(f"{e.message} → {e.remedy}")) for address, e in errors])
    matching = [(f"{one.address}  ", escape(words)) for one in devices.rows if (words := _matching(one))]
    if matching:
        yield ""
        yield labelled(matching)
    virtual = [
        (f"{one.address}  ", f"emulated: {one.facts.virtual}")
        for one in devices.rows
        if one.facts and one.facts.virtual
    ]
    if virtual:
        yield ""
        yield labelled(virtual)


def _matching(one: Found) -> str | None:
    """Returns what there is to say of the profile: several match, or none does."""
    if one.ranking is None:
        return None
    if len(one.ranking.matches) > 1:
        return "; also ".join(f"{match.profile}: {match.why}" for match in one.ranking.matches)
    if one.ranking.matches or one.profile:
        return None
    return (
        f"no profile matches, the nearest base is {one.ranking.base} → `devicekit profile probe --device "
        f"{one.address} -o NAME.toml` writes one"
    )


def _row(one: Found) -> tuple[str, ...]:
    facts = one.facts
    address = f"{one.name} ({one.address})" if one.name else one.address
    values = (
        (
            facts.model,
            facts.soc,
            facts.abi,
            facts.ram_mib and f"{facts.ram_mib} MiB",
            facts.os,
            None if facts.battery_percent is None else f"{facts.battery_percent} %",
            None if facts.temperature_c is None else f"{facts.temperature_c:.0f} °C",
        )
        if facts
        else (None,) * 7
    )
    return tuple(
        fmt.UNKNOWN if value is None else escape(str(value))
        for value in (address, one.state, *values, one.profile)
    )


def doctor_lines(diagnosis: Diagnosis) -> Iterator[Any]:
    """Yields a line per check, and under it what to do where something is missing."""
    for check in diagnosis.checks:
        yield f"{_MARKS[check.state]} [bold]{check.name:12}[/] {escape(check.found)}"
        if check.remedy:
            yield f"               → {escape(check.remedy)}"
