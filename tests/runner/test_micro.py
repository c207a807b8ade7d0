"""TensorFlow Lite Micro: the real interpreter in a real arena."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import devicekit
from devicekit.graph.arena import plan_arena
from devicekit.graph.inline import with_inline_buffers
from devicekit.graph.read import read_graph, read_graph_bytes
from devicekit.report.text import render
from devicekit.runner.micro import c_array, is_installed, micro_arena
from devicekit.runner.micro_worker import _alone, _attempt, _missing_ops

TESTS = Path(__file__).parent.parent
DATA = TESTS / "data" / "tflite"
pytestmark = pytest.mark.skipif(not is_installed(), reason="pip install tflite-micro (Linux on x86-64)")

PROFILE = """
schema = 1
title = "a microcontroller"
[device]
kind = "microcontroller"
[runtime]
name = "tflm"
delegate = "none"
[limits]
model_mib = 1
memory_mib = 0.5
arena_kib = {arena_kib}
[recipes]
try = ["float32", "int8"]
"""


def profile(tmp_path: Path, arena_kib: int) -> Path:
    path = tmp_path / "mcu.toml"
    path.write_text(PROFILE.format(arena_kib=arena_kib))
    return path


@pytest.mark.parametrize("name", ["cnn_float32", "cnn_int8", "lstm", "lstm_stacked"])
def test_the_reused_part_is_planned_to_the_byte(name: str) -> None:
    arena = micro_arena(DATA / f"{name}.tflite")
    assert arena.failed is None
    assert arena.reused_bytes == arena.planned_bytes


@pytest.mark.parametrize("name", ["cnn_float32", "cnn_int8"])
def test_the_model_runs_in_the_arena_found_and_not_in_a_smaller_one(name: str) -> None:
    path = DATA / f"{name}.tflite"
    arena = micro_arena(path)
    assert arena.needed_bytes and arena.reused_bytes and arena.persistent_bytes
    assert arena.needed_bytes >= arena.reused_bytes + arena.persistent_bytes
    content = path.read_bytes()
    assert "failed" not in _attempt(content, arena.needed_bytes, runs=1)
    assert "failed" in _attempt(content, arena.needed_bytes - 32, runs=1)


@pytest.mark.usefixtures("own_children")
def test_operators_that_tflm_lacks_are_named() -> None:
    from ai_edge_litert.schema_py_generated import BuiltinOperator as Code

    assert _missing_ops(_alone(Code.TOPK_V2)) == ["TOPK_V2"]
    assert _missing_ops(_alone(Code.ADD)) == []
    other = micro_arena(DATA / "custom.tflite")
    assert other.needed_bytes is None and other.failed


def test_constants_behind_the_flatbuffer_are_brought_inside() -> None:
    """The quantizer's files have them there; TFLM takes such constants for activations, and crashes."""
    from ai_edge_litert import schema_py_generated as schema

    content = (DATA / "cnn_int8.tflite").read_bytes()
    assert with_inline_buffers(content) is content
    outside = _with_constants_behind(content)
    root = schema.Model.GetRootAs(outside, 0)
    assert any(root.Buffers(i).Offset() > 1 for i in range(root.BuffersLength()))
    inside = with_inline_buffers(outside)
    plan = plan_arena(read_graph_bytes(inside, Path("m.tflite")), "tflm").arena_bytes
    assert _attempt(inside, 1 << 20, runs=1)["head"] == plan
    assert _attempt(outside, 1 << 20, runs=0).get("head") != plan


