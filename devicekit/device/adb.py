"""The adb transport: adb:SERIAL by this machine's adb server, adb+tcp://HOST:PORT/SERIAL by another.

A server that runs is used, and never ended; where none runs here, adb starts one, as for every client. adb's
protocol has no login: reach another host's server by an SSH tunnel, or on a network of its own.
"""

import os
import re
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from adbutils import AdbClient, AdbError, adb_path
from adbutils._adb import _check_server

from devicekit.device.remote import MAX_ANSWER_BYTES, FileRefused, LinkBroken, RemoteDevice, endless
from devicekit.errors import DeviceError, NoDevice, Offline, Unauthorized, UsageError

CONNECT_S = 10.0
START_SERVER_S = 20.0
# A device that takes or gives nothing for so long is gone: flash that is busy erasing stalls for seconds.
SILENCE_S = 30.0
# The sync protocol's largest piece.
PIECE_BYTES = 64 * 1024
_REMOTE = re.compile(
    r"adb\+tcp://(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})/(?P<serial>[\w.:-]+)"
)

_REMEDIES = {
    "unauthorized": "unlock it and allow USB debugging for this computer, run it again",
    "offline": "reconnect its cable, or run `adb reconnect offline`; then run it again",
    "no permissions": "give your user access to the USB device: `devicekit doctor` shows the udev rule",
}


class AdbLink:
    """One device of an adb server. Raises NoDevice, Unauthorized, Offline where it cannot be reached."""

    def __init__(self, serial: str, *, address: str, server: tuple[str, int] | None = None) -> None:
        self.serial = serial
        self._address = address
        self._server = server
        self.reconnect()

    def execute(self, script: str, *, timeout_s: float) -> bytes:
        # exec: rather than shell:, which gives old devices a terminal that changes line ends.
        with self._service(f"exec:{script}", timeout_s) as connection:
            answer = bytearray()
            while piece := connection.recv(PIECE_BYTES):
                answer += piece
                if len(answer) > MAX_ANSWER_BYTES:
                    raise endless(self._address)
            return bytes(answer)

    def send(self, local: Path, path: str, *, mode: int, sent: Callable[[int], None]) -> None:
        with self._service("sync:", SILENCE_S) as connection, local.open("rb") as file:
            target = f"{path},{0o100000 | mode}".encode()
            connection.sendall(b"SEND" + struct.pack("<I", len(target)) + target)
            count = 0
            while piece := file.read(PIECE_BYTES):
                connection.sendall(b"DATA" + struct.pack("<I", len(piece)))
                connection.sendall(piece)
                count += len(piece)
                sent(count)
            connection.sendall(b"DONE" + struct.pack("<I", int(local.stat().st_mtime) & 0xFFFFFFFF))
            _check(connection)

    def receive(self, path: str, local: Path) -> None:
        with self._service("sync:", SILENCE_S) as connection:
            target = path.encode()
            connection.sendall(b"RECV" + struct.pack("<I", len(target)) + target)
            kind, size = _head(connection)
            if kind == b"FAIL":
                raise FileNotFoundError(_exactly(connection, min(size, PIECE_BYTES)).decode(errors="replace"))
            with local.open("wb") as file:
                while kind == b"DATA":
                    file.write(_exactly(connection, size))
                    kind, size = _head(connection)
            if kind != b"DONE":
                raise LinkBroken(f"the sync protocol says {kind!r}")

    def reconnect(self) -> None:
        state = states(self._server).get(self.serial)
        if ":" in self.serial and state in (None, "offline"):  # on the network
            _connect(self.serial, self._server)
            state = states(self._server).get(self.serial)
        if state == "device":
            return
        address = self._address
        if state is None:
            raise NoDevice(
                address,
                found="no such device is attached",
                remedy="plug it in and turn on USB debugging; `devicekit devices` lists what is attached",
            )
        remedy = next((text for key, text in _REMEDIES.items() if state.startswith(key)), "")
        if state == "unauthorized":
            raise Unauthorized(address, remedy=remedy)
        if state == "offline":
            raise Offline(address, remedy=remedy)
        raise NoDevice(
            address, found=f"its state is {state}", remedy=remedy or "start Android on it, run it again"
        )

    def close(self) -> None:
        """Nothing is open between calls."""

    @contextmanager
    def _service(self, name: str, timeout_s: float) -> Iterator[Any]:
        """Yields a socket to a service of the device; what goes wrong with it becomes LinkBroken."""
        try:
            # Not adbutils' open_transport, which leaves the socket open where the server refuses.
            with _client(self._server).make_connection(timeout=CONNECT_S) as connection:
                for request in (f"host:transport:{self.serial}", name):
                    connection.send_command(request)
                    connection.check_okay()
                connection.conn.settimeout(timeout_s)
                yield connection.conn
        except FileNotFoundError:
            raise
        except (AdbError, OSError, EOFError, ValueError) as error:
            raise LinkBroken(str(error)) from error


