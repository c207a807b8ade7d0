"""Probing real endpoints: the emulated arm64 machine over adb and ssh, and an adbd that talks nonsense."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devicekit import deploy, load_profile
from devicekit.device.matching import is_match
from devicekit.pipeline.probe import Probed, probe

pytestmark = pytest.mark.endpoint
# What is the machine's, however it is asked; over adb it passes for a phone, over ssh for a board.
OF_THE_MACHINE = ("device.cores", "device.clocks_mhz", "device.ram_mib", "device.libc", "runtime.threads")


def devicekit(*argv: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from devicekit.cli import main; main()", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_the_machine_says_the_same_over_adb_and_ssh(
    machine_adb: Any, machine_ssh: Any, tmp_path: Path
) -> None:
    found: dict[str, Probed] = {
        name: probe(endpoint.address, output=tmp_path / f"{name}.toml")
        for name, endpoint in (("adb", machine_adb), ("ssh", machine_ssh))
    }
    over_adb, over_ssh = (
        {one.key: (one.value, one.source) for one in each.values if one.key in OF_THE_MACHINE}
        for each in found.values()
    )
    assert over_adb == over_ssh and over_adb["device.cores"][0] == 1
    assert over_adb["device.libc"][0] == "glibc 2.36" and over_adb["device.ram_mib"][0] >= 256
    assert {one.unread for one in found.values()} == {("device.clocks_mhz",)}  # a virtual machine has none
    for each in found.values():
        assert [(one.delegate, one.failed) for one in each.trials] == [("xnnpack", None), ("none", None)]
        assert {one.runtime for one in each.trials} == {"2.3.0"}
        assert each.facts.evidence == "emulated" and each.facts.abi == "aarch64"
    assert (found["adb"].base, found["ssh"].base) == ("_android-arm64", "_linux-aarch64")
    for name, each in found.items():
        assert is_match(load_profile(tmp_path / f"{name}.toml"), each.facts)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["machine_adb", "machine_ssh"])
def test_deploy_runs_under_the_profile_that_was_probed(
    endpoint: str, request: pytest.FixtureRequest, data: Path, tmp_path: Path
) -> None:
    machine = request.getfixturevalue(endpoint)
    place = tmp_path / "vm.toml"
    done = devicekit("profile", "probe", "--device", machine.address, "-o", str(place), "-q")
    assert done.returncode == 0, done.stderr
    assert "written" in done.stdout and "not read      device.clocks_mhz" in done.stdout
    result = deploy(
        data / "digits.h5",
        place,
        data=str(data / "digits.npz"),
        recipes=("int8",),
        device=machine.address,
        folder=tmp_path / "out",
    )
    assert result.error is None and result.chosen is not None
    assert (result.profile.name, result.evidence) == ("vm", "emulated")
    measurement = next(one.measurement for one in result.candidates if one.recipe == "int8")
    assert measurement is not None and measurement.threads == 1
    assert not [note for note in measurement.notes if "is no vm" in note]
    assert measurement.conditions["verified"]["max_difference"] == 0


def test_a_phone_that_talks_nonsense(simulated: Callable[..., Any], tmp_path: Path) -> None:
    phone = simulated()
    phone.open().close()
    root = next(parent for parent in phone.files.parents if (parent / "default.prop").exists())
    (root / "default.prop").write_bytes(
        b'ro.build.version.release=14\nro.product.model=\x1b[31m"]: [../../x\nro.product.cpu.abi=\xff\xfe\n'
        b"ro.soc.model=" + b"S" * 9000 + b"\n=\n\x00\n"
    )
    done = devicekit("profile", "probe", "--device", phone.address, "-o", str(tmp_path / "odd.toml"), "-q")
    assert done.returncode == 0, done.stderr
    profile = load_profile(tmp_path / "odd.toml")
    assert profile.extends in ("_android", "_linux", "_linux-x86_64")
    assert "\x1b" not in (tmp_path / "odd.toml").read_text() and "\x1b" not in done.stdout
    [row] = json.loads(devicekit("devices", "--format", "json").stdout)
    assert (row["profile"], row["matches"]) == (None, [])
    assert f"`devicekit profile probe --device {phone.address}" in " ".join(
        devicekit("devices").stdout.split()
    )


def test_the_profile_goes_to_stdout_where_no_file_is_named(simulated: Callable[..., Any]) -> None:
    phone = simulated()
    phone.open().close()
    done = devicekit("profile", "probe", "--device", "auto", "-q")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("#:schema ./") and 'adb_model = ["Pixel 7"]' in done.stdout
    document = json.loads(devicekit("profile", "probe", "--format", "json", "-q").stdout)
    assert document["document"].splitlines()[5:] and document["matches"][0]["profile"] == "pixel7"


def test_nothing_attached_says_what_to_do(adb_server: int, ssh_home: Path) -> None:
    done = devicekit("profile", "probe")
    assert done.returncode == 4
    assert "error: auto: no device is attached" in done.stderr.splitlines()[-2]
