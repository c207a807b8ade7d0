"""The Device seam: five methods, everything else is a function over them."""

import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    what a measurement taken there is worth. `python` runs scripts there, `runtime_library` is LiteRT's shared
    library there, `runtime_version` its version.
    """

    address: str
    kind: str
    evidence: Evidence
    model: str | None = None
    soc: str | None = None
    abi: str | None = None
    cores: int | None = None
    ram_mib: int | None = None
    os: str | None = None
    python: str | None = None
    runtime_library: str | None = None
    runtime_version: str | None = None
    governor: str | None = None
    load_average: float | None = None
    temperature_c: float | None = None
    battery_percent: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Device(Protocol):
    """A device that answers.

    Files on it live in a run directory of ours: `remote` is a relative POSIX path in it, and commands start
    there, so that argv may name files the same way. Every method raises DeviceError where the device fails.
    """

    def push(self, local: Path, remote: str) -> None:
        """Copies a file to the device, with its parents; replaces what is there."""

    def pull(self, remote: str, local: Path) -> None:
        """Copies a file from the device. Raises MeasurementError where there is none."""

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """Runs a command to its end, or ends it with all it started; never raises on a non-zero exit."""

    def describe(self) -> DeviceFacts: ...

    def close(self) -> None:
        """Removes the run directory. May be called twice."""
