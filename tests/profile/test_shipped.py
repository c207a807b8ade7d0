"""Every shipped profile: it loads, and it says where its facts come from."""

import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devicekit.check.rules import check_graph
from devicekit.graph.read import read_graph
from devicekit.profile.files import library, library_names, read
from devicekit.profile.lookup import load_profile, origins, profile_names

SMALL = Path(__file__).parents[1] / "data/tflite/cnn_int8.tflite"

# The tables that hold facts and budgets. Sources of policy (ops, quality, recipes) are in the comments.
FACTS = ("device", "match", "runtime", "limits")
# What the issue of this library names: one of each class at least.
CLASSES = {"android": 10, "linux": 8, "microcontroller": 6}


def facts(data: dict[str, Any]) -> set[str]:
    return {f"{table}.{key}" for table in FACTS for key in data.get(table, {})}


def without_source(data: dict[str, Any]) -> set[str]:
    return facts(data) - set(data.get("sources", {}))


@pytest.mark.parametrize("name", library_names())
def test_a_shipped_profile_loads(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.title
    is_attached = profile.device.kind != "microcontroller" and profile.device.abi
    if is_attached and profile.runtime.delegate == "xnnpack":
        assert profile.match.model_dump(exclude_none=True), "an attached device could not be recognised"


def test_the_library_has_devices_of_every_class() -> None:
    kinds = Counter(load_profile(name).device.kind for name in profile_names())
    assert kinds.total() >= 24
    assert all(kinds[kind] >= count for kind, count in CLASSES.items()), kinds


@pytest.mark.parametrize("name", library_names())
def test_every_fact_that_a_shipped_file_sets_has_a_source_in_it(name: str) -> None:
    data = read(library() / f"{name}.toml", name).data
    assert facts(data)
    assert without_source(data) == set()


def test_a_fact_without_source_is_noticed() -> None:
    data = tomllib.loads('[device]\nsoc = "X"\ncores = 2\n[sources]\n"device.soc" = "its label"')
    assert without_source(data) == {"device.cores"}


@pytest.mark.parametrize("name", library_names())
def test_a_source_is_an_address_or_says_that_it_is_none(name: str) -> None:
    for key, source in load_profile(name).sources.items():
        assert source.startswith(("https://", "assumption: ", "what this base is for")), key


@pytest.mark.parametrize("name", library_names())
def test_memory_budgets_follow_the_rule_of_their_class(name: str) -> None:
    """The rule stands in the base of the class, as a share, and nowhere else."""
    limits, device = load_profile(name).limits, load_profile(name).device
    share = {"android": 64, "linux": 8, "microcontroller": 1.6}[device.kind]
    if device.kind == "microcontroller":
        assert (limits.arena_kib, limits.model_kib) == (
            int((device.ram_kib or 256) / share),
            (device.flash_kib or 1024) / 2,
        )
        return
    assert limits.memory_mib and limits.model_mib == limits.memory_mib / 2
    if device.ram_mib:
        assert limits.memory_mib == device.ram_mib / share
    if not name.startswith("_"):
        assert (
            not {"memory_mib", "model_mib"}
            & read(library() / f"{name}.toml", name).data.get("limits", {}).keys()
        )


@pytest.mark.parametrize("name", profile_names())
def test_a_budget_that_is_assumed_says_so(name: str) -> None:
    found = origins(load_profile(name))
    budgets = [key for key in found if key.startswith("limits.")]
    assert len(budgets) >= 4
    assert all((found[key].source or "").startswith("assumption: ") for key in budgets)


@pytest.mark.parametrize("name", library_names())
def test_a_small_model_is_checked_against_it(name: str) -> None:
    """What 26 kB of int8 needs, every device has; what 40 MB of float needs, no microcontroller has."""
    profile = load_profile(name)
    assert check_graph(profile, read_graph(SMALL)) == []
    huge = replace(read_graph(SMALL), size_bytes=2**40)
    assert [finding.rule for finding in check_graph(profile, huge)] == ["size"]


def test_bases_are_not_listed() -> None:
    assert {"pixel7", "raspberrypi4"} <= set(profile_names())
    bases = set(library_names()) - set(profile_names())
    assert {"_android-arm64", "_linux-aarch64"} <= bases
    assert all(name.startswith("_") for name in bases)


def test_the_json_of_a_profile_has_the_keys_of_its_file() -> None:
    document = load_profile("pixel7").to_json()
    assert document["schema"] == 1
    assert document["recipes"]["try"][0] == "float32"
    known = {key: value for key, value in document["limits"].items() if value is not None}
    assert known == {
        "model_mib": 64,
        "memory_mib": 128,
        "latency_ms": 20,
        "memory_of_ram": 1 / 64,
        "model_of_ram": 1 / 128,
    }
