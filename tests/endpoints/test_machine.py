"""The emulated arm64 machine: deployments over adb and ssh, heat, governors, and too little memory."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devicekit import deploy, measure
from devicekit.cache import sha256_file
from devicekit.device import health
from devicekit.device.connect import connect
from devicekit.errors import DeviceOutOfMemory, NotReady, WrongOutput
from devicekit.measurement import Gate, Plan
from devicekit.runner.measure import RunnableModel, measure_model
from devicekit.runner.measuring import Measuring
from devicekit.runner.reference import reference
from devicekit.testing import warmup_model, write_hungry_model

pytestmark = [pytest.mark.endpoint, pytest.mark.slow]
QUICK = Plan(warmup_runs=1, warmup_s=0, min_runs=10, min_s=0.2, timeout_s=120)


@pytest.fixture(params=["machine_adb", "machine_ssh"])
def machine_over(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


# --- the main job ------------------------------------------------------------------------------------------


def test_the_main_job_on_a_device(machine_over: Any, data: Path, tmp_path: Path) -> None:
    profile = "pixel7" if machine_over.address.startswith("adb:") else "raspberrypi4"
    done = deploy(
        data / "digits.h5",
        profile,
        data=str(data / "digits.npz"),
        recipes=("float32", "int8"),
        device=machine_over.address,
        folder=tmp_path / "out",
    )
    assert done.error is None and done.chosen is not None
    assert (done.device.address, done.evidence) == (machine_over.address, "emulated")
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (document["evidence"], document["device"]["abi"]) == ("emulated", "aarch64")
    by_recipe = {one.recipe: one.measurement for one in done.candidates}
    for recipe, bound in (("int8", 0), ("float32", 1e-4)):
        measurement = by_recipe[recipe]
        assert measurement is not None and measurement.runner == "script"
        assert measurement.conditions["verified"]["max_difference"] <= bound
        assert measurement.latency.count >= 10
        assert measurement.limits[-1] == "pinned to 1 CPU"
        assert measurement.memory.must_have_bytes and measurement.memory.base_bytes
    assert by_recipe["int8"] and by_recipe["float32"]
    device = machine_over.open()
    assert device.run(["ls"], timeout_s=20).stdout == ""  # nothing is left


def test_a_model_is_measured_without_deploying_and_checked_against_this_host(
    machine_over: Any, data: Path
) -> None:
    command = ["measure", str(data / "digits.float32.tflite"), "--device", machine_over.address, "-q"]
    done = subprocess.run(
        [sys.executable, "-c", "from devicekit.cli import main; main()", *command, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["evidence"] == "emulated"
    assert document["conditions"]["verified"]["max_difference"] <= 1e-4
    assert document["conditions"]["before"]["load_average"] is not None


def test_what_lies_there_already_is_not_sent_again(machine_over: Any, data: Path) -> None:
    model = RunnableModel(data / "digits.float32.tflite", sha256_file(data / "digits.float32.tflite"))
    for expected in (True, False):
        device = machine_over.open(keep=True)
        pushed: list[str] = []
        measure_model(_Counting(device, pushed), model, QUICK)
        assert bool(pushed) == expected
        device.close()
    machine_over.open().close()


class _Counting:
    """A device that notes what is pushed to it."""

    def __init__(self, device: Any, pushed: list[str]) -> None:
        self._device, self._pushed = device, pushed

    def push(self, local: Path, remote: str) -> None:
        self._pushed.append(remote)
        self._device.push(local, remote)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


def test_outputs_that_differ_name_the_tensor(machine_over: Any, data: Path, tmp_path: Path) -> None:
    model = data / "digits.float32.tflite"
    image = np.zeros((1, 8, 8, 1), np.float32)
    np.savez(tmp_path / "golden.npz", **{"in/image": image, "out/digit": np.zeros((1, 10), np.float32)})
    device = machine_over.open()
    with pytest.raises(WrongOutput, match=r"outputs on .* differ from the reference by .*\(output digit\)"):
        measure_model(device, RunnableModel(model, sha256_file(model), tmp_path / "golden.npz"), QUICK)


def test_an_older_libc_gets_the_older_library_and_computes_the_same(machine_adb: Any, data: Path) -> None:
    model = data / "digits.float32.tflite"
    device = _Saying(machine_adb.open(), libc="glibc 2.31")
    with reference(model, device.describe()) as golden:
        found = measure_model(device, RunnableModel(model, sha256_file(model), golden), QUICK)
    assert found.runtime_version and not found.runtime_version.startswith("2.3.0")
    assert found.conditions["verified"]["max_difference"] <= 1e-4


class _Saying:
    """A device that says something else about itself."""

    def __init__(self, device: Any, **said: Any) -> None:
        self._device, self._said = device, said

    def describe(self) -> Any:
        return replace(self._device.describe(), **self._said)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


def test_a_sustained_run_has_a_trace_and_a_rate(machine_adb: Any, data: Path) -> None:
    found = measure(
        data / "digits.float32.tflite",
        device=machine_adb.address,
        measuring=Measuring(sustain_s=6.0, rate_hz=20.0),
    )
    assert found.pace == "20 inferences per second, for 6 s"
    assert len(found.trace) >= 4
    assert sum(point.count for point in found.trace) == found.latency.count
    assert 60 <= found.latency.count <= 121  # at most 20 per second, whatever else the machine does


# --- heat, batteries and governors -------------------------------------------------------------------------


@pytest.fixture
def thermal(machine_adb: Any) -> Iterator[Callable[..., Any]]:
    """Returns a function that changes a word in what the phone's services say."""
    device = machine_adb.open()
    folder = "/etc/devicekit-fake"
    device.run(["cp", "-r", folder, "/tmp/as-it-was"], timeout_s=20)

    def change(service: str, old: str, new: str) -> Any:
        done = device.run(["sed", "-i", f"s/{old}/{new}/", f"{folder}/{service}.txt"], timeout_s=20)
        assert done.exit_code == 0, done
        return device

    yield change
    device.run(["sh", "-c", f"cp /tmp/as-it-was/* {folder}/; rm -r /tmp/as-it-was"], timeout_s=20)


