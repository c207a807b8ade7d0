"""Hard memory limits on this host, as root: a control group, whose kernel kills what goes beyond."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from devicekit.device.seam import Completed, Device, DeviceFacts
from devicekit.errors import UsageError

ROOT = Path("/sys/fs/cgroup")
# What Python, the board script and LiteRT need of their own, beside the budget: 5.9 MiB of anonymous pages
# and the kernel's tables for them. Clean pages of files are dropped when the group is full.
RUNTIME_BYTES = 7 * 2**20
# Joins the group, then becomes the program: what it starts is in the group too.
_JOIN = ("sh", "-c", 'echo $$ > "$0" && exec "$@"')
KILLED = "memory cgroup: killed at"
_numbers = count()


@dataclass(frozen=True)
class Version:
    """Where one of the kernel's two interfaces keeps things; `events` counts kills as "oom_kill N"."""

    name: str
    parent: Path
    limit: str
    swap: str
    events: str


VERSIONS = (
    Version("v2", ROOT, "memory.max", "memory.swap.max", "memory.events"),
    Version(
        "v1", ROOT / "memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"
    ),
)


def version() -> Version:
    """Returns the interface that this host has. Raises UsageError where there is none for us."""
    for one in VERSIONS:
        with suppress(OSError), _group(one, 2**30):
            return one
    raise UsageError(
        "--hard-limits: this process may not make a memory cgroup here",
        remedy="run as root on Linux with cgroups, or leave --hard-limits out: RLIMIT_DATA needs neither",
    )


class CgroupDevice:
    """This host, each program in a control group of `limit_bytes`. Closing it closes `device`."""

    def __init__(self, device: Device, limit_bytes: int) -> None:
        self._device = device
        self._limit_bytes = limit_bytes
        self._version = version()

    def push(self, local: Path, remote: str) -> None:
        self._device.push(local, remote)

    def pull(self, remote: str, local: Path) -> None:
        self._device.pull(remote, local)

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        with _group(self._version, self._limit_bytes) as folder:
            done = self._device.run((*_JOIN, str(folder / "cgroup.procs"), *argv), timeout_s=timeout_s)
            if not _kills(folder / self._version.events):
                return done
        return replace(done, stderr=f"{done.stderr}\n{KILLED} {self._limit_bytes} bytes\n")

    def describe(self) -> DeviceFacts:
        return self._device.describe()

    def close(self) -> None:
        self._device.close()

    @property
    def words(self) -> str:
        """Returns what is enforced: "memory 138 MiB with the runtime's own (cgroup v1: kills)"."""
        whole = f"{self._limit_bytes / 2**20:.4g} MiB"
        return f"memory {whole} with the runtime's own (cgroup {self._version.name}: kills)"


@contextmanager
def _group(one: Version, limit_bytes: int) -> Iterator[Path]:
    folder = one.parent / f"devicekit-{os.getpid()}-{next(_numbers)}"
    folder.mkdir()
    try:
        if not (folder / one.limit).exists():  # no control group: the kernel would have filled it
            raise FileNotFoundError(folder / one.limit)
        (folder / one.limit).write_text(str(limit_bytes))
        with suppress(OSError):  # a kernel without swap accounting
            (folder / one.swap).write_text("0" if one.name == "v2" else str(limit_bytes))
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


def _kills(events: Path) -> int:
    try:
        lines = dict(line.split(" ", 1) for line in events.read_text().splitlines() if " " in line)
        return int(lines.get("oom_kill", "0"))
    except (OSError, ValueError):
        return 0
