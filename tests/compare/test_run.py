"""Comparing files and output folders: what is set against what, and what is not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import devicekit
from devicekit.compare.comparison import Comparison
from devicekit.errors import LoadError, UsageError
from devicekit.testing import write_dense_model, write_string_model
from devicekit.words import dumps


@pytest.fixture
def digits(data: Path) -> Path:
    return data / "digits.float32.tflite"


def document(comparison: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dumps(comparison.to_json()))
    return found


def test_files_are_measured_here_in_turns(digits: Path, tmp_path: Path) -> None:
    other = write_dense_model(tmp_path / "dense.tflite")
    comparison = devicekit.compare(digits, other)
    assert comparison.rounds == 9
    for entry in comparison.entries:
        assert entry.measurement is not None and not entry.is_recorded
        assert entry.measurement.evidence == "simulated"
        assert len(entry.measurement.round_counts) == 9
        assert sum(entry.measurement.round_counts) == entry.measurement.latency.count
    [_, dense] = comparison.entries
    assert dense.latency is not None and dense.latency.ratio is not None


def test_the_json_keeps_the_names_that_scripts_rely_on(digits: Path, folders: dict[str, Path]) -> None:
    made = document(devicekit.compare(digits, folders["host"], measure=False))
    assert next(iter(made)) == "schema" and made["schema"] == 1
    assert made.keys() == {"schema", "profile", "rounds", "models", "best", "notes"}
    [first, other] = made["models"]
    assert {"label", "name", "path", "sha256", "recipe", "size_bytes", "parameters", "macs"} <= first.keys()
    assert {"inputs", "outputs", "ops", "arena_bytes", "measurement", "is_recorded"} <= first.keys()
    assert first["against_first"] is None and first["recipe"] is None
    assert first["measurement"] is None and first["measurement_reason"] == "not measured"
    assert other["recipe"] == "int8" and other["is_recorded"]
    assert other["against_first"].keys() == {
        *("is_same_file", "ops", "latency", "fidelity", "fidelity_reason", "fidelity_inputs"),
    }
    assert made["best"]["size"] == ["B"]


def test_a_folder_of_this_host_is_measured_again(digits: Path, folders: dict[str, Path]) -> None:
    [_, host] = devicekit.compare(digits, folders["host"]).entries
    assert host.measurement is not None and not host.is_recorded
    assert len(host.measurement.round_counts) == 9


def test_numbers_of_another_device_are_shown_and_not_compared(digits: Path, folders: dict[str, Path]) -> None:
    comparison = devicekit.compare(digits, folders["fast"])
    [first, fast] = comparison.entries
    assert first.measurement is not None and first.measurement.evidence == "simulated"
    assert fast.measurement is not None and fast.measurement.latency.median_us == 999.0
    assert fast.latency is not None and fast.latency.ratio is None
    assert fast.latency.verdict.startswith(
        "not comparable: A simulated on this host, B emulated on fake:1, FakeDevice; A on 1 thread"
    )
    assert comparison.fastest == ()


def test_folders_of_one_device_compare_by_what_they_recorded(folders: dict[str, Path]) -> None:
    comparison = devicekit.compare(folders["slow"], folders["fast"])
    [_, fast] = comparison.entries
    assert fast.latency is not None
    assert fast.latency.verdict == "3 times faster (95 %: 3-3), measured apart"
    assert (comparison.rounds, comparison.fastest) == (0, ("B",))


def test_a_measurement_from_before_rounds_were_kept_is_too_few(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(folders["slow"], old)
    report = json.loads((old / "report.json").read_text())
    del report["candidates"][0]["measurement"]["round_counts"]
    (old / "report.json").write_text(json.dumps(report))
    [_, fast] = devicekit.compare(old, folders["fast"]).entries
    assert fast.latency is not None
    assert fast.latency.verdict == "not comparable: 1 and 3 rounds are too few, or too short for the clock"


@pytest.mark.parametrize("is_int8_first", [False, True])
def test_fidelity_bridges_float_and_int8_borders(
    is_int8_first: bool, digits: Path, folders: dict[str, Path]
) -> None:
    pair = [digits, folders["host"]]
    [_, other] = devicekit.compare(*(reversed(pair) if is_int8_first else pair), measure=False).entries
    assert other.likeness is not None and other.likeness.fidelity is not None
    assert 0.99 < other.likeness.fidelity.cosine < 1


@pytest.mark.usefixtures("own_children")
def test_labels_give_the_accuracy_of_all(digits: Path, data: Path, folders: dict[str, Path]) -> None:
    comparison = devicekit.compare(digits, folders["host"], data=str(data / "digits.npz"), measure=False)
    likeness = comparison.entries[1].likeness
    assert likeness is not None and likeness.fidelity is not None
    assert likeness.inputs == "719 samples of digits.npz"
    assert likeness.fidelity.float_task_metric == pytest.approx(0.9944, abs=1e-3)
    assert likeness.fidelity.task_metric != likeness.fidelity.float_task_metric
    assert "accuracy" not in comparison.best, "one sample more of 719 is chance"


@pytest.mark.usefixtures("own_children")
def test_an_accuracy_on_fewer_samples_stands_beside_no_other(
    digits: Path, data: Path, folders: dict[str, Path]
) -> None:
    """What is slow is compared on what time allows: 7 of 8 beside 700 of 719 would read as worse."""
    comparison = devicekit.compare(
        digits, folders["host"], digits, data=str(data / "digits.npz"), measure=False
    )
    first, int8, again = comparison.entries
    assert int8.likeness and int8.likeness.fidelity
    slow = replace(int8.likeness.fidelity, count=8, task_metric=0.875)
    entries = (first, replace(int8, likeness=replace(int8.likeness, fidelity=slow)), again)
    accuracies = list(replace(comparison, entries=entries).accuracies.values())
    assert accuracies == [pytest.approx(0.9944, abs=1e-3), None, pytest.approx(0.9944, abs=1e-3)]


def test_the_same_file_is_the_same(digits: Path, tmp_path: Path) -> None:
    shutil.copy(digits, tmp_path / "copy.tflite")
    comparison = devicekit.compare(digits, tmp_path / "copy.tflite", measure=False)
    assert document(comparison)["models"][1]["against_first"]["is_same_file"]
    likeness = comparison.entries[1].likeness
    assert likeness is not None and likeness.fidelity is not None and likeness.fidelity.cosine == 1.0
    assert comparison.best == {}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"inputs": 9}, "input x is float32 [1, 9] in B, float32 [1, 8] in A"),
        ({"outputs": 5}, "output y is float32 [1, 5] in B, float32 [1, 4] in A"),
        ({"has_signature": False}, "inputs are input in B, x in A"),
    ],
)
def test_models_that_do_not_suit_are_not_compared_by_their_outputs(
    other: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    first = write_dense_model(tmp_path / "a.tflite")
    second = write_dense_model(tmp_path / "b.tflite", **other)
    [_, entry] = devicekit.compare(first, second, measure=False).entries
    assert entry.likeness is not None
    assert (entry.likeness.fidelity, entry.likeness.reason) == (None, reason)
    assert entry.subject.parameters > 0


def test_an_input_of_another_dtype_is_not_fed(data: Path, tmp_path: Path) -> None:
    words = data / "tflite" / "embedding.tflite"
    [_, entry] = devicekit.compare(write_dense_model(tmp_path / "a.tflite"), words, measure=False).entries
    assert entry.likeness is not None and entry.likeness.fidelity is None
    assert entry.likeness.reason is not None


def test_inputs_that_cannot_be_drawn_are_a_reason_and_no_error(tmp_path: Path) -> None:
    words = write_string_model(tmp_path / "words.tflite")
    [first, other] = devicekit.compare(words, words).entries
    assert other.likeness is not None and other.likeness.fidelity is None
    assert other.likeness.reason == (
        'input "x" is string, which cannot be drawn at random; give real samples with --data'
    )
    assert first.measurement is not None and other.latency is not None


def test_latencies_of_two_runners_are_not_compared(data: Path, tmp_path: Path) -> None:
    dense = write_dense_model(tmp_path / "dense.tflite")
    [_, lstm] = devicekit.compare(dense, data / "tflite" / "lstm.tflite").entries
    assert lstm.latency is not None
    assert lstm.latency.verdict == (
        "not comparable: A run by the script runner, B run by the interpreter runner"
    )


def test_what_does_not_run_is_an_entry_with_its_reason(digits: Path, data: Path) -> None:
    [first, flex] = devicekit.compare(digits, data / "tflite" / "flex.tflite").entries
    assert first.measurement is not None
    assert flex.measurement is None and flex.reason is not None
    assert "does not run on host" in flex.reason
    assert flex.latency is None


def test_the_limits_of_a_profile_hold(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text('schema = 1\nextends = "pixel7"\n[limits]\nmemory_mib = 1\n')
    small = write_dense_model(tmp_path / "small.tflite")
    large = write_dense_model(tmp_path / "large.tflite", inputs=2048, outputs=1024)
    [first, other] = devicekit.compare(small, large, profile=tmp_path / "tiny.toml").entries
    assert first.measurement is not None and any("1 MiB" in one for one in first.measurement.limits)
    assert other.measurement is None and other.reason is not None
    assert "the limit is 1 MiB" in other.reason


def test_one_model_is_nothing_to_compare(digits: Path) -> None:
    with pytest.raises(UsageError, match="compare takes two models or more; found 1"):
        devicekit.compare(digits)


def test_data_that_does_not_suit_the_first_is_a_usage_error(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        devicekit.compare(digits, digits, data=str(tmp_path / "missing.npz"), measure=False)


def test_what_cannot_be_compared_is_one_clear_error(
    digits: Path, data: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "broken.tflite").write_bytes(digits.read_bytes()[:3000])
    changed, unread = tmp_path / "changed", tmp_path / "unread"
    shutil.copytree(folders["fast"], changed)
    next(changed.glob("*.tflite")).write_bytes(digits.read_bytes())
    shutil.copytree(folders["fast"], unread)
    (unread / "report.json").write_text("{}")
    errors = {
        tmp_path / "missing.tflite": "missing.tflite: no such file",
        data / "digits.keras": "digits.keras: is a Keras model; expected a .tflite or an output folder",
        data / "digits_savedmodel": "digits_savedmodel: is a Keras model",
        tmp_path / "theirs": "theirs: was not made by devicekit: it has no manifest.json",
        tmp_path / "broken.tflite": "broken.tflite: ",
        changed: "is not the file that report.json describes (SHA-256 differs)",
        unread: "report.json: is no report of deploy",
        folders["none"]: "none: nothing fit, so it holds no .tflite",
    }
    for path, message in errors.items():
        with pytest.raises(LoadError) as raised:
            devicekit.compare(digits, path, measure=False)
        assert message in raised.value.message
        assert raised.value.remedy


def test_a_keras_model_is_to_be_converted_first(digits: Path, data: Path) -> None:
    with pytest.raises(LoadError) as raised:
        devicekit.compare(digits, data / "digits.keras")
    assert raised.value.remedy == f"convert it first: devicekit convert {data / 'digits.keras'}"
