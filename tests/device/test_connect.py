import os
from pathlib import Path

import pytest

from devicekit import progress
from devicekit.device.connect import TRANSPORTS, connect
from devicekit.device.local import LocalDevice
from devicekit.errors import Busy, UsageError
from devicekit.plugins import resolve
from devicekit.testing import FakeDevice


class Watcher:
    def __init__(self) -> None:
        self.details: list[str] = []

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        self.details.append(detail)


def test_this_machine_answers_and_is_closed_at_the_end() -> None:
    with connect("host") as device:
        folder = Path(device.run(["pwd"], timeout_s=10).stdout.strip())
        assert folder.is_dir()
    assert not folder.exists()


def test_a_device_passes_through_and_stays_open() -> None:
    fake = FakeDevice()
    with connect(fake) as device:
        assert device is fake
    assert not fake.is_closed


def test_an_unknown_kind_of_address_names_those_known() -> None:
    with pytest.raises(UsageError) as caught, connect("usb:7"):
        pass
    assert caught.value.message == 'no transport for the address "usb:7"'
    assert caught.value.remedy.startswith("name a device as one of: auto, host, adb:SERIAL, adb+tcp://")


def test_every_transport_of_the_table_exists() -> None:
    assert resolve(TRANSPORTS["host"]) is LocalDevice
    assert all(callable(resolve(target)) for target in TRANSPORTS.values())


def test_a_second_run_waits_says_so_and_then_is_told_who_holds_the_device() -> None:
    watcher = Watcher()
    token = progress.current.set(watcher)
    try:
        with connect("host"), pytest.raises(Busy) as caught, connect("host", wait_s=0.1):
            pass
    finally:
        progress.current.reset(token)
    assert caught.value.message == f"host is in use by process {os.getpid()}"
    assert watcher.details == [f"waiting for host, in use by process {os.getpid()}"]


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICEKIT_CACHE_DIR", str(tmp_path))
    lock = tmp_path / "locks" / "host.lock"
    lock.mkdir(parents=True)
    with pytest.raises(UsageError) as caught, connect("host", wait_s=0):
        pass
    assert caught.value.message == f"the lock {lock} cannot be opened (Is a directory)"
    assert caught.value.remedy == "set DEVICEKIT_CACHE_DIR to a directory that is yours and has space"


def test_a_holder_that_cannot_be_named_holds_no_run_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVICEKIT_CACHE_DIR", str(tmp_path))
    (tmp_path / "locks" / "host.lock.holder" / "x").mkdir(parents=True)
    with connect("host", wait_s=0) as device:
        assert device.describe().address == "host"


def test_the_lock_is_free_again_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), connect("host"):
        raise ZeroDivisionError
    with connect("host", wait_s=0) as device:
        assert device.describe().address == "host"
