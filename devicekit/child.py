"""Runs a step in a child process: untrusted files and heavy libraries stay there.

The parent calls `run_child(module, request, …)` and iterates over the events that the child yields. The
child's module defines `handle(request)`, which yields JSON-ready events; limits hold before it is imported,
and what it imports. A DevicekitError raised in the child arrives in the parent as the same class; a crash, a
time-out or memory exhaustion as ChildFailed. Whatever libraries print goes to a log, whose last lines
ChildFailed carries, and which either failure logs at level INFO. $DEVICEKIT_PYTHON names another Python for
children.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Mapping
from importlib import import_module
from typing import IO, Any, Literal

from devicekit import errors

LOG_TAIL_LINES = 30
_log = logging.getLogger(__name__)

Reason = Literal["crashed", "timed out", "out of memory"]


class ChildFailed(Exception):
    """The child ended without finishing: how, in words, and what it printed last."""

    def __init__(self, reason: Reason, detail: str, log_tail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.log_tail = log_tail


def run_child(
    module: str, request: Mapping[str, Any], *, timeout_s: float, memory_bytes: int | None = None
) -> Generator[dict[str, Any], None, None]:
    """Yields the events of `module` handling `request`; ends when the child is done.

    `timeout_s` bounds the silence between two events, not the whole run. `memory_bytes` limits the child's
    private memory where the system can (RLIMIT_DATA, Linux). Raises ChildFailed, or the DevicekitError that
    the child raised. Closing the generator, Ctrl-C included, ends the child and all that it started.
    """
    envelope = {"request": dict(request), "memory_bytes": memory_bytes, "parent": os.getpid()}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        child = _started(module, log)
        watchdog = _Watchdog(child, timeout_s)
        try:
            assert child.stdin and child.stdout
            try:
                child.stdin.write(json.dumps(envelope).encode())
                child.stdin.close()
            except BrokenPipeError:
                pass
            finished = False
            for line in child.stdout:
                watchdog.reset()
                event = json.loads(line)
                if "child_error" in event:
                    raise errors.from_json(event["child_error"])
                if "child_out_of_memory" in event:
                    raise ChildFailed("out of memory", _memory_detail(memory_bytes), _tail(log))
                if "child_done" in event:
                    finished = True
                    break
                yield event
            if not finished:
                code = child.wait()
                raise _failure(code, watchdog.fired, timeout_s, memory_bytes, _tail(log))
        except (ChildFailed, errors.DevicekitError):
            if printed := _tail(log).strip():
                _log.info("%s printed last:\n%s", module, printed)
            raise
        finally:
            watchdog.cancel()
            _end(child)


def _started(module: str, log: IO[str]) -> subprocess.Popen[bytes]:
    python = os.environ.get("DEVICEKIT_PYTHON") or sys.executable
    try:
        return subprocess.Popen(
            # -P: the user's folder must not shadow libraries.
            [python, "-P", "-m", "devicekit.child", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **_QUIET},
        )
    except OSError as error:
        raise errors.UsageError(
            f"{python} cannot be run: {error.strerror}",
            remedy="unset DEVICEKIT_PYTHON, or name a Python with devicekit",
        ) from error


def serve(module: str) -> None:
    """The child's main: has `module` handle the parent's request, and sends each event that it yields."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print on stdout belongs to the log
    envelope = json.loads(sys.stdin.buffer.read())
    _die_with_parent(envelope["parent"])
    if envelope["memory_bytes"]:
        _limit_memory(envelope["memory_bytes"])
    try:
        for event in import_module(module).handle(envelope["request"]):
            _send(events, event)
        _send(events, {"child_done": True})
    except errors.DevicekitError as error:
        _send(events, {"child_error": error.to_json()})
    except MemoryError:
        _send(events, {"child_out_of_memory": True})
    events.flush()
    sys.stderr.flush()
    os._exit(0)  # skips the seconds that TensorFlow takes to shut down


# Logging of the C++ libraries: errors only. Set before they load, so in the environment.
_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "GLOG_minloglevel": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "PYTHONUNBUFFERED": "1",
}


def _send(events: IO[str], event: Mapping[str, Any]) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


def _die_with_parent(parent: int) -> None:
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig = 1  # linux/prctl.h
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


class _Watchdog:
    """Kills the child when nothing was heard from it for `timeout_s`."""

    def __init__(self, child: subprocess.Popen[bytes], timeout_s: float) -> None:
        self.fired = False
        self._child = child
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._cancelled = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def reset(self) -> None:
        self._deadline = time.monotonic() + self._timeout_s

    def cancel(self) -> None:
        self._cancelled.set()

    def _watch(self) -> None:
        while not self._cancelled.wait(max(self._deadline - time.monotonic(), 0.01)):
            if time.monotonic() >= self._deadline:
                self.fired = True
                _kill(self._child)
                return


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kills the child, and what it started and left behind: the session is its own."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    except (ProcessLookupError, PermissionError):  # macOS refuses where only ended processes are left
        pass


def _end(child: subprocess.Popen[bytes]) -> None:
    _kill(child)
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream:
            stream.close()


# What libraries print when they run into the limit: C++, Python, the loader, OpenBLAS, TensorFlow's threads.
# Seen with limits of 20 to 450 MiB on a conversion (TensorFlow 2.21, November 2026).
_OUT_OF_MEMORY = (
    "bad_alloc",
    "MemoryError",
    "Cannot allocate memory",
    "failed to map segment",
    "Memory allocation still failed",
    "creation via pthread_create() failed",
    "mmap error: 12",
)


def _failure(
    code: int, timed_out: bool, timeout_s: float, memory_bytes: int | None, tail: str
) -> ChildFailed:
    if timed_out:
        return ChildFailed("timed out", f"no progress for {timeout_s:g} s", tail)
    if memory_bytes and any(words in tail for words in _OUT_OF_MEMORY):
        return ChildFailed("out of memory", _memory_detail(memory_bytes), tail)
    if code < 0:
        return ChildFailed("crashed", f"crashed ({signal.Signals(-code).name})", tail)
    last = tail.strip().splitlines()[-1:] or [f"exit code {code}"]
    return ChildFailed("crashed", last[0], tail)


def _memory_detail(memory_bytes: int | None) -> str:
    return f"needs more than {(memory_bytes or 0) / 2**20:.0f} MiB"


def _tail(log: IO[str]) -> str:
    log.seek(0)
    return "".join(log.readlines()[-LOG_TAIL_LINES:])


def default_memory_bytes() -> int:
    """Returns what a conversion may take at most: three quarters of this machine's memory."""
    import psutil

    return int(psutil.virtual_memory().total * 0.75)


if __name__ == "__main__":
    serve(sys.argv[1])
