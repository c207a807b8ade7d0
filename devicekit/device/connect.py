"""Connecting to a device: by its address, one run at a time."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from devicekit import progress
from devicekit.cache import cache_dir
from devicekit.device.seam import Device
from devicekit.errors import Busy, UsageError
from devicekit.plugins import resolve

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

# What stands before the first ":" of an address -> a class that takes the address.
TRANSPORTS = {
    "host": "devicekit.device.local:LocalDevice",
}
LOCK_WAIT_S = 600.0


@contextmanager
def connect(
    profile: "Profile | None", address: str | Device, *, wait_s: float = LOCK_WAIT_S
) -> Iterator[Device]:
    """Yields the device at `address`, locked against other runs of devicekit and closed at the end.

    "auto" is the attached device that matches `profile`, else this machine. A Device is yielded as it is:
    whoever made it closes it. Raises UsageError for an unknown kind of address, Busy where another run holds
    the device for more than `wait_s`.
    """
    if not isinstance(address, str):
        yield address
        return
    transport = transport_of(address)
    if address == "auto":
        address = "host"  # no transport of this version finds devices
    with locked(address, wait_s=wait_s):
        device: Device = resolve(transport)(address)
        try:
            yield device
        finally:
            device.close()


def transport_of(address: str) -> str:
    """Returns the class that reaches `address`, as "module:Class". Raises UsageError for an unknown kind."""
    kind = "host" if address == "auto" else address.partition(":")[0]
    if kind not in TRANSPORTS:
        raise UsageError(
            f'no transport for the address "{address}"',
            remedy=f"name a device as one of: auto, {', '.join(TRANSPORTS)}",
        )
    return TRANSPORTS[kind]


@contextmanager
def locked(address: str, *, wait_s: float) -> Iterator[None]:
    """Holds the lock of `address`: two measurements at once on one device would spoil both.

    Raises Busy, naming the holder, after `wait_s`, and UsageError where the lock cannot be had at all.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(_lock_file(address))
    holder = Path(f"{lock.lock_file}.holder")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        name = _holder(holder)
        progress.report("device", detail=f"waiting for {address}, in use by {name}")
        try:
            lock.acquire(timeout=wait_s)
        except Timeout as error:
            raise Busy(address, holder=name) from error
    except OSError as error:  # after Timeout, which is one
        raise _unusable(f"the lock {lock.lock_file} cannot be opened", error) from error
    try:
        with suppress(OSError):  # it only makes a message better
            holder.write_text(f"process {os.getpid()}")
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def _lock_file(address: str) -> Path:
    folder = cache_dir() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(f"the cache {cache_dir()} cannot be written", error) from error
    return folder / (re.sub(r"[^\w.-]", "_", address) + ".lock")


def _unusable(what: str, error: OSError) -> UsageError:
    return UsageError(
        f"{what} ({error.strerror or error})",
        remedy="set DEVICEKIT_CACHE_DIR to a directory that is yours and has space",
    )


def _holder(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return "another run of devicekit"
