"""The Device seam: five methods, everything else is a function over them."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from devicekit.measurement import Evidence


@dataclass(frozen=True)
class Completed:
    """How a command on a device ended. `exit_code` is None where it was ended for taking too long."""

    exit_code: int | None
    stdout: str
    stderr: str
    timed_out: bool = False

    @property
    def signal_name(self) -> str | None:
        """Returns "SIGKILL" and the like where a signal ended it: -9 as Python has it, 137 as a shell."""
        code = self.exit_code or 0
        number = -code if code < 0 else code - 128
        return signal.Signals(number).name if number in set(signal.Signals) else None


@dataclass(frozen=True)
class DeviceFacts:
    """What a device says about itself; None where it does not say.

    `kind` is "host", "linux" or "android". `abi` is the machine's name as `uname -m` gives it. `evidence` is
    what a measurement taken there is worth; `virtual` says what shows that it is a virtual machine. `python`
    runs scripts there, `python_version` is "3.11" and the like, `runtime_library` is LiteRT's shared library
    there, `runtime_version` its version. `cpus` are those that a process may use, the fastest first, and
    `clocks_mhz` the highest clock of each core in MHz, in the same order; () where that is not said. `libc`
    is "glibc 2.36", "musl" or "bionic". `free_bytes` are those where our files lie. `properties` are
    Android's, by name, and "device_tree_model". `boot_id` changes with every start.
    """

    address: str
    kind: str
    evidence: Evidence
    model: str | None = None
    soc: str | None = None
    abi: str | None = None
    cores: int | None = None
    cpus: tuple[int, ...] = ()
    clocks_mhz: tuple[int, ...] = ()
    ram_mib: int | None = None
    os: str | None = None
    python: str | None = None
    python_version: str | None = None
    runtime_library: str | None = None
    runtime_version: str | None = None
    governor: str | None = None
    load_average: float | None = None
    temperature_c: float | None = None
    battery_percent: int | None = None
    is_charging: bool | None = None
    virtual: str | None = None
    libc: str | None = None
    free_bytes: int | None = None
    boot_id: str | None = None
    uptime_s: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Device(Protocol):
    """A device that answers.

    Files on it live in a run directory of ours: `remote` is a relative POSIX path in it, and commands start
    there, so that argv may name files the same way. Every method raises DeviceError where the device fails.
    """

    def push(self, local: Path, remote: str) -> None:
        """Copies a file to the device, with its parents; replaces what is there. A program stays one."""

    def pull(self, remote: str, local: Path) -> None:
        """Copies a file from the device. Raises MeasurementError where there is none."""

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """Runs a command to its end, or ends it with all it started; never raises on a non-zero exit."""

    def describe(self) -> DeviceFacts: ...

    def close(self) -> None:
        """Removes the run directory. May be called twice."""
