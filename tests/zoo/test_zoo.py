"""Every architecture of the zoo converts and computes what Keras computes, or is refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.zoo import report
from tests.zoo.run import run_zoo
from tests.zoo.table import ZOO

FILES = [file for name in ZOO for file in report.files_of(name)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run_zoo(tmp_path_factory.mktemp("zoo"))


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


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_architecture_is_small_and_its_outputs_depend_on_its_inputs(results: Any, name: str) -> None:
    for file in report.files_of(name):
        facts = results["built"][file]
        assert facts["parameters"] < 50_000 and facts["bytes"] < 1_000_000
        assert min(facts["variation"].values()) > 0.02, facts["variation"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_file_comes_out_as_recorded(results: Any, recorded: Any, file: str) -> None:
    assert report.outcome(results["files"][file]) == recorded[file]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_at_least_96_percent_of_what_can_run_on_a_device_converts_and_equals_keras(results: Any) -> None:
    good, possible = report.converted(results)
    assert len(good) / len(possible) >= 0.96, sorted(set(possible) - set(good))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_fails_silently(results: Any) -> None:
    assert report.silent_failures(results) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_refusal_names_layer_reason_and_remedy(results: Any) -> None:
    refused = {f: r for f, r in results["files"].items() if r["outcome"] == "refused"}
    assert [f for f, r in refused.items() if not (r["layer"] and r["message"] and r["remedy"])] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", [f for n in ZOO if ZOO[n].refused for f in report.files_of(n)])
def test_what_no_device_can_run_is_refused_by_its_layer(results: Any, file: str) -> None:
    result = results["files"][file]
    assert (result["outcome"], result["layer"]) == ("refused", ZOO[Path(file).stem].refused)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", [f for n in ZOO if ZOO[n].is_recurrent for f in report.files_of(n)])
def test_a_recurrent_network_has_an_8_bit_recipe(results: Any, file: str) -> None:
    assert {"int8", "dynamic_int8"} & set(report.good_recipes(results["files"][file]))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_committed_table_is_that_of_this_run_but_for_its_digits(results: Any) -> None:
    committed = report.README.read_text(encoding="utf-8")
    assert report.without_digits(committed) == report.without_digits(report.render(results))
