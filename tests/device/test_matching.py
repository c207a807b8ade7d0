"""Which profile an attached device is: ranked and explained, and the nearest base where none is."""

from dataclasses import replace
from typing import Any

import pytest

from devicekit.device.discover import Devices, Found
from devicekit.device.matching import differences, is_match, ranked, wanted_by
from devicekit.device.seam import DeviceFacts
from devicekit.profile.files import profile_names
from devicekit.profile.lookup import load_profile
from devicekit.report.text import render

PROPERTIES = {
    "adb_model": "ro.product.model",
    "adb_soc": "ro.soc.model",
    "adb_abi": "ro.product.cpu.abi",
    "device_tree_model": "device_tree_model",
}
BOARD = DeviceFacts("ssh://pi@board", "linux", "measured", abi="aarch64")
PHONE = DeviceFacts("adb:1", "android", "measured", abi="aarch64")


def facts_of(name: str) -> DeviceFacts:
    """Returns what a device would say that is the profile."""
    profile = load_profile(name)
    wanted = wanted_by(profile)
    base = PHONE if profile.device.kind == "android" else BOARD
    return replace(
        base,
        abi=wanted["machine"][0] if "machine" in wanted else base.abi,
        properties={PROPERTIES[key]: values[0] for key, values in wanted.items() if key in PROPERTIES},
    )


def saying(facts: DeviceFacts, **properties: Any) -> DeviceFacts:
    return replace(facts, properties={name.replace("__", "."): value for name, value in properties.items()})


@pytest.mark.parametrize("name", [name for name in profile_names() if wanted_by(load_profile(name))])
def test_every_shipped_profile_recognises_its_device(name: str) -> None:
    ranking = ranked(facts_of(name))
    assert ranking.profile == name
    assert ranking.matches[0].why and (ranking.base or "").startswith("_")


def test_revisions_follow_the_name_and_longer_names_win() -> None:
    found = ranked(saying(BOARD, device_tree_model="Raspberry Pi 4 Model B Rev 1.4"))
    assert found.profile == "raspberrypi4"
    assert found.matches[0].why == (
        "the device tree's model is Raspberry Pi 4 Model B Rev 1.4, uname -m is aarch64"
    )
    other = saying(replace(BOARD, abi="armv7l"), device_tree_model="Raspberry Pi 3 Model B Plus Rev 1.3")
    assert ranked(other).profile == "raspberrypi3bplus"
    assert ranked(saying(BOARD, device_tree_model="Raspberry Pi 500 Rev 1.0")).profile is None


def test_without_a_match_there_is_the_nearest_base() -> None:
    unknown = saying(PHONE, ro__product__model="Fairphone 5", ro__product__cpu__abi="arm64-v8a")
    assert (ranked(unknown).matches, ranked(unknown).base) == ((), "_android-arm64")
    assert ranked(saying(PHONE, ro__product__cpu__abi="armeabi-v7a")).base == "_android-armv7"
    assert ranked(replace(BOARD, abi="riscv64")).base == "_linux"
    assert ranked(replace(PHONE, abi=None)).base == "_android"
    assert ranked(replace(BOARD, abi="x86_64")).base == "_linux-x86_64"


@pytest.mark.parametrize("nonsense", ["", "\x1b[31m", "../../etc", "x" * 10_000, "Pixel 7\n", "[]"])
def test_what_a_device_says_may_be_anything(nonsense: str) -> None:
    found = ranked(saying(PHONE, ro__product__model=nonsense, ro__product__cpu__abi=nonsense))
    assert (found.matches, found.base) == ((), "_android")


def test_the_list_says_why_of_several_and_what_to_do_of_none() -> None:
    one = ranked(facts_of("pixel7"))
    two = replace(one, matches=(*one.matches, *ranked(facts_of("pixel8")).matches))
    none = ranked(saying(PHONE, ro__product__cpu__abi="arm64-v8a"))
    rows = [
        Found(address, "ready", facts=PHONE, ranking=ranking, profile=ranking.profile)
        for address, ranking in (("adb:1", one), ("adb:2", two), ("adb:3", none))
    ]
    text = " ".join(render(Devices(tuple(rows))).split())
    assert "adb:1 pixel7: ro" not in text
    assert "adb:2 pixel7: ro.product.model is Pixel 7, ro.product.cpu.abi is arm64-v8a; also pixel8:" in text
    assert "adb:3 no profile matches, the nearest base is _android-arm64 → `devicekit profile probe" in text
    assert rows[2].to_json()["nearest_base"] == "_android-arm64"
    assert [match["profile"] for match in rows[1].to_json()["matches"]] == ["pixel7", "pixel8"]


def test_a_device_is_held_against_its_profile() -> None:
    profile, facts = load_profile("pixel7"), facts_of("pixel7")
    assert is_match(profile, facts) and differences(profile, facts) == ()
    small = replace(facts, ram_mib=4000, cores=4)
    assert differences(profile, small) == ("it has 4000 MiB of RAM, not 8192", "it has 4 of 8 cores")
    assert "not adb_model Pixel 8" in differences(load_profile("pixel8"), facts)[0]
