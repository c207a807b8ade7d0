"""Budgets of the caller: they win over the profile, are judged where they can be, and are named as flags."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import devicekit
from devicekit.errors import DoesNotFit, UsageError
from devicekit.testing import FakeDevice


@pytest.fixture
def deploy(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(**options: Any) -> Any:
        given = {
            "data": str(data / "digits.npz"),
            "recipes": ["float32", "int8"],
            "device": FakeDevice(latency_us=2000.0, must_have_bytes=2**21),
            **options,
        }
        return devicekit.deploy(data / "digits.float32.tflite", "pixel7", **given)

    return run


def details(deployment: Any) -> list[str]:
    return [f"{c.recipe}: {finding.detail}" for c in deployment.candidates for finding in c.findings]


def test_the_size_decides(deploy: Any) -> None:
    deployment = deploy(max_size_bytes=60 * 1024)
    assert details(deployment) == ["float32: is 126 KiB, --max-size is 60 KiB"]
    assert deployment.chosen.recipe == "int8"
    assert deployment.to_json()["budgets"] == {"max_size_bytes": 60 * 1024}


def test_a_size_that_would_read_the_same_is_given_in_bytes(deploy: Any) -> None:
    size_bytes = deploy(recipes=["float32"]).chosen.size_bytes
    deployment = deploy(recipes=["float32"], max_size_bytes=size_bytes - 1, overwrite=True)
    assert details(deployment) == [f"float32: is {size_bytes:,} B, --max-size is {size_bytes - 1:,} B"]


def test_memory_is_enforced_and_named_as_the_flag(deploy: Any) -> None:
    deployment = deploy(max_memory_bytes=2**20)
    assert details(deployment) == [
        "float32: needs 2 MiB, --max-memory is 1 MiB",
        "int8: needs 2 MiB, --max-memory is 1 MiB",
    ]
    assert "raise --max-memory" in deployment.error.remedy
    assert isinstance(deployment.error, DoesNotFit)


def test_memory_that_the_file_is_sure_to_need_is_not_measured(deploy: Any) -> None:
    deployment = deploy(max_memory_bytes=1000, recipes=["float32"])
    [detail] = details(deployment)
    assert detail.startswith("float32: needs at least") and detail.endswith("--max-memory is 1000 B")
    assert deployment.candidates[0].measurement is None


def test_latency_is_judged_on_what_was_measured_and_says_where(deploy: Any) -> None:
    deployment = deploy(max_latency_ms=0.5, recipes=["int8"])
    assert details(deployment) == ["int8: median 2.00 ms on fake:1 (emulated), --max-latency is 0.5 ms"]
    assert deployment.error.exit_code == 3
    assert "raise --max-latency" in deployment.error.remedy


def test_a_budget_wins_over_the_profile_that_is_stricter(deploy: Any, tmp_path: Path, data: Path) -> None:
    (tmp_path / "tiny.toml").write_text('schema = 1\nextends = "pixel7"\n[limits]\nmodel_mib = 0.01\n')
    deployment = devicekit.deploy(
        data / "digits.float32.tflite",
        "tiny.toml",
        recipes=["float32"],
        device=FakeDevice(),
        max_size_bytes=2**20,
    )
    assert deployment.chosen is not None and deployment.chosen.recipe == "float32"


def test_the_accuracy_may_drop_by_as_much_as_was_said(deploy: Any) -> None:
    recipes = ["float32", "weight_int4"]
    assert details(deploy(recipes=recipes, max_accuracy_drop=0.01)) == []
    [detail] = details(deploy(recipes=recipes, max_accuracy_drop=0.0, overwrite=True))
    assert detail.startswith("weight_int4: task metric 0.99")
    assert detail.endswith("below the float model's 0.9944, --max-accuracy-drop is 0")


def test_an_own_metric_drops_in_its_own_unit(deploy: Any, tmp_path: Path) -> None:
    (tmp_path / "metric.py").write_text(
        "import numpy as np\n"
        "def fineness(predict):\n"
        "    x = np.random.default_rng(1).uniform(0, 1, (50, 8, 8, 1)).astype(np.float32)\n"
        "    return float(len(np.unique(predict(x))))\n"
    )
    options: Any = {"eval_function": "metric.py:fineness", "overwrite": True}
    [detail] = details(deploy(max_accuracy_drop=20.0, **options))
    assert detail.startswith("int8: task metric ") and detail.endswith("--max-accuracy-drop is 20")
    assert details(deploy(max_accuracy_drop=1000.0, **options)) == []


def test_a_threshold_names_the_flag_that_set_it(deploy: Any) -> None:
    [detail] = details(deploy(min_cosine=0.9999, recipes=["float32", "weight_int4"]))
    assert detail.startswith("weight_int4: cosine 0.99") and detail.endswith("< 0.9999 (--min-cosine)")


@pytest.mark.parametrize("kind", ["none", "npy", "npz", "folder"])
def test_a_drop_without_labels_is_refused_before_any_work(kind: str, deploy: Any, tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(0, 1, (4, 8, 8, 1)).astype(np.float32)
    np.save(tmp_path / "s.npy", samples)
    np.savez(tmp_path / "s.npz", x=samples)
    (tmp_path / "s").mkdir()
    source = {"none": None, "npy": "s.npy", "npz": "s.npz", "folder": "s"}[kind]
    with pytest.raises(UsageError) as raised:
        deploy(data=source, max_accuracy_drop=0.01, recipes=["float32"])
    why = "there are no labels" if source is None else f"{source} has no labels (y)"
    assert raised.value.message == f"--max-accuracy-drop needs a task metric: {why}"
    assert (
        raised.value.remedy == "give labelled samples (y in --data samples.npz), or --eval FILE.py:FUNCTION"
    )
    assert not (tmp_path / "digits.float32.pixel7").exists()


def test_a_drop_where_only_reading_the_data_shows_that_it_has_no_labels(deploy: Any, tmp_path: Path) -> None:
    (tmp_path / "samples.py").write_text(
        "import numpy as np\n"
        "def samples():\n"
        "    return np.random.default_rng(1).uniform(0, 1, (4, 8, 8, 1)).astype(np.float32)\n"
    )
    with pytest.raises(UsageError, match=r"needs a task metric: samples\.py:samples gives no labels"):
        deploy(data="samples.py:samples", max_accuracy_drop=0.01, recipes=["float32"])
    assert not (tmp_path / "digits.float32.pixel7").exists()


def test_a_drop_from_no_float_model_is_refused(data: Path, tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(0, 1, (4, 12, 12, 3)).astype(np.float32)
    np.savez(tmp_path / "s.npz", x=samples, y=np.array([0, 1, 2, 3]))
    with pytest.raises(UsageError, match="needs a task metric: there is no float model to compare with"):
        devicekit.convert(
            data / "tflite" / "cnn_int8.tflite",
            path=tmp_path / "m.tflite",
            data=str(tmp_path / "s.npz"),
            max_accuracy_drop=0.01,
        )
    assert not (tmp_path / "m.tflite").exists()


def test_a_drop_of_everything_is_a_slip(deploy: Any) -> None:
    with pytest.raises(UsageError, match="--max-accuracy-drop 1 allows any accuracy"):
        deploy(max_accuracy_drop=1.0)


@pytest.mark.parametrize(
    "budget", [{"max_size_bytes": 0}, {"max_latency_ms": float("nan")}, {"max_accuracy_drop": -0.1}]
)
def test_what_is_no_budget_is_refused(budget: dict[str, Any], deploy: Any) -> None:
    with pytest.raises(UsageError, match="must be"):
        deploy(**budget)


def test_convert_keeps_budgets_without_a_profile(data: Path, tmp_path: Path) -> None:
    options: Any = {"recipe": "int8", "path": tmp_path / "m.tflite", "data": str(data / "digits.npz")}
    conversion = devicekit.convert(data / "digits.float32.tflite", max_size_bytes=10_000, **options)
    assert isinstance(conversion.error, DoesNotFit)
    assert conversion.error.message == (
        "digits.float32.tflite does not fit the budgets: "
        "int8 comes closest: is 52.3 KiB, --max-size is 9.77 KiB"
    )
    assert not (tmp_path / "m.tflite").exists()


def test_convert_refuses_a_budget_that_it_cannot_judge(data: Path) -> None:
    with pytest.raises(UsageError, match="--max-latency cannot be judged: convert measures nothing"):
        devicekit.convert(data / "digits.float32.tflite", max_latency_ms=5.0)
