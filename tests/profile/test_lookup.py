"""Finding profiles, `extends`, merging, and what a broken one says."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devicekit.errors import ProfileError, UnknownProfile
from devicekit.profile.lookup import Origin, list_profiles, load_profile, merge, origins, profile_names

MINIMAL = """
schema = 1
[device]
kind = "linux"
[runtime]
name = "litert"
delegate = "xnnpack"
[limits]
model_mib = 8
memory_mib = 16
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a profile in the current directory, which is empty; returns its relative path."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "board.toml") -> Path:
        Path(name).write_text(text, encoding="utf-8")
        return Path(name)

    return write


def refusal(path: str | Path) -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    return caught.value


def test_three_mistakes_are_reported_together(write: Write) -> None:
    path = write(
        """schema = 1
[device]
kind = "linux"
ram_mib = "8GB"
[runtime]
name = "litert"
delegate = "xnnpack"
[limits]
model_mib = 8
memory_mib = 0
memory_mb = 3
"""
    )
    error = refusal(path)
    assert error.message == (
        "board.toml has 3 problems\n"
        '  board.toml: device.ram_mib: is "8GB", must be a whole number of MiB: 8192\n'
        "  board.toml: limits.memory_mib: is 0, must be above 0\n"
        "  board.toml: limits.memory_mb: unknown key; did you mean memory_mib?"
    )
    assert error.remedy == "correct board.toml, then run `devicekit profile check board.toml`"
    assert error.exit_code == 2


def test_a_minimal_file_loads_and_unknown_facts_are_none(write: Write) -> None:
    profile = load_profile(write(MINIMAL))
    assert (profile.name, profile.path, profile.files) == ("board", Path("board.toml"), ("board.toml",))
    assert (profile.device.soc, profile.device.ram_mib, profile.limits.latency_ms) == (None, None, None)
    assert (profile.ops.allow, profile.ops.deny, profile.ops.dtypes) == (None, (), None)
    assert profile.recipes.prefer == "latency"
    assert profile.runtime.label == "LiteRT CPU ×1"


def test_own_keys_win_and_lists_are_replaced(write: Write) -> None:
    write(MINIMAL + '[recipes]\ntry = ["float32", "int8"]\n[ops]\ndeny = ["IF"]', "base.toml")
    own = 'schema = 1\nextends = "base.toml"\n[limits]\nmemory_mib = 4\n[recipes]\ntry = ["float16"]'
    profile = load_profile(write(own))
    assert (profile.limits.memory_mib, profile.limits.model_mib) == (4, 8)
    assert (profile.recipes.try_, profile.ops.deny) == (("float16",), ("IF",))
    assert profile.files == ("board.toml", "base.toml")


def test_a_file_may_extend_a_shipped_profile(write: Write) -> None:
    profile = load_profile(write('schema = 1\nextends = "pixel7"\n[limits]\nmemory_mib = 4', "mine.toml"))
    assert profile.files == ("mine.toml", "pixel7.toml", "_android-arm64.toml", "_android.toml")
    assert (profile.name, profile.device.ram_mib, profile.limits.memory_mib) == ("mine", 8192, 4)


def test_a_file_named_like_the_shipped_one_that_it_extends_is_no_circle(write: Write) -> None:
    profile = load_profile(write('schema = 1\nextends = "pixel7"', "pixel7.toml"))
    assert profile.files == ("pixel7.toml", "pixel7.toml", "_android-arm64.toml", "_android.toml")


def test_the_source_of_a_replaced_value_is_not_inherited(write: Write) -> None:
    write(MINIMAL + '[sources]\n"limits.memory_mib" = "old"\n"limits.model_mib" = "kept"', "base.toml")
    profile = load_profile(write('schema = 1\nextends = "base.toml"\n[limits]\nmemory_mib = 4'))
    assert profile.sources == {"limits.model_mib": "kept"}


def test_a_source_may_be_written_without_quotes(write: Write) -> None:
    profile = load_profile(write(MINIMAL + '[sources]\nlimits.memory_mib = "the label"'))
    assert profile.sources == {"limits.memory_mib": "the label"}


def test_origins_name_the_file_that_set_each_value(write: Write) -> None:
    write(MINIMAL, "base.toml")
    profile = load_profile(write('schema = 1\nextends = "base.toml"\n[limits]\nmemory_mib = 4'))
    found = origins(profile)
    assert found["limits.memory_mib"] == Origin(4, "board.toml")
    assert found["limits.model_mib"] == Origin(8, "base.toml")
    assert found["runtime.threads"] == Origin(1, None) and found["runtime.threads"].place == "default"
    assert "device.soc" not in found


SHARES = """
[limits]
memory_of_ram = 0.125
model_of_ram = 0.0625
memory_mib = 99
"""


def test_limits_follow_from_the_ram_by_the_share_of_the_base(write: Write) -> None:
    write(MINIMAL.replace("[limits]", SHARES.strip()).replace("memory_mib = 16", ""), "base.toml")
    assert load_profile("base.toml").limits.memory_mib == 99
    profile = load_profile(write('schema = 1\nextends = "base.toml"\n[device]\nram_mib = 1000'))
    assert (profile.limits.memory_mib, profile.limits.model_mib) == (125, 62.5)
    found = origins(profile)["limits.memory_mib"]
    assert (found.file, found.place) == (None, "device.ram_mib × limits.memory_of_ram")


def test_a_limit_of_ones_own_is_not_derived(write: Write) -> None:
    own = 'schema = 1\nextends = "pixel7"\n[device]\nram_mib = 1024\n[limits]\nmemory_mib = 40'
    profile = load_profile(write(own))
    assert (profile.limits.memory_mib, profile.limits.model_mib) == (40, 8)


