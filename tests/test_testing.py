from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from devicekit.cache import sha256_file
from devicekit.device.seam import Completed
from devicekit.errors import (
    Lost,
    MeasurementError,
    OutOfMemory,
    TimedOut,
    UnreadableOutput,
    UsageError,
    WrongOutput,
)
from devicekit.graph.read import read_graph
from devicekit.measurement import Measurement, Plan
from devicekit.runner.measure import RunnableModel, measure_model
from devicekit.testing import FAKE_FACTS, FakeDevice, Fault, fake_device, warmup_model, write_dense_model


def measure(device: FakeDevice, plan: Plan | None = None, golden: Path | None = None) -> Measurement:
    model = RunnableModel(warmup_model(), sha256_file(warmup_model()), golden)
    return measure_model(device, model, plan or Plan())


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    import numpy as np

    x = np.ones((1, 8), np.float32)
    from ai_edge_litert.interpreter import Interpreter

    y = Interpreter(str(warmup_model())).get_signature_runner()(x=x)["y"]
    np.savez(tmp_path / "g.npz", **{"in/x": x, "out/y": y})
    return tmp_path / "g.npz"


def test_a_fake_answers_what_it_was_told_and_its_outputs_are_true(golden: Path) -> None:
    found = measure(FakeDevice(latency_us=500, must_have_bytes=3 * 2**20), golden=golden)
    assert found.latency.median_us == pytest.approx(500, rel=0.01)
    assert found.memory.must_have_bytes == 3 * 2**20
    assert found.conditions["verified"]["max_difference"] == 0
    assert found.stability.startswith("stable")


def test_a_fake_is_never_evidence_of_a_measurement() -> None:
    device = FakeDevice(replace(FAKE_FACTS, evidence="measured"))
    assert measure(device).evidence == "emulated"


def test_a_fake_repeats_itself() -> None:
    assert measure(FakeDevice()).latency == measure(FakeDevice()).latency


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("time-out", TimedOut),
        ("lost", Lost),
        ("wrong output", WrongOutput),
        ("garbage output", UnreadableOutput),
        ("crash", MeasurementError),
    ],
)
def test_each_fault_is_the_error_that_a_device_would_cause(
    fault: Fault, error: type[Exception], golden: Path
) -> None:
    with pytest.raises(error) as caught:
        measure(FakeDevice(fault=fault), golden=golden)
    assert type(caught.value) is error


def test_a_limit_below_the_need_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemory, match=r"needs 61\.0 MiB, the limit is 48 MiB"):
        measure(FakeDevice(must_have_bytes=61 * 2**20), Plan(memory_bytes=48 * 2**20))
    with pytest.raises(OutOfMemory, match="needs more than 48 MiB"):
        measure(FakeDevice(fault="out of memory"), Plan(memory_bytes=48 * 2**20))


def test_a_function_may_answer_for_the_device() -> None:
    def run(argv: Sequence[str]) -> Completed | None:
        return Completed(0, "15\n", "") if argv[0] == "getprop" else None

    device = FakeDevice(run=run)
    assert device.run(["getprop", "x"], timeout_s=1).stdout == "15\n"
    assert measure(device).latency.count == 50


def test_a_dense_model_has_the_size_that_was_asked(tmp_path: Path) -> None:
    graph = read_graph(write_dense_model(tmp_path / "m.tflite", inputs=16, outputs=32))
    assert [op.name for op in graph.main.ops] == ["FULLY_CONNECTED"]
    assert {name: t.shape for name, t in graph.input_tensors.items()} == {"x": (1, 16)}
    assert {name: t.shape for name, t in graph.output_tensors.items()} == {"y": (1, 32)}
    unsigned = read_graph(write_dense_model(tmp_path / "u.tflite", has_signature=False))
    assert set(unsigned.input_tensors) == {"input"}


@pytest.mark.parametrize(
    "query", ["run_s=-1", "spread=nan", "latency_us=fast", "speed=1", "fault=tired", "run_s=1e99"]
)
def test_what_is_no_fake_device_is_said(query: str) -> None:
    assert fake_device("fake:a?latency_us=5&fault=out_of_memory").describe().evidence == "emulated"
    with pytest.raises(UsageError, match="names no fake device"):
        fake_device(f"fake:a?{query}")
