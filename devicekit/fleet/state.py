"""The fleet as it is now: what each device of the file says, and a first file of what is attached."""

import contextvars
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devicekit.device.discover import Found, found_device, found_devices
from devicekit.device.inventory import Entry
from devicekit.errors import NoDevice, UsageError
from devicekit.fleet.where import devices_of, fleet_devices
from devicekit.profile.lookup import load_profile
from devicekit.profile.schema import Profile

# Devices that are asked at once: each waits for its own link.
ASKED_AT_ONCE = 16


@dataclass(frozen=True)
class FleetRow:
    """A device of the fleet file, its profile, and what it said just now."""

    entry: Entry
    profile: Profile
    found: Found

    def to_json(self) -> dict[str, Any]:
        return {**self.found.to_json(), "tags": list(self.entry.tags), "note": self.entry.note}


@dataclass(frozen=True)
class FleetState:
    rows: tuple[FleetRow, ...]


def fleet_state(fleet: str | Path | None, where: str | None = None) -> FleetState:
    """Returns the state of every device of the fleet file that `where` keeps, asked at the same time."""
    chosen = devices_of(fleet_devices(fleet), where)
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        asked = [
            pool.submit(contextvars.copy_context().run, found_device, entry.address, entry)
            for entry, _ in chosen
        ]
        rows = [
            FleetRow(entry, profile, one.result())
            for (entry, profile), one in zip(chosen, asked, strict=True)
        ]
    return FleetState(tuple(rows))


def write_fleet(path: Path, *, host: str | None = None) -> tuple[Found, ...]:
    """Writes a fleet file of what is attached, and of this host for the profile `host`; returns the former.

    A device that no profile matches is written as a comment. Raises UsageError where the file exists,
    NoDevice where nothing is attached, UnknownProfile for `host`.
    """
    if path.exists():
        raise UsageError(f"{path} exists already", remedy="name another file with -o, or edit this one")
    found = tuple(found_devices(()))
    if host is not None:
        load_profile(host)
    if not found and host is None:
        raise NoDevice(
            "fleet init",
            found="no device is attached",
            remedy="attach one with USB debugging, or start with this machine: --host PROFILE",
        )
    text = "schema = 1\n" + "".join(_tables(found, host))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", remedy="name a file that you may write: -o FILE"
        ) from error
    return found


def _tables(found: Sequence[Found], host: str | None) -> Iterator[str]:
    names: set[str] = set()
    for one in found:
        name = _name(one, names)
        names.add(name)
        lines = [
            "[[device]]",
            f'name = "{name}"',
            f"profile = {json.dumps(one.profile or '?')}",
            f"address = {json.dumps(one.address)}",
        ]
        tags = [one.facts.kind] if one.facts else []
        lines += [f'tags = ["{tag}"]' for tag in tags]
        if one.profile is None:
            said = one.error.message if one.error else "no profile matches it: see `devicekit profile list`"
            lines = [f"# {line}" for line in [_printable(said), *lines]]
        yield "\n" + "\n".join(lines) + "\n"
    if host is not None:
        lines = ["[[device]]", 'name = "this-host"', f"profile = {json.dumps(host)}", 'address = "host"']
        yield "\n" + "\n".join([*lines, 'tags = ["host"]']) + "\n"


def _name(found: Found, taken: set[str]) -> str:
    """Returns a name that is free: by what the device says it is, else by its address."""
    said = (found.facts.model if found.facts else None) or found.address.partition(":")[2]
    name = re.sub(r"[^a-z0-9]+", "-", said.lower()).strip("-")[:40] or "device"
    number, free = 1, name
    while free in taken or free in ("auto", "host"):
        number += 1
        free = f"{name}-{number}"
    return free


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