def adb_device(address: str, *, keep: bool = False) -> RemoteDevice:
    """Returns the device at "adb:SERIAL". Raises NoDevice, Unauthorized, Offline, DeviceError, UsageError."""
    if not address.removeprefix("adb:"):
        raise UsageError(
            f'"{address}" names no device', remedy="write adb:SERIAL; `devicekit devices` lists them"
        )
    return RemoteDevice(address, AdbLink(address.partition(":")[2], address=address), keep=keep)


def remote_adb_device(address: str, *, keep: bool = False) -> RemoteDevice:
    """Returns the device at "adb+tcp://HOST:PORT/SERIAL". Raises as `adb_device` does."""
    host, port, serial = server_of(address)
    return RemoteDevice(address, AdbLink(serial, address=address, server=(host, port)), keep=keep)


def server_of(address: str) -> tuple[str, int, str]:
    """Returns host, port and serial of "adb+tcp://HOST:PORT/SERIAL". Raises UsageError."""
    match = _REMOTE.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise UsageError(
            f'"{address}" names no device of an adb server',
            remedy="write adb+tcp://HOST:PORT/SERIAL; a server listens on port 5037",
        )
    return match["host"].strip("[]"), int(match["port"]), match["serial"]


def is_serving() -> bool:
    """Returns whether an adb server runs here."""
    client = AdbClient()
    return bool(_check_server(client.host, client.port))


def states(server: tuple[str, int] | None = None) -> Mapping[str, str]:
    """Returns the state of every device an adb server knows, by serial; "device" is one that answers.

    `server` is another host's, None: this machine's.
    """
    try:
        with _client(server).make_connection(timeout=CONNECT_S) as connection:
            connection.send_command("host:devices")
            connection.check_okay()
            lines = connection.read_string_block().splitlines()
    except (AdbError, OSError, ValueError) as error:
        where, remedy = "", "run `adb start-server` and see what it says"
        if server is not None:
            where = f" at {server[0]}:{server[1]}"
            remedy = "start it there, and let this machine reach it: ssh -N -L PORT:127.0.0.1:5037 HOST"
        raise DeviceError(f"the adb server{where} does not answer ({error})", remedy=remedy) from error
    return {serial: state for serial, _, state in (line.partition("\t") for line in lines)}


def _client(server: tuple[str, int] | None = None) -> Any:
    """Returns adbutils' client of a server; starts this machine's quietly where none runs."""
    if server is not None:
        # adbutils gives a server 0.1 s, then starts one here instead, and leaves a socket open.
        socket.create_connection(server, timeout=CONNECT_S).close()
        return AdbClient(*server, socket_timeout=CONNECT_S)

    client = AdbClient(socket_timeout=CONNECT_S)
    if not is_serving():
        argv = [adb_path(), "-P", str(client.port), "start-server"]
        try:
            subprocess.run(argv, timeout=START_SERVER_S, capture_output=True, check=True, env={**os.environ})
        except (OSError, subprocess.SubprocessError) as error:
            raise DeviceError(
                f"adb does not start ({error})", remedy="`devicekit doctor` says what adb needs"
            ) from error
    return client


def _connect(serial: str, server: tuple[str, int] | None) -> None:
    """Asks the server for a device on the network; whether that worked shows in `states`.

    One that went offline stays so until it is let go.
    """
    client = _client(server)
    with suppress(AdbError, OSError):
        client.disconnect(serial)
    with suppress(AdbError, OSError):
        client.connect(serial, timeout=CONNECT_S)


def _head(connection: Any) -> tuple[bytes, int]:
    head = _exactly(connection, 8)
    return head[:4], struct.unpack("<I", head[4:])[0]


def _exactly(connection: Any, size: int) -> bytes:
    if size > PIECE_BYTES:
        raise LinkBroken(f"a piece of {size} bytes, more than the sync protocol has")
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise LinkBroken("the link ended inside a file")
        data += piece
    return bytes(data)


def _check(connection: Any) -> None:
    """Reads how a push ended. Raises FileRefused in the device's words."""
    kind, size = _head(connection)
    if kind == b"OKAY":
        return
    why = (
        _exactly(connection, min(size, PIECE_BYTES)).decode(errors="replace")
        if kind == b"FAIL"
        else repr(kind)
    )
    raise FileRefused(why)
