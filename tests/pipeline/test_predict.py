"""`devicekit predict`: the plan, the run where there is no plan, its confirmation, and how it reads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import devicekit
from devicekit.device import cgroup
from devicekit.errors import DevicekitError, UsageError
from devicekit.graph.read import read_graph, read_graph_bytes
from devicekit.predict.memory import MIB, plan_memory
from devicekit.predict.pack import Network, build
from devicekit.profile.lookup import load_profile
from devicekit.report.text import render
from devicekit.runner.measuring import Measuring

DATA = Path(__file__).parent.parent / "data" / "tflite"
DEVICEKIT = str(Path(sys.executable).parent / "devicekit")


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 .tflite of some 13 MiB of must-have memory."""
    path = tmp_path_factory.mktemp("models") / "heavy.tflite"
    path.write_bytes(build(Network("conv", 64, 256, 4)))
    return path


def profile_of(tmp_path: Path, memory_mib: float) -> Path:
    path = tmp_path / "own.toml"
    lines = ("schema = 1", 'extends = "_linux-aarch64"', "[limits]", f"memory_mib = {memory_mib}")
    path.write_text("\n".join((*lines, "[runtime]", "threads = 1", "")))
    return path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEVICEKIT, *words], capture_output=True, text=True)


def test_a_clean_process_needs_what_was_planned(heavy: Path) -> None:
    plan = plan_memory(read_graph(heavy))
    measured = devicekit.measure(heavy).memory
    assert plan.must_have_bytes and measured.must_have_bytes and measured.peak_rss_bytes
    assert abs(plan.must_have_bytes - measured.must_have_bytes) < 0.05 * measured.must_have_bytes
    assert plan.peak_rss_bytes
    assert abs(plan.peak_rss_bytes - measured.peak_rss_bytes) < 0.05 * measured.peak_rss_bytes