def test_a_condition_is_what_the_phone_says(machine_adb: Any) -> None:
    found = health.condition(machine_adb.open())
    assert (found.hottest_c, found.battery_percent, found.is_charging, found.throttled) == (
        38.0,
        85,
        True,
        None,
    )
    assert found.load_average is not None


def test_a_hot_phone_is_waited_for_and_then_refused(thermal: Callable[..., Any]) -> None:
    device = thermal("thermalservice", "mValue=38.0", "mValue=71.5")
    with pytest.raises(NotReady) as caught:
        health.ready(device, "adb:it", Gate(wait_s=1.0))
    assert caught.value.message == "adb:it is not ready after 1 s of waiting: 72 °C, starts below 60 °C"
    assert health.ready(device, "adb:it", Gate(start_below_c=80)).hottest_c == 71.5


def test_a_phone_that_cools_down_is_measured(thermal: Callable[..., Any]) -> None:
    device = thermal("thermalservice", "mValue=38.0", "mValue=71.5")
    script = "(sleep 3; sed -i s/71.5/40.0/ /etc/devicekit-fake/thermalservice.txt) >/dev/null 2>&1"
    device.run(["sh", "-c", f"setsid sh -c '{script}' & sleep 1"], timeout_s=20)
    assert health.ready(device, "adb:it", Gate(wait_s=60)).hottest_c == 40.0


def test_an_empty_battery_is_not_waited_for(thermal: Callable[..., Any]) -> None:
    thermal("battery", "USB powered: true", "USB powered: false")
    device = thermal("battery", "level: 85", "level: 9")
    with pytest.raises(NotReady, match=r"battery at 9 %, starts from 20 %, and it is not charging"):
        health.ready(device, "adb:it", Gate(wait_s=600))


