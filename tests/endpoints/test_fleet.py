"""A fleet of real endpoints: an adbd, another host's adb server, a board over ssh, and this host."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devicekit.device.adb import server_of
from devicekit.device.connect import connect
from devicekit.errors import DeviceError, NoDevice, UsageError
from devicekit.fleet.outcome import run_report
from devicekit.fleet.run import fleet_run
from devicekit.fleet.state import fleet_state, write_fleet
from devicekit.store.open import open_store
from tests.endpoints.test_discover import write_fleet as write

pytestmark = pytest.mark.endpoint


@pytest.fixture
def other_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Another adb server, as another host would run it: 127.0.0.1 and a port of its own."""
    from adbutils import adb_path

    from tests.endpoints.conftest import free_port

    port = free_port()
    home = tmp_path / "other-home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "ANDROID_ADB_SERVER_PORT": str(port)}
    subprocess.run([adb_path(), "start-server"], env=environment, check=True, capture_output=True, timeout=60)
    yield "127.0.0.1", port
    subprocess.run([adb_path(), "kill-server"], env=environment, check=False, timeout=30)


def test_a_device_of_another_host_s_server_is_a_device(
    host_adbd: Any, other_server: tuple[str, int], adb_server: int, tmp_path: Path
) -> None:
    host, port = other_server
    address = f"adb+tcp://{host}:{port}/127.0.0.1:{host_adbd.port}"
    (tmp_path / "file").write_bytes(b"bytes")
    with connect(address) as device:
        device.push(tmp_path / "file", "file")
        assert device.run(["cat", "file"], timeout_s=30).stdout == "bytes"
        assert device.describe().address == address
        device.pull("file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"bytes"
    from devicekit.device.adb import states

    assert f"127.0.0.1:{host_adbd.port}" not in states()  # this machine's server has nothing of it


def test_what_is_not_there_is_said(other_server: tuple[str, int], adb_server: int) -> None:
    host, port = other_server
    with pytest.raises(NoDevice, match="no such device is attached"), connect(f"adb+tcp://{host}:{port}/X1"):
        pass
    refused = pytest.raises(DeviceError, match=r"the adb server at 127\.0\.0\.1:1 does not answer")
    with refused, connect("adb+tcp://127.0.0.1:1/X1"):
        pass


@pytest.mark.parametrize(
    "address", ["adb+tcp://h/X", "adb+tcp://h:0/X", "adb+tcp://h:99999/X", "adb+tcp://h:5037/"]
)
def test_what_is_no_address_of_a_server(address: str) -> None:
    with pytest.raises(UsageError, match="names no device of an adb server"):
        server_of(address)


@pytest.mark.slow
def test_a_fleet_of_every_transport_is_measured_at_once(
    host_adbd: Any, adb_server: int, ssh: Any, tmp_path: Path, data: Path
) -> None:
    fleet = write(
        tmp_path / "lab.toml",
        ("phone", "pixel7", host_adbd.address),
        ("board", "raspberrypi4", ssh.address),
        ("here", "pixel7", "host"),
        ("shelf", "pixel3", "adb:NOT-THERE"),
    )
    states = {row.entry.name: row.found.state for row in fleet_state(fleet).rows}
    assert states == {"phone": "ready", "board": "ready", "here": "ready", "shelf": "unreachable"}
    run = fleet_run([data / "digits.float32.tflite"], fleet=fleet, store=tmp_path / "r.db", rounds=3)
    with open_store(tmp_path / "r.db") as store:
        report = run_report(store, run)
    found = {row.cell.device: row for row in report.rows}
    assert found["shelf"].why == "adb:NOT-THERE: no such device is attached"
    for name in ("board", "here"):
        taken = found[name].cell.taken
        assert taken and taken.typical_us > 0 and taken.must_have_bytes and len(taken.rounds_us or ()) == 3, (
            name
        )
    assert found["here"].cell.taken and found["here"].cell.taken.evidence == "simulated"


def test_a_first_fleet_file_is_of_what_is_attached(simulated: Callable[..., Any], tmp_path: Path) -> None:
    phone = simulated()
    phone.open().close()
    write_fleet(tmp_path / "fleet.toml")
    [row] = fleet_state(tmp_path / "fleet.toml").rows
    assert (row.entry.name, row.profile.name, row.entry.address) == ("pixel-7", "pixel7", phone.address)
