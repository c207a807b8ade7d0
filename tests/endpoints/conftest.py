"""Real endpoints: sshd, adbd, an adbd that misbehaves, an emulated arm64 machine; all on 127.0.0.1."""

import getpass
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from devicekit.device.adb import adb_device
from devicekit.device.local import LocalDevice
from devicekit.device.remote import RemoteDevice
from devicekit.device.seam import Device
from devicekit.device.ssh import ssh_device
from devicekit.testing import FakeDevice

TOOLS = Path(__file__).parent.parent.parent / "tools" / "emulated-device"
SSHD = "/usr/sbin/sshd"


def missing(what: str) -> None:
    """Skips the test, which CI must not."""
    words = f"{what} is missing: run tools/setup (as root, on Debian 12)"
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(words)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@dataclass
class Endpoint:
    """A device that tests open as they like. `files` is where its files lie on this host, if they do.

    `unplug` takes it away, where it can be.
    """

    address: str
    files: Path | None = None
    unplug: Callable[[], None] | None = None
    opened: list[RemoteDevice] = field(default_factory=list)

    def open(self, *, keep: bool = False) -> RemoteDevice:
        make = ssh_device if self.address.startswith("ssh:") else adb_device
        device = make(self.address, keep=keep)
        self.opened.append(device)
        return device

    def close(self) -> None:
        while self.opened:
            self.opened.pop().close()


# --- ssh ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sshd:
    """A running sshd: `home` is what its sessions see as HOME, `key` logs in there."""

    port: int
    home: Path
    key: Path
    known_hosts: str
    folder: Path

    @property
    def address(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"


@pytest.fixture(scope="session")
def start_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sshd]]:
    """Returns a function that starts an sshd of its own home; `extra` are lines of its config.

    With `password` it knows one for the user, in a mount namespace of its own.
    """
    if not Path(SSHD).exists():
        missing("sshd (openssh-server)")
    with ExitStack() as running:

        def start(*extra: str, password: str | None = None) -> Sshd:
            folder = tmp_path_factory.mktemp("sshd")
            sshd, process = _start_sshd(folder, free_port(), extra, password)
            running.callback(_end, process)
            return sshd

        yield start


def _start_sshd(
    folder: Path, port: int, extra: tuple[str, ...], password: str | None
) -> tuple[Sshd, "subprocess.Popen[bytes]"]:
    home = folder / "home"
    home.mkdir()
    for name in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    lines = [
        *(f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder / 'host_key'}"),
        *(f"AuthorizedKeysFile {folder / 'user_key.pub'}", "UsePAM no", "StrictModes no"),
        *(f"PidFile {folder / 'pid'}", f"SetEnv HOME={home}", "AllowTcpForwarding yes", *extra),
    ]
    if not any(line.startswith(("Subsystem", "# no sftp")) for line in extra):
        lines.append("Subsystem sftp internal-sftp")
    (folder / "config").write_text("\n".join(lines) + "\n")
    Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("w") as log:
        command = [SSHD, "-D", "-e", "-f", str(folder / "config")]
        process = subprocess.Popen([*_with_password(folder, password), *command], stderr=log)
    while not answers(port):
        assert process.poll() is None, (folder / "log").read_text()
    key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    known = f"[127.0.0.1]:{port} {key}\n"
    return Sshd(port, home, folder / "user_key", known, folder), process


def _with_password(folder: Path, password: str | None) -> list[str]:
    """Returns what starts a program with an /etc/shadow of its own, where the user has this password."""
    if password is None:
        return []
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True, check=True
    )
    shadow = folder / "shadow"
    shadow.write_text(f"{getpass.getuser()}:{hashed.stdout.strip()}:19000:0:99999:7:::\n")
    return ["unshare", "-m", "sh", "-c", f'mount --bind {shadow} /etc/shadow && exec "$@"', "sh"]


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def sshd(start_sshd: Callable[..., Sshd]) -> Sshd:
    return start_sshd("PasswordAuthentication yes", "PermitRootLogin yes")


@pytest.fixture
def ssh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the .ssh folder of a user with no keys and no known hosts."""
    folder = tmp_path / "client" / ".ssh"
    folder.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("DEVICEKIT_SSH_PASSWORD", raising=False)
    return folder


@pytest.fixture
def ssh(sshd: Sshd, ssh_home: Path) -> Iterator[Endpoint]:
    """A board over ssh: this host's own sshd, with keys in place."""
    knows(ssh_home, sshd)
    endpoint = Endpoint(sshd.address, files=sshd.home / ".devicekit")
    yield endpoint
    endpoint.close()