def test_a_phone_that_throttles_says_so_in_the_verdict(thermal: Callable[..., Any]) -> None:
    device = thermal("thermalservice", "Thermal Status: 0", "Thermal Status: 0")
    # Outputs are there when the repeats begin: the gate has been passed.
    script = "until ls *out0.bin; do sleep 0.2; done; sed -i 's/Status: 0/Status: 3/' "
    script += "/etc/devicekit-fake/thermalservice.txt"
    device.run(["sh", "-c", f'setsid sh -c "{script}" >/dev/null 2>&1 & sleep 1'], timeout_s=20)
    plan = replace(QUICK, min_s=5.0, rate_hz=20.0)
    found = measure_model(device, RunnableModel(warmup_model(), sha256_file(warmup_model())), plan)
    assert found.stability == "throttled (the device says: thermal status severe)"


@pytest.fixture
def governed(machine_ssh: Any) -> Iterator[Any]:
    """Gives the machine, which has no cpufreq, files in its place; they keep what is written into them."""
    device = machine_ssh.open()
    folder = "/sys/devices/system/cpu/cpu0/cpufreq"
    device._link.execute(
        "mount -t tmpfs none /sys/devices/system/cpu && mkdir -p "
        f"{folder} && echo schedutil >{folder}/scaling_governor",
        timeout_s=20,
    )
    yield device
    device._link.execute("umount -l /sys/devices/system/cpu", timeout_s=20)


def governor(device: Any) -> str:
    answer = device._link.execute("cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", timeout_s=20)
    return str(answer.decode().strip())


def test_a_governor_is_pinned_for_the_run_and_put_back(governed: Any) -> None:
    with health.pinned_governor(governed, "performance") as notes:
        assert (notes, governor(governed)) == ((), "performance")
    assert governor(governed) == "schedutil"
    with health.pinned_governor(governed, None):
        assert governor(governed) == "schedutil"


def test_a_governor_that_a_lost_run_left_pinned_is_put_back_by_the_next(
    governed: Any, machine_ssh: Any
) -> None:
    pinned = health.pinned_governor(governed, "performance")
    pinned.__enter__()  # and the link is lost
    assert governor(governed) == "performance"
    with connect(machine_ssh.address, wait_s=0):
        assert governor(governed) == "schedutil"


def test_a_governor_that_may_not_be_set_is_a_note(governed: Any) -> None:
    governed._link.execute("mount -o remount,ro /sys/devices/system/cpu", timeout_s=20)
    with health.pinned_governor(governed, "performance") as notes:
        assert notes == ("the governor is not performance: setting it is not permitted, it stays schedutil",)


def test_without_cpufreq_there_is_nothing_to_pin(machine_ssh: Any) -> None:
    with health.pinned_governor(machine_ssh.open(), "performance") as notes:
        assert notes == ("the governor is not performance: the device has no cpufreq",)


# --- memory ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_machine(boot: Callable[..., Any]) -> Any:
    return boot("--mem", "128")


@pytest.fixture(params=["adb", "ssh"])
def small_device(small_machine: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "ssh":
        small_machine.knows(request.getfixturevalue("ssh_home"))
        address = small_machine.ssh_address
    else:
        request.getfixturevalue("adb_server")
        address = small_machine.adb_address
    with connect(address) as device:
        yield device


@pytest.mark.parametrize(
    ("mib", "end"), [(90, r", ended while it held \d+ MiB"), (128, "")], ids=["killed", "refused"]
)
def test_out_of_memory_is_told_with_what_was_needed_and_what_was_there(
    small_device: Any, mib: int, end: str, tmp_path: Path
) -> None:
    """The kernel kills what takes too much bit by bit, and refuses what asks for too much at once."""
    large = write_hungry_model(tmp_path / "large.tflite", mib=mib)
    with pytest.raises(DeviceOutOfMemory) as caught:
        measure_model(small_device, RunnableModel(large, sha256_file(large)), QUICK)
    address = re.escape(small_device.describe().address)
    wanted = rf"large\.tflite ran out of memory on {address} during [a-z ]+: it needs (\d+) MiB, "
    found = re.fullmatch(rf"{wanted}available were \d\d MiB{end}", caught.value.message)
    assert found, caught.value.message
    assert abs(int(found[1]) - mib) <= 2
    # The device goes on.
    small = RunnableModel(warmup_model(), sha256_file(warmup_model()))
    assert measure_model(small_device, small, QUICK).latency.count >= 10
