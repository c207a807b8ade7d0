"""In place of Python: `client.py FOLDER OWNER -P -m devicekit.child MODULE` or `… SCRIPT …`: see __init__.py.

Imports as little as it can: it runs once for every child.
"""

import array
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

STARTING_S = 120.0


def kind_of(argv: list[str]) -> str:
    """Returns which server runs it: what converts and what is a script may need TensorFlow, the rest not."""
    is_child = "devicekit.child" in argv
    return "light" if is_child and not argv[-1].startswith("devicekit.convert.") else "tensorflow"


def connected(folder: str, owner: str, kind: str) -> socket.socket:
    """Returns a connection to the server of that kind; starts it where none listens."""
    address = os.path.join(folder, kind)
    with open(f"{address}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        deadline = time.monotonic() + STARTING_S
        started = False
        while True:
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                server.connect(address)
                return server
            except (FileNotFoundError, ConnectionRefusedError):
                server.close()
            if not started:
                start(address, owner, kind)
                started = True
            if time.monotonic() > deadline:
                sys.exit(f"the warm server did not start: see {address}.log")
            time.sleep(0.02)


def start(address: str, owner: str, kind: str) -> None:
    """Starts the server, away from this process and its session."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    log = os.open(f"{address}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, descriptor)
    os.closerange(3, 256)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")
    os.execv(sys.executable, [sys.executable, script, address, owner, kind])


def main() -> None:
    folder, owner, *argv = sys.argv[1:]
    parent = os.getppid()
    server = connected(folder, owner, kind_of(argv))
    asked = {"argv": argv, "cwd": os.getcwd(), "environment": dict(os.environ), "parent": parent}
    body = json.dumps(asked).encode()
    streams = array.array("i", [0, 1, 2])
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)]
    server.sendmsg([len(body).to_bytes(4, "big")], rights)
    server.sendall(body)
    for descriptor in (0, 1):  # the fork's now: its parent must see it end
        os.close(descriptor)
    while not select.select([server], [], [], 1.0)[0]:
        if os.getppid() != parent:  # whoever asked is gone: closing the connection ends the fork
            os._exit(1)
    status = int(server.recv(64) or b"256")
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    os._exit(min(status, 255))


main()
