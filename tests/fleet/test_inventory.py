from pathlib import Path

import pytest

from devicekit.errors import FleetError
from devicekit.fleet.inventory import Entry, fleet_path, read_fleet

GOOD = """schema = 1
[[device]]
name = "desk"
profile = "pixel7"
address = "adb:28161FDH2000A1"
tags = ["phone"]
note = "by the window"
[[device]]
name = "rack-1"
profile = "raspberrypi4"
address = "ssh://pi@10.0.0.7:2222"
"""


def test_a_fleet_is_its_devices(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(GOOD)
    assert read_fleet(tmp_path / "lab.toml") == (
        Entry("desk", "pixel7", "adb:28161FDH2000A1", ("phone",), "by the window"),
        Entry("rack-1", "raspberrypi4", "ssh://pi@10.0.0.7:2222"),
    )
    assert read_fleet(None) == ()


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(
        'schema = 2\ndevices = 1\n[[device]]\nname = "host"\nprofil = "pixel7"\n'
        'address = "usb:7"\ntags = "x"\n'
        '[[device]]\nname = "a"\nprofile = "p"\naddress = "adb:1"\n'
        '[[device]]\nname = "a"\nprofile = "p"\naddress = "adb:2"\nnote = 5\n'
    )
    with pytest.raises(FleetError) as caught:
        read_fleet(path)
    message = caught.value.message
    for words in (
        "schema: is 2",
        "devices: unknown key",
        "device[0].profil: unknown key",
        "device[0].profile: is missing",
        "device[0].name",
        "device[0].address",
        "device[0].tags",
        "device[2].name",
        "device[2].note",
    ):
        assert words in message, message
    assert caught.value.exit_code == 2


def test_what_is_no_toml_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text("schema = = 1")
    for name in ("lab.toml", "none.toml"):
        with pytest.raises(FleetError):
            read_fleet(tmp_path / name)


def test_the_environment_names_the_file_before_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DEVICEKIT_FLEET", raising=False)
    assert fleet_path() is None
    (tmp_path / "fleet.toml").touch()
    assert fleet_path() == Path("fleet.toml")
    monkeypatch.setenv("DEVICEKIT_FLEET", "other.toml")
    assert fleet_path() == Path("other.toml")
