"""A run that the system killed: was it for memory, how much was there, how much is needed."""

import re

from devicekit.device.cgroup import KILLED, RUNTIME_BYTES
from devicekit.device.local import LocalDevice
from devicekit.device.seam import Device
from devicekit.errors import DeviceError, DeviceOutOfMemory, MeasurementError, OutOfMemory
from devicekit.measurement import Plan
from devicekit.runner.measure import Prepared, measure_model

SHORT_S = 30.0
# The kernel's last words, as root may read them: "Killed process 71 (python3) ... anon-rss:93120kB, ...".
_KILLED = re.compile(r"Killed process \d+ \(([^)]*)\).* anon-rss:(\d{1,15})kB")
_LIMIT = re.compile(rf"^{KILLED} (\d{{1,15}}) bytes$", re.MULTILINE)
_LOG = "dmesg 2>/dev/null | grep 'Killed process' | tail -n 1"
# Enough to know what a model takes: loading, and one inference.
_ONCE = Plan(warmup_runs=0, warmup_s=0.0, min_runs=1, min_s=0.0)


def in_words(device: Device, prepared: Prepared, *, during: str, stderr: str) -> MeasurementError:
    """Returns the error for a run that SIGKILL ended: out of memory, where anything says so.

    That is the kernel's log, or that the model takes more on this host than the device had left.
    """
    name, address = prepared.model.path.name, prepared.facts.address
    if limit := _LIMIT.search(stderr):
        return OutOfMemory(
            name,
            limit_bytes=int(limit[1]) - RUNTIME_BYTES,
            where=during,
            needed_bytes=needed_bytes(prepared),
        )
    available, needed = available_bytes(stderr), needed_bytes(prepared)
    held = None if prepared.facts.kind == "host" else _held_bytes(device)
    if held is not None or (available is not None and needed is not None and needed > available):
        return DeviceOutOfMemory(
            name,
            address=address,
            where=during,
            needed_bytes=needed,
            available_bytes=available,
            held_bytes=held,
        )
    return MeasurementError(
        f"{name} was killed by the system (SIGKILL) during {during}: most likely {address} ran out of memory",
        remedy="free memory there and run it again, or try a smaller recipe",
    )


def raise_if_short(prepared: Prepared, available: int | None, *, during: str) -> None:
    """Raises DeviceOutOfMemory where a model that fails takes more on this host than the device had left."""
    if available is None or prepared.facts.kind == "host":
        return
    needed = needed_bytes(prepared)
    if needed is not None and needed > available:
        raise DeviceOutOfMemory(
            prepared.model.path.name,
            address=prepared.facts.address,
            where=during,
            needed_bytes=needed,
            available_bytes=available,
            held_bytes=None,
        )


def available_bytes(stderr: str) -> int | None:
    """Returns what the board script saw as available before the model, None where it did not say."""
    found = re.search(r"^available (\d{1,15})$", stderr, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def needed_bytes(prepared: Prepared) -> int | None:
    """Returns the must-have memory of the model on this host, None where it does not run here either."""
    device = LocalDevice()
    try:
        return measure_model(device, prepared.model, _ONCE).memory.must_have_bytes
    except (MeasurementError, DeviceError):
        return None
    finally:
        device.close()


def _held_bytes(device: Device) -> int | None:
    """Returns what the process held when the kernel killed it, None where its log is silent or not ours."""
    try:
        said = device.run(["sh", "-c", _LOG], timeout_s=SHORT_S).stdout
    except DeviceError:
        return None
    found = _KILLED.search(said)
    return int(found[2]) * 1024 if found and found[1].startswith("python") else None