def knows(ssh_home: Path, sshd: Sshd) -> None:
    """Gives the user the key of an sshd, and the knowledge of its host key."""
    shutil.copy(sshd.key, ssh_home / "id_ed25519")
    with (ssh_home / "known_hosts").open("a") as known:
        known.write(sshd.known_hosts)


# --- adb ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def emulated() -> Path:
    """Returns the folder that tools/emulated-device/build.sh fills."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = Path(os.environ.get("DEVICEKIT_EMULATED") or cache / "devicekit-emulated")
    if not (folder / "host" / "adbd").exists():
        missing("the emulated device")
    return folder


@pytest.fixture(scope="session")
def _adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    from adbutils import adb_path

    port, home = free_port(), tmp_path_factory.mktemp("adb")
    yield port, home
    environment = {**os.environ, "HOME": str(home), "ANDROID_ADB_SERVER_PORT": str(port)}
    if answers(port):
        subprocess.run([adb_path(), "kill-server"], env=environment, check=False, timeout=30)


@pytest.fixture
def adb_server(_adb_server: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Yields the port of a server of the tests' own, with keys of its own; whoever needs it starts it.

    No test inherits what another has attached.
    """
    port, home = _adb_server
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.setenv("HOME", str(home))
    yield port
    if answers(port):
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        adb_command("disconnect")


