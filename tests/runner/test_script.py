"""The script runner: really on this host, and on devices that misbehave."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devicekit.cache import sha256_file
from devicekit.device.local import LocalDevice
from devicekit.device.seam import Completed
from devicekit.errors import Lost, MeasurementError, OutOfMemory, TimedOut, UnreadableOutput, WrongOutput
from devicekit.measurement import Plan
from devicekit.plugins import resolve
from devicekit.runner.measure import RUNNERS, RunnableModel, measure_model
from devicekit.runner.script import ScriptRunner
from devicekit.testing import FAKE_FACTS, FakeDevice, warmup_model, write_dense_model, write_string_model

QUICK = Plan(warmup_runs=1, warmup_s=0, min_runs=20, min_s=0, timeout_s=60)


@pytest.fixture
def host() -> Iterator[LocalDevice]:
    device = LocalDevice()
    yield device
    device.close()


def runnable(path: Path, golden: Path | None = None) -> RunnableModel:
    return RunnableModel(path, sha256_file(path), golden)


def rewrite(path: Path, change: Callable[[Any], None]) -> Path:
    """Changes a .tflite through the schema's objects."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    change(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def write_float16_model(path: Path, *, inputs: int, outputs: int) -> Path:
    """Writes the dense model with float16 weights and a DEQUANTIZE before them, as converters do."""
    from ai_edge_litert import schema_py_generated as schema

    def halve(model: Any) -> None:
        graph = model.subgraphs[0]
        weights = graph.tensors[1]
        data = model.buffers[weights.buffer].data.view(np.float32)
        stored = schema.TensorT()
        stored.name, stored.shape, stored.buffer = b"stored", weights.shape, weights.buffer
        stored.type = schema.TensorType.FLOAT16
        model.buffers[weights.buffer].data = data.astype(np.float16).view(np.uint8)
        weights.buffer = 0
        graph.tensors.append(stored)
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = 3
        model.operatorCodes.append(code)
        widen = schema.OperatorT()
        widen.opcodeIndex, widen.inputs, widen.outputs = 1, [4], [1]
        graph.operators.insert(0, widen)

    return rewrite(write_dense_model(path, inputs=inputs, outputs=outputs, has_signature=False), halve)


