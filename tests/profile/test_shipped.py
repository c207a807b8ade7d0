"""Every shipped profile: it loads, and it says where its facts come from."""

import tomllib
from typing import Any

import pytest

from devicekit.profile.files import library, library_names, read
from devicekit.profile.lookup import load_profile, profile_names

# The tables that hold facts and budgets. Sources of policy (ops, quality, recipes) are in the comments.
FACTS = ("device", "runtime", "limits")


def facts(data: dict[str, Any]) -> set[str]:
    return {f"{table}.{key}" for table in FACTS for key in data.get(table, {})}


def without_source(data: dict[str, Any]) -> set[str]:
    return facts(data) - set(data.get("sources", {}))


@pytest.mark.parametrize("name", library_names())
def test_a_shipped_profile_loads(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.title
    assert profile.match.model_dump(exclude_none=True), "an attached device could not be recognised"


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
    """The rule stands in the base: phones 1/64 of the RAM, boards 1/8; the file half of that."""
    profile = load_profile(name)
    share = {"android": 64, "linux": 8}[profile.device.kind]
    assert profile.limits.model_mib == profile.limits.memory_mib / 2
    if profile.device.ram_mib:
        assert profile.limits.memory_mib == profile.device.ram_mib / share


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
    assert known == {"model_mib": 64, "memory_mib": 128, "latency_ms": 20}
