"""The whole pipeline: on a FakeDevice, and on this host under the profile's limits."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import devicekit
from devicekit.device.seam import Completed
from devicekit.errors import ConvertError, Lost, RecipeError, UsageError
from devicekit.pipeline.deployment import model_name
from devicekit.profile.lookup import load_profile
from devicekit.testing import FakeDevice
from devicekit.words import dumps

FAST = ["float32", "dynamic_int8", "int8"]


@pytest.fixture
def deploy(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(**options: Any) -> Any:
        given = {"data": str(data / "digits.npz"), "recipes": FAST, "device": FakeDevice(), **options}
        return devicekit.deploy(data / "digits.float32.tflite", "pixel7", **given)

    return run


def test_deploy_files_the_chosen_artifact_with_its_manifest_and_report(deploy: Any, tmp_path: Path) -> None:
    deployment = deploy()
    chosen = deployment.chosen
    folder = tmp_path / "digits.float32.pixel7"
    assert sorted(p.name for p in folder.iterdir()) == [
        f"digits.float32.{chosen.recipe}.tflite",
        "manifest.json",
        "report.json",
        "worst",
    ]
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    artifact = json.loads((folder / "manifest.json").read_text())["artifact"]
    assert artifact["sha256"] == hashlib.sha256((folder / artifact["file"]).read_bytes()).hexdigest()
    assert artifact["inputs"][0]["shape"] == [1, 8, 8, 1]
    assert json.loads((folder / "report.json").read_text()) == json.loads(dumps(deployment.to_json()))


def test_the_report_keeps_the_names_that_scripts_rely_on(deploy: Any) -> None:
    document = deploy().to_json()
    assert {"schema", "profile", "device", "evidence", "chosen", "verdict", "candidates"} <= document.keys()
    assert document.keys() >= {"latency_reason", "versions", "data", "seconds"}
    assert document["chosen"].keys() == {"recipe", "path", "sha256"}
    candidate = document["candidates"][0]
    assert {"recipe", "path", "size_bytes", "sha256", "status", "findings", "fidelity", "measurement"} <= set(
        candidate
    )
    assert {"cosine", "snr_db", "max_abs_error", "top1_agreement", "task_metric"} <= candidate[
        "fidelity"
    ].keys()
    measurement = candidate["measurement"]
    assert {
        "evidence",
        "runner",
        "runtime_version",
        "threads",
        "conditions",
        "stability",
    } <= measurement.keys()
    assert measurement["latency"].keys() == {
        *("median_us", "p95_us", "mean_us", "stdev_us", "count", "first_us", "init_us", "samples_us"),
    }
    assert {"must_have_bytes", "peak_rss_bytes", "source"} <= measurement["memory"].keys()


def test_numbers_from_a_fake_are_never_called_measured(deploy: Any) -> None:
    assert deploy().evidence == "emulated"


def test_this_host_is_simulated_and_enforces_the_limits(deploy: Any) -> None:
    deployment = deploy(device="host", recipes=["int8"])
    measurement = deployment.chosen.measurement
    assert deployment.evidence == "simulated"
    assert measurement.latency.count >= 50
    assert any("128 MiB" in limit for limit in measurement.limits)
    assert measurement.conditions["verified"]["max_difference"] == 0


def test_a_model_with_a_state_is_verified_by_its_first_inference(data: Path, tmp_path: Path) -> None:
    model = data / "tflite" / "lstm.tflite"
    deployment = devicekit.deploy(model, "pixel7", recipes=["float32"], device="host", folder=tmp_path / "o")
    measurement = deployment.candidates[0].measurement
    assert measurement is not None
    assert measurement.latency.count >= 50
    assert measurement.conditions["verified"]["max_difference"] < 1e-6


def test_a_recipe_below_the_threshold_is_rejected_with_its_reason(deploy: Any) -> None:
    deployment = deploy(recipes=["float32", "weight_int4"], min_cosine=0.9999)
    rejected = next(c for c in deployment.candidates if c.recipe == "weight_int4")
    assert rejected.status == "rejected" and rejected.measurement, "what it costs is worth knowing still"
    assert rejected.findings[0].rule == "quality.min_cosine"
    assert deployment.chosen.recipe == "float32"


def strict() -> Any:
    """Returns pixel7 with a cosine that no 4-bit weights reach."""
    profile = load_profile("pixel7")
    return profile.model_copy(
        update={"quality": profile.quality.model_copy(update={"min_cosine": 0.9999, "max_metric_drop": 0.01})}
    )


def test_labels_decide_where_there_are_any(data: Path, tmp_path: Path) -> None:
    with np.load(data / "digits.npz") as file:
        np.savez(tmp_path / "unlabelled.npz", x=file["x"], x_eval=file["x_eval"])
    options: Any = {"recipes": ["weight_int4"], "device": FakeDevice(), "store": ""}
    labelled, unlabelled = (
        devicekit.deploy(
            data / "digits.float32.tflite", strict(), data=str(path), folder=tmp_path / path.stem, **options
        )
        for path in (data / "digits.npz", tmp_path / "unlabelled.npz")
    )
    [candidate] = labelled.candidates
    assert candidate.status == "chosen" and candidate.fidelity.cosine < 0.9999
    change = candidate.fidelity.change
    assert change.low < change.value < change.high and change.low > -0.01
    document = json.loads((labelled.folder / "report.json").read_text())["candidates"][0]
    assert document["fidelity"]["change"] == {"value": change.value, "low": change.low, "high": change.high}
    [candidate] = unlabelled.candidates
    assert [finding.rule for finding in candidate.findings] == ["quality.min_cosine"]


def test_the_metric_that_drops_too_far_is_rejected_with_its_interval(data: Path, tmp_path: Path) -> None:
    (tmp_path / "metric.py").write_text(
        "import numpy as np\n"
        f"data = np.load({str(data / 'digits.npz')!r})\n"
        "x, wanted = data['x_eval'][:100], []\n"
        "def closeness(predict):\n"
        "    found = predict(x)\n"
        "    wanted.append(found)\n"
        "    return 1 - 50 * np.abs(found - wanted[0]).max(axis=1)\n"
    )
    deployment = devicekit.deploy(
        *(data / "digits.float32.tflite", "pixel7"),
        eval_function=f"{tmp_path / 'metric.py'}:closeness",
        data=str(data / "digits.npz"),
        recipes=["float32", "weight_int4"],
        device=FakeDevice(),
        folder=tmp_path / "out",
        store="",
    )
    rejected = next(c for c in deployment.candidates if c.recipe == "weight_int4")
    [finding] = rejected.findings
    assert finding.rule == "quality.max_metric_drop" and rejected.measurement
    assert re.match(r"task metric -[\d.]+ \(95 %: -[\d.]+…-[\d.]+\) against the float model", finding.detail)
    number = finding.remedy.rpartition(" ")[2]
    accepted = devicekit.deploy(
        *(data / "digits.float32.tflite", "pixel7"),
        eval_function=f"{tmp_path / 'metric.py'}:closeness",
        data=str(data / "digits.npz"),
        recipes=["weight_int4"],
        device=FakeDevice(),
        folder=tmp_path / "accepted",
        store="",
        max_accuracy_drop=float(number),
    )
    assert accepted.chosen.recipe == "weight_int4", "the remedy works"


def test_the_worst_samples_are_filed(deploy: Any, tmp_path: Path) -> None:
    deployment = deploy(keep_worst=2)
    int8 = next(c for c in deployment.candidates if c.recipe == "int8")
    assert int8.worst == deployment.folder / "worst" / "digits.float32.int8.npz"
    with np.load(int8.worst) as kept:
        assert len(kept["x"]) == 2 and int8.fidelity.worst_sample == f"x_eval[{kept['index'][0]}]"
    assert not (deploy(keep_worst=0, overwrite=True).folder / "worst").exists()


def test_made_up_ranges_win_over_nothing_that_needs_no_data(deploy: Any) -> None:
    deployment = deploy(data=None)
    int8 = next(c for c in deployment.candidates if c.recipe == "int8")
    assert int8.status == "fits" and int8.made_up_ranges and int8.measurement
    assert deployment.chosen.recipe in ("float32", "dynamic_int8")
    assert deployment.data.warnings == (
        "random inputs: fidelity and int8 ranges are made up; give real samples with --data",
    )


def test_nothing_fits_is_filed_too_and_says_what_comes_closest(deploy: Any, tmp_path: Path) -> None:
    deployment = deploy(recipes=["weight_int4"], min_cosine=0.9999)
    assert deployment.chosen is None and deployment.verdict == "does not fit"
    assert deployment.error.exit_code == 3
    assert "weight_int4 comes closest: cosine 0.99" in deployment.error.message
    assert "--min-cosine 0.99" in deployment.error.remedy
    report = json.loads((tmp_path / "digits.float32.pixel7" / "report.json").read_text())
    assert report["chosen"] is None and report["error"]["exit_code"] == 3


def test_out_of_memory_on_the_device_rejects_the_candidate(deploy: Any) -> None:
    deployment = deploy(device=FakeDevice(must_have_bytes=200 * 2**20))
    assert deployment.chosen is None
    assert {c.findings[0].rule for c in deployment.candidates} == {"memory"}


def test_wrong_outputs_on_the_device_reject_the_candidate(deploy: Any) -> None:
    deployment = deploy(device=FakeDevice(fault="wrong output"))
    assert deployment.chosen is None
    assert "differ from the reference" in deployment.candidates[0].findings[0].detail


def test_a_device_lost_on_the_way_ends_the_run_and_what_was_measured_is_filed(
    deploy: Any, tmp_path: Path
) -> None:
    measured = 0

    def lost_at_the_third(argv: Sequence[str]) -> None:
        nonlocal measured
        measured += any(word.startswith("model=") for word in argv)
        if measured == 3:
            raise Lost("fake:1", during="measuring")

    deployment = deploy(device=FakeDevice(run=lost_at_the_third))
    assert deployment.chosen is None
    assert deployment.error.message == "fake:1 was lost during measuring"
    report = json.loads((tmp_path / "digits.float32.pixel7" / "report.json").read_text())
    assert [bool(c["measurement"]) for c in report["candidates"]] == [True, True, False]
    assert report["error"]["exit_code"] == 4


def test_a_folder_that_appears_meanwhile_is_not_touched(deploy: Any, tmp_path: Path) -> None:
    theirs = tmp_path / "digits.float32.pixel7"

    def appear(argv: Sequence[str]) -> None:
        theirs.mkdir(exist_ok=True)
        (theirs / "precious").touch()

    deployment = deploy(device=FakeDevice(run=appear), recipes=["float32"])
    assert deployment.folder == Path("digits.float32.pixel7-2")
    assert deployment.chosen.path.is_file()
    assert [p.name for p in theirs.iterdir()] == ["precious"]


def test_the_time_limit_reaches_the_device(deploy: Any) -> None:
    class Watching(FakeDevice):
        timeouts: ClassVar[set[float]] = set()

        def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
            if any(word.startswith("model=") for word in argv):
                self.timeouts.add(timeout_s)
            return super().run(argv, timeout_s=timeout_s)

    deploy(device=Watching(), recipes=["float32"], timeout_s=70)
    assert Watching.timeouts == {70}


def test_an_unknown_preference_is_said_before_any_work(deploy: Any) -> None:
    with pytest.raises(UsageError, match='cannot prefer "speed"'):
        deploy(prefer="speed")


def test_rerunning_refuses_and_overwrite_replaces(deploy: Any, tmp_path: Path) -> None:
    deploy(recipes=["float32"])
    with pytest.raises(UsageError, match="exists already"):
        deploy(recipes=["int8"])
    deploy(recipes=["int8"], overwrite=True)
    assert (tmp_path / "digits.float32.pixel7" / "digits.float32.int8.tflite").exists()
    assert not (tmp_path / "digits.float32.pixel7" / "digits.float32.float32.tflite").exists()


def test_keep_all_keeps_every_candidate(deploy: Any) -> None:
    deployment = deploy(keep_all=True)
    assert all(c.path.is_file() for c in deployment.candidates)


def test_an_unknown_recipe_is_said_before_any_work(deploy: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r'no recipe "int9"; did you mean int8\?'):
        deploy(recipes=["int9"])
    assert list(tmp_path.iterdir()) == []


def test_labels_give_the_task_metric(deploy: Any) -> None:
    fidelity = deploy(recipes=["float32"]).chosen.fidelity
    assert fidelity.task_metric == fidelity.float_task_metric > 0.95
    assert fidelity.count == 719


def test_own_metric_replaces_accuracy(deploy: Any, tmp_path: Path) -> None:
    (tmp_path / "metric.py").write_text(
        "import numpy as np\n"
        "def mean_top(predict):\n"
        "    scores = predict(np.zeros((4, 8, 8, 1), np.float32))\n"
        "    return float(np.max(scores, axis=-1).mean())\n"
    )
    fidelity = deploy(recipes=["float32"], eval_function=f"{tmp_path / 'metric.py'}:mean_top").chosen.fidelity
    assert 0 < fidelity.task_metric < 1


def test_without_data_the_report_says_random(deploy: Any) -> None:
    deployment = deploy(data=None, recipes=["int8"], min_cosine=0, min_top1_agreement=0)
    assert deployment.data.is_random
    assert any("random" in note for note in deployment.chosen.notes)


@pytest.mark.parametrize(
    ("name", "expected"), [("m.h5", "m"), ("a.b.keras", "a.b"), ("saved", "saved"), ("saved.v2", "saved.v2")]
)
def test_the_name_of_a_model(name: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.mkdir() if name.startswith("saved") else path.touch()
    assert model_name(path) == expected


def test_convert_refuses_a_recipe_for_a_model_that_is_quantized_already(data: Path, tmp_path: Path) -> None:
    quantized = tmp_path / "small.tflite"
    devicekit.convert(data / "digits.float32.tflite", recipe="dynamic_int8", path=quantized)
    with pytest.raises(ConvertError, match="it is quantized already, int8 needs the float model"):
        devicekit.convert(quantized, recipe="int8", path=tmp_path / "smaller.tflite")
    with pytest.raises(ConvertError, match="it is quantized already"):
        devicekit.deploy(quantized, "pixel7", recipes=["int8"], folder=tmp_path / "out")
    kept = devicekit.convert(quantized, path=tmp_path / "copy.tflite")
    assert kept.chosen is not None and kept.chosen.recipe == "original"
    assert (tmp_path / "copy.tflite").read_bytes() == quantized.read_bytes()


def test_convert_says_why_a_recipe_cannot_be_built(data: Path, tmp_path: Path) -> None:
    conversion = devicekit.convert(
        data / "tflite" / "lstm.tflite", recipe="int16x8", path=tmp_path / "lstm.tflite"
    )
    assert conversion.chosen is None and not (tmp_path / "lstm.tflite").exists()
    assert isinstance(conversion.error, ConvertError)
    assert "as int16x8: " in conversion.error.message


@pytest.mark.slow
def test_the_main_job_on_a_legacy_h5(data: Path, tmp_path: Path) -> None:
    deployment = devicekit.deploy(
        data / "digits.h5", "pixel7", data=str(data / "digits.npz"), folder=tmp_path / "out", prefer="size"
    )
    assert [c.recipe for c in deployment.candidates] == [
        *(
            "float32",
            "float16",
            "dynamic_int8",
            "weight_int8",
            "weight_int4",
            "int8",
            "int8_float_io",
            "int16x8",
        )
    ]
    assert deployment.source.max_difference < 1e-5
    assert all(c.status in ("fits", "chosen") for c in deployment.candidates)
    assert deployment.chosen.size_bytes < deployment.candidates[0].size_bytes
    assert deployment.chosen.fidelity.task_metric > 0.95


OLD_PHONE = """schema = 1
extends = "pixel7"
[runtime]
name = "tflite"
version = "2.14.0"
[recipes]
try = ["dynamic_int8"]
"""


def test_an_old_runtime_gets_dense_weights_that_it_can_compute(data: Path, tmp_path: Path) -> None:
    """Per-channel dense weights are FULLY_CONNECTED version 12, which TensorFlow Lite has since 2.17."""
    phone = tmp_path / "old_phone.toml"
    phone.write_text(OLD_PHONE)
    model = data / "digits.float32.tflite"
    conversion = devicekit.convert(model, profile=phone, path=tmp_path / "old.tflite")
    (dynamic,) = conversion.candidates
    assert (dynamic.status, dynamic.findings) == ("chosen", ())
    assert dynamic.notes == (
        "dense weights have one scale each: with one per channel they need FULLY_CONNECTED version 12, "
        "the profile's runtime knows 10",
    )
    per_channel = tmp_path / "per_channel.tflite"
    devicekit.convert(model, recipe="dynamic_int8", path=per_channel)
    [finding] = devicekit.check_model(per_channel, phone).findings
    assert finding.rule == "version"
    assert finding.detail == (
        "FULLY_CONNECTED version 12 needs TensorFlow Lite 2.17, "
        "the profile's runtime is TensorFlow Lite 2.14.0"
    )


def test_io_float_gives_a_static_file_with_float_inputs_and_outputs(data: Path, tmp_path: Path) -> None:
    conversion = devicekit.convert(
        data / "digits.float32.tflite", recipe="int8", io="float", path=tmp_path / "io.tflite"
    )
    assert conversion.chosen and conversion.chosen.recipe == "int8_float_io"


def test_io_replaces_the_recipes_of_the_profile(deploy: Any) -> None:
    deployment = deploy(recipes=["float16", "int8", "int8_float_io", "int16x8"], io="float")
    names = [candidate.recipe for candidate in deployment.candidates]
    assert names == ["float16", "int8_float_io", "int16x8_float_io"]


def test_a_mixed_candidate_is_filed_under_its_own_name(data: Path, tmp_path: Path) -> None:
    """A threshold that int8 just misses: a few ops in float are enough, and the file says so."""
    conversion = devicekit.convert(
        data / "digits.float32.tflite",
        profile="pixel7",
        recipe="int8",
        data=str(data / "digits.npz"),
        min_cosine=0.99998,
        path=tmp_path / "mixed.tflite",
    )
    int8, mixed = conversion.candidates
    assert (int8.recipe, int8.status, mixed.recipe, mixed.status) == (
        "int8",
        "rejected",
        "int8_mixed",
        "chosen",
    )
    assert " of 14 ops in float: cosine " in mixed.notes[0] and mixed.notes[1].startswith("in float: ")
    assert conversion.to_json()["chosen"]["recipe"] == "int8_mixed"
    assert mixed.fidelity and mixed.fidelity.cosine >= 0.99998
