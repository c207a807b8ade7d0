"""Where a value of a profile comes from, and how two profiles differ."""

import json
from pathlib import Path

import pytest

from devicekit.errors import UnknownProfile, UsageError
from devicekit.profile.explain import diff, explain, unsourced
from devicekit.profile.files import library_names
from devicekit.profile.keys import keys
from devicekit.profile.lookup import load_profile
from devicekit.report.text import render


def test_a_value_is_explained_with_what_it_wins_over_and_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('schema = 1\nextends = "pixel2"\n[runtime]\nthreads = 2\n')
    (one,) = explain("mine.toml", "runtime.threads").keys
    assert one.origin and (one.origin.value, one.origin.file, one.origin.source) == (2, "mine.toml", None)
    assert one.overridden == (("pixel2.toml", 4), ("_android.toml", 4))
    text = render(explain("mine.toml", "runtime.threads"))
    assert "runtime.threads = 2" in text and "wins over    4 (pixel2.toml)" in text
    assert "source       not given" in text


def test_a_limit_that_follows_says_what_of_and_what_is_assumed() -> None:
    (one,) = explain("pixel7", "limits.memory_mib").keys
    assert one.origin and one.origin.value == 128 and one.origin.file is None
    assert one.follows and set(one.follows) == {"device.ram_mib", "limits.memory_of_ram"}
    assert (one.origin.source or "").startswith("assumption: ")
    text = render(explain("pixel7", "limits.memory_mib"))
    assert "limits.memory_mib = 128 MiB" in text
    assert "device.ram_mib 8192 (pixel7.toml) × limits.memory_of_ram 0.015625 (_android.toml)" in text
    assert "_data/devices/panther.yml" in text


def test_an_absent_value_and_a_default_say_so() -> None:
    assert "device.libc = absent" in render(explain("pixel7", "device.libc"))
    (one,) = explain("pixel7", "runtime.require_full_delegation").keys
    assert one.origin and (one.origin.place, one.origin.value) == ("default", False)


def test_a_table_is_explained_whole_and_as_json() -> None:
    document = json.loads(json.dumps(explain("rp2040", "limits").to_json()))
    found = {one["key"]: one for one in document["keys"]}
    assert set(found) == {key.name for key in keys() if key.name.startswith("limits.")}
    assert found["limits.arena_kib"]["follows"] == ["device.ram_kib", "limits.arena_of_ram"]
    assert found["limits.memory_mib"]["value"] is None


@pytest.mark.parametrize("name", library_names())
def test_every_key_of_every_shipped_profile_can_be_explained(name: str) -> None:
    for table in ("device", "match", "runtime", "limits", "ops", "quality", "recipes"):
        assert render(explain(name, table))
    assert diff(name, name).differences == ()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("limits.memory_mb", 'no key "limits.memory_mb" in a profile; did you mean limits.memory_mib?'),
        ("ram", 'no key "ram" in a profile; did you mean device.ram_mib?'),
        ("memory_mib", 'no key "memory_mib" in a profile; did you mean limits.memory_mib?'),
        ("colour", 'no key "colour" in a profile'),
        ("", 'no key "" in a profile'),
    ],
)
def test_an_unknown_key_gets_the_nearest(key: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        explain("pixel7", key)
    assert caught.value.message == message


def test_two_profiles_differ_in_what_their_files_say() -> None:
    found = diff("pixel7", "pixel9")
    by_key = {one.key: one for one in found.differences}
    ram = by_key["device.ram_mib"]
    assert ram.ours and ram.theirs
    assert (ram.ours.value, ram.ours.file) == (8192, "pixel7.toml")
    assert (ram.theirs.value, ram.theirs.file) == (12288, "pixel9.toml")
    memory = by_key["limits.memory_mib"]
    assert memory.theirs and memory.theirs.place == "device.ram_mib × limits.memory_of_ram"
    assert by_key["limits.latency_ms"].theirs is None
    assert "runtime.name" not in by_key and found.same > 10
    text = render(found)
    assert "pixel9" in text.splitlines()[0] and f"{len(by_key)} keys differ" in text


def test_what_has_no_source_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = '[device]\nram_mib = 4096\ncores = 4\n[sources]\n"device.cores" = "its label"\n'
    Path("mine.toml").write_text(f'schema = 1\nextends = "_linux-aarch64"\n{own}')
    assert unsourced(load_profile("mine.toml")) == ("device.ram_mib",)
    assert all(unsourced(load_profile(name)) == () for name in library_names())


def test_across_kinds_and_with_a_calibration() -> None:
    text = render(diff("pixel3", "rp2040"))
    assert "microcontroller" in text and "calibration" in text
    assert render(diff("pixel7", "pixel7")) == "pixel7 and pixel7 do not differ: 29 keys\n"
    with pytest.raises(UnknownProfile):
        diff("pixel7", "pixel77")
