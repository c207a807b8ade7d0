import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from devicekit.device.inventory import read_fleet
from devicekit.errors import NoDevice, UnknownProfile, UsageError
from devicekit.fleet.state import fleet_state, write_fleet
from devicekit.report.text import render


def test_every_device_says_how_it_is(make_fleet: Callable[..., Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    fleet = make_fleet(
        a="pixel7 fake:a",
        here="pixel7 host",
        far=f"pixel7 adb+tcp://127.0.0.1:{port}/X1",
        b="pixel3 ssh://x@127.0.0.1:1",
    )
    state = fleet_state(fleet)
    assert [row.found.state for row in state.rows] == ["ready", "ready", "unusable", "unreachable"]
    text = render(state)
    assert "2 of 4 devices ready" in text and "ssh -N -L" in " ".join(text.split())
    assert all(len(line) <= 100 for line in text.splitlines())
    assert [row.entry.name for row in fleet_state(fleet, "profile=pixel3").rows] == ["b"]


def test_a_first_file_with_nothing_attached(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    with pytest.raises(NoDevice, match="no device is attached") as caught:
        write_fleet(path)
    assert "--host PROFILE" in caught.value.remedy and not path.exists()
    with pytest.raises(UnknownProfile):
        write_fleet(path, host="pixle7")
    assert write_fleet(path, host="pixel7") == ()
    [entry] = read_fleet(path)
    assert (entry.name, entry.profile, entry.address, entry.tags) == (
        "this-host",
        "pixel7",
        "host",
        ("host",),
    )
    with pytest.raises(UsageError, match="exists already"):
        write_fleet(path, host="pixel7")
    with pytest.raises(UsageError, match="No such file"):
        write_fleet(tmp_path / "none" / "fleet.toml", host="pixel7")
