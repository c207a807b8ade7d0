"""Finding devices: what the adb server knows, and what the fleet file names."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.device.connect import TRANSPORTS, connect, kind_of, transport_of
from devicekit.device.inventory import Entry, fleet_path, read_fleet
from devicekit.device.lock import is_held
from devicekit.device.matching import Ranking, is_match, ranked
from devicekit.device.seam import Device, DeviceFacts
from devicekit.errors import (
    DevicekitError,
    NoDevice,
    NotUnique,
    Offline,
    Unauthorized,
    UsageError,
)
from devicekit.words import attributes, nearest, plain

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

# What makes a row of `devicekit devices` of an error.
_STATES: tuple[tuple[type[DevicekitError], str], ...] = (
    (Unauthorized, "unauthorized"),
    (Offline, "offline"),
    (NoDevice, "unreachable"),
    (DevicekitError, "unusable"),
)
# What a fleet file may name, and "auto" never means: stand-ins.
_NO_HARDWARE = ("host", "fake")
USB_DEVICES = Path("/sys/bus/usb/devices")
# Class, subclass and protocol of adb's USB interface.
_ADB_INTERFACE = ("ff", "42", "01")


@dataclass(frozen=True)
class Found:
    """One device: `state` is "ready", "busy", "unauthorized", "offline", "unreachable" or "unusable".

    `name` is its alias in the fleet file, `profile` the one that matches it or that the fleet file names,
    `ranking` all that match. `facts` are None where it does not answer; then `error` says why.
    """

    address: str
    state: str
    name: str | None = None
    profile: str | None = None
    facts: DeviceFacts | None = None
    error: DevicekitError | None = None
    ranking: Ranking | None = None

    def to_json(self) -> dict[str, Any]:
        told = (
            "model",
            "soc",
            "abi",
            "ram_mib",
            "os",
            "battery_percent",
            "temperature_c",
            "evidence",
            "virtual",
        )
        facts = {name: getattr(self.facts, name, None) for name in told}
        facts = {name.removesuffix("_percent"): value for name, value in facts.items()}
        return {
            **attributes(self, "address", "name", "state"),
            **facts,
            "profile": self.profile,
            "matches": plain(self.ranking.matches) if self.ranking else None,
            "nearest_base": self.ranking and self.ranking.base,
            "remedy": self.error and self.error.remedy,
        }


@dataclass(frozen=True)
class Devices:
    """What `devicekit devices` lists."""

    rows: tuple[Found, ...]


@dataclass(frozen=True)
class Chosen:
    """The device to use, by its address or itself; `notes` say what of the choice the user should know.

    `name` is its alias in the fleet file, None where it was named otherwise.
    """

    address: str | Device
    notes: tuple[str, ...] = ()
    name: str | None = None


def found_devices(fleet: Sequence[Entry]) -> Iterator[Found]:
    """Yields what is attached by adb, then the rest of the fleet: asked what they are, unless busy."""
    names = {entry.address: entry for entry in fleet}
    attached = [f"adb:{serial}" for serial in attached_serials()]
    for address in [*attached, *(entry.address for entry in fleet if entry.address not in attached)]:
        yield found_device(address, names.get(address))


def found_device(address: str, entry: Entry | None) -> Found:
    """Returns what `address` is now; `entry` is its own in the fleet file."""
    found = Found(
        address, "ready", name=entry.name if entry else None, profile=entry.profile if entry else None
    )
    if is_held(address):
        return replace(found, state="busy")
    try:
        with connect(address, wait_s=0.0, keep=True) as device:  # it is looked at, nothing more
            facts = device.describe()
    except DevicekitError as error:
        state = next(state for kind, state in _STATES if isinstance(error, kind))
        return replace(found, state=state, error=error)
    ranking = ranked(facts)
    return replace(found, facts=facts, ranking=ranking, profile=found.profile or ranking.profile)


def attached_serials() -> tuple[str, ...]:
    """Returns the serials that the adb server knows; none where none runs and no USB device speaks adb."""
    from devicekit.device.adb import is_serving, states

    if not is_serving() and sys.platform.startswith("linux") and not adb_usb_devices():
        return ()
    return tuple(states())


def adb_usb_devices() -> list[Path]:
    """Returns the device files of what speaks adb on USB, as Linux lists it."""
    found = []
    for folder in USB_DEVICES.glob("*:*"):
        names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
        with suppress(OSError, ValueError):
            if tuple((folder / name).read_text().strip() for name in names) == _ADB_INTERFACE:
                device = USB_DEVICES / folder.name.partition(":")[0]
                bus, number = (int((device / name).read_text()) for name in ("busnum", "devnum"))
                found.append(Path(f"/dev/bus/usb/{bus:03}/{number:03}"))
    return found


def choose(profile: "Profile | None", address: str | Device) -> Chosen:
    """Returns the device that `address` means: an address, an alias of the fleet file, or "auto".

    "auto" is the attached device that matches the profile (any, where there is none), this host where none is
    attached. Raises NoDevice where what is attached is none of these, NotUnique where several match,
    UsageError for an unknown alias.
    """
    if not isinstance(address, str):
        return Chosen(address)
    if address != "auto":
        if kind_of(address) in TRANSPORTS:  # whatever is wrong with a fleet file, an address is one
            return Chosen(resolved(address))
        aliases = {entry.name for entry in read_fleet(fleet_path())}
        return Chosen(resolved(address), name=address if address in aliases else None)
    fleet = [
        one
        for one in read_fleet(fleet_path())
        if (profile is None or one.profile_name == profile.name) and kind_of(one.address) not in _NO_HARDWARE
    ]
    known = {entry.address for entry in fleet}
    attached = [f"adb:{serial}" for serial in attached_serials()]
    found = [found_device(one, None) for one in attached]
    found += [found_device(entry.address, entry) for entry in fleet if entry.address not in attached]
    matching = {
        one.address
        for one in found
        if one.address in known or profile is None or (one.facts and is_match(profile, one.facts))
    }
    ready = sorted(one.address for one in found if one.address in matching and one.state in ("ready", "busy"))
    if len(ready) > 1:
        raise NotUnique(ready)
    if ready:
        return Chosen(ready[0])
    if not found:
        return Chosen("host", ("no device is attached: measured on this host",))
    first = found[0]
    raise first.error or NoDevice(
        first.address,
        found=f"is attached, and is no {profile and profile.name}: "
        + str(first.facts.model if first.facts else first.state),
        remedy=f"--device {first.address} takes it all the same, --device host this machine",
    )


def resolved(address: str) -> str:
    """Returns the address for an address or an alias of the fleet file. Raises UsageError."""
    if kind_of(address) in TRANSPORTS:
        transport_of(address)
        return address
    fleet = {entry.name: entry.address for entry in read_fleet(fleet_path())}
    if address in fleet:
        return fleet[address]
    serials = attached_serials()
    if address in serials:
        return f"adb:{address}"
    guess = nearest(address, [*fleet, *serials])
    raise UsageError(
        f'no device "{address}"' + (f"; did you mean {guess}?" if guess else ""),
        remedy="name an address (adb:SERIAL, ssh://user@host), an alias of the fleet file, auto or host",
    )