def adb_command(*argv: str) -> str:
    """Returns what the adb client prints."""
    from adbutils import adb_path

    done = subprocess.run([adb_path(), *argv], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def run_tool(name: str, *argv: str) -> dict[str, Any]:
    """Runs a script of the emulated device and returns the document that it prints."""
    done = subprocess.run(
        [str(TOOLS / name), *argv], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class HostAdbd:
    """A real adbd on this host, in a sandbox: `files` is its /data/local/tmp/devicekit."""

    port: int
    files: Path
    keys: Path | None

    @property
    def address(self) -> str:
        return f"adb:127.0.0.1:{self.port}"


@pytest.fixture(scope="session")
def start_adbd(emulated: Path) -> Iterator[Callable[..., HostAdbd]]:
    """Returns a function that starts a real adbd; with `keys`, a file, it lets in whose key is there."""
    with ExitStack() as running:

        def start(*, keys: Path | None = None) -> HostAdbd:
            auth = ("--auth", str(keys)) if keys else ()
            found = run_tool("run-host-adbd.sh", str(emulated), *auth)
            stop = [str(TOOLS / "stop.sh"), str(emulated), str(found["adb_port"])]
            running.callback(subprocess.run, stop, check=True, capture_output=True)
            files = Path(found["root"]) / "data" / "local" / "tmp" / "devicekit"
            return HostAdbd(found["adb_port"], files, Path(found["keys"]) if keys else None)

        yield start


@pytest.fixture(scope="session")
def host_adbd(start_adbd: Callable[..., HostAdbd]) -> HostAdbd:
    return start_adbd()


@pytest.fixture
def adb(host_adbd: HostAdbd, adb_server: int) -> Iterator[Endpoint]:
    """A device over adb: a real adbd on this host."""
    endpoint = Endpoint(host_adbd.address, files=host_adbd.files)
    yield endpoint
    endpoint.close()
    adb_command("disconnect", host_adbd.address.removeprefix("adb:"))


@pytest.fixture(scope="session")
def simulator() -> Any:
    """Returns the module of the adbd that can misbehave."""
    path = TOOLS / "adbd_sim.py"
    spec = importlib.util.spec_from_file_location("adbd_sim", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["adbd_sim"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def simulated(simulator: Any, adb_server: int, tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    """Returns a function that starts an adbd in Python, with faults (adbd_sim.Device)."""
    with ExitStack() as running:

        def start(**faults: Any) -> Endpoint:
            folder = tmp_path / f"device{len(list(tmp_path.iterdir()))}"
            device = running.enter_context(simulator.Device(folder, **faults))
            serial = f"127.0.0.1:{device.port}"
            running.callback(adb_command, "disconnect", serial)
            files = folder / "data" / "local" / "tmp" / "devicekit"
            endpoint = Endpoint(f"adb:{serial}", files=files, unplug=device.stop)
            running.callback(endpoint.close)
            return endpoint

        yield start


# --- the emulated machine ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """An emulated arm64 machine with Python: over adb a phone, over ssh a board."""

    ssh_port: int
    adb_port: int
    key: Path
    known_hosts: Path

    @property
    def adb_address(self) -> str:
        return f"adb:127.0.0.1:{self.adb_port}"

    @property
    def ssh_address(self) -> str:
        return f"ssh://root@127.0.0.1:{self.ssh_port}"

    def knows(self, ssh_home: Path) -> None:
        shutil.copy(self.key, ssh_home / "id_ed25519")
        with (ssh_home / "known_hosts").open("a") as known:
            known.write(self.known_hosts.read_text())


@pytest.fixture(scope="session")
def boot(emulated: Path) -> Iterator[Callable[..., Machine]]:
    """Returns a function that boots a machine: run.sh's options."""
    if not (emulated / "vm" / "python.ext4").exists() or not shutil.which("qemu-system-aarch64"):
        missing("the emulated machine")
    with ExitStack() as running:

        def start(*options: str) -> Machine:
            found = run_tool("run.sh", str(emulated), "--image", "python", *options)
            stop = [str(TOOLS / "stop.sh"), str(emulated), str(found["ssh_port"])]
            running.callback(subprocess.run, stop, check=False, capture_output=True)
            return Machine(
                found["ssh_port"], found["adb_port"], Path(found["key"]), Path(found["known_hosts"])
            )

        yield start


@pytest.fixture(scope="session")
def machine(boot: Callable[..., Machine]) -> Machine:
    return boot("--mem", "256")


@pytest.fixture
def machine_adb(machine: Machine, adb_server: int) -> Iterator[Endpoint]:
    endpoint = Endpoint(machine.adb_address)
    yield endpoint
    endpoint.close()


@pytest.fixture
def machine_ssh(machine: Machine, ssh_home: Path) -> Iterator[Endpoint]:
    machine.knows(ssh_home)
    endpoint = Endpoint(machine.ssh_address)
    yield endpoint
    endpoint.close()


# --- faults ------------------------------------------------------------------------------------------------


class Proxy:
    """A TCP proxy in front of a port: it cuts and stalls connections as cables and networks do."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._is_up = True
        self._stalled = threading.Event()
        self._left: int | None = None
        self._cuts_again = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *, down: bool = False) -> None:
        """Ends all connections; with `down` no new one comes up until `mend`."""
        self._is_up = not down
        for pair in self._pairs:
            for one in pair:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def cut_after(self, count: int, *, down: bool = False) -> None:
        """Cuts once so many more bytes have gone to the device."""
        self._cuts_again = down
        self._left = count

    def mend(self) -> None:
        self._is_up = True

    def stall(self) -> None:
        """Passes nothing on any more, and ends nothing."""
        self._stalled.set()

    def close(self) -> None:
        self._server.close()
        self.cut(down=True)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if not self._is_up:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._pairs.append((near, far))
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_upward: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                while self._stalled.is_set():
                    threading.Event().wait(0.1)
                sink.sendall(data)
                if is_upward and self._left is not None:
                    self._left -= len(data)
                    if self._left <= 0:
                        self._left = None
                        self.cut(down=self._cuts_again)
        for one in (source, sink):
            with suppress(OSError):
                one.close()


@pytest.fixture
def proxied() -> Iterator[Callable[[int], Proxy]]:
    """Returns a function that puts a proxy in front of a port."""
    with ExitStack() as running:

        def start(target: int) -> Proxy:
            proxy = Proxy(target)
            running.callback(proxy.close)
            return proxy

        yield start


# --- all of them -------------------------------------------------------------------------------------------

REAL = ("ssh", "adb", "simulated", "machine_adb", "machine_ssh")


@pytest.fixture(params=["local", "fake", *(pytest.param(one, marks=pytest.mark.endpoint) for one in REAL)])
def any_device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """Every device there is, the fake too."""
    if request.param == "fake":
        yield FakeDevice()
        return
    device = LocalDevice() if request.param == "local" else _open(request, request.param)
    yield device
    device.close()


@pytest.fixture(params=["local", *(pytest.param(one, marks=pytest.mark.endpoint) for one in REAL)])
def real_device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """Every device that runs commands."""
    device = LocalDevice() if request.param == "local" else _open(request, request.param)
    yield device
    device.close()


@pytest.fixture(params=[pytest.param(one, marks=pytest.mark.endpoint) for one in REAL])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """Every device at the other end of a link."""
    return _endpoint(request, request.param)


def _open(request: pytest.FixtureRequest, name: str) -> RemoteDevice:
    return _endpoint(request, name).open()


def _endpoint(request: pytest.FixtureRequest, name: str) -> Endpoint:
    found = request.getfixturevalue(name)
    endpoint = found() if name == "simulated" else found
    assert isinstance(endpoint, Endpoint)
    return endpoint
