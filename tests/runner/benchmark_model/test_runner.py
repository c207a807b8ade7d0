"""The runner around the tool.

No package carries a binary of it: where one must run, a script that prints what a real one printed takes its
place.
"""

import functools
import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devicekit.cache import sha256_file
from devicekit.device.local import LocalDevice
from devicekit.device.seam import Completed
from devicekit.errors import (
    DevicekitError,
    MeasurementError,
    TimedOut,
    UnreadableOutput,
    UsageError,
    WrongOutput,
)
from devicekit.measurement import Plan, from_json
from devicekit.runner.benchmark_model.runner import NO_OUTPUTS, NO_SEQUENCE, BenchmarkModelRunner
from devicekit.runner.benchmark_model.tool import MIRROR, VERSION, kind_of, tool_for
from devicekit.runner.measure import RunnableModel, measure_prepared, runner_for
from devicekit.runner.measuring import Measuring
from devicekit.testing import FAKE_FACTS, FakeDevice, warmup_model

PRINTED = Path(__file__).parent.parent.parent / "data" / "benchmark_model"
PLAN = Plan(threads=2, min_runs=10, min_s=0.0, timeout_s=30)


def write_tool(path: Path, printed: str, *, more: str = "") -> Path:
    """Writes a script that prints a captured output."""
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\n{more}\n")
    return path


def captured(name: str) -> str:
    return (PRINTED / f"{name}.txt").read_text()


