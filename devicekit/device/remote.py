"""A device at the other end of a link: adb and ssh differ in the link alone.

Files lie in one directory of ours. A command goes on where the link breaks, and is collected once it is back.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from devicekit import progress
from devicekit.device import facts, shell
from devicekit.device.lock import owner
from devicekit.device.seam import Completed, DeviceFacts
from devicekit.errors import DeviceError, DeviceFull, Lost, MeasurementError, UnreadableOutput

T = TypeVar("T")

RUN = "run"
SHORT_S = 30.0
# What a device may need beyond a command's own time: its end, the answer, a link that comes back.
GRACE_S = 15.0
RECONNECT_EVERY_S = 1.0
# More than this is no output of a runner: a device is not trusted with this machine's memory.
MAX_ANSWER_BYTES = 64 * 2**20


def endless(address: str) -> UnreadableOutput:
    """Returns the error for an answer of more than MAX_ANSWER_BYTES."""
    return UnreadableOutput(
        f"a run on {address}",
        found=f"it printed more than {MAX_ANSWER_BYTES // 2**20} MiB",
        remedy="look what runs there: no runner prints so much",
    )


class LinkBroken(Exception):
    """The link does not answer any more; `str` says how it ended."""


class FileRefused(Exception):
    """The device does not take a file, in its own words: it is full, or gives no permission."""


class Link(Protocol):
    """Reaches one device. Paths are absolute; whatever is sent or run may raise LinkBroken or DeviceError."""

    def execute(self, script: str, *, timeout_s: float) -> bytes:
        """Returns what a shell prints for a script, at most MAX_ANSWER_BYTES."""

    def send(self, local: Path, path: str, *, mode: int, sent: Callable[[int], None]) -> None:
        """Copies a file to the device and calls `sent` with the bytes so far. Raises FileRefused."""

    def receive(self, path: str, local: Path) -> None:
        """Copies a file from the device. Raises FileNotFoundError."""

    def reconnect(self) -> None: ...

    def close(self) -> None: ...


class RemoteDevice:
    """A Device over a link. `keep` leaves what was pushed on the device for the next run."""

    def __init__(self, address: str, link: Link, *, keep: bool = False) -> None:
        self._address = address
        self._link = link
        self._keep = keep
        self._is_open = True
        self._ended_jobs: tuple[shell.Job, ...] = ()
        self._root, self._facts = self._opened()

    def push(self, local: Path, remote: str) -> None:
        path, size = self._path(remote), local.stat().st_size
        if "/" in remote:
            self._ask(f"mkdir -p {shell.quote(path.rpartition('/')[0])}", during="pushing")
        mode = 0o755 if os.access(local, os.X_OK) else 0o644

        def sent(count: int) -> None:
            progress.report("push", detail=local.name, done=count, total=size)

        try:
            self._with_link(
                lambda: self._link.send(local, path, mode=mode, sent=sent), during=f"pushing {local.name}"
            )
        except FileRefused as error:
            free = self._free_bytes(without=path)
            if free is not None and free < size:
                raise DeviceFull(self._address, needed_bytes=size, free_bytes=free) from error
            raise DeviceError(
                f"{self._address} does not take {local.name}: {error}", remedy=f"look into {self._root} there"
            ) from error

    def pull(self, remote: str, local: Path) -> None:
        try:
            self._with_link(lambda: self._link.receive(self._path(remote), local), during=f"pulling {remote}")
        except FileNotFoundError as error:
            raise MeasurementError(
                f"{self._address}: there is no file {remote}",
                remedy="run it again with -v to see what the run printed",
            ) from error

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        job = shell.new_job(f"{self._root}/{RUN}")
        start = shell.start_script(
            job,
            argv,
            folder=f"{self._root}/{RUN}",
            timeout_s=timeout_s,
            owner=owner(),
            ended=self._ended_jobs,
        )
        try:
            done = self._ended(job, start, argv[0], timeout_s)
            self._ended_jobs = (job,)
            return done
        except BaseException:  # Ctrl-C: nothing may go on measuring
            with suppress(LinkBroken, DeviceError):
                self._link.execute(shell.end_script(job), timeout_s=SHORT_S)
            raise

    def _ended(self, job: shell.Job, start: str, name: str, timeout_s: float) -> Completed:
        """Starts a job and returns how it ended, over as many connections as its time allows."""
        deadline = time.monotonic() + timeout_s + GRACE_S
        script, starts = start, 1
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Lost(self._address, during=f"running {name}")
            try:
                answer = shell.read_answer(job, self._link.execute(script, timeout_s=left))
            except LinkBroken:
                answer = None
                self._reconnected(deadline, during=f"running {name}")
            if isinstance(answer, Completed):
                return answer
            if answer == "refused":
                raise self._unwritable()
            if answer == "restarted" or (answer == "gone" and starts > 1):
                what = "restarted" if answer == "restarted" else "lost its files"
                raise Lost(self._address, during=f"running {name}: it {what}")
            script = shell.collect_script(job, timeout_s=max(left, 1))
            if answer == "gone":  # the link broke before it started
                script, starts = start, starts + 1

    def describe(self) -> DeviceFacts:
        """Returns what the device said of itself when it was connected."""
        return self._facts

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        with suppress(LinkBroken, DeviceError):
            close = shell.keep_script if self._keep else shell.close_script
            self._link.execute(close(self._root, RUN), timeout_s=SHORT_S)
        self._link.close()

    def _opened(self) -> tuple[str, DeviceFacts]:
        """Makes the run directory; returns the one around it, and what the device is, in one round trip."""
        script = f"{shell.open_script(RUN)}; {facts.probe_script()}"
        answer = self._ask(script, during="asking what it is").decode(errors="replace")
        root = next((line[5:] for line in answer.split("\n") if line.startswith("root ")), "")
        if not root.startswith("/"):
            raise self._unwritable()
        return root, facts.read_facts(self._address, answer)

    def _free_bytes(self, *, without: str) -> int | None:
        """Removes a file that did not arrive whole, and returns what is free then."""
        script = f"rm -f {shell.quote(without)}; df -Pk {shell.quote(self._root)} | tail -n 1"
        answer = self._ask(script, during="asking for its free space")
        return facts.free_bytes(answer.decode(errors="replace"))

    def _unwritable(self) -> DeviceError:
        return DeviceError(
            f"{self._address} has no directory that can be written and run from",
            remedy="free space there, or give the user a home directory that is not mounted noexec",
        )

    def _path(self, remote: str) -> str:
        return f"{self._root}/{RUN}/{remote}"

    def _ask(self, script: str, *, during: str) -> bytes:
        return self._with_link(lambda: self._link.execute(script, timeout_s=SHORT_S), during=during)

    def _with_link(self, act: Callable[[], T], *, during: str) -> T:
        """Returns what `act` returns, once more over a new connection where the link broke. Raises Lost."""
        try:
            return act()
        except LinkBroken:
            self._reconnected(time.monotonic() + GRACE_S, during=during)
        try:
            return act()
        except LinkBroken as error:
            raise Lost(self._address, during=during) from error

    def _reconnected(self, deadline: float, *, during: str) -> None:
        while True:
            try:
                self._link.reconnect()
                return
            except (LinkBroken, DeviceError) as error:
                if time.monotonic() + RECONNECT_EVERY_S > deadline:
                    raise Lost(self._address, during=during) from error
            time.sleep(RECONNECT_EVERY_S)
