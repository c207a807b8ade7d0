"""run_child against a real child process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from devicekit.child import ChildFailed, run_child
from devicekit.errors import ConvertError, UsageError

MODULE = "misbehaving"
pytestmark = pytest.mark.usefixtures("own_children")


@pytest.fixture(autouse=True)
def _find_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "children"))


def test_a_python_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICEKIT_PYTHON", "/no/such/python")
    with pytest.raises(UsageError) as caught:
        list(run_child(MODULE, {}, timeout_s=60))
    assert caught.value.message == "/no/such/python cannot be run: No such file or directory"
    assert caught.value.remedy == "unset DEVICEKIT_PYTHON, or name a Python with devicekit"


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_events_arrive_and_what_libraries_print_does_not_disturb_them() -> None:
    events = list(run_child(MODULE, {"do": "echo", "say": "ä\n"}, timeout_s=20))
    assert events[1:] == [{"said": "ä\n"}]


def test_a_crash_names_the_signal() -> None:
    with pytest.raises(ChildFailed, match=r"crashed \(SIGSEGV\)") as caught:
        list(run_child(MODULE, {"do": "segfault"}, timeout_s=20))
    assert caught.value.reason == "crashed"


def test_silence_ends_the_child_and_all_that_it_started() -> None:
    pids = []
    with pytest.raises(ChildFailed, match="no progress for 2 s") as caught:
        for event in run_child(MODULE, {"do": "sleep"}, timeout_s=2):
            pids += event.values()
    assert caught.value.reason == "timed out"
    assert len(pids) == 2 and all(is_gone(pid) for pid in pids)


def test_leaving_the_loop_ends_the_child() -> None:
    events = run_child(MODULE, {"do": "sleep"}, timeout_s=60)
    pids = [next(events)["pid"], next(events)["grandchild"]]
    events.close()
    assert all(is_gone(pid) for pid in pids)


@pytest.mark.parametrize("end", ["crash", "raise"])
def test_what_a_child_started_ends_with_it(end: str) -> None:
    pids = []
    with pytest.raises((ChildFailed, ConvertError)):
        for event in run_child(MODULE, {"do": "leave behind", "then": end}, timeout_s=20):
            pids += event.values()
    assert len(pids) == 2 and all(is_gone(pid) for pid in pids)


def test_what_a_failed_child_printed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="devicekit.child")
    with pytest.raises(ConvertError):
        list(run_child(MODULE, {"do": "raise"}, timeout_s=20))
    assert caplog.messages == [f"{MODULE} printed last:\na library explains"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory limits need Linux: run this test there")
def test_a_limit_above_the_systems_own_is_the_systems() -> None:
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (2**33, 2**33))\n"
        "from devicekit.child import run_child\n"
        f"print(*run_child({MODULE!r}, {{'do': 'tell limit'}}, timeout_s=20, memory_bytes=2**34))"
    )
    printed = subprocess.run([sys.executable, "-c", limited], check=True, capture_output=True, text=True)
    assert "{'limit': 8589934592}" in printed.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="memory limits need Linux: run this test there")
def test_memory_is_limited() -> None:
    with pytest.raises(ChildFailed, match="needs more than 200 MiB") as caught:
        list(
            run_child(
                MODULE, {"do": "eat memory", "bytes": 400 * 2**20}, timeout_s=20, memory_bytes=200 * 2**20
            )
        )
    assert caught.value.reason == "out of memory"


def test_an_error_arrives_as_the_class_that_was_raised() -> None:
    with pytest.raises(ConvertError) as caught:
        list(run_child(MODULE, {"do": "raise"}, timeout_s=20))
    assert (caught.value.message, caught.value.remedy) == ("m.h5 does not convert: a reason", "do this")
    assert caught.value.exit_code == 3


def test_an_exception_is_a_crash_with_its_last_line() -> None:
    with pytest.raises(ChildFailed, match="KeyError: 'missing'"):
        list(run_child(MODULE, {"do": "traceback"}, timeout_s=20))


def test_modules_in_the_current_folder_do_not_shadow_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    assert len(list(run_child(MODULE, {"do": "echo", "say": ""}, timeout_s=20))) == 2
    assert os.path.exists("json.py")