def elf(path: Path, machine: int, words: bytes) -> Path:
    """Writes the head of an ELF file, and the words that a tool has in it."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + machine.to_bytes(2, "little")
    path.write_bytes(head + bytes(64) + words)
    return path


CLASSIC, LITERT = b"Inference timings in us: Init: %d", b"========== BENCHMARK RESULTS =========="


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    from ai_edge_litert.interpreter import Interpreter

    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
    y = Interpreter(str(warmup_model())).get_signature_runner()(x=x)["y"]
    np.savez(tmp_path / "golden.npz", **{"in/x": x, "out/y": y})
    y.tofile(tmp_path / "y.bin")
    return tmp_path / "golden.npz"


def measured(device: Any, tool: Path, golden: Path | None = None, **how: Any) -> Any:
    runner = BenchmarkModelRunner(Measuring(benchmark_model=tool, **how))
    model = RunnableModel(warmup_model(), sha256_file(warmup_model()), golden)
    return measure_prepared(device, runner, runner.prepare(device, model), PLAN)


@pytest.fixture
def host() -> Iterator[LocalDevice]:
    device = LocalDevice()
    yield device
    device.close()


# --- the tool ----------------------------------------------------------------------------------------------


def test_the_two_tools_are_told_apart_by_what_they_can_say(tmp_path: Path) -> None:
    assert kind_of(elf(tmp_path / "a", 0xB7, CLASSIC)) == "classic"
    # LiteRT's own has the words of both: it is built on the classic one.
    assert kind_of(elf(tmp_path / "b", 0xB7, CLASSIC + LITERT)) == "litert"
    with pytest.raises(UsageError, match="has no words of either tool"):
        kind_of(elf(tmp_path / "c", 0xB7, b"hello"))
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="has no words of either tool"):
        kind_of(tmp_path / "empty")


def test_a_tool_for_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tool_for(FAKE_FACTS, path=elf(tmp_path / "tool", 0x3E, CLASSIC))
    assert caught.value.message == f"{tmp_path}/tool is for x86_64, fake:1 is aarch64"


@pytest.mark.parametrize(("content", "words"), [(None, "there is no file"), (b"PK\x03\x04", "is no program")])
def test_what_is_no_tool_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "tool"
    if content:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        tool_for(FAKE_FACTS, path=path)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A web server with releases in its folder."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        monkeypatch.setenv(MIRROR, f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("DEVICEKIT_CACHE_DIR", str(tmp_path / "cache"))
        yield folder
        server.shutdown()
        serving.join()


def test_a_release_is_fetched_once_and_its_hash_kept(mirror: Path, tmp_path: Path) -> None:
    phone = replace(FAKE_FACTS, kind="android")
    place = mirror / VERSION / "android_arm64"
    place.mkdir(parents=True)
    elf(place / "benchmark_model", 0xB7, LITERT)
    tool = tool_for(phone, path=None)
    assert (tool.kind, tool.version) == ("litert", VERSION)
    assert tool.words == f"benchmark_model {VERSION} (LiteRT's, sha256 {tool.sha256[:8]}…)"
    (place / "benchmark_model").unlink()
    assert tool_for(phone, path=None) == tool  # from the cache
    origin = json.loads((tool.path.parent / "origin.json").read_text())
    assert (origin["sha256"], origin["version"]) == (tool.sha256, VERSION)
    tool.path.write_bytes(tool.path.read_bytes() + b"x")
    with pytest.raises(MeasurementError, match="cannot be fetched"):  # damaged: it is not used
        tool_for(phone, path=None)


def test_a_release_that_cannot_be_had_names_the_way_out(mirror: Path) -> None:
    with pytest.raises(MeasurementError, match=r"cannot be fetched \(.*404") as caught:
        tool_for(replace(FAKE_FACTS, kind="android"), path=None)
    assert "--benchmark-model FILE" in caught.value.remedy
    with pytest.raises(MeasurementError, match="there is no released benchmark_model for linux on riscv64"):
        tool_for(replace(FAKE_FACTS, abi="riscv64"), path=None)


# --- the run -----------------------------------------------------------------------------------------------


def test_the_classic_tool_is_fed_and_its_outputs_are_compared(
    host: LocalDevice, golden: Path, tmp_path: Path
) -> None:
    name = f"{sha256_file(warmup_model())[:12]}."
    more = f'echo "$@" >arguments; cat {golden.parent}/y.bin >{name}outputs.bin'
    tool = write_tool(tmp_path / "tool", captured("classic-logcat-percentiles"), more=more)
    found = measured(host, tool, golden)
    assert found.conditions["verified"] == {"outputs": 1, "max_difference": 0.0}
    assert (found.runner, found.threads, found.latency.count) == ("benchmark_model", 2, 25)
    assert (found.latency.median_us, found.latency.p95_us, found.latency.samples_us) == (
        141253.0,
        187533.0,
        (),
    )
    assert found.notes == ()
    arguments = host.run(["cat", "arguments"], timeout_s=10).stdout.split()
    assert f"--input_layer_value_files=input:{name}in0.bin" in arguments
    assert "--input_layer_shape=1,8" in arguments
    assert "--num_threads=2" in arguments
    assert from_json(json.loads(json.dumps(found.to_json()))) == found


def test_of_a_model_that_keeps_a_state_the_last_outputs_are_compared_with_nothing(
    host: LocalDevice, golden: Path, tmp_path: Path
) -> None:
    with np.load(golden) as file:
        arrays = dict(file)
    np.savez(golden, **arrays, **{"later/y": arrays["out/y"] + 1})
    name = f"{sha256_file(warmup_model())[:12]}."
    more = f"cat {golden.parent}/y.bin >{name}outputs.bin"
    tool = write_tool(tmp_path / "tool", captured("classic-logcat-percentiles"), more=more)
    found = measured(host, tool, golden)
    assert found.conditions["verified"] is None
    assert found.notes == (NO_SEQUENCE,)


def test_outputs_that_differ_are_wrong(host: LocalDevice, golden: Path, tmp_path: Path) -> None:
    more = f"head -c 16 /dev/zero >{sha256_file(warmup_model())[:12]}.outputs.bin"
    tool = write_tool(tmp_path / "tool", captured("classic-gpu-android"), more=more)
    with pytest.raises(WrongOutput, match="output y"):
        measured(host, tool, golden)


@pytest.mark.parametrize("name", ["litert-2025-linux", "classic-2.3-android"])
def test_a_tool_that_returns_no_outputs_is_not_verified_and_says_so(
    host: LocalDevice, golden: Path, tmp_path: Path, name: str
) -> None:
    found = measured(host, write_tool(tmp_path / "tool", captured(name)), golden)
    assert found.conditions["verified"] is None
    assert found.notes == (NO_OUTPUTS,)
    assert found.memory.must_have_bytes is None and found.memory.peak_rss_bytes


def test_flags_that_the_tool_does_not_know_fail_the_run(host: LocalDevice, tmp_path: Path) -> None:
    printed = "Unconsumed cmdline flags: --output_filepath=x\n" + captured("classic-2.3-android")
    with pytest.raises(UnreadableOutput, match="it does not know --output_filepath=x"):
        measured(host, write_tool(tmp_path / "tool", printed))


def test_a_delegate_that_takes_a_part_fails_only_where_all_is_required(
    host: LocalDevice, tmp_path: Path
) -> None:
    tool = write_tool(tmp_path / "tool", captured("classic-logcat-percentiles"))
    assert measured(host, tool).latency.count == 25
    with pytest.raises(MeasurementError, match="the delegate took some of the graph"):
        measured(host, tool, require_delegate=True)


@pytest.mark.parametrize(
    ("done", "error", "words"),
    [
        (Completed(None, "", "", timed_out=True), TimedOut, "took more than 30 s"),
        (Completed(137, "", ""), MeasurementError, "most likely fake:1 ran out of memory"),
        (
            Completed(1, "ERROR: Failed to apply the default TensorFlow Lite delegate\n", ""),
            MeasurementError,
            r"Failed to apply the default TensorFlow Lite delegate \(exit code 1\)",
        ),
        (Completed(139, "", ""), MeasurementError, "SIGSEGV"),
        (Completed(0, "STARTING!\n", ""), UnreadableOutput, "printed 'STARTING!' at its end, and no results"),
        (Completed(0, "", ""), UnreadableOutput, "printed 'nothing' at its end"),
    ],
)
def test_a_run_that_fails_says_how(
    done: Completed, error: type[DevicekitError], words: str, tmp_path: Path
) -> None:
    def answer(argv: Sequence[str]) -> Completed | None:
        return done if argv[0] == "./benchmark_model" else None

    with pytest.raises(error, match=words):
        measured(FakeDevice(run=answer), elf(tmp_path / "tool", 0xB7, CLASSIC))


def test_a_phone_without_python_gets_the_tool_and_a_board_with_it_the_script() -> None:
    phone = replace(FAKE_FACTS, python=None)
    assert type(runner_for(phone, Measuring())).__name__ == "BenchmarkModelRunner"
    assert type(runner_for(FAKE_FACTS, Measuring())).__name__ == "ScriptRunner"
    assert (
        type(runner_for(FAKE_FACTS, Measuring(benchmark_model=Path("x")))).__name__ == "BenchmarkModelRunner"
    )
    with pytest.raises(UsageError) as caught:
        runner_for(phone, Measuring(runner="mlperf"))
    assert caught.value.remedy == "choose from: script, micro, benchmark_model"