def test_a_limit_of_other_hardware_is_not_inherited_nor_its_source(write: Write) -> None:
    write('schema = 1\nextends = "_linux"\n[sources]\n"limits.memory_mib" = "x"', "base.toml")
    profile = load_profile(write('schema = 1\nextends = "base.toml"\n[device]\nram_mib = 2048'))
    assert profile.limits.memory_mib == 256
    assert "limits.memory_mib" not in profile.sources


def test_the_hash_changes_with_a_base(write: Write) -> None:
    write(MINIMAL, "base.toml")
    path = write('schema = 1\nextends = "base.toml"')
    before = load_profile(path)
    assert load_profile(path).sha256 == before.sha256
    write(MINIMAL + "latency_ms = 3\n", "base.toml")
    assert load_profile(path).sha256 != before.sha256


def test_a_circle_is_refused_and_shown(write: Write) -> None:
    for name, base in (("a", "b"), ("b", "c"), ("c", "a")):
        write(f'schema = 1\nextends = "{base}.toml"', f"{name}.toml")
    assert refusal("a.toml").message == (
        "c.toml: extends: runs in a circle: a.toml → b.toml → c.toml → a.toml, must end at a base"
    )


def test_an_endless_chain_is_refused(write: Write) -> None:
    for i in range(40):
        write(f'schema = 1\nextends = "p{i + 1}.toml"', f"p{i}.toml")
    assert refusal("p0.toml").message == "p15.toml: extends: is file 17 in a row, at most 16 may follow"


def test_a_missing_base_is_named_with_the_nearest_and_other_mistakes(write: Write) -> None:
    error = refusal(write('schema = 1\nextends = "_andriod-arm64"\n[limits]\nmemory_mib = -1'))
    assert error.message == (
        "board.toml has 2 problems\n"
        '  board.toml: extends: is "_andriod-arm64", must be a profile of the library, or a .toml file '
        "in the same directory; did you mean _android-arm64?\n"
        "  board.toml: limits.memory_mib: is -1, must be above 0"
    )


@pytest.mark.parametrize(
    "name", ["../base.toml", "/etc/base.toml", "..", "a/../base.toml", "a\\\\b.toml", ""]
)
def test_extends_never_leaves_the_directory(write: Write, name: str) -> None:
    write(MINIMAL, "base.toml")
    os.mkdir("inner")
    error = refusal(write(f'schema = 1\nextends = "{name}"', "inner/board.toml"))
    assert [problem.key for problem in error.problems] == ["extends"]
    assert error.problems[0].expected == (
        "must be a profile of the library, or a .toml file in the same directory"
    )


def test_a_mistake_of_the_base_is_blamed_on_the_base(write: Write) -> None:
    write(MINIMAL + "latency_ms = -3", "base.toml")
    error = refusal(write('schema = 1\nextends = "base.toml"\n[ops]\nflex = 1'))
    assert error.message == "base.toml: limits.latency_ms: is -3, must be above 0"


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("pixel-7", 'no profile "pixel-7"; did you mean pixel7?', "`devicekit profile list` shows all"),
        ("zzz", 'no profile "zzz"', "`devicekit profile list` shows all"),
        ("", 'no profile ""', "`devicekit profile list` shows all"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name: str, message: str, remedy: str) -> None:
    with pytest.raises(UnknownProfile) as caught:
        load_profile(name)
    assert caught.value.message == message
    assert caught.value.remedy == f"{remedy} {len(profile_names())}"


def test_a_missing_file_says_so(write: Write) -> None:
    write(MINIMAL)
    error = refusal("bord.toml")
    assert error.message == "bord.toml: no such file"
    assert error.remedy == "correct the path, or name one of `devicekit profile list`"


def leaves(table: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for key, value in table.items():
        found |= leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return found


def some_tables(seed: int) -> dict[str, Any]:
    chance = random.Random(seed)
    values: tuple[Any, ...] = (1, "x", [1, 2], [], True)
    return {
        table: {key: chance.choice(values) for key in "abcd" if chance.random() < 0.5}
        for table in ("device", "limits", "ops")
        if chance.random() < 0.8
    }


@pytest.mark.parametrize("seed", range(50))
def test_merging_keeps_every_own_value_and_every_untouched_base_value(seed: int) -> None:
    base, own, third = some_tables(3 * seed), some_tables(3 * seed + 1), some_tables(3 * seed + 2)
    before = (leaves(base), leaves(own))
    merged = merge(base, own)
    assert leaves(merged) == leaves(base) | leaves(own)
    assert (leaves(base), leaves(own)) == before
    assert merge(merged, own) == merged
    assert merge(merge(base, own), third) == merge(base, merge(own, third))
    assert merge(base, {}) == base
    assert merge({}, own) == own


def test_listing_imports_no_pydantic() -> None:
    code = "from devicekit.profile.lookup import list_profiles as f; f(); import sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "devicekit.profile.lookup" in result.stdout.split()
    assert not {"pydantic", "numpy", "rich"} & set(result.stdout.split())


def test_rows_say_what_the_profiles_say() -> None:
    for row in list_profiles():
        profile = load_profile(row.name)
        assert (row.title, row.kind, row.soc) == (profile.title, profile.device.kind, profile.device.soc)
        assert row.runtime == profile.runtime.label
        assert (row.model_mib, row.memory_mib) == (profile.limits.model_mib, profile.limits.memory_mib)
