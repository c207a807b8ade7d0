"""The ssh transport: ssh://user@host[:port], through paramiko.

Host keys are checked against ~/.ssh/known_hosts; ~/.ssh/config gives User, HostName, Port, IdentityFile,
UserKnownHostsFile, HostKeyAlias and ProxyJump. A ProxyCommand is not run.
"""

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paramiko

from devicekit.device import shell
from devicekit.device.remote import MAX_ANSWER_BYTES, FileRefused, LinkBroken, RemoteDevice, endless
from devicekit.errors import DeviceError, HostKeyRefused, NoDevice, Unauthorized, UsageError

CONNECT_S = 15.0
KEEPALIVE_S = 5
# A board that takes or gives nothing for so long is gone: SD cards stall for seconds when they erase.
SILENCE_S = 30.0
# With its header it fits the window of 24 KiB that dropbear gives: measured against 32 KiB, 1.1 times as fast
# there and 1.2 times with OpenSSH.
PIECE_BYTES = 24_000
# A shell has ended when its output has, or soon after.
ENDS_S = 2.0
PASSWORD = "DEVICEKIT_SSH_PASSWORD"


@dataclass(frozen=True)
class Host:
    """Where to connect: `name` is what known_hosts calls it, `jumps` are hosts to go through, in order."""

    hostname: str
    port: int
    user: str
    name: str
    keys: tuple[str, ...]
    known_hosts: tuple[Path, ...]
    jumps: tuple["Host", ...] = ()


