import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from devicekit.device.local import LocalDevice
from devicekit.device.seam import Completed
from devicekit.errors import UsageError

# A child and a grandchild that outlive any patience; the grandchild's number is on stdout.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
WRITES_ITS_NUMBER = f"""
import os
with open("pid.part", "w") as file:
    file.write(str(os.getpid()))
os.rename("pid.part", "pid")
{FAMILY}"""


@pytest.fixture
def device() -> Iterator[LocalDevice]:
    device = LocalDevice()
    yield device
    device.close()


def run_python(device: LocalDevice, program: str, *arguments: str, timeout_s: float = 60) -> Completed:
    return device.run([sys.executable, "-c", program, *arguments], timeout_s=timeout_s)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ended(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return not is_running(pid)


def test_output_error_and_exit_code_come_apart(device: LocalDevice) -> None:
    done = run_python(device, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(5)")
    assert done == Completed(5, "out\n", "err\n")


@pytest.mark.parametrize("argument", ["a b", "it's", '"', "$HOME", "`id`", "*", "", "a\nb", "é", ";", "-n"])
def test_arguments_arrive_unchanged(device: LocalDevice, argument: str) -> None:
    done = run_python(device, "import sys; sys.stdout.write(repr(sys.argv[1:]))", argument)
    assert done.stdout == repr([argument])


def test_commands_start_where_pushed_files_are(device: LocalDevice, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("pushed")
    device.push(tmp_path / "x", "sub/x")
    assert run_python(device, "print(open('sub/x').read())").stdout == "pushed\n"


def test_output_that_is_no_text_does_not_break_the_run(device: LocalDevice) -> None:
    done = run_python(device, "import os; os.write(1, bytes(range(256)))")
    assert done.exit_code == 0
    assert len(done.stdout) > 128


def test_a_signal_is_named_as_python_and_as_a_shell_count_it(device: LocalDevice) -> None:
    done = run_python(device, "import os; os.abort()")
    assert done.signal_name == "SIGABRT"
    assert Completed(128 + signal.SIGKILL, "", "").signal_name == "SIGKILL"
    assert Completed(5, "", "").signal_name is None


def test_a_time_out_ends_the_command_and_all_that_it_started(device: LocalDevice) -> None:
    done = run_python(device, FAMILY, timeout_s=2)
    assert done.timed_out
    assert done.exit_code is None
    assert ended(int(done.stdout))


def test_ctrl_c_ends_the_command_and_removes_the_folder() -> None:
    """The interrupt goes to a process that measures: its commands have a group of their own."""
    program = f"""
import sys
import tempfile
from devicekit.device.connect import connect
with connect("host") as device:
    print(device._folder, flush=True)
    device.run([sys.executable, "-c", {WRITES_ITS_NUMBER!r}], timeout_s=600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout
    folder = Path(parent.stdout.readline().decode().strip())
    while not (folder / "pid").exists():
        assert parent.poll() is None
        os.sched_yield()
    child = int((folder / "pid").read_text())
    parent.send_signal(signal.SIGINT)
    try:
        parent.communicate(timeout=30)
    finally:
        parent.kill()
    assert ended(child)
    assert not folder.exists()


def test_closing_removes_the_folder(device: LocalDevice, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    device.push(tmp_path / "x", "x")
    folder = Path(run_python(device, "import os; print(os.getcwd())").stdout.strip())
    assert (folder / "x").exists()
    device.close()
    assert not folder.exists()


def test_it_describes_this_machine(device: LocalDevice) -> None:
    facts = device.describe()
    assert (facts.address, facts.kind, facts.evidence) == ("host", "host", "simulated")
    assert facts.cores == os.cpu_count()
    assert facts.ram_mib == psutil.virtual_memory().total // 2**20
    assert facts.abi == os.uname().machine
    assert facts.python == sys.executable


def test_it_finds_the_runtime_without_importing_it() -> None:
    program = """
import sys
import tempfile
from devicekit.device.local import LocalDevice
device = LocalDevice()
facts = device.describe()
device.close()
print(facts.runtime_library, facts.runtime_version, "ai_edge_litert" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    library, found, imported = done.stdout.split()
    assert Path(library).is_file()
    assert (found, imported) == (version("ai-edge-litert"), "False")


def test_another_address_is_refused() -> None:
    with pytest.raises(UsageError, match='"host:1" is no address of this machine'):
        LocalDevice("host:1")


def test_a_measurement_dies_with_its_parent_and_the_next_run_removes_its_folder(tmp_path: Path) -> None:
    """SIGKILL as SIGHUP leave the parent no time to clean up."""
    program = """
import sys
import tempfile
from devicekit.device.connect import connect
from devicekit.measurement import Plan
from devicekit.runner.measure import RunnableModel, measure_model
from devicekit.testing import warmup_model
with connect("host") as device:
    print(device._folder, flush=True)
    plan = Plan(min_s=600, max_s=600, max_runs=10**6)
    measure_model(device, RunnableModel(warmup_model(), "unknown"), plan)
"""
    environment = {**os.environ, "DEVICEKIT_CACHE_DIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout
    folder = Path(parent.stdout.readline().decode().strip())
    try:
        while not any(folder.glob("*out0.bin")):  # written before the repeats
            assert parent.poll() is None
            os.sched_yield()
        (child,) = psutil.Process(parent.pid).children()
    finally:
        parent.kill()
        parent.communicate()
    assert ended(child.pid)
    assert folder.exists()
    LocalDevice().close()
    assert not folder.exists()


def test_folders_of_running_processes_and_of_others_are_left_alone(device: LocalDevice) -> None:
    parent = Path(tempfile.gettempdir())
    number = max(psutil.pids()) + 10**8  # no process has it
    other = parent / f"devicekit-{number}"
    other.mkdir()
    try:
        LocalDevice().close()
        assert other.exists()
        assert device._folder.exists()
    finally:
        other.rmdir()
