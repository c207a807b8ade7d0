"""A profile of a live device: what is read, what is left out, and what a device may say that is nonsense."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devicekit.device.facts import read_facts
from devicekit.device.seam import Completed, DeviceFacts
from devicekit.errors import UnknownProfile, UsageError
from devicekit.pipeline.probe import Probed, probe
from devicekit.profile.lookup import load_profile, origins
from devicekit.report.text import render
from devicekit.testing import FAKE_FACTS, FakeDevice

PHONE = replace(
    FAKE_FACTS,
    kind="android",
    model="Fairphone 5",
    soc="QCM6490",
    abi="aarch64",
    cores=8,
    clocks_mhz=(2707, 2400, 2400, 2400, 1958, 1958, 1958, 1958),
    ram_mib=7462,
    os="Android 15",
    libc="bionic",
    properties={"ro.product.model": "Fairphone 5", "ro.product.cpu.abi": "arm64-v8a"},
)
BOARD = replace(
    FAKE_FACTS,
    kind="linux",
    model="Raspberry Pi 4 Model B Rev 1.4",
    soc="brcm,bcm2711",
    abi="aarch64",
    cores=4,
    clocks_mhz=(1800,) * 4,
    ram_mib=3792,
    os="Debian GNU/Linux 12 (bookworm)",
    libc="glibc 2.36",
    properties={"device_tree_model": "Raspberry Pi 4 Model B Rev 1.4"},
)


def probed(facts: DeviceFacts, place: Path, **options: Any) -> Probed:
    return probe(FakeDevice(facts), output=place / "mine.toml", **options)


def test_a_phone_becomes_a_profile(tmp_path: Path) -> None:
    found = probed(PHONE, tmp_path)
    profile = load_profile(tmp_path / "mine.toml")
    assert (profile.extends, profile.title) == ("_android-arm64", "Fairphone 5")
    assert profile.device.clocks_mhz == PHONE.clocks_mhz and profile.device.libc == "bionic"
    assert (profile.device.ram_mib, profile.limits.memory_mib, profile.limits.model_mib) == (8192, 128, 64)
    assert profile.match.adb_model == ("Fairphone 5",)
    assert found.unread == () and [one.failed for one in found.trials] == [None, None]
    for key in ("device.cores", "device.ram_mib", "match.adb_model"):
        assert (origins(profile)[key].source or "").startswith("read on 20")
    assert (
        "MemTotal of /proc/meminfo is 7462 MiB; assumption: the size as sold"
        in profile.sources["device.ram_mib"]
    )


def test_a_board_says_that_a_profile_of_it_ships(tmp_path: Path) -> None:
    found = probed(BOARD, tmp_path)
    profile = load_profile(tmp_path / "mine.toml")
    assert profile.match.device_tree_model == ("Raspberry Pi 4 Model B",)  # the revision may change
    assert (profile.device.ram_mib, profile.limits.memory_mib) == (4096, 512)
    assert found.ranking.profile == "raspberrypi4"
    text = render(found)
    assert "matches       raspberrypi4, which ships: the device tree's model is" in text
    assert "→ `devicekit deploy MODEL --profile" in text and max(map(len, text.splitlines())) <= 100
    document = found.to_json()
    assert document["values"]["device.cores"] == 4 and document["extends"] == "_linux-aarch64"


def test_a_source_is_the_place_that_answered(tmp_path: Path) -> None:
    chip = {**PHONE.properties, "ro.board.platform": "lahaina"}
    plain = replace(BOARD, os="Linux 6.6.1", properties={})
    for index, (facts, soc, os) in enumerate(
        (
            (PHONE, "ro.soc.model, or the device tree, or /proc/cpuinfo", "ro.build.version.release"),
            (replace(PHONE, properties=chip), "ro.board.platform", "ro.build.version.release"),
            (BOARD, "/proc/device-tree/compatible", "/etc/os-release"),
            (plain, "/proc/cpuinfo", "uname"),
            (replace(BOARD, kind="host", os="Linux 6.6.1"), "/proc/cpuinfo", "uname"),
        )
    ):
        (tmp_path / str(index)).mkdir()
        sources = {one.key: one.source for one in probed(facts, tmp_path / str(index)).values}
        assert (sources["device.soc"], sources["device.os"]) == (soc, os)


def test_what_the_base_says_already_is_not_repeated(tmp_path: Path) -> None:
    found = probed(BOARD, tmp_path, base="raspberrypi4")
    keys = {one.key for one in found.values}
    assert "device.abi" not in keys and "device.cores" not in keys
    assert "device.ram_mib" in keys  # 4 GB, where the base has the smallest
    assert load_profile(tmp_path / "mine.toml").extends == "raspberrypi4"


def test_what_could_not_be_read_is_left_out_with_a_comment(tmp_path: Path) -> None:
    found = probed(replace(BOARD, clocks_mhz=(), libc=None, ram_mib=None, properties={}), tmp_path)
    assert found.unread == ("device.clocks_mhz", "device.ram_mib", "device.libc", "match.device_tree_model")
    text = (tmp_path / "mine.toml").read_text()
    assert "# ram_mib: not read; asked was MemTotal of /proc/meminfo" in text
    profile = load_profile(tmp_path / "mine.toml")
    assert (profile.device.ram_mib, profile.limits.memory_mib) == (None, 128)


def test_fewer_cores_than_the_base_has_threads(tmp_path: Path) -> None:
    probed(replace(BOARD, cores=1, clocks_mhz=()), tmp_path)
    assert load_profile(tmp_path / "mine.toml").runtime.threads == 1


@pytest.mark.parametrize(
    ("facts", "base"),
    [
        (replace(PHONE, properties={"ro.product.cpu.abi": "armeabi-v7a"}), "_android-armv7"),
        (replace(BOARD, abi="armv7l", properties={}), "_linux-armv7l"),
        (replace(BOARD, abi="x86_64", properties={}), "_linux-x86_64"),
        (replace(BOARD, abi="riscv64", properties={}), "_linux"),
    ],
)
def test_the_base_is_of_its_kind_and_instruction_set(facts: DeviceFacts, base: str, tmp_path: Path) -> None:
    assert probed(facts, tmp_path).base == base
    assert load_profile(tmp_path / "mine.toml").extends == base


def test_a_device_that_runs_nothing_still_gets_its_profile(tmp_path: Path) -> None:
    device = FakeDevice(BOARD, run=lambda argv: Completed(1, "", "Illegal instruction"))
    found = probe(device, output=tmp_path / "mine.toml")
    assert all(one.failed for one in found.trials)
    assert "# A tiny model on XNNPACK: did not run:" in (tmp_path / "mine.toml").read_text()
    assert load_profile(tmp_path / "mine.toml").device.cores == 4


def nonsense(**answers: str) -> DeviceFacts:
    """Returns the facts of a device whose shell answers so: name of the probe -> what it prints."""
    lines = [f"==devicekit== {name}\n{text}\n" for name, text in answers.items()]
    return replace(read_facts("adb:1", "".join(lines)), python="/usr/bin/python3")


@pytest.mark.parametrize(
    "answers",
    [
        {"properties": "getprop: not found", "machine": "aarch64"},
        {"properties": "[ro.build.version.release]: [\x1b[2J14]\n[ro.product.model]: [\x07\u202e\"quo'te\\]"},
        {"properties": f"[ro.build.version.release]: [1]\n[ro.product.model]: [{'A' * 100_000}]"},
        {"properties": "[ro.build.version.release]: [14]\n[ro.product.cpu.abi]: [../../etc/passwd]"},
        {"memory": "MemTotal: 99999999999999999999 kB", "cores": "-4", "machine": "aarch64"},
        {"memory": "MemTotal: 0 kB", "cores": "999999999", "machine": "\x00\x01"},
        {"clocks": "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq:999999999", "cores": "1"},
        {"os": 'PRETTY_NAME="\t \n"', "libc": "ldd: command not found", "tree_model": "x\ny"},
        {},
    ],
    ids=range(9),
)
def test_nonsense_is_no_value_and_the_profile_is_valid(answers: dict[str, str], tmp_path: Path) -> None:
    facts = nonsense(**answers)
    found = probe(FakeDevice(facts), output=tmp_path / "mine.toml")
    profile = load_profile(tmp_path / "mine.toml")
    assert profile.extends in ("_android", "_linux", "_linux-aarch64")
    text = (tmp_path / "mine.toml").read_text()
    assert all(char == "\n" or char.isprintable() for char in text) and len(text) < 8000
    assert profile.device.cores is None or 0 < profile.device.cores <= 1024
    assert render(found)


def test_a_file_that_is_there_is_kept_and_names_stay_inside(tmp_path: Path) -> None:
    probed(BOARD, tmp_path)
    before = (tmp_path / "mine.toml").read_text()
    with pytest.raises(UsageError, match="is there"):
        probed(PHONE, tmp_path)
    assert (tmp_path / "mine.toml").read_text() == before
    assert probed(PHONE, tmp_path, overwrite=True).path == tmp_path / "mine.toml"
    for place in ("no/mine.txt", ".toml", "a b.toml"):
        with pytest.raises(UsageError, match="is no name of a profile"):
            probe(FakeDevice(BOARD), output=tmp_path / place)
    with pytest.raises(UnknownProfile):
        probe(FakeDevice(BOARD), base="pixel77")


def test_a_base_of_ones_own_lies_beside_it(tmp_path: Path) -> None:
    probed(BOARD, tmp_path)
    base = str(tmp_path / "mine.toml")
    probe(FakeDevice(replace(BOARD, ram_mib=7600)), base=base, output=tmp_path / "larger.toml")
    larger = load_profile(tmp_path / "larger.toml")
    assert (larger.extends, larger.device.ram_mib) == ("mine.toml", 8192)
    (tmp_path / "lab").mkdir()
    with pytest.raises(UsageError, match="lies in another directory"):
        probe(FakeDevice(BOARD), base=base, output=tmp_path / "lab" / "far.toml")


def test_without_a_file_the_profile_is_the_answer() -> None:
    found = probe(FakeDevice(BOARD))
    assert found.path is None and found.document.startswith("#:schema ./devicekit-profile.schema.json\n")
