"""Which runtime a device gets, and where it comes from."""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from devicekit.errors import MeasurementError, UsageError
from devicekit.runner.wheels import WHEELS, runtime_for, wheel_for
from devicekit.testing import FAKE_FACTS

BOARD = replace(FAKE_FACTS, address="ssh://pi@board", abi="aarch64", libc="glibc 2.36", runtime_library=None)


@pytest.mark.parametrize(
    ("abi", "libc", "version"),
    [
        ("aarch64", "glibc 2.36", "2.3.0"),
        ("aarch64", "glibc 2.34", "2.3.0"),
        ("aarch64", "glibc 2.33", "1.4.0"),  # Debian 11 has 2.31
        ("aarch64", "glibc 2.30", "1.4.0"),
        ("x86_64", "glibc 2.27", "2.3.0"),
    ],
)
def test_the_newest_library_that_the_libc_loads_is_taken(abi: str, libc: str, version: str) -> None:
    assert wheel_for(replace(BOARD, abi=abi, libc=libc)).version == version


@pytest.mark.parametrize(
    ("abi", "libc", "found"),
    [
        (
            "aarch64",
            "glibc 2.28",
            "aarch64 with glibc 2.28, and LiteRT's library needs aarch64 with glibc 2.30",
        ),
        ("aarch64", "musl", "aarch64 with musl, and LiteRT's library needs aarch64 with glibc 2.30"),
        ("aarch64", None, "aarch64 with an unknown libc"),
        (
            "riscv64",
            "glibc 2.36",
            "riscv64 with glibc 2.36, and LiteRT's library needs x86_64 with glibc 2.27 or",
        ),
    ],
)
def test_a_device_that_no_library_suits_is_told_what_they_need(
    abi: str, libc: str | None, found: str
) -> None:
    with pytest.raises(MeasurementError) as caught:
        wheel_for(replace(BOARD, abi=abi, libc=libc))
    assert caught.value.message.startswith(f"ssh://pi@board is {found}")
    assert "--benchmark-model" in caught.value.remedy


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEVICEKIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_without_the_wheel_names_it_and_how_to_get_it(own_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        runtime_for(BOARD, wheels_dir=tmp_path)
    assert caught.value.message == (
        f"--wheels {tmp_path} has no ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl"
    )
    assert "download" in caught.value.remedy and "ai-edge-litert==2.3.0" in caught.value.remedy


def test_another_file_of_that_name_is_refused(own_cache: Path, tmp_path: Path) -> None:
    wheel = wheel_for(BOARD)
    with zipfile.ZipFile(tmp_path / wheel.filename, "w") as archive:
        archive.writestr(wheel.member, b"\x7fELF, but not the makers'")
    with pytest.raises(MeasurementError, match=r"has the SHA-256 [0-9a-f]{16}…, expected 853fc608f96da87b…"):
        runtime_for(BOARD, wheels_dir=tmp_path)


@pytest.mark.slow
def test_a_wheel_is_fetched_once_and_serves_without_a_network_from_a_folder(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = runtime_for(BOARD)
    head = fetched.library.read_bytes()[:20]
    assert (head[:4], head[18]) == (b"\x7fELF", 0xB7)  # for aarch64, whatever this machine is
    assert (fetched.version, fetched.library.name) == ("2.3.0", "libLiteRt.so")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert runtime_for(BOARD) == fetched
    shutil.rmtree(own_cache)
    with pytest.raises(MeasurementError, match="cannot be fetched") as caught:
        runtime_for(BOARD)
    assert "--wheels DIR" in caught.value.remedy


def test_every_pin_is_whole() -> None:
    assert all(len(wheel.sha256) == 64 and wheel.member.endswith(".so") for wheel in WHEELS)