def _with_constants_behind(content: bytes) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    data = [b"" if buffer.data is None else bytes(bytearray(buffer.data)) for buffer in model.buffers]

    def packed(begin: int) -> bytes:
        place = begin
        for buffer, held in zip(model.buffers, data, strict=True):
            if held:
                buffer.data, buffer.offset, buffer.size = None, place, len(held)
                place += -(-len(held) // 16) * 16
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    begin = -(-len(packed(1 << 20)) // 16) * 16
    head = packed(begin)
    return head.ljust(begin, b"\0") + b"".join(d.ljust(-(-len(d) // 16) * 16, b"\0") for d in data if d)


def test_predict_shows_the_arena_of_a_microcontroller(tmp_path: Path) -> None:
    found = devicekit.predict(DATA / "cnn_int8.tflite", profile(tmp_path, 8))
    document = found.to_json()
    assert document["memory"]["verdict"] == "fits"
    assert document["memory"]["evidence"] == "simulated" and document["memory"]["arena_exact"]
    assert document["tflm"]["needed_bytes"] == document["memory"]["must_have_bytes"]
    assert "can only be measured" in document["latency_reason"]
    tight = devicekit.predict(DATA / "cnn_int8.tflite", profile(tmp_path, 1))
    assert tight.verdict == "does not fit"


def test_a_file_larger_than_the_flash_does_not_fit(tmp_path: Path) -> None:
    path = profile(tmp_path, 8)
    path.write_text(path.read_text().replace("arena_kib = 8", "arena_kib = 8\nmodel_kib = 4"))
    found = devicekit.predict(DATA / "cnn_int8.tflite", path)
    assert found.verdict == "does not fit"
    assert "the file is larger than limits.model_kib, 4" in render(found)
    result = devicekit.check_model(DATA / "cnn_int8.tflite", path)
    assert [(f.rule, f.detail) for f in result.findings] == [("size", "is 5.29 KiB, limits.model_kib is 4")]


def test_without_a_run_only_the_plan_is_known(tmp_path: Path) -> None:
    found = devicekit.predict(DATA / "cnn_int8.tflite", profile(tmp_path, 8), may_run=False)
    assert found.memory.must_have_bytes is None and found.verdict is None
    assert found.memory.planned_bytes == plan_arena(read_graph(DATA / "cnn_int8.tflite"), "tflm").arena_bytes


def test_deploy_runs_candidates_in_the_arena_and_writes_an_array(tmp_path: Path) -> None:
    deployment = devicekit.deploy(
        TESTS / "data" / "digits.h5",
        profile(tmp_path, 64),
        data=str(TESTS / "data" / "digits.npz"),
        folder=tmp_path / "out",
    )
    chosen = deployment.chosen
    assert chosen and chosen.path and chosen.measurement
    assert chosen.measurement.runner == "micro"
    assert chosen.measurement.limits == ("arena of 64 KiB (TFLM)",)
    source = (tmp_path / "out" / "model_data.cc").read_text()
    assert f"const unsigned int model_data_size = {chosen.path.stat().st_size}" in source


def test_deploy_rejects_what_does_not_fit_the_arena(tmp_path: Path) -> None:
    deployment = devicekit.deploy(
        TESTS / "data" / "digits.h5",
        profile(tmp_path, 13),
        data=str(TESTS / "data" / "digits.npz"),
        folder=tmp_path / "out",
        recipes=["float32"],
    )
    (candidate,) = deployment.candidates
    assert candidate.status == "rejected"
    assert candidate.findings[0].rule in ("memory", "arena")


@pytest.mark.skipif(not shutil.which("g++"), reason="apt-get install g++")
def test_the_array_compiles_and_holds_the_file(tmp_path: Path) -> None:
    content = (DATA / "cnn_int8.tflite").read_bytes()
    source, header = c_array(content, "model_data")
    (tmp_path / "model_data.cc").write_text(source)
    (tmp_path / "model_data.h").write_text(header)
    (tmp_path / "main.cc").write_text(
        '#include "model_data.h"\n#include <cstdio>\n'
        "int main() { fwrite(model_data, 1, model_data_size, stdout); }\n"
    )
    argv = ["g++", "-std=c++17", "model_data.cc", "main.cc", "-o", "dump"]
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    assert subprocess.run([tmp_path / "dump"], check=True, capture_output=True).stdout == content


def test_the_command_line_exits_3_where_an_op_is_missing(tmp_path: Path) -> None:
    command = str(Path(sys.executable).parent / "devicekit")
    argv = [command, "predict", str(DATA / "custom.tflite"), "-p", str(profile(tmp_path, 8))]
    done = subprocess.run([*argv, "--format", "json"], capture_output=True, text=True)
    assert done.returncode == 3
    assert json.loads(done.stdout)["tflm"]["failed"]
