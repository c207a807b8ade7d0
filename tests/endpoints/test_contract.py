"""What every device keeps, whatever carries its bytes."""

import os
import secrets
from pathlib import Path
from typing import Any

import psutil
import pytest

from devicekit import progress
from devicekit.device.seam import Device
from devicekit.errors import MeasurementError

NAMES = ["model.tflite", "a name", "it's", 'say "x"', "$HOME", "sub/folder/é.bin", "-f", "a;b&c|d", "*"]
ARGUMENTS = [
    "a b",
    "it's",
    '"',
    "$HOME",
    "`id`",
    "*",
    "",
    "a\nb",
    "é",
    ";",
    "-n",
    "\\",
    "\\n",
    "#",
    "!x",
    "~",
]


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[float, float | None]] = []

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        self.seen.append((done, total))


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_comes_back_under_any_name(any_device: Device, tmp_path: Path, name: str) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(bytes(range(256)) * 3)
    any_device.push(sent, name)
    any_device.pull(name, back)
    assert back.read_bytes() == sent.read_bytes()


def test_push_replaces_what_is_there(any_device: Device, tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"a longer first content", b"second", b""):
        file.write_bytes(content)
        any_device.push(file, "x")
    any_device.pull("x", file)
    assert file.read_bytes() == b""


def test_pulling_what_is_not_there_is_one_clear_error(any_device: Device, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"there is no file nothing\.bin"):
        any_device.pull("nothing.bin", tmp_path / "x")


def test_a_program_that_does_not_exist_ends_with_127(any_device: Device) -> None:
    done = any_device.run(["devicekit-no-such-program"], timeout_s=20)
    assert (done.exit_code, done.stdout, done.timed_out) == (127, "", False)
    assert "devicekit-no-such-program" in done.stderr


def test_facts_name_the_evidence_and_are_json(any_device: Device) -> None:
    facts = any_device.describe()
    assert facts.evidence in ("simulated", "emulated", "measured")
    assert facts.to_json()["address"] == facts.address


def test_closing_twice_is_fine(any_device: Device) -> None:
    any_device.close()
    any_device.close()


def test_arguments_arrive_unchanged(real_device: Device) -> None:
    done = real_device.run(["printf", "%s\\0", *ARGUMENTS], timeout_s=20)
    assert done.stdout.split("\0")[:-1] == ARGUMENTS


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_output_error_and_exit_code_come_apart(real_device: Device, code: int) -> None:
    done = real_device.run(["sh", "-c", f"echo out; echo err >&2; exit {code}"], timeout_s=20)
    assert (done.exit_code, done.stdout, done.stderr) == (code, "out\n", "err\n")


def test_output_that_is_no_text_does_not_break_the_run(real_device: Device) -> None:
    done = real_device.run(["printf", r"\000\377\200abc\r\n"], timeout_s=20)
    assert done.exit_code == 0
    assert done.stdout.endswith("abc\r\n")


def test_a_megabyte_of_output_arrives_whole(real_device: Device) -> None:
    done = real_device.run(["sh", "-c", "yes 0123456789abcde | head -n 65536"], timeout_s=60)
    assert done.stdout == "0123456789abcde\n" * 65536


def test_commands_start_where_pushed_files_are_and_programs_stay_programs(
    real_device: Device, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho ran in $(pwd)\n")
    program.chmod(0o755)
    real_device.push(program, "program")
    done = real_device.run(["./program"], timeout_s=20)
    assert done.stdout.startswith("ran in /"), done


def test_what_may_not_be_run_ends_with_126(real_device: Device, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("#!/bin/sh\necho ran\n")
    real_device.push(tmp_path / "text", "text")
    done = real_device.run(["./text"], timeout_s=20)
    assert (done.exit_code, done.stdout) == (126, "")
    assert "ermission denied" in done.stderr


def test_a_time_out_ends_the_command_and_all_that_it_started(real_device: Device) -> None:
    seconds = str(10**6 + secrets.randbelow(10**6))  # numbers of processes are used again
    family = "sleep $1 & echo started; sh -c 'sleep $1 & echo started; sleep $1' sh $1"
    done = real_device.run(["sh", "-c", family, "sh", seconds], timeout_s=2)
    assert (done.exit_code, done.timed_out) == (None, True)
    assert done.stdout == "started\n" * 2
    # What was killed ends when it is scheduled again, which on a busy machine is not at once.
    left = (
        "left() { for file in /proc/[0-9]*/cmdline; do "
        "[ \"$(tr '\\0' ' ' <$file)\" = \"sleep $1 \" ] && echo $file; done 2>/dev/null; }; "
        'for i in 1 2 3 4 5; do [ "$(left $1)" ] && sleep 1; done; left $1; true'
    )
    assert real_device.run(["sh", "-c", left, "sh", seconds], timeout_s=20).stdout == ""
    every = psutil.process_iter(["cmdline"])
    here = [process for process in every if process.info["cmdline"] == ["sleep", seconds]]
    assert psutil.wait_procs(here, timeout=5)[1] == []


def test_a_background_process_does_not_hold_a_run_up(real_device: Device) -> None:
    done = real_device.run(["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo started"], timeout_s=60)
    assert (done.exit_code, done.stdout) == (0, "started\n")


@pytest.mark.endpoint
def test_a_signal_is_told_by_its_name(real_device: Device) -> None:
    done = real_device.run(["sh", "-c", "kill -9 $$"], timeout_s=20)
    assert done.signal_name == "SIGKILL"


@pytest.mark.endpoint
def test_a_large_push_is_whole_and_shows_its_progress(endpoint: Any, tmp_path: Path) -> None:
    size = (100 if endpoint.files else 20) * 10**6  # the emulated machine takes its time
    large = tmp_path / "large"
    large.write_bytes(os.urandom(10**6) * (size // 10**6))
    device, watcher = endpoint.open(), Watcher()
    token = progress.current.set(watcher)
    try:
        device.push(large, "large")
    finally:
        progress.current.reset(token)
    counts = [done for done, total in watcher.seen if total == size]
    assert counts == sorted(counts) and counts[-1] == size and len(counts) > 10
    device.pull("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()


@pytest.mark.endpoint
def test_files_go_with_the_run_or_stay_on_request(endpoint: Any, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("kept")
    for keep, expected in ((True, "kept"), (False, None)):
        device = endpoint.open(keep=keep)
        device.push(tmp_path / "x", "x")
        device.close()
        assert endpoint.files is None or endpoint.files.exists() == keep
        again = endpoint.open()
        try:
            found = again.run(["cat", "x"], timeout_s=20)
            assert (found.stdout or None) == expected
        finally:
            again.close()
