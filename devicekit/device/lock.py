"""One run at a time on a device: a lock on this host, and one on the device against other hosts."""

import getpass
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devicekit import progress
from devicekit.cache import cache_dir
from devicekit.device import shell
from devicekit.device.seam import Device
from devicekit.errors import Busy, DeviceError, UsageError

ASK_EVERY_S = 2.0
SHORT_S = 30.0


@contextmanager
def locked(address: str, *, wait_s: float) -> Iterator[None]:
    """Holds this host's lock of `address`: two measurements at once on one device would spoil both.

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


def is_held(address: str) -> bool:
    """Returns whether another run on this host holds the lock of `address`."""
    try:
        with locked(address, wait_s=0.0):
            return False
    except Busy:
        return True


@contextmanager
def held(device: Device, address: str, *, wait_s: float) -> Iterator[None]:
    """Holds the device's own lock, whatever host the other run is on. Raises Busy after `wait_s`.

    Whoever holds it tells the device with every command how long it may take; a lock that is older than that,
    of another start of the device, or of this host (whose own lock we hold) is stale and taken over.
    """
    deadline = time.monotonic() + wait_s
    while (holder := _holder_there(device)) is not None:
        progress.report("device", detail=f"waiting for {address}, in use by {holder}")
        if time.monotonic() + ASK_EVERY_S > deadline:
            raise Busy(address, holder=holder)
        time.sleep(ASK_EVERY_S)
    try:
        yield
    finally:
        with suppress(DeviceError):  # lost: the lock expires
            device.run(["sh", "-c", shell.release_script(owner())], timeout_s=SHORT_S)


def _holder_there(device: Device) -> str | None:
    """Takes the device's lock and returns None; who holds it, and for how long, where another run does."""
    done = device.run(["sh", "-c", shell.lock_script(owner())], timeout_s=SHORT_S)
    words = done.stdout.strip()
    if words == "taken":
        return None
    age, _, who = words.removeprefix("held ").partition(" ")
    if words.startswith("held ") and age.isdecimal():
        return f"{who.partition('#')[0][:80]} for {int(age)} s"
    raise DeviceError(
        f"the lock on the device cannot be taken ({(done.stderr or words).strip()[:200] or done.exit_code})",
        remedy="look into our directory there: /data/local/tmp/devicekit, or ~/.devicekit",
    )


def owner() -> str:
    """Returns who we are to others, without spaces: all runs that share this host's locks are one owner."""
    name = re.sub(r"[^\w.@-]", "_", f"{getpass.getuser()}@{socket.gethostname()}", flags=re.ASCII)
    return f"{name}#{hashlib.sha256(str(cache_dir().resolve()).encode()).hexdigest()[:8]}"


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
