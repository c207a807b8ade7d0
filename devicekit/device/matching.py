"""Which profiles an attached device is: by their [match], ranked and explained; else the nearest base."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from devicekit.device.seam import DeviceFacts
from devicekit.errors import NoDevice
from devicekit.profile.files import library_names
from devicekit.profile.lookup import load_profile

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

# How much a key of [match] tells: a product is one device, a chip is in many, an instruction set in most.
_TELLS = {"adb_model": 4, "device_tree_model": 4, "adb_soc": 2, "adb_abi": 1, "machine": 1}
_WORDS = {
    "adb_model": "ro.product.model",
    "adb_soc": "ro.soc.model",
    "adb_abi": "ro.product.cpu.abi",
    "device_tree_model": "the device tree's model",
    "machine": "uname -m",
}


@dataclass(frozen=True)
class Match:
    """A profile that a device is, and what says so: key of [match] -> what the device has there."""

    profile: str
    found: Mapping[str, str]
    score: tuple[int, int]

    @property
    def why(self) -> str:
        return ", ".join(f"{_WORDS[key]} is {value}" for key, value in self.found.items())

    def to_json(self) -> dict[str, Any]:
        return {"profile": self.profile, "why": self.why}


@dataclass(frozen=True)
class Ranking:
    """The profiles that a device is, the closest first, and the nearest base; None where no base is of its
    instruction set."""

    matches: tuple[Match, ...]
    base: str | None

    @property
    def profile(self) -> str | None:
        return self.matches[0].profile if self.matches else None


def ranked(facts: DeviceFacts) -> Ranking:
    """Returns the shipped profiles that a device is. What a device says of itself may be anything."""
    kind = "android" if facts.kind == "android" else "linux"  # of this host, too
    alike = [profile for profile in _shipped() if profile.device.kind == kind]
    matches = [_match(profile, facts) for profile in alike if is_match(profile, facts)]
    devices = [one for one in matches if not one.profile.startswith("_")]
    bases = [one for one in matches if one.profile.startswith("_")]
    return Ranking(
        tuple(sorted(devices, key=_rank)), min(bases, key=_rank).profile if bases else _base_by_kind(facts)
    )


def is_match(profile: "Profile", facts: DeviceFacts) -> bool:
    """Returns whether a device is what the profile's [match] describes; without [match] none is."""
    wanted = wanted_by(profile)
    return bool(wanted) and all(_found(facts, key, values) is not None for key, values in wanted.items())


def wanted_by(profile: "Profile") -> dict[str, Sequence[str]]:
    """Returns the profile's [match] as it is given: key -> values."""
    return {} if profile.match is None else profile.match.model_dump(exclude_none=True)


def differences(profile: "Profile", facts: DeviceFacts) -> tuple[str, ...]:
    """Returns in words where a device is not what the profile describes."""
    found = []
    if wanted_by(profile) and not is_match(profile, facts):
        wanted = "; ".join(f"{key} {' or '.join(values)}" for key, values in wanted_by(profile).items())
        found.append(f"it is {facts.model or 'unnamed'} ({facts.abi}), not {wanted}")
    ram = profile.device.ram_mib
    # What Linux shows is less than what is sold: firmware and kernel keep up to an eighth.
    if ram and facts.ram_mib and facts.ram_mib < ram * 7 // 8:
        found.append(f"it has {facts.ram_mib} MiB of RAM, not {ram}")
    if profile.device.cores and facts.cores and facts.cores < profile.device.cores:
        found.append(f"it has {facts.cores} of {profile.device.cores} cores")
    return tuple(found)


def refuse_others(profile: "Profile | None", facts: DeviceFacts, *, strict: bool) -> tuple[str, ...]:
    """Returns notes on where a device is not what the profile describes. Raises NoDevice instead if `strict`.

    This host stands in for any device, and is none.
    """
    if profile is None or facts.kind == "host":
        return ()
    found = differences(profile, facts)
    if found and strict:
        raise NoDevice(
            facts.address,
            found=f"is no {profile.name}: {'; '.join(found)}",
            remedy="attach such a device, or leave out --strict",
        )
    return tuple(f"{facts.address} is no {profile.name}: {one}" for one in found)


@cache
def _shipped() -> tuple["Profile", ...]:
    """Returns all profiles of the library that can match, bases included: they stay as they are."""
    return tuple(profile for profile in map(load_profile, library_names()) if wanted_by(profile))


def _base_by_kind(facts: DeviceFacts) -> str | None:
    """Returns the base of all phones or boards, for an instruction set that has none of its own."""
    return {"android": "_android", "linux": "_linux", "host": "_linux"}.get(facts.kind)


def _match(profile: "Profile", facts: DeviceFacts) -> Match:
    wanted = wanted_by(profile)
    found = {key: _found(facts, key, values) or "" for key, values in wanted.items()}
    # Of two that name the same product, the one that names it further: "… Model B Plus" before "… Model B".
    length = max((len(value) for values in wanted.values() for value in values), default=0)
    return Match(profile.name, found, (sum(_TELLS[key] for key in found), length))


def _rank(match: Match) -> tuple[int, int, str]:
    return (-match.score[0], -match.score[1], match.profile)


def _found(facts: DeviceFacts, key: str, values: Sequence[str]) -> str | None:
    """Returns what a device has for a key of [match], None where that is none of `values`."""
    properties: Mapping[str, str] = facts.properties
    if key == "device_tree_model":
        name = properties.get(key, "")
        return name if any(name.startswith(value) for value in values) else None
    found = {
        "adb_model": properties.get("ro.product.model"),
        "adb_soc": properties.get("ro.soc.model"),
        "adb_abi": properties.get("ro.product.cpu.abi"),
        "machine": facts.abi,
    }[key]
    return found if found in values else None
