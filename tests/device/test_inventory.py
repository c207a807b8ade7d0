from pathlib import Path

import pytest

from devicekit.device.inventory import Entry, fleet_path, read_fleet
from devicekit.errors import FleetError

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
        'device[1].profile: is "p", must be one of `devicekit profile list`',
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


@pytest.mark.parametrize(
    "address",
    [
        "adb:X1",
        "adb+tcp://10.0.0.2:5037/X1",
        "adb+tcp://[::1]:5037/X1",
        "ssh://pi@board",
        "host",
        "fake:a?run_s=1",
    ],
)
def test_addresses_of_every_kind(tmp_path: Path, address: str) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(f'schema = 1\n[[device]]\nname = "a"\nprofile = "pixel7"\naddress = "{address}"\n')
    assert read_fleet(path)[0].address == address


@pytest.mark.parametrize("address", ["adb:", "ssh://", "hosts", "adb+tcp://", "http://x", "usb:1"])
def test_what_is_no_address(tmp_path: Path, address: str) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(f'schema = 1\n[[device]]\nname = "a"\nprofile = "pixel7"\naddress = "{address}"\n')
    with pytest.raises(FleetError, match=r"must be adb:SERIAL, adb\+tcp"):
        read_fleet(path)


def test_a_profile_s_file_lies_beside_the_fleet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.toml").write_text('schema = 1\nextends = "pixel7"\n')
    path = tmp_path / "lab.toml"
    text = 'schema = 1\n[[device]]\nname = "a"\nprofile = "{}"\naddress = "host"\n'
    path.write_text(text.format("own.toml"))
    monkeypatch.chdir("/")
    [entry] = read_fleet(path)
    assert (Path(entry.profile), entry.profile_name) == (tmp_path / "own.toml", "own")
    path.write_text(text.format("other.toml"))
    with pytest.raises(FleetError, match="no such file"):
        read_fleet(path)


def test_a_typo_in_a_profile_s_name_gets_a_guess(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text('schema = 1\n[[device]]\nname = "a"\nprofile = "pixle7"\naddress = "host"\n')
    with pytest.raises(FleetError, match=r"did you mean pixel7\?"):
        read_fleet(path)
