"""Finding and choosing devices, on real adb servers and a real sshd."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devicekit.device.connect import connect, refuse_unreachable
from devicekit.device.discover import choose, found_devices
from devicekit.device.inventory import read_fleet
from devicekit.errors import FleetError, NoDevice, NotUnique, Unauthorized, UsageError
from devicekit.profile.lookup import load_profile

pytestmark = pytest.mark.endpoint


def devicekit(*argv: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from devicekit.cli import main; main()", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def write_fleet(path: Path, *devices: tuple[str, str, str]) -> Path:
    tables = [f'[[device]]\nname = "{n}"\nprofile = "{p}"\naddress = "{a}"\n' for n, p, a in devices]
    path.write_text("\n".join(["schema = 1", *tables]))
    return path


@pytest.fixture
def phone(simulated: Callable[..., Any]) -> Any:
    """A phone that is attached: it says that it is a Pixel 7."""
    phone = simulated()
    phone.open().close()
    return phone


def test_an_attached_phone_is_listed_with_what_it_says(phone: Any) -> None:
    [row] = json.loads(devicekit("devices", "--format", "json").stdout)
    wanted = {
        "address": phone.address,
        "state": "ready",
        "model": "Pixel 7",
        "soc": "GS201",
        "os": "Android 14",
        "battery": 85,
        "profile": "pixel7",
    }
    assert {key: row[key] for key in wanted} == wanted
    assert row["temperature_c"] and row["ram_mib"] and row["abi"]


def test_the_list_is_aligned_and_no_wider_than_100_columns(phone: Any) -> None:
    lines = devicekit("devices").stdout.splitlines()
    assert max(map(len, lines)) <= 100
    header, row = lines[:2]
    assert header.index("state") == row.index("ready")
    assert header.index("model") == row.index("Pixel 7")


def test_nothing_attached_says_what_to_do(adb_server: int, ssh_home: Path) -> None:
    done = devicekit("devices")
    assert done.returncode == 0
    assert done.stdout.startswith("no device is attached, and no fleet file names one\n  → attach a phone")


def test_a_busy_device_is_not_disturbed(phone: Any) -> None:
    with connect(phone.address):
        [found] = found_devices(())
        assert (found.state, found.facts) == ("busy", None)


def test_the_fleet_is_listed_with_its_aliases(ssh: Any, adb_server: int, tmp_path: Path) -> None:
    with_ssh = os.environ["HOME"]
    fleet = write_fleet(
        tmp_path / "fleet.toml",
        ("board", "raspberrypi4", ssh.address),
        ("gone", "raspberrypi4", "ssh://root@127.0.0.1:9"),
    )
    os.environ["HOME"] = str(tmp_path / "client")  # that of ssh, not that of the adb server
    try:
        board, gone = found_devices(read_fleet(fleet))
    finally:
        os.environ["HOME"] = with_ssh
    assert (board.name, board.state, board.profile) == ("board", "ready", "raspberrypi4")
    assert board.facts and board.facts.abi == os.uname().machine
    assert (gone.name, gone.state) == ("gone", "unreachable")
    assert gone.error and gone.error.remedy


def test_auto_takes_the_device_that_matches_the_profile(phone: Any) -> None:
    assert choose(load_profile("pixel7"), "auto").address == phone.address


def test_auto_does_not_guess_between_two(phone: Any, simulated: Callable[..., Any]) -> None:
    other = simulated()
    other.open().close()
    with pytest.raises(NotUnique) as caught:
        choose(load_profile("pixel7"), "auto")
    first = sorted([phone.address, other.address])[0]
    assert caught.value.remedy == f"name one: --device {first}"


def test_auto_refuses_an_attached_device_of_another_kind(phone: Any) -> None:
    with pytest.raises(NoDevice) as caught:
        choose(load_profile("raspberrypi4"), "auto")
    assert caught.value.message == f"{phone.address}: is attached, and is no raspberrypi4: Pixel 7"
    assert "--device host" in caught.value.remedy


def test_auto_says_that_the_attached_phone_is_unauthorized(
    start_adbd: Callable[..., Any], adb_server: int, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.touch()
    phone = start_adbd(keys=keys)
    serial = phone.address.removeprefix("adb:")
    from adbutils import AdbClient, adb_path

    AdbClient(port=adb_server).connect(serial)
    try:
        [found] = found_devices(())
        assert found.state == "unauthorized"
        with pytest.raises(Unauthorized):
            choose(load_profile("pixel7"), "auto")
        done = devicekit("devices")
        assert "allow USB debugging" in " ".join(done.stdout.split())
    finally:
        subprocess.run([adb_path(), "disconnect", serial], check=False, capture_output=True)


def test_auto_is_this_host_where_nothing_is_attached_and_says_so(adb_server: int) -> None:
    chosen = choose(load_profile("pixel7"), "auto")
    assert (chosen.address, chosen.notes) == ("host", ("no device is attached: measured on this host",))


def test_an_address_needs_no_fleet_file_that_is_right(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "fleet.toml").write_text("schema = 7")
    monkeypatch.setenv("DEVICEKIT_FLEET", str(tmp_path / "fleet.toml"))
    assert choose(load_profile("pixel7"), "host").address == "host"
    with pytest.raises(FleetError):
        choose(load_profile("pixel7"), "desk")


def test_auto_never_means_a_stand_in_of_the_fleet_file(
    adb_server: int, tmp_path: Path, monkeypatch: Any
) -> None:
    fleet = write_fleet(tmp_path / "fleet.toml", ("here", "pixel7", "host"), ("made-up", "pixel7", "fake:x"))
    monkeypatch.setenv("DEVICEKIT_FLEET", str(fleet))
    chosen = choose(load_profile("pixel7"), "auto")
    assert (chosen.address, chosen.notes) == ("host", ("no device is attached: measured on this host",))
    assert [(choose(None, one).address, choose(None, one).name) for one in ("made-up", "fake:x", "host")] == [
        *(("fake:x", "made-up"), ("fake:x", None), ("host", None))
    ]


def test_a_serial_and_an_alias_are_addresses(phone: Any, tmp_path: Path, monkeypatch: Any) -> None:
    serial = phone.address.removeprefix("adb:")
    fleet = write_fleet(tmp_path / "fleet.toml", ("desk-pixel7", "pixel7", phone.address))
    monkeypatch.setenv("DEVICEKIT_FLEET", str(fleet))
    for name in (serial, "desk-pixel7", phone.address):
        assert choose(None, name).address == phone.address
    with pytest.raises(UsageError) as caught:
        choose(None, "desk-pixel6")
    assert caught.value.message == 'no device "desk-pixel6"; did you mean desk-pixel7?'


@pytest.mark.parametrize("address", ["adb:28161FDH2000A1", "ssh://root@127.0.0.1:9"])
@pytest.mark.parametrize("command", ["deploy", "measure"])
def test_a_named_device_that_does_not_answer_is_an_error_and_no_fallback(
    adb_server: int, data: Path, tmp_path: Path, address: str, command: str
) -> None:
    model = data / "digits.float32.tflite"
    options = ["-p", "pixel7", "-o", str(tmp_path / "out")] if command == "deploy" else []
    done = devicekit(command, str(model), *options, "--device", address, "-q")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"error: {address}: ")
    assert not (tmp_path / "out").exists()


def test_a_device_that_does_not_answer_is_told_before_the_long_work(
    adb_server: int, data: Path, tmp_path: Path
) -> None:
    address = "adb:28161FDH2000A1"
    done = devicekit("deploy", str(data / "digits.h5"), "-p", "pixel7", "--device", address)
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")  # and no line of progress before it


def test_looking_at_a_device_leaves_what_was_kept_there_and_nothing_else(phone: Any, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("kept")
    device = phone.open(keep=True)
    device.push(tmp_path / "x", "x")
    device.close()
    assert [found.state for found in found_devices(())] == ["ready"]
    refuse_unreachable(phone.address)
    assert (phone.files / "run" / "x").read_text() == "kept"
    phone.open().close()
    refuse_unreachable(phone.address)
    assert not phone.files.exists()


def test_a_device_that_is_another_is_a_note_or_with_strict_an_error(phone: Any, data: Path) -> None:
    model = str(data / "digits.float32.tflite")
    done = devicekit("measure", model, "-p", "raspberrypi4", "--device", phone.address, "-q", "--strict")
    assert done.returncode == 4
    assert done.stderr.startswith(f"error: {phone.address}: is no raspberrypi4: it is Pixel 7 (")


def test_doctor_finds_the_server_and_its_devices(phone: Any) -> None:
    done = devicekit("doctor", "--format", "json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert phone.address.removeprefix("adb:") + " device" in checks["adb"]["found"]
    assert all(check["state"] != "missing" or check["remedy"] for check in checks.values())
    text = devicekit("doctor").stdout
    assert max(map(len, text.splitlines())) <= 100


def test_doctor_says_what_is_missing(adb_server: int, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "fleet.toml").write_text("schema = 7\n")
    monkeypatch.setenv("DEVICEKIT_FLEET", str(tmp_path / "fleet.toml"))
    monkeypatch.setenv("DEVICEKIT_CACHE_DIR", "/proc/none")
    done = devicekit("doctor", "--format", "json")
    assert done.returncode == 4
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert [checks[name]["state"] for name in ("fleet", "cache")] == ["missing", "missing"]
    assert "DEVICEKIT_CACHE_DIR" in checks["cache"]["remedy"]


def test_errors_of_a_device_are_documents_too(adb_server: int, data: Path) -> None:
    model = str(data / "digits.float32.tflite")
    done = devicekit("measure", model, "--device", "adb:none", "--format", "json", "-q")
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], error["exit_code"], done.returncode) == ("NoDevice", 4, 4)