class SshLink:
    """A connection to one host, and to those on the way. Raises NoDevice, Unauthorized and DeviceError."""

    def __init__(self, address: str, *, accept_new_host_key: bool = False) -> None:
        self._address = address
        self._accept_new = accept_new_host_key
        self._host = host_of(address)
        self._password = os.environ.get(PASSWORD)
        self._clients: list[Any] = []
        self._sftp: Any = None
        self.reconnect()

    def execute(self, script: str, *, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        with _breaking():
            channel = self._transport().open_session(timeout=CONNECT_S)
            try:
                channel.settimeout(timeout_s)
                channel.exec_command(script)
                channel.shutdown_write()
                return _printed(channel, deadline, self._address)
            finally:
                channel.close()

    def send(self, local: Path, path: str, *, mode: int, sent: Callable[[int], None]) -> None:
        with _breaking(), local.open("rb") as file:
            sftp = self._files()
            if sftp is None:
                self._send_by_shell(file, path, mode, sent)
                return
            try:
                with sftp.open(path, "wb") as target:
                    target.set_pipelined(True)
                    count = 0
                    while piece := file.read(PIECE_BYTES):
                        target.write(piece)
                        count += len(piece)
                        sent(count)
                sftp.chmod(path, mode)
            except OSError as error:
                if not self._transport().is_active():
                    raise
                raise FileRefused(_reason(error)) from error

    def receive(self, path: str, local: Path) -> None:
        with _breaking():
            sftp = self._files()
            if sftp is None:
                self._receive_by_shell(path, local)
                return
            with sftp.open(path, "rb") as source, local.open("wb") as file:
                source.prefetch()
                while piece := source.read(PIECE_BYTES):
                    file.write(piece)

    def reconnect(self) -> None:
        self.close()
        reached = None
        for host in (*self._host.jumps, self._host):
            client = self._connected(host, through=reached)
            self._clients.append(client)
            reached = client.get_transport()
            reached.set_keepalive(KEEPALIVE_S)

    def close(self) -> None:
        for client in reversed(self._clients):
            with suppress(Exception):  # it is going away whatever it says
                client.close()
        self._clients, self._sftp = [], None

    def _transport(self) -> Any:
        transport = self._clients[-1].get_transport() if self._clients else None
        if transport is None or not transport.is_active():
            raise LinkBroken("the connection has ended")
        return transport

    def _files(self) -> Any:
        """Returns the SFTP client of the connection, None where the server has no SFTP."""
        if self._sftp is None:
            transport = self._transport()
            try:
                self._sftp = paramiko.SFTPClient.from_transport(
                    transport, window_size=2**24, max_packet_size=2**15
                )
                self._sftp.get_channel().settimeout(SILENCE_S)
            except (paramiko.SSHException, EOFError):
                if not transport.is_active():
                    raise
                self._sftp = False
        return self._sftp or None

    def _send_by_shell(self, file: Any, path: str, mode: int, sent: Callable[[int], None]) -> None:
        quoted = shell.quote(path)
        channel = self._transport().open_session(timeout=CONNECT_S)
        try:
            channel.settimeout(SILENCE_S)
            channel.exec_command(f"cat >{quoted} && chmod {mode:o} {quoted}")
            count = 0
            while piece := file.read(PIECE_BYTES):
                channel.sendall(piece)
                count += len(piece)
                sent(count)
            channel.shutdown_write()
            words = channel.makefile_stderr().read().decode(errors="replace").strip()
            if channel.recv_exit_status():
                raise FileRefused(words.rpartition(": ")[2] or "cat failed")
        finally:
            channel.close()

    def _receive_by_shell(self, path: str, local: Path) -> None:
        quoted = shell.quote(path)
        channel = self._transport().open_session(timeout=CONNECT_S)
        try:
            channel.settimeout(SILENCE_S)
            channel.exec_command(f"[ -e {quoted} ] || exit 44; cat {quoted}")
            with local.open("wb") as file:
                while piece := channel.recv(PIECE_BYTES):
                    file.write(piece)
            if channel.recv_exit_status() == 44:
                local.unlink()
                raise FileNotFoundError(path)
        finally:
            channel.close()

    def _connected(self, host: Host, *, through: Any) -> Any:
        """Returns a client that is connected to a host, and logged in."""
        client = paramiko.SSHClient()
        for file in host.known_hosts:
            with suppress(OSError):
                client.load_host_keys(str(file))
        client.set_missing_host_key_policy(_policy(host, accept=self._accept_new))
        sock = self._socket(host, through)
        try:
            self._log_in(client, host, sock, through)
        except BaseException as error:
            client.close()
            sock.close()
            raise self._worded(error, host) from error
        return client

    def _worded(self, error: BaseException, host: Host) -> BaseException:
        """Returns the error to raise where logging in ended with `error`."""
        if isinstance(error, paramiko.BadHostKeyException):
            found = f"its key has changed: {error.key.fingerprint} now"
            return HostKeyRefused(host.name, found=found, is_new=False)
        if _is_refused(error):
            key = f"put your key there (ssh-copy-id {host.user}@{host.hostname})"
            return Unauthorized(self._address, remedy=f"{key}, or set {PASSWORD}")
        if isinstance(error, paramiko.SSHException | OSError | EOFError):
            return NoDevice(
                self._address,
                found=f"{host.hostname} port {host.port} does not speak SSH ({_reason(error)})",
                remedy="check the port, and that sshd runs there",
            )
        return error

    def _socket(self, host: Host, through: Any) -> Any:
        try:
            if through is None:
                return socket.create_connection((host.hostname, host.port), timeout=CONNECT_S)
            return through.open_channel(
                "direct-tcpip", (host.hostname, host.port), ("127.0.0.1", 0), timeout=CONNECT_S
            )
        except (OSError, paramiko.SSHException) as error:
            raise NoDevice(
                self._address,
                found=f"{host.hostname} port {host.port} does not answer ({_reason(error)})",
                remedy="check that it is on, in the network, and runs sshd",
            ) from error

    def _log_in(self, client: Any, host: Host, sock: Any, through: Any) -> None:
        """Logs in with keys and agent, then a password: of the environment, or asked for at a terminal."""
        options: dict[str, Any] = {
            "username": host.user,
            "port": 22,  # the socket is connected: this only says that `name` is what known_hosts has
            "sock": sock,
            "key_filename": list(host.keys) or None,
            "timeout": CONNECT_S,
            "banner_timeout": CONNECT_S,
            "auth_timeout": CONNECT_S,
        }
        try:
            client.connect(host.name, password=self._password, **options)
        except paramiko.SSHException as error:
            if not _is_refused(error) or self._password is not None or not sys.stdin.isatty():
                raise
            self._password = getpass.getpass(f"Password of {host.user}@{host.hostname}: ")
            again = {**options, "sock": self._socket(host, through)}
            client.connect(host.name, password=self._password, **again)


def ssh_device(address: str, *, keep: bool = False, accept_new_host_key: bool = False) -> RemoteDevice:
    """Returns the board at "ssh://user@host[:port]". Raises UsageError and DeviceError."""
    return RemoteDevice(address, SshLink(address, accept_new_host_key=accept_new_host_key), keep=keep)


def host_of(address: str) -> Host:
    """Returns where an address leads by ~/.ssh/config. Raises UsageError for what is no address."""
    parts = urlsplit(address)
    try:
        port, hostname = parts.port, parts.hostname
    except ValueError as error:
        raise _no_address(address) from error
    if parts.scheme != "ssh" or not hostname or parts.path.strip("/") or parts.password:
        raise _no_address(address)
    return _host(hostname, parts.username, port, depth=0)


def _no_address(address: str) -> UsageError:
    return UsageError(
        f'"{address}" is no address of a board', remedy="write ssh://user@host or ssh://user@host:port"
    )


MAX_JUMPS = 8


def _host(name: str, user: str | None, port: int | None, *, depth: int) -> Host:
    config = _config(name)
    if depth > MAX_JUMPS:
        raise UsageError(f"ProxyJump of {name} leads in a circle", remedy="correct it in ~/.ssh/config")
    if "proxycommand" in config:
        raise UsageError(
            f"~/.ssh/config has a ProxyCommand for {name}, which is not run",
            remedy="write a ProxyJump instead",
        )
    hostname = str(config.get("hostname", name))
    port = port or int(config.get("port", 22))
    alias = str(config.get("hostkeyalias", hostname))
    known = str(config.get("userknownhostsfile", "~/.ssh/known_hosts")).split()
    return Host(
        hostname=hostname,
        port=port,
        user=user or str(config.get("user", getpass.getuser())),
        name=alias if port == 22 or "hostkeyalias" in config else f"[{alias}]:{port}",
        keys=tuple(key for key in config.get("identityfile", ()) if Path(key).expanduser().is_file()),
        known_hosts=tuple(Path(file).expanduser() for file in known),
        jumps=tuple(_jumps(str(config.get("proxyjump", "none")), depth)),
    )


def _jumps(proxyjump: str, depth: int) -> list[Host]:
    if proxyjump.lower() == "none":
        return []
    hosts: list[Host] = []
    for one in proxyjump.split(","):
        parts = urlsplit(one if "://" in one else f"ssh://{one}")
        jump = _host(parts.hostname or "", parts.username, parts.port, depth=depth + 1)
        hosts += [*jump.jumps, jump]
    return hosts


def _config(name: str) -> Mapping[str, Any]:
    path = Path.home() / ".ssh" / "config"
    if not path.is_file():
        return {}
    try:
        return dict(paramiko.SSHConfig.from_path(str(path)).lookup(name))
    except (OSError, paramiko.ConfigParseError) as error:
        raise UsageError(f"{path} cannot be read ({error})", remedy="correct it there") from error


def _printed(channel: Any, deadline: float, address: str) -> bytes:
    """Returns what a channel prints until its end. Standard error is read too, so that it blocks nothing."""
    answer = bytearray()
    channel.set_combine_stderr(False)
    while not channel.closed or channel.recv_ready():
        if time.monotonic() > deadline:
            raise LinkBroken("no answer in time")
        if channel.recv_stderr_ready():
            channel.recv_stderr(PIECE_BYTES)
        channel.settimeout(max(0.01, min(1.0, deadline - time.monotonic())))
        try:
            piece = channel.recv(PIECE_BYTES)
        except TimeoutError:
            continue
        if not piece:
            # dropbear 2022.83 fails an assertion, and the connection with it, where a channel is closed
            # before it has said how the command ended: 6 times in about 140 short commands, and with this
            # wait in none of 300.
            channel.status_event.wait(max(0.0, min(ENDS_S, deadline - time.monotonic())))
            break
        answer += piece
        if len(answer) > MAX_ANSWER_BYTES:
            raise endless(address)
    return bytes(answer)


def _policy(host: Host, *, accept: bool) -> Any:
    """Returns what paramiko asks about a host whose key is not known."""

    class Policy(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
            if not accept:
                raise HostKeyRefused(host.name, found=f"its key {key.fingerprint} is not known", is_new=True)
            file = host.known_hosts[0]
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as known:
                known.write(f"{host.name} {key.get_name()} {key.get_base64()}\n")

    return Policy()


@contextmanager
def _breaking() -> Iterator[None]:
    """Turns what paramiko raises for a connection that has ended into LinkBroken."""
    try:
        yield
    except (FileNotFoundError, FileRefused, LinkBroken, DeviceError):
        raise
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise LinkBroken(_reason(error)) from error


def _is_refused(error: BaseException) -> bool:
    """Returns whether a host did not let us in; without any key paramiko says so in words alone."""
    no_key = isinstance(error, paramiko.SSHException) and "No authentication methods" in str(error)
    return isinstance(error, paramiko.AuthenticationException) or no_key


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
