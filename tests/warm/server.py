"""Imports once, and forks for every call of client.py: `server.py ADDRESS OWNER KIND`. See __init__.py."""

import atexit
import gc
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

REAL_PARENT = os.getppid
ROOT = Path(__file__).parent.parent.parent
# As devicekit.child sets them for a child of its own: C++ libraries read them while they load.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "GLOG_minloglevel": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}


# What children of each kind import. Nothing may run in there that starts a thread.
IMPORTS = {
    "light": (
        "devicekit.child",
        "devicekit.compare.worker",
        "devicekit.quantize.worker",
        "litert_quantizer.calibrator",
        "litert_quantizer.quantizer",
        "litert_quantizer.recipe_manager",
    ),
    "tensorflow": (
        "devicekit.child",
        "devicekit.convert.inside.batch",
        "devicekit.convert.inside.child",
        "devicekit.convert.inside.load",
        "devicekit.convert.inside.lower",
        "devicekit.convert.inside.outside",
        "devicekit.convert.inside.verify",
        "devicekit.convert.remedies.apply",
        "keras",
        "tf_keras",
    ),
}


def serve(address: str, owner: int) -> None:
    """Forks until the process `owner` is gone."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(address)
    listening.listen(64)
    ready = selectors.DefaultSelector()
    ready.register(listening, selectors.EVENT_READ)
    ready.register(woken, selectors.EVENT_READ)
    running: dict[int, socket.socket] = {}
    while is_running(owner):
        for key, _ in ready.select(timeout=1.0):
            if key.fileobj is listening:
                client, _ = listening.accept()
                pid = forked(client, [listening, woken, wake, *running.values()])
                running[pid] = client
                ready.register(client, selectors.EVENT_READ, pid)
            elif key.fileobj is woken:
                woken.recv(4096)
            elif key.data in running:  # the client is gone, by a kill: so goes what it asked for
                end(key.data)
                ready.unregister(key.fileobj)
        for pid, status in ended(running):
            client = running.pop(pid)
            if client in {key.fileobj for key in ready.get_map().values()}:
                ready.unregister(client)
            with suppress(OSError):  # the client is gone
                client.sendall(str(status).encode())
            client.close()
    for pid in running:
        end(pid)


def is_running(pid: int) -> bool:
    """Returns whether the process is there, and no zombie that nobody has waited for."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def end(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def ended(running: dict[int, socket.socket]) -> list[tuple[int, int]]:
    """Returns the exit codes of the forks that have ended, the signal as a negative number."""
    found = []
    for pid in list(running):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def forked(client: socket.socket, others: list[socket.socket]) -> int:
    """Returns the pid of the fork that does what the client asks."""
    client.settimeout(60)
    head, streams, _, _ = socket.recv_fds(client, 4, 3)
    body = b""
    while len(body) < int.from_bytes(head, "big"):
        body += client.recv(65536)
    client.settimeout(None)
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (client, *others):
            one.close()
        os.setsid()
        for descriptor, stream in enumerate(streams):
            os.dup2(stream, descriptor)
            os.close(stream)
        code = run(json.loads(body))
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0 if left.code is None else told(left.code)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for output in (sys.stdout, sys.stderr):
            output.flush()
        os._exit(code)


def told(words: object) -> int:
    print(words, file=sys.stderr)
    return 1


class Chosen(MetaPathFinder):
    """Has the fork come out as the kit's child does whose header is read, and which imports TensorFlow now.

    `tf.keras` is the Keras that the environment names by then. What TensorFlow reads of it when it is loaded,
    and that only, takes a process of its own: it begins anew, with what stood in `request`.
    """

    def __init__(self, request: int, stdout: int) -> None:
        self._request = request
        self._stdout = stdout

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name != "devicekit.convert.inside.conversion":
            return
        if os.environ["TF_ENABLE_ONEDNN_OPTS"] != QUIET["TF_ENABLE_ONEDNN_OPTS"]:
            for descriptor, source in ((0, self._request), (1, self._stdout)):
                os.dup2(source, descriptor)
            child = ["-P", "-m", "devicekit.child", "devicekit.convert.inside.child"]
            os.execv(sys.executable, [sys.executable, *child])
        if os.environ.get("TF_USE_LEGACY_KERAS"):
            import tensorflow

            legacy = str(Path(sys.modules["tf_keras"].__file__ or "").parent / "api" / "_v2")
            tensorflow.__path__ = [legacy, *tensorflow.__path__[1:]]


def request_kept(parent: int) -> int:
    """Puts a copy of what stands on stdin in its place; returns another, for a child of this server."""
    envelope = json.loads(os.fdopen(0, "rb", closefd=False).read())
    copies = []
    for one in (parent, REAL_PARENT()):
        copy = os.memfd_create("request")
        os.write(copy, json.dumps({**envelope, "parent": one}).encode())
        os.lseek(copy, 0, os.SEEK_SET)
        copies.append(copy)
    os.dup2(copies[0], 0)
    return copies[1]


def run(asked: dict[str, Any]) -> int:
    """Runs what Python would run with those arguments."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    # The child checks that whoever started it is still there: that is not this server.
    os.getppid = lambda: int(asked["parent"])
    sys.stdin, sys.stdout, sys.stderr = (
        open(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        for descriptor, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    sys.path[:0] = [one for one in asked["environment"].get("PYTHONPATH", "").split(os.pathsep) if one]
    argv = asked["argv"]
    if "devicekit.child" in argv:
        if argv[-1] == "devicekit.convert.inside.child":
            sys.meta_path.insert(0, Chosen(request_kept(int(asked["parent"])), os.dup(1)))
        sys.modules["devicekit.child"].serve(argv[-1])
    else:
        sys.argv = argv
        sys.path.insert(0, str(Path(argv[0]).parent))
        runpy.run_path(argv[0], run_name="__main__")
    return 0


def main() -> None:
    address, owner, kind = sys.argv[1:]
    sys.path[0] = str(ROOT)
    os.environ.update(QUIET)
    for name in IMPORTS[kind]:
        import_module(name)
    gc.collect()
    gc.freeze()
    serve(address, int(owner))
    Path(address).unlink(missing_ok=True)


main()