def test_the_document_has_the_keys_that_scripts_rely_on(heavy: Path) -> None:
    done = run("predict", str(heavy), "-p", "pixel7", "--format", "json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert document.keys() >= {"model", "profile", "memory", "latency", "latency_reason", "macs"}
    assert document["memory"].keys() >= {
        *("evidence", "file_bytes", "weights_bytes", "arena_bytes", "arena_exact", "base_bytes"),
        *("must_have_bytes", "peak_rss_bytes", "verdict"),
    }
    assert document["memory"]["evidence"] == "predicted" and document["memory"]["verdict"] == "fits"
    assert document["latency"] is None and "no calibration" in document["latency_reason"]
    other = json.loads(run("predict", str(heavy), "-p", "pixel3", "--format", "json").stdout)["latency"]
    assert other.keys() >= {"median_ms", "interval_80_ms", "interval_90_ms", "tier", "basis"}
    assert other["interval_90_ms"][0] < other["interval_80_ms"][0] < other["median_ms"]


def test_no_heavy_library_is_imported_for_it() -> None:
    code = (
        "import sys, devicekit; from pathlib import Path;"
        f"devicekit.predict({str(DATA / 'cnn_float32.tflite')!r}, 'pixel3');"
        "print(sorted({'tensorflow', 'ai_edge_litert.interpreter', 'scipy', 'paramiko'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_cannot_be_planned_is_run_once_and_called_simulated() -> None:
    found = devicekit.predict(DATA / "gru_loop.tflite", "pixel7")
    assert found.memory.evidence == "simulated"
    assert found.memory.reason and "runs another subgraph" in found.memory.reason
    assert found.memory.must_have_bytes and found.memory.must_have_bytes > 0
    text = render(found)
    assert "simulated, one run on this host" in text and "by the plan alone" in text


def test_without_a_run_it_stays_a_lower_bound() -> None:
    found = devicekit.predict(DATA / "gru_loop.tflite", "pixel7", may_run=False)
    assert found.memory.must_have_bytes is None and found.verdict is None
    assert "a lower bound" in render(found)


def test_an_odd_file_gives_a_partial_answer_that_names_what_it_leaves_out() -> None:
    found = devicekit.predict(DATA / "custom.tflite", "pixel7")
    assert found.memory.reason == "MatrixInverse is a custom operator"
    assert found.memory.evidence == "predicted" and found.memory.must_have_bytes is None
    assert found.notes[0].startswith("it does not run here, so that only a lower bound is known")


def test_an_open_batch_is_planned_as_one() -> None:
    found = devicekit.predict(DATA / "cnn_dynamic_batch.tflite", "pixel7")
    assert found.memory.evidence == "predicted" and found.memory.must_have_bytes


def test_a_file_without_weights_has_no_latency(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from devicekit.runner.micro_worker import _alone

    path = tmp_path / "relu.tflite"
    path.write_bytes(_alone(schema.BuiltinOperator.RELU))
    found = devicekit.predict(path, "pixel3")
    assert found.latency_reason == "the file has no weights"
    assert found.memory.must_have_bytes


def test_what_does_not_fit_exits_3_and_says_what_would_lower_it(tmp_path: Path, heavy: Path) -> None:
    done = run("predict", str(heavy), "-p", str(profile_of(tmp_path, 5)))
    assert done.returncode == 3
    assert "does not fit: limits.memory_mib is 5" in done.stdout
    assert "→ 8-bit" in done.stdout
    assert "peak" in done.stdout and "CONV_2D (op" in done.stdout


def test_check_says_where_memory_is_tight(tmp_path: Path, heavy: Path) -> None:
    needed = plan_memory(read_graph(heavy)).must_have_bytes
    assert needed
    result = devicekit.check_model(heavy, profile_of(tmp_path, 1.02 * needed / MIB))
    assert result.ok and result.memory_verdict == "tight"
    assert result.to_json()["memory_verdict"] == "tight"
    assert "tight: needs" in render(result)
    assert devicekit.check_model(heavy, profile_of(tmp_path, 64)).memory_verdict == "fits"
    assert not devicekit.check_model(heavy, profile_of(tmp_path, 5)).ok


def test_without_a_calibration_models_can_still_be_ranked(heavy: Path) -> None:
    small = devicekit.predict(DATA / "cnn_float32.tflite", "pixel7")
    large = devicekit.predict(heavy, "pixel7")
    assert small.relative and large.relative and small.relative < large.relative
    assert large.to_json()["work"].keys() == {"macs", "bytes", "operators", "relative"}
    assert "relative cost" in render(large) and "MACs" in render(large)


def test_the_chart_is_no_wider_than_the_terminal(heavy: Path) -> None:
    assert max(map(len, run("predict", str(heavy), "-p", "pixel3").stdout.splitlines())) <= 100


@pytest.mark.parametrize(("memory_mib", "runs"), [(64, True), (5, False)])
def test_a_limited_run_agrees_with_the_verdict(
    tmp_path: Path, heavy: Path, memory_mib: int, runs: bool
) -> None:
    found = devicekit.predict(heavy, profile_of(tmp_path, memory_mib), confirm=True)
    assert found.confirmation and found.confirmation.runs is runs and found.confirmation.agrees is True
    assert any("RLIMIT_DATA" in words for words in found.confirmation.enforced)
    assert "agrees: it" in render(found)


def test_the_limit_from_which_it_runs_is_at_most_a_fifth_above_the_prediction(heavy: Path) -> None:
    needed = plan_memory(read_graph(heavy)).must_have_bytes
    assert needed

    def runs(limit_bytes: float) -> bool:
        profile = load_profile("pixel7")
        limits = profile.limits.model_copy(update={"memory_mib": limit_bytes / MIB})
        try:
            devicekit.measure(heavy, profile=profile.model_copy(update={"limits": limits}), threads=1)
        except DevicekitError:
            return False
        return True

    assert runs(1.2 * needed)
    assert not runs(0.9 * needed)


def has_cgroups() -> bool:
    try:
        cgroup.version()
    except UsageError:
        return False
    return True


def test_hard_limits_kill_what_needs_more_or_say_that_they_cannot(tmp_path: Path, heavy: Path) -> None:
    hard = Measuring(hard_limits=True)
    if not has_cgroups():
        with pytest.raises(UsageError, match="may not make a memory cgroup here"):
            devicekit.measure(heavy, profile=profile_of(tmp_path, 64), measuring=hard)
        return
    measured = devicekit.measure(heavy, profile=profile_of(tmp_path, 64), measuring=hard)
    assert any("cgroup" in note and "kills" in note for note in measured.notes)
    found = devicekit.predict(heavy, profile_of(tmp_path, 4), hard_limits=True)
    assert found.confirmation and not found.confirmation.runs and found.confirmation.agrees
    assert found.confirmation.enforced == ("memory 4 MiB (cgroup)",)


def test_hard_limits_need_a_limit(heavy: Path) -> None:
    with pytest.raises(UsageError, match="there is no memory limit"):
        devicekit.measure(heavy, measuring=Measuring(hard_limits=True))


def test_a_keras_model_is_predicted_as_its_float_tflite() -> None:
    found = devicekit.predict(Path(__file__).parent.parent / "data" / "digits.h5", "pixel3")
    assert found.precision == "float32" and found.latency


def test_deploy_predicts_the_latency_of_what_it_chose(tmp_path: Path) -> None:
    data = Path(__file__).parent.parent / "data"
    deployment = devicekit.deploy(
        data / "digits.h5",
        "pixel3",
        data=str(data / "digits.npz"),
        recipes=["float32"],
        folder=tmp_path / "out",
    )
    document = deployment.to_json()
    assert document["latency"]["evidence"] == "predicted" and document["latency_reason"] is None
    assert "predicted: 32 calibration models" in " ".join(render(deployment).split())


def test_the_graph_of_a_pack_model_is_read_as_built() -> None:
    graph = read_graph_bytes(build(Network("separable", 32, 16, 2)), Path("m.tflite"))
    assert [op.name for op in graph.main.ops] == [
        *(
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "CONV_2D",
            "MEAN",
            "FULLY_CONNECTED",
        ),
    ]