def write_returning_model(path: Path) -> Path:
    """Writes the dense model with its input as another output."""

    def give_back(model: Any) -> None:
        model.subgraphs[0].outputs = [0, *model.subgraphs[0].outputs]

    return rewrite(write_dense_model(path, has_signature=False), give_back)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """One sample of the warm-up model, with the Interpreter's outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(warmup_model()))
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
    outputs = interpreter.get_signature_runner()(x=x)
    np.savez(tmp_path / "golden.npz", **{"in/x": x, "out/y": outputs["y"]})
    return tmp_path / "golden.npz"


def test_a_measurement_says_what_ran_how_and_under_which_limits(host: LocalDevice, golden: Path) -> None:
    plan = replace(QUICK, memory_bytes=32 * 2**20, cpus=(0,))
    model = runnable(warmup_model(), golden)
    found = measure_model(host, model, plan)
    assert (found.evidence, found.runner, found.device) == ("simulated", "script", "host")
    assert found.runtime_version == host.describe().runtime_version
    assert (found.model, found.model_sha256) == ("warmup.tflite", model.sha256)
    assert found.limits == ("memory 32 MiB (RLIMIT_DATA)", "1 thread", "pinned to 1 CPU")
    assert found.latency.count == 20
    assert found.latency.first_us and found.latency.init_us and found.latency.init_us > 0
    assert found.conditions["verified"] == {"outputs": 1, "max_difference": 0.0, "inferences": [1, 3]}
    assert found.conditions["before"]["load_average"] >= 0
    assert found.conditions["after"]["load_average"] >= 0
    assert found.notes == ()


def test_must_have_and_peak_are_growth_over_the_runtime(host: LocalDevice, tmp_path: Path) -> None:
    model = write_dense_model(tmp_path / "m.tflite", inputs=2048, outputs=1024)
    memory = measure_model(host, runnable(model), QUICK).memory
    packed = 8 * 2**20
    assert memory.must_have_bytes is not None and packed <= memory.must_have_bytes <= 1.1 * packed
    assert memory.peak_rss_bytes is not None and memory.peak_rss_bytes >= packed + model.stat().st_size
    assert memory.base_bytes is not None and memory.base_bytes <= 20 * 2**20


def test_must_have_is_what_the_budget_must_be_though_half_of_it_is_gone_after_loading(
    host: LocalDevice, tmp_path: Path
) -> None:
    """Weights from float16 are there widened and packed while the model loads; then the widened ones go."""
    model = write_float16_model(tmp_path / "m.tflite", inputs=2048, outputs=1024)  # 8 MiB in float32
    memory = measure_model(host, runnable(model), QUICK).memory
    assert memory.source == "/proc/self/status: RssAnon or VmHWM - RssFile, peak VmHWM"
    assert memory.must_have_bytes is not None and 2**24 - 2**18 <= memory.must_have_bytes <= 1.1 * 2**24
    above = replace(QUICK, memory_bytes=memory.must_have_bytes + 2**20)
    assert measure_model(host, runnable(model), above).latency.count == 20
    below = replace(QUICK, memory_bytes=memory.must_have_bytes - 2**20)
    with pytest.raises(OutOfMemory, match=r"m\.tflite needs 1[56]\.\d MiB, the limit is 1[45]"):
        measure_model(host, runnable(model), below)


BASE = {"VmRSS": 12_000, "VmHWM": 12_000, "RssAnon": 4_000, "RssFile": 8_000}


@pytest.mark.parametrize(
    ("base", "later", "must_have_kb"),
    [
        (BASE, {"VmRSS": 15_000, "VmHWM": 15_000, "RssAnon": 6_000, "RssFile": 9_000}, 2_000),
        (BASE, {"VmRSS": 15_000, "VmHWM": 17_000, "RssAnon": 6_000, "RssFile": 9_000}, 4_000),
        # VmHWM could not be started anew and is the runtime's own loading.
        (
            {**BASE, "VmHWM": 30_000},
            {"VmRSS": 15_000, "VmHWM": 30_000, "RssAnon": 6_000, "RssFile": 9_000},
            2_000,
        ),
        # A kernel that does not tell file pages apart.
        (
            {"VmRSS": 12_000, "VmHWM": 12_000, "RssAnon": 4_000},
            {"VmRSS": 15_000, "VmHWM": 17_000, "RssAnon": 6_000},
            2_000,
        ),
        ({"VmRSS": 12_000, "VmHWM": 12_000}, {"VmRSS": 15_000, "VmHWM": 17_000}, None),
    ],
    ids=["now", "peak", "an older peak", "no RssFile", "no RssAnon"],
)
def test_must_have_is_the_peak_as_far_as_it_is_known(
    base: dict[str, int], later: dict[str, int], must_have_kb: int | None
) -> None:
    document = {"mem_base": base, "mem_init": later, "mem_first": later, "mem_end": later}
    timing = {"api": "fake", "init_ns": 1, "first_ns": 1, "ns": [1] * 20, "outputs": []}
    device = answering(exit_code=0, stdout=json.dumps({**document, **timing}), stderr="")
    found = measure_model(device, runnable(warmup_model()), QUICK).memory.must_have_bytes
    assert found == (None if must_have_kb is None else must_have_kb * 1024)


def test_more_memory_than_the_limit_is_told_with_the_need(host: LocalDevice, tmp_path: Path) -> None:
    model = write_dense_model(tmp_path / "big.tflite", inputs=4096, outputs=2048)  # 32 MiB packed
    with pytest.raises(OutOfMemory) as caught:
        measure_model(host, runnable(model), replace(QUICK, memory_bytes=8 * 2**20))
    assert caught.value.message == (
        "big.tflite needs 32.1 MiB, the limit is 8 MiB (during the first inference)"
    )
    assert caught.value.limit_bytes == 8 * 2**20


@pytest.mark.parametrize("memory_bytes", [1, 2**16, 2**20, 6 * 2**20])
def test_no_limit_is_too_tight_to_be_told_from_a_crash(
    host: LocalDevice, tmp_path: Path, memory_bytes: int
) -> None:
    model = write_dense_model(tmp_path / "m.tflite", inputs=2048, outputs=1024)
    with pytest.raises(OutOfMemory, match=r"m\.tflite needs 8\.\d MiB, the limit is"):
        measure_model(host, runnable(model), replace(QUICK, memory_bytes=memory_bytes))


def test_what_the_library_refuses_runs_in_the_interpreter_and_says_so(
    host: LocalDevice, tmp_path: Path
) -> None:
    found = measure_model(host, runnable(write_string_model(tmp_path / "s.tflite")), QUICK)
    assert (found.runner, found.latency.count) == ("interpreter", 20)
    assert found.notes[0].startswith("run by the Python Interpreter, for LiteRtCreateManagedTensorBuffer")
    assert found.notes[1] == "its inputs were zeros and empty strings"


def test_an_input_that_is_returned_comes_back_through_the_interpreter(
    host: LocalDevice, tmp_path: Path
) -> None:
    """LiteRT 2.3.0's C interface leaves the buffer of such an output as it was."""
    model = write_returning_model(tmp_path / "same.tflite")
    x = np.arange(8, dtype=np.float32).reshape(1, 8)
    np.savez(tmp_path / "g.npz", **{"in/input": x, "out/input": x})
    found = measure_model(host, runnable(model, tmp_path / "g.npz"), QUICK)
    assert found.conditions["verified"] == {"outputs": 1, "max_difference": 0.0, "inferences": [1, 3]}
    assert found.notes == (
        "run by the Python Interpreter, for an input is returned as an output (during loading the model)",
    )


