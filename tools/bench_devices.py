"""The benchmarks that need endpoints: a loopback sshd, a real adbd here, the emulated arm64 machine.

Each has its own adb server and home, and ends what it started.
"""

import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
TOOLS = ROOT / "tools" / "emulated-device"
BUILT = Path(
    os.environ.get("DEVICEKIT_EMULATED")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "devicekit-emulated"
)
DIGITS = ROOT / "tests" / "data" / "digits.float32.tflite"
MIB = 2**20
Say = Callable[..., None]

# One push in a process of its own, and what that took: seconds and the most memory, in MiB.
PUSH = """
import sys, time
from pathlib import Path
from devicekit.device.connect import connect
with connect(sys.argv[1], keep=True) as device:
    start = time.perf_counter()
    device.push(Path(sys.argv[2]), "bench")
    took = time.perf_counter() - start
# Not ru_maxrss, which begins with that of the process that started this one.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(took, int(status["VmHWM"].split()[0]) / 1024)
"""


@contextmanager
def own_home() -> Iterator[dict[str, str]]:
    """Yields an environment with a home and an adb server of its own, which is ended."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        server.close()
        (Path(folder) / ".ssh").mkdir(mode=0o700)
        env = {**os.environ, "HOME": folder, "ANDROID_ADB_SERVER_PORT": port}
        env |= {"DEVICEKIT_EMULATED": str(BUILT), "DEVICEKIT_CACHE_DIR": str(ROOT / ".cache" / "bench-kit")}
        try:
            yield env
        finally:
            subprocess.run(["adb", "kill-server"], env=env, capture_output=True, check=False)


def tool(env: dict[str, str], running: ExitStack, name: str, *argv: str) -> dict[str, Any]:
    """Starts an endpoint; it ends with `running`."""
    command = [TOOLS / name, str(BUILT), *argv]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    stop = [TOOLS / "stop.sh", str(BUILT), str(found["pid"])]
    running.callback(subprocess.run, stop, capture_output=True, check=False)
    return found


def start_sshd(env: dict[str, str], running: ExitStack) -> tuple[str, list[str]]:
    """Starts an sshd here; returns its address, and the options that take OpenSSH's clients there."""
    home = Path(env["HOME"])
    ssh, etc = home / ".ssh", home / "etc"
    etc.mkdir()
    for key in (ssh / "id_ed25519", etc / "host"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
        subprocess.run(command, check=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (etc / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {etc}/host\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {ssh}/id_ed25519.pub\nPidFile none\nSubsystem sftp internal-sftp\n"
        f"SetEnv HOME={home}\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", str(etc / "config")])
    running.callback(process.kill)
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {(etc / 'host.pub').read_text()}")
    options = ["-F", "none", "-i", f"{ssh}/id_ed25519", "-o", f"UserKnownHostsFile={ssh}/known_hosts"]
    time.sleep(0.5)
    return f"ssh://root@127.0.0.1:{port}", [*options, "-P", str(port), "root@127.0.0.1"]


def knows(env: dict[str, str], machine: dict[str, Any]) -> list[str]:
    """Gives the home the machine's keys; returns the options that take OpenSSH's clients there."""
    ssh = Path(env["HOME"]) / ".ssh"
    (ssh / "config").write_text(f"Host *\n  IdentityFile {machine['key']}\n")
    with (ssh / "known_hosts").open("a") as known:
        known.write(Path(machine["known_hosts"]).read_text())
    options = ["-F", "none", "-i", machine["key"], "-o", f"UserKnownHostsFile={machine['known_hosts']}"]
    return [*options, "-P", str(machine["ssh_port"]), "root@127.0.0.1"]


def ours(env: dict[str, str], address: str, file: Path) -> tuple[float, float]:
    """Returns the seconds of a push by the kit, and the most memory of its process in MiB."""
    done = subprocess.run(
        [PYTHON, "-c", PUSH, address, str(file)], env=env, capture_output=True, text=True, check=True
    )
    took, memory = done.stdout.split()
    return float(took), float(memory)


def timed(argv: list[str], env: dict[str, str], *, text: str = "") -> float:
    start = time.perf_counter()
    subprocess.run(argv, env=env, input=text, capture_output=True, text=True, check=True)
    return time.perf_counter() - start


def push(say: Say) -> None:
    """Push throughput against `adb push` and `sftp put` of the same file to the same endpoint."""
    with own_home() as env, ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder) / "large", Path(folder) / "small"
        large.write_bytes(os.urandom(MIB) * 100)
        small.write_bytes(os.urandom(MIB) * 20)
        adbd = tool(env, running, "run-host-adbd.sh")
        machine = tool(env, running, "run.sh", "--mem", "256", "--image", "python")
        address, sftp = start_sshd(env, running)
        board = knows(env, machine)
        for name, where, file, plain in (
            ("adb, this host", f"adb:127.0.0.1:{adbd['adb_port']}", large, None),
            ("adb, emulated", f"adb:127.0.0.1:{machine['adb_port']}", large, None),
            ("ssh, this host", address, large, sftp),
            ("ssh, emulated", f"ssh://root@127.0.0.1:{machine['ssh_port']}", small, board),
        ):
            ours(env, where, small)  # connects
            pairs = []
            for _ in range(3):
                mine = ours(env, where, file)[0]
                if plain is None:
                    argv = ["adb", "-s", where[4:], "push", str(file), "/data/local/tmp/plain"]
                    theirs = timed(argv, env)
                else:
                    argv = ["sftp", "-q", "-b", "-", *plain]
                    theirs = timed(argv, env, text=f"put {file} /tmp/devicekit-bench-plain\n")
                pairs.append((mine, theirs))
            a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
            size = file.stat().st_size / 1e6
            words = f"plain / ours: {b / a:.2f} (goal ≥ 0.8; {size / a:.0f} MB/s)"
            say("push", f"{name}, {size:.0f} MB: {words}", met=b / a >= 0.8)
        Path("/tmp/devicekit-bench-plain").unlink(missing_ok=True)


