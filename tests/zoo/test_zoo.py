"""Every architecture of the zoo converts and computes what Keras computes, or is refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.zoo import report
from tests.zoo.run import run_zoo
from tests.zoo.table import ZOO

FILES = [file for name in ZOO for file in report.files_of(name)]
# Each architecture in one of its formats, by turns; the other one with --all.
SHORT = [files[turn % len(files)] for turn, files in enumerate(map(report.files_of, ZOO))]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def each(files: list[str]) -> list[Any]:
    """Returns files as parameters: what is not of the short run is of the whole one."""
    return [pytest.param(file, marks=[] if file in SHORT else [pytest.mark.full]) for file in files]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    is_whole = request.config.getoption("--all")
    return run_zoo(tmp_path_factory.mktemp("zoo"), only=FILES if is_whole else SHORT)


@pytest.fixture(scope="module")
def recorded() -> Any:
    return json.loads(report.OUTCOMES.read_text(encoding="utf-8"))


def test_the_zoo_has_more_than_fifty_architectures_and_a_record_of_each_file(recorded: Any) -> None:
    assert len(ZOO) > 50
    assert list(recorded) == FILES


def test_the_custom_objects_of_the_zoo_name_no_keras_but_the_one_that_loads() -> None:
    source = (Path(__file__).parent / "custom.py").read_text(encoding="utf-8")
    assert [line for line in source.splitlines() if line.startswith(("import ", "from "))] == [
        "import keras",
        "import tensorflow as tf",
    ]


@pytest.mark.parametrize("file", each(FILES))
def test_an_architecture_is_small_and_its_outputs_depend_on_its_inputs(results: Any, file: str) -> None:
    facts = results["built"][file]
    assert facts["parameters"] < 50_000 and facts["bytes"] < 1_000_000
    assert min(facts["variation"].values()) > 0.02, facts["variation"]


@pytest.mark.parametrize("file", each(FILES))
def test_a_file_comes_out_as_recorded(results: Any, recorded: Any, file: str) -> None:
    assert report.outcome(results["files"][file]) == recorded[file]


def test_at_least_96_percent_of_what_can_run_on_a_device_converts_and_equals_keras(results: Any) -> None:
    good, possible = report.converted(results)
    assert len(possible) > 100
    assert len(good) / len(possible) >= 0.96, sorted(set(possible) - set(good))


def test_nothing_fails_silently(results: Any) -> None:
    assert report.silent_failures(results) == []


def test_every_refusal_names_layer_reason_and_remedy(results: Any) -> None:
    refused = {f: r for f, r in results["files"].items() if r["outcome"] == "refused"}
    assert [f for f, r in refused.items() if not (r["layer"] and r["message"] and r["remedy"])] == []


@pytest.mark.parametrize("file", each([f for n in ZOO if ZOO[n].refused for f in report.files_of(n)]))
def test_what_no_device_can_run_is_refused_by_its_layer(results: Any, file: str) -> None:
    result = results["files"][file]
    assert (result["outcome"], result["layer"]) == ("refused", ZOO[Path(file).stem].refused)


@pytest.mark.parametrize("file", each([f for n in ZOO if ZOO[n].is_recurrent for f in report.files_of(n)]))
def test_a_recurrent_network_has_an_8_bit_recipe(results: Any, file: str) -> None:
    assert {"int8", "dynamic_int8"} & set(report.good_recipes(results["files"][file]))


@pytest.mark.full
def test_the_committed_table_is_that_of_this_run_but_for_its_digits(results: Any) -> None:
    committed = report.README.read_text(encoding="utf-8")
    assert report.without_digits(committed) == report.without_digits(report.render(results))