def test_a_refused_model_keeps_the_librarys_reason_under_a_limit_too(
    host: LocalDevice, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    data = bytearray(warmup_model().read_bytes())
    data[0:4] = b"\xff\xff\xff\x7f"  # the root's offset
    broken.write_bytes(data)
    np.savez(tmp_path / "g.npz", **{"in/x": np.zeros((1, 8), np.float32)})
    with pytest.raises(MeasurementError, match=r"broken\.tflite does not run on host: LiteRt.* fails"):
        measure_model(host, runnable(broken, tmp_path / "g.npz"), replace(QUICK, memory_bytes=64 * 2**20))


def test_a_model_without_signature_goes_by_tensor_names(host: LocalDevice, tmp_path: Path) -> None:
    model = write_dense_model(tmp_path / "m.tflite", has_signature=False)
    assert measure_model(host, runnable(model), QUICK).runner == "script"


def test_two_threads_compute_the_same_as_one(host: LocalDevice, golden: Path) -> None:
    found = measure_model(host, runnable(warmup_model(), golden), replace(QUICK, threads=2))
    assert (found.threads, found.conditions["verified"]["max_difference"]) == (2, 0.0)


def test_builtin_kernels_need_no_packed_copy(host: LocalDevice, tmp_path: Path) -> None:
    model = write_dense_model(tmp_path / "m.tflite", inputs=2048, outputs=1024)
    memory = measure_model(host, runnable(model), replace(QUICK, kernel="builtin")).memory
    assert memory.must_have_bytes is not None and memory.must_have_bytes < 2**20


def test_other_outputs_than_golden_are_no_measurement(host: LocalDevice, golden: Path) -> None:
    with np.load(golden) as file:
        arrays = dict(file)
    arrays["out/y"] = arrays["out/y"] + 1
    np.savez(golden, **arrays)
    with pytest.raises(WrongOutput, match=r"warmup\.tflite: outputs on host differ from the reference by"):
        measure_model(host, runnable(warmup_model(), golden), QUICK)


def test_a_run_that_takes_too_long_is_ended(host: LocalDevice, tmp_path: Path) -> None:
    slow = runnable(write_dense_model(tmp_path / "slow.tflite", inputs=2048, outputs=1024))
    with pytest.raises(TimedOut, match=r"slow\.tflite: the repeats took more than 3 s"):
        measure_model(host, slow, replace(QUICK, min_s=60, max_s=60, max_runs=10**6, timeout_s=3))


def test_a_crash_of_the_runtime_is_told_with_its_phase() -> None:
    with pytest.raises(MeasurementError) as caught:
        measure_model(FakeDevice(fault="crash"), runnable(warmup_model()), QUICK)
    assert caught.value.message == (
        "warmup.tflite does not run on fake:1: the runtime crashed (SIGSEGV) (during loading the model)"
    )


def answering(**answer: Any) -> FakeDevice:
    def run(argv: Sequence[str]) -> Completed | None:
        return Completed(**answer) if "sha256" not in argv else None

    return FakeDevice(run=run)


@pytest.mark.parametrize("memory_bytes", [None, 128 * 2**20])
def test_a_kill_by_the_system_is_not_called_the_budget(memory_bytes: int | None) -> None:
    device = answering(exit_code=137, stdout="", stderr="phase init\n")
    with pytest.raises(MeasurementError) as caught:
        measure_model(device, runnable(warmup_model()), replace(QUICK, memory_bytes=memory_bytes))
    assert type(caught.value) is MeasurementError
    assert caught.value.message == (
        "warmup.tflite was killed by the system (SIGKILL) during loading the model: most likely fake:1 ran "
        "out of memory"
    )
    assert caught.value.remedy == "free memory there and run it again, or try a smaller recipe"


@pytest.mark.parametrize(
    ("stdout", "stderr", "found"),
    [
        ("", "", "'nothing' instead of its document"),
        ("", "python3: not found", "'python3: not found' instead of its document"),
        ("{}", "", "its document lacks mem_base, mem_end, ns, outputs"),
        ('{"error": "x", "phase": "tea"}', "", "unknown phase 'tea'"),
        ('{"ns": [], "outputs": [], "mem_base": {}, "mem_end": {}}', "", "lacks a sample"),
    ],
)
def test_what_is_no_document_is_told(stdout: str, stderr: str, found: str) -> None:
    with pytest.raises(UnreadableOutput) as caught:
        measure_model(answering(exit_code=0, stdout=stdout, stderr=stderr), runnable(warmup_model()), QUICK)
    assert found in caught.value.message


def test_a_lost_device_stays_lost() -> None:
    with pytest.raises(Lost):
        measure_model(FakeDevice(fault="lost"), runnable(warmup_model()), QUICK)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "runtime_library",
            "fake:1 is aarch64 with an unknown libc, and LiteRT's library needs aarch64 with glibc 2.30",
        ),
    ],
)
def test_a_device_that_cannot_run_the_script_is_told(missing: str, message: str) -> None:
    facts = replace(FAKE_FACTS, **{missing: None})
    with pytest.raises(MeasurementError) as caught:
        measure_model(FakeDevice(facts), runnable(warmup_model()), QUICK)
    assert caught.value.message == message


