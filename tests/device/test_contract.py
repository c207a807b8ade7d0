"""What every device keeps, whatever carries its bytes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devicekit.device.local import LocalDevice
from devicekit.device.seam import Device
from devicekit.errors import MeasurementError
from devicekit.testing import FakeDevice


@pytest.fixture(params=[LocalDevice, FakeDevice], ids=["local", "fake"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    device: Device = request.param()
    yield device
    device.close()


@pytest.mark.parametrize(
    "name", ["model.tflite", "a name", "it's", 'say "x"', "$HOME", "sub/folder/é.bin", "-f"]
)
def test_every_byte_comes_back_under_any_name(device: Device, tmp_path: Path, name: str) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(bytes(range(256)) * 3)
    device.push(sent, name)
    device.pull(name, back)
    assert back.read_bytes() == sent.read_bytes()


def test_push_replaces_what_is_there(device: Device, tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"a longer first content", b"second"):
        file.write_bytes(content)
        device.push(file, "x")
    device.pull("x", file)
    assert file.read_bytes() == b"second"


def test_pulling_what_is_not_there_is_one_clear_error(device: Device, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"there is no file nothing\.bin"):
        device.pull("nothing.bin", tmp_path / "x")


def test_a_program_that_does_not_exist_ends_with_127(device: Device) -> None:
    done = device.run(["devicekit-no-such-program"], timeout_s=10)
    assert (done.exit_code, done.stdout, done.timed_out) == (127, "", False)
    assert "devicekit-no-such-program" in done.stderr


def test_facts_name_the_evidence_and_are_json(device: Device) -> None:
    facts = device.describe()
    assert facts.evidence in ("simulated", "emulated")
    assert facts.to_json()["address"] == facts.address


def test_closing_twice_is_fine(device: Device) -> None:
    device.close()
    device.close()
