"""The fleet file: devices by name, each with its profile and address."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from devicekit.errors import FleetError, Problem, ProfileError
from devicekit.profile.files import NAME, profile_names, read, shown
from devicekit.words import nearest

SCHEMA = 1
# What begins an address -> how the rest is written.
ADDRESSES = {
    "adb:": "adb:SERIAL",
    "adb+tcp://": "adb+tcp://HOST:PORT/SERIAL",
    "ssh://": "ssh://USER@HOST[:PORT]",
    "host": "host",
    "fake:": "fake:NAME",
}
FLEET = "DEVICEKIT_FLEET"


@dataclass(frozen=True)
class Entry:
    """One device of a fleet: `name` is its alias, `address` one of ADDRESSES.

    `profile` is a profile's name, or the path of a file; relative ones are beside the fleet file.
    """

    name: str
    profile: str
    address: str
    tags: tuple[str, ...] = ()
    note: str = ""

    @property
    def profile_name(self) -> str:
        """Returns the profile's name, also where a file is named."""
        return Path(self.profile).stem if self.profile.endswith(".toml") else self.profile


def fleet_path() -> Path | None:
    """Returns the fleet file: $DEVICEKIT_FLEET, else fleet.toml here, else the user's own; None without."""
    if named := os.environ.get(FLEET):
        return Path(named)
    from platformdirs import user_config_path

    places = (Path("fleet.toml"), user_config_path("devicekit", appauthor=False) / "fleet.toml")
    return next((path for path in places if path.is_file()), None)


def read_fleet(path: Path | None) -> tuple[Entry, ...]:
    """Returns the devices of a fleet file, () for no file. Raises FleetError with all problems."""
    if path is None:
        return ()
    try:
        data = read(path, str(path)).data
    except ProfileError as error:
        raise FleetError(str(path), error.problems) from error
    entries = data.get("device", [])
    problems = [*_of_file(data), *_of_entries(entries, path.parent)]
    if problems:
        raise FleetError(str(path), problems)
    return tuple(
        Entry(**{**one, "tags": tuple(one.get("tags", ())), "profile": _profile(one["profile"], path.parent)})
        for one in entries
    )


def _profile(named: str, folder: Path) -> str:
    """Returns a profile's name as it is, a file's path from here."""
    return str(folder / named) if named.endswith(".toml") else named


def _of_file(data: Mapping[str, Any]) -> Iterator[Problem]:
    if data.get("schema") != SCHEMA:
        found = f"is {shown(data['schema'])}" if "schema" in data else "is missing"
        yield Problem("schema", found, f"must be {SCHEMA}: `schema = {SCHEMA}` on top of the file")
    for key in data.keys() - {"schema", "device"}:
        yield Problem(
            key, "unknown key", "a fleet has schema and [[device]]", nearest(key, ("schema", "device"))
        )


def _of_entries(entries: Any, folder: Path) -> Iterator[Problem]:
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        yield Problem("device", f"is {shown(entries)}", "must be [[device]] tables")
        return
    known = [one.name for one in fields(Entry)]
    seen: set[str] = set()
    for index, one in enumerate(entries):
        where = f"device[{index}]"
        for key in sorted(one.keys() - set(known)):
            yield Problem(
                f"{where}.{key}", "unknown key", f"must be one of {', '.join(known)}", nearest(key, known)
            )
        for key in ("name", "profile", "address"):
            if not isinstance(one.get(key), str) or not one[key]:
                found = f"is {shown(one[key])}" if key in one else "is missing"
                yield Problem(f"{where}.{key}", found, "must be a text")
        yield from _of_values(one, where, seen)
        if isinstance(one.get("profile"), str) and one["profile"]:
            yield from _of_profile(one["profile"], where, folder)


def _of_values(one: Mapping[str, Any], where: str, seen: set[str]) -> Iterator[Problem]:
    name, address, tags = one.get("name"), one.get("address"), one.get("tags", [])
    if isinstance(name, str) and name:
        if not NAME.fullmatch(name) or name in ("auto", "host"):
            yield Problem(
                f"{where}.name", f"is {shown(name)}", "must be letters, digits, _ . - (not auto or host)"
            )
        elif name in seen:
            yield Problem(f"{where}.name", f"is {shown(name)}", "must be there once")
        seen.add(name)
    if isinstance(address, str) and address and not _is_address(address):
        *most, last = ADDRESSES.values()
        yield Problem(f"{where}.address", f"is {shown(address)}", f"must be {', '.join(most)} or {last}")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        yield Problem(f"{where}.tags", f"is {shown(tags)}", "must be a list of texts")
    if not isinstance(one.get("note", ""), str):
        yield Problem(f"{where}.note", f"is {shown(one['note'])}", "must be a text")


def _is_address(address: str) -> bool:
    if address == "host":
        return True
    starts = [start for start in ADDRESSES if start != "host" and address.startswith(start)]
    return any(len(address) > len(start) for start in starts)


def _of_profile(named: str, where: str, folder: Path) -> Iterator[Problem]:
    if named.endswith(".toml"):
        if not (folder / named).is_file():
            yield Problem(f"{where}.profile", f"is {shown(named)}", f"no such file in {folder}")
    elif named not in profile_names():
        guess = nearest(named, profile_names())
        yield Problem(
            f"{where}.profile", f"is {shown(named)}", "must be one of `devicekit profile list`", guess
        )