def test_prepare_sends_nothing_twice() -> None:
    device, runner = FakeDevice(), ScriptRunner()
    runner.prepare(device, runnable(warmup_model()))
    own = f"{sha256_file(warmup_model())[:12]}."
    assert device.pushed == ["board_script.py", "warmup.tflite", f"{own}model.tflite", f"{own}in0.bin"]
    runner.prepare(device, runnable(warmup_model()))
    assert len(device.pushed) == 4


def test_push_resends_when_only_the_bytes_differ(tmp_path: Path) -> None:
    device, runner = FakeDevice(), ScriptRunner()
    model = runnable(write_dense_model(tmp_path / "m.tflite"))
    prepared = runner.prepare(device, model)
    on_device = f"{prepared.prefix}model.tflite"
    device.files[on_device] = device.files[on_device][::-1]  # the same name and size
    runner.prepare(device, model)
    assert device.pushed.count(on_device) == 2
    assert device.files[on_device] == model.path.read_bytes()


def test_the_cpus_of_the_plan_are_pinned_on_a_device() -> None:
    device = FakeDevice()
    measure_model(device, runnable(warmup_model()), replace(QUICK, cpus=(2, 3), threads=2))
    assert "cpus=2,3" in the_run(device)


def the_run(device: FakeDevice) -> tuple[str, ...]:
    return next(command for command in device.commands if "board_script.py" in command and "-S" in command)


def test_the_script_runs_without_site_packages_and_environment(host: LocalDevice) -> None:
    device = FakeDevice(replace(FAKE_FACTS, python=sys.executable))
    measure_model(device, runnable(warmup_model()), QUICK)
    assert the_run(device)[:5] == (sys.executable, "-I", "-S", "-B", "board_script.py")


def test_a_device_without_python_is_told() -> None:
    with pytest.raises(MeasurementError) as caught:
        ScriptRunner().prepare(FakeDevice(replace(FAKE_FACTS, python=None)), runnable(warmup_model()))
    assert caught.value.message == "fake:1 has no Python"


def test_every_runner_of_the_table_exists() -> None:
    assert list(RUNNERS) == ["script", "micro", "benchmark_model"]
    assert all(callable(resolve(target)) for target in RUNNERS.values())