BY_HAND = """
set -e
adb -s $1 push $2 /data/local/tmp/hand/ >/dev/null
adb -s $1 shell "cd /data/local/tmp/hand && python3 -I -S -B board_script.py lib=./libLiteRt.so \\
model={model} warmup=warmup.tflite runs=1 min_s=0 warmup_runs=0 warmup_s=0"
"""

# The command's own steps, with the time at which the run that holds the first inference is back.
BY_KIT = """
import sys, time
from devicekit import measure
from devicekit.device.connect import connect

class Watched:
    def __init__(self, device):
        self.device = device
    def __getattr__(self, name):
        return getattr(self.device, name)
    def run(self, argv, *, timeout_s):
        done = self.device.run(argv, timeout_s=timeout_s)
        if "board_script.py" in argv and "-S" in argv:
            self.at = time.time()
        return done

with connect(sys.argv[1], keep=True) as device:
    watched = Watched(device)
    found = measure(sys.argv[2], device=watched)
print(watched.at - sum(found.latency.samples_us) / 1e6)
"""


def first_inference(say: Say) -> None:
    """From the command on a cached artifact to its first inference, against adb's own steps by hand."""
    with own_home() as env, ExitStack() as running:
        machine = tool(env, running, "run.sh", "--mem", "256", "--image", "python")
        serial = f"127.0.0.1:{machine['adb_port']}"
        kit = [str(PYTHON), "-c", BY_KIT, f"adb:{serial}", str(DIGITS)]
        subprocess.run(kit, env=env, capture_output=True, check=True)  # what lies there stays
        there = "mkdir -p hand && cp devicekit/run/* hand/"
        subprocess.run(["adb", "-s", serial, "shell", f"cd /data/local/tmp && {there}"], env=env, check=True)
        script = BY_HAND.format(model=DIGITS.name)
        pairs = []
        for _ in range(5):
            start = time.time()
            done = subprocess.run(kit, env=env, capture_output=True, text=True, check=True)
            theirs = timed(["bash", "-c", script, "-", serial, str(DIGITS)], env)
            pairs.append((float(done.stdout) - start, theirs))
        a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
        words = f"{a - b:.1f} s more to the first inference than by hand"
        words += f" (goal ≤ 2; {a:.1f} / {b:.1f} s)"
        say("deploy", f"measure on the emulated machine: {words}", met=a - b <= 2)


def memory(say: Say) -> None:
    """The most memory of the kit while it pushes 500 MB."""
    with own_home() as env, ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "huge"
        with file.open("wb") as out:
            for _ in range(500):
                out.write(os.urandom(10**6))
        adbd = tool(env, running, "run-host-adbd.sh")
        address, _ = start_sshd(env, running)
        for name, where in (("adb", f"adb:127.0.0.1:{adbd['adb_port']}"), ("ssh", address)):
            most = ours(env, where, file)[1]
            most = most * MIB / 1e6
            say("memory", f"pushing 500 MB over {name}: {most:.0f} MB (goal < 120 MB)", met=most < 120)
