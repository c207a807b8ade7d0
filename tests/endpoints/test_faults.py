"""Cables, networks, servers, disks and memory that fail: a documented error, or a recovered run.

After each, nothing of ours is left on the device once the next run has been there.
"""

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from devicekit.device.adb import adb_device
from devicekit.device.connect import connect
from devicekit.device.seam import Device
from devicekit.device.ssh import ssh_device
from devicekit.errors import (
    Busy,
    DeviceError,
    DeviceFull,
    DevicekitError,
    HostKeyRefused,
    Lost,
    NoDevice,
    Unauthorized,
    UnreadableOutput,
    UsageError,
)

pytestmark = pytest.mark.endpoint
MIB = 2**20


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(MIB) * 20)
    return path


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """No command of ours outlives a test, on this host or in its sandboxes."""
    yield
    deadline = time.monotonic() + 15
    while left := [p.info["cmdline"] for p in psutil.process_iter(["cmdline", "status"]) if is_ours(p)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def is_ours(process: psutil.Process) -> bool:
    words = process.info["cmdline"] or []
    return process.info["status"] != psutil.STATUS_ZOMBIE and any("/.job-" in word for word in words)


def later(seconds: float, act: Callable[[], Any]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


class Behind:
    """A device behind a proxy: `open` reaches it, `files` is where its files lie."""

    def __init__(self, proxy: Any, make: Callable[[str], Any], address: str, files: Path) -> None:
        self.proxy, self.make, self.address, self.files = proxy, make, address, files

    def open(self) -> Any:
        return self.make(self.address)

    def is_clean(self) -> bool:
        """The next run removes what a broken one left."""
        self.proxy.mend()
        self.open().close()
        return not self.files.exists()


@pytest.fixture
def ssh_behind(ssh: Any, sshd: Any, proxied: Callable[[int], Any]) -> Behind:
    """This host's sshd, with a proxy in between that can be cut."""
    proxy = proxied(sshd.port)
    known = Path(os.environ["HOME"]) / ".ssh" / "known_hosts"
    known.write_text(known.read_text().replace(f":{sshd.port} ", f":{proxy.port} "))
    address = sshd.address.replace(f":{sshd.port}", f":{proxy.port}")
    return Behind(proxy, ssh_device, address, ssh.files)


@pytest.fixture
def adb_behind(host_adbd: Any, adb_server: int, proxied: Callable[[int], Any]) -> Iterator[Behind]:
    """This host's adbd, with a proxy in between that can be cut."""
    proxy = proxied(host_adbd.port)
    yield Behind(proxy, adb_device, f"adb:127.0.0.1:{proxy.port}", host_adbd.files)
    done = [_adb(), "disconnect", f"127.0.0.1:{proxy.port}"]
    subprocess.run(done, check=False, capture_output=True)


@pytest.fixture(params=["ssh_behind", "adb_behind"])
def behind(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


# --- the link ----------------------------------------------------------------------------------------------


def test_a_cut_during_a_push_is_mended_by_pushing_again(behind: Behind, large: Path, tmp_path: Path) -> None:
    device = behind.open()
    behind.proxy.cut_after(5 * MIB)
    device.push(large, "large")
    device.pull("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    device.close()
    assert behind.is_clean()


def test_a_cut_that_stays_is_a_lost_device(behind: Behind, large: Path) -> None:
    device = behind.open()
    behind.proxy.cut_after(5 * MIB, down=True)
    with pytest.raises(Lost, match="was lost during pushing large"):
        device.push(large, "large")
    device.close()
    assert behind.is_clean()


def test_a_run_goes_on_while_the_link_is_down_and_is_collected(behind: Behind) -> None:
    device = behind.open()
    later(1.0, lambda: behind.proxy.cut(down=True))
    later(4.0, behind.proxy.mend)
    started = time.monotonic()
    done = device.run(
        ["sh", "-c", "echo $$ >>started; sleep 6; echo out; echo err >&2; exit 7"], timeout_s=30
    )
    assert (done.exit_code, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert time.monotonic() - started < 20
    assert len(device.run(["cat", "started"], timeout_s=20).stdout.split()) == 1  # and ran once
    device.close()
    assert behind.is_clean()


def test_a_run_whose_link_stays_down_is_lost_in_time_and_ended_by_the_next(behind: Behind) -> None:
    device = behind.open()
    later(1.0, lambda: behind.proxy.cut(down=True))
    started = time.monotonic()
    with pytest.raises(Lost, match="was lost during running sleep"):
        device.run(["sleep", "600"], timeout_s=5)
    assert time.monotonic() - started < 40
    device.close()
    assert behind.is_clean()


def test_a_cut_before_the_run_began_starts_it_once(behind: Behind) -> None:
    device = behind.open()
    behind.proxy.cut()
    done = device.run(["sh", "-c", "echo once >>count; cat count"], timeout_s=20)
    assert (done.exit_code, done.stdout) == (0, "once\n")
    device.close()
    assert behind.is_clean()


def test_five_cuts_in_a_row_do_not_lose_a_run(behind: Behind) -> None:
    device = behind.open()
    for seconds in (0.5, 1.5, 2.5, 3.5, 4.5):
        later(seconds, behind.proxy.cut)
    done = device.run(["sh", "-c", "sleep 6; echo done"], timeout_s=30)
    assert (done.exit_code, done.stdout) == (0, "done\n")
    device.close()
    assert behind.is_clean()


def test_a_link_that_goes_silent_during_a_run_is_lost_in_time(behind: Behind) -> None:
    device = behind.open()
    later(0.5, behind.proxy.stall)
    started = time.monotonic()
    with pytest.raises(Lost):
        device.run(["sleep", "2"], timeout_s=3)
    assert time.monotonic() - started < 60
    behind.proxy.cut()
    device.close()


def test_an_answer_without_end_is_not_kept(behind: Behind) -> None:
    device = behind.open()
    with pytest.raises(UnreadableOutput, match="it printed more than 64 MiB"):
        device.run(["head", "-c", str(70 * MIB), "/dev/zero"], timeout_s=60)
    device.close()
    assert behind.is_clean()


def test_ctrl_c_ends_the_run_on_the_device(behind: Behind) -> None:
    program = f"""
from devicekit.device.connect import connect
with connect({behind.address!r}) as device:
    print("connected", flush=True)
    device.run(["sh", "-c", "touch here; sleep 600"], timeout_s=900)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout and parent.stdout.readline() == b"connected\n"
    while not (behind.files / "run" / "here").exists():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=60)
    assert not behind.files.exists()


def test_a_kit_that_was_killed_leaves_nothing_that_the_next_run_does_not_clean(behind: Behind) -> None:
    program = f"""
from devicekit.device.connect import connect
with connect({behind.address!r}) as device:
    device.run(["sh", "-c", "touch here; sleep 600"], timeout_s=900)
"""
    parent = subprocess.Popen([sys.executable, "-c", program])
    while not (behind.files / "run" / "here").exists():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert behind.files.exists()
    with connect(behind.address, wait_s=0):
        pass
    assert not behind.files.exists()


# --- what runs there ---------------------------------------------------------------------------------------


def test_a_command_that_is_killed_says_so(behind: Behind) -> None:
    device = behind.open()
    done = device.run(["sh", "-c", "echo before; kill -9 $$"], timeout_s=20)
    assert (done.signal_name, done.stdout) == ("SIGKILL", "before\n")
    device.close()


def test_a_command_that_is_killed_with_its_supervisor_says_so(behind: Behind) -> None:
    device = behind.open()
    done = device.run(["sh", "-c", "echo before; kill -9 0"], timeout_s=20)
    assert (done.signal_name, done.stdout) == ("SIGKILL", "before\n")
    device.close()
    assert behind.is_clean()


def test_a_hung_command_is_ended_in_time_and_the_device_goes_on(behind: Behind) -> None:
    device = behind.open()
    started = time.monotonic()
    assert device.run(["sh", "-c", "trap '' TERM INT HUP; sleep 600"], timeout_s=1).timed_out
    assert time.monotonic() - started < 15
    assert device.run(["echo", "alive"], timeout_s=20).stdout == "alive\n"
    device.close()


def test_files_that_vanish_under_a_run_are_an_error(behind: Behind) -> None:
    device = behind.open()
    with pytest.raises(DeviceError):
        device.run(["sh", "-c", "rm -rf .job-*; sleep 1"], timeout_s=10)
    device.close()
    assert behind.is_clean()


def test_a_restarted_device_is_a_lost_run(behind: Behind) -> None:
    device = behind.open()

    def restart() -> None:
        """As after a reboot: what ran is gone, its files say that the device had started once more."""
        (job,) = (behind.files / "run").glob(".job-*")
        (job / "boot").write_text("another start\n")
        for process in psutil.process_iter(["cmdline", "status"]):
            if is_ours(process):
                process.kill()

    later(1.5, restart)
    with pytest.raises(Lost, match="it restarted"):
        device.run(["sleep", "600"], timeout_s=20)
    device.close()
    assert behind.is_clean()


# --- ssh ---------------------------------------------------------------------------------------------------


def test_a_changed_host_key_is_refused(ssh: Any, sshd: Any, ssh_home: Path) -> None:
    known = ssh_home / "known_hosts"
    other = ssh_home / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    known.write_text(f"[127.0.0.1]:{sshd.port} {other.with_suffix('.pub').read_text()}")
    for accept in (False, True):  # what has changed is not taken as new
        with pytest.raises(HostKeyRefused) as caught:
            ssh_device(ssh.address, accept_new_host_key=accept)
        assert "its key has changed" in caught.value.message
        assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in caught.value.remedy


def test_an_unknown_host_key_is_refused_until_it_is_accepted(ssh: Any, ssh_home: Path) -> None:
    (ssh_home / "known_hosts").unlink()
    with pytest.raises(HostKeyRefused) as caught:
        ssh.open()
    assert caught.value.remedy.endswith("run it again with --accept-new-host-key")
    assert not (ssh_home / "known_hosts").exists()
    ssh_device(ssh.address, accept_new_host_key=True).close()
    ssh.open()  # now it is known


def test_a_host_without_our_key_says_how_to_get_in(ssh: Any, ssh_home: Path) -> None:
    (ssh_home / "id_ed25519").unlink()
    with pytest.raises(Unauthorized) as caught:
        ssh.open()
    assert "ssh-copy-id" in caught.value.remedy


def test_a_wrong_password_is_refused(ssh: Any, ssh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ssh_home / "id_ed25519").unlink()
    monkeypatch.setenv("DEVICEKIT_SSH_PASSWORD", "wrong")
    with pytest.raises(Unauthorized, match="is unauthorized"):
        ssh.open()


def test_a_key_in_the_agent_lets_in(ssh: Any, ssh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(ssh_home / "agent")], stdout=subprocess.DEVNULL)
    try:
        while not (ssh_home / "agent").exists():
            assert agent.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh_home / "agent"))
        (ssh_home / "id_ed25519").chmod(0o600)
        subprocess.run(["ssh-add", str(ssh_home / "id_ed25519")], check=True, capture_output=True)
        (ssh_home / "id_ed25519").unlink()
        assert ssh.open().run(["echo", "in"], timeout_s=20).stdout == "in\n"
    finally:
        agent.kill()
        agent.wait()


@pytest.fixture
def with_password(start_sshd: Any, ssh_home: Path) -> Any:
    """An sshd that takes the password "open sesame", and a user who has no key."""
    sshd = start_sshd("PasswordAuthentication yes", "PermitRootLogin yes", password="open sesame")
    (ssh_home / "known_hosts").write_text(sshd.known_hosts)
    return sshd


def test_a_password_in_the_environment_lets_in(with_password: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICEKIT_SSH_PASSWORD", "open sesame")
    device = ssh_device(with_password.address)
    assert device.run(["echo", "in"], timeout_s=20).stdout == "in\n"
    device.close()


@pytest.mark.parametrize(
    ("typed", "words"), [("open sesame", "\nin\r\n"), ("abracadabra", "is unauthorized")]
)
def test_a_password_is_asked_for_at_a_terminal(with_password: Any, typed: str, words: str) -> None:
    program = f"""
from devicekit.device.ssh import ssh_device
from devicekit.errors import DevicekitError
try:
    device = ssh_device({with_password.address!r})
    print(device.run(["echo", "in"], timeout_s=20).stdout)
    device.close()
except DevicekitError as error:
    print(error.message)
"""
    shown = at_a_terminal([sys.executable, "-c", program], b"Password of ", typed)
    assert "Password of" in shown and words in shown
    assert typed not in shown


def at_a_terminal(argv: list[str], prompt: bytes, typed: str) -> str:
    """Returns what a program shows on a terminal of its own, where `typed` is entered at its prompt."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(argv[0], argv)
    shown = b""
    with os.fdopen(terminal, "r+b", buffering=0) as opened, suppress(OSError):  # it ends with EIO
        while prompt not in shown:
            shown += opened.read(1024)
        opened.write(typed.encode() + b"\n")
        while piece := opened.read(1024):
            shown += piece
    os.waitpid(pid, 0)
    return shown.decode()


def test_nobody_listens(ssh_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoDevice, match=f"127.0.0.1 port {port} does not answer"):
        ssh_device(f"ssh://root@127.0.0.1:{port}")


def test_a_name_that_no_resolver_knows(ssh_home: Path) -> None:
    with pytest.raises(NoDevice, match="does not answer"):
        ssh_device("ssh://root@no-such-board.invalid")


def test_whoever_listens_is_no_sshd(ssh_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(b"220 this is a mail server\r\n" * 100)
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(DevicekitError) as caught:
            ssh_device(f"ssh://root@127.0.0.1:{server.getsockname()[1]}")
    assert caught.value.exit_code == 4


def test_a_shell_that_greets_does_not_disturb(start_sshd: Any, ssh_home: Path, tmp_path: Path) -> None:
    greeting = tmp_path / "rc"
    greeting.write_text("echo 'Welcome to your board!'; echo 'Last login: never' >&2\n")
    sshd = start_sshd(f"SetEnv BASH_ENV={greeting} ENV={greeting}", f"# no home, but {greeting}")
    (sshd.home / ".bashrc").write_text(greeting.read_text())
    _log_in(ssh_home, sshd)
    device = ssh_device(sshd.address)
    assert device.run(["echo", "answer"], timeout_s=20).stdout == "answer\n"
    device.close()


def test_a_board_without_sftp_takes_files_by_its_shell(
    start_sshd: Any, ssh_home: Path, large: Path, tmp_path: Path
) -> None:
    sshd = start_sshd("# no sftp")
    _log_in(ssh_home, sshd)
    device = ssh_device(sshd.address)
    device.push(large, "it's large")
    device.pull("it's large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    with pytest.raises(DevicekitError, match="there is no file nothing"):
        device.pull("nothing", tmp_path / "x")
    device.close()


def test_a_board_behind_another_is_reached_by_proxyjump(start_sshd: Any, sshd: Any, ssh_home: Path) -> None:
    behind = start_sshd()
    _log_in(ssh_home, sshd)
    (ssh_home / "behind").write_bytes(behind.key.read_bytes())
    (ssh_home / "behind").chmod(0o600)
    (ssh_home / "known_hosts").write_text(sshd.known_hosts + behind.known_hosts)
    (ssh_home / "config").write_text(
        f"Host gate\n  HostName 127.0.0.1\n  Port {sshd.port}\n  IdentityFile {ssh_home}/id_ed25519\n"
        f"Host board\n  HostName 127.0.0.1\n  Port {behind.port}\n  IdentityFile {ssh_home}/behind\n"
        "  ProxyJump gate\n"
    )
    device = ssh_device("ssh://board")
    assert str(behind.home) in device.run(["pwd"], timeout_s=20).stdout
    device.close()


def test_a_proxy_command_is_not_run(ssh_home: Path, tmp_path: Path) -> None:
    (ssh_home / "config").write_text(f"Host *\n  ProxyCommand touch {tmp_path}/ran\n")
    with pytest.raises(UsageError, match="ProxyCommand"):
        ssh_device("ssh://board")
    assert not (tmp_path / "ran").exists()


def _log_in(ssh_home: Path, sshd: Any) -> None:
    (ssh_home / "id_ed25519").write_bytes(sshd.key.read_bytes())
    (ssh_home / "id_ed25519").chmod(0o600)
    (ssh_home / "known_hosts").write_text(sshd.known_hosts)


# --- adb ---------------------------------------------------------------------------------------------------


def test_an_unauthorized_phone_says_what_to_do(start_adbd: Any, adb_server: int, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.touch()
    phone = start_adbd(keys=keys)
    with pytest.raises(Unauthorized) as caught:
        adb_device(phone.address)
    assert caught.value.message == f"{phone.address} is unauthorized"
    assert "allow USB debugging" in caught.value.remedy
    public = Path(os.environ["HOME"]) / ".android" / "adbkey.pub"
    phone.keys.write_text(public.read_text() + "\n")
    subprocess.run([_adb(), "disconnect", phone.address[4:]], check=False, capture_output=True)
    adb_device(phone.address).close()


def test_an_address_without_a_serial_is_a_wrong_command_line(adb_server: int) -> None:
    with pytest.raises(UsageError, match='"adb:" names no device'):
        adb_device("adb:")


def test_a_serial_that_is_not_attached(adb_server: int) -> None:
    with pytest.raises(NoDevice, match="no such device is attached"):
        adb_device("adb:28161FDH2000A1")


def test_a_server_that_is_restarted_during_a_run_is_used_again(adb_behind: Behind) -> None:
    device = adb_behind.open()
    later(1.0, lambda: subprocess.run([_adb(), "kill-server"], check=True, capture_output=True))
    done = device.run(["sh", "-c", "sleep 4; echo done"], timeout_s=30)
    assert (done.exit_code, done.stdout) == (0, "done\n")
    device.close()
    assert adb_behind.is_clean()


def test_a_phone_that_is_unplugged_is_lost(simulated: Any) -> None:
    phone = simulated()
    device = phone.open()
    phone.unplug()
    with pytest.raises(Lost, match="was lost during running sleep"):
        device.run(["sleep", "1"], timeout_s=2)


def test_a_link_that_breaks_in_every_push_is_lost(simulated: Any, large: Path) -> None:
    device = simulated(drop_after=2_000_000).open()
    with pytest.raises(Lost, match="was lost during pushing large"):
        device.push(large, "large")


def test_a_command_that_the_phone_never_answers_is_lost_in_time(simulated: Any) -> None:
    device = simulated(hang_on="devicekit-hangs").open()
    started = time.monotonic()
    with pytest.raises(Lost):
        device.run(["devicekit-hangs"], timeout_s=1)
    assert time.monotonic() - started < 60


def test_a_phone_without_shell_v2_tells_exit_codes_too(simulated: Any) -> None:
    device = simulated(shell_v2=False).open()
    done = device.run(["sh", "-c", "echo e >&2; exit 9"], timeout_s=20)
    assert (done.exit_code, done.stdout, done.stderr) == (9, "", "e\n")


def test_a_full_phone_does_not_take_a_file(simulated: Any, large: Path) -> None:
    phone = simulated(disk_full=10 * MIB)
    with pytest.raises(DeviceError, match=r"does not take large: .*No space left on device"):
        phone.open().push(large, "large")


def _adb() -> str:
    from adbutils import adb_path

    return str(adb_path())


# --- the emulated machine: real disks, real reboots --------------------------------------------------------


@pytest.fixture
def small_disk(machine_ssh: Any) -> Iterator[Any]:
    """Mounts 6 MiB where the machine's files lie."""
    device = machine_ssh.open()
    root = device.run(["sh", "-c", "cd ..; pwd"], timeout_s=20).stdout.strip()
    device._link.execute(f"mount -t tmpfs -o size=6m none {root}", timeout_s=20)
    yield machine_ssh
    device._link.execute(f"umount -l {root}", timeout_s=20)
    device.close()


def test_a_full_disk_says_how_much_is_missing(small_disk: Any, large: Path) -> None:
    device = small_disk.open()
    with pytest.raises(DeviceFull, match=r"is full: 1\d\.\d MiB more are needed"):
        device.push(large, "large")
    device.close()


def test_a_directory_that_nothing_runs_from_is_passed_over(machine_adb: Any) -> None:
    device = machine_adb.open()
    assert device.run(["pwd"], timeout_s=20).stdout.startswith("/data/local/tmp/devicekit")
    device._link.execute("mount -t tmpfs -o noexec none /data/local/tmp", timeout_s=20)
    try:
        other = machine_adb.open()
        assert not other.run(["pwd"], timeout_s=20).stdout.startswith("/data")
        other.close()
    finally:
        device._link.execute("umount -l /data/local/tmp", timeout_s=20)
        device.close()


def test_a_reboot_during_a_run_is_a_lost_device(boot: Callable[..., Any], ssh_home: Path) -> None:
    machine = boot("--mem", "128")
    machine.knows(ssh_home)
    device = ssh_device(machine.ssh_address)
    pid = int((machine.known_hosts.parent / "pid").read_text())
    later(1.0, lambda: os.kill(pid, signal.SIGKILL))
    with pytest.raises(Lost, match="was lost during running sleep"):
        device.run(["sleep", "30"], timeout_s=5)
    device.close()


# --- two kits ----------------------------------------------------------------------------------------------


def test_a_second_kit_on_this_host_is_told_who_holds_the_device(behind: Behind) -> None:
    with connect(behind.address), pytest.raises(Busy, match=f"in use by process {os.getpid()}"):
        _connect_at_once(behind.address)


def test_a_second_kit_on_another_host_is_told_who_holds_the_device(
    behind: Behind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(behind.address):
        monkeypatch.setenv("DEVICEKIT_CACHE_DIR", str(tmp_path / "other"))  # another host has other locks
        with pytest.raises(Busy, match=r"in use by \S+@\S+ for \d+ s"):
            _connect_at_once(behind.address)
        monkeypatch.undo()


def test_a_second_kit_waits_for_the_first(behind: Behind, tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with connect(behind.address, wait_s=60):
            order.append("second")

    with connect(behind.address):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(1.5)
        order.append("first")
    waiting.join(60)
    assert order == ["first", "second"]


@pytest.mark.parametrize("stale", ["another start", "out of time"])
def test_a_stale_lock_is_taken_over(behind: Behind, stale: str) -> None:
    with connect(behind.address) as device:
        boot = device.run(["cat", "/proc/sys/kernel/random/boot_id"], timeout_s=20).stdout.strip()
        now = int(device.run(["date", "+%s"], timeout_s=20).stdout)
        since, start = (now, "0-0-0") if stale == "another start" else (now - 100_000, boot)
        _replace_lock(device, f"{since} {start} somebody@elsewhere#1")
    with connect(behind.address, wait_s=0) as device:
        assert device.run(["true"], timeout_s=20).exit_code == 0


def test_a_lock_that_is_held_is_not_taken_over(behind: Behind) -> None:
    with connect(behind.address) as device:
        boot = device.run(["cat", "/proc/sys/kernel/random/boot_id"], timeout_s=20).stdout.strip()
        now = int(device.run(["date", "+%s"], timeout_s=20).stdout)
        _replace_lock(device, f"{now} {boot} somebody@elsewhere#1")
    with pytest.raises(Busy, match=r"in use by somebody@elsewhere for \d+ s"):
        _connect_at_once(behind.address)
    device = behind.open()
    device.run(["rm", "-f", "../lock", "../until"], timeout_s=20)
    device.close()


def _replace_lock(device: Device, text: str) -> None:
    """Leaves a lock that is not ours, which `connect` does not remove at its end."""
    device.run(["sh", "-c", f"rm -f ../until && ln -sfn '{text}' ../lock"], timeout_s=20)


def _connect_at_once(address: str) -> None:
    with connect(address, wait_s=0):
        pass
