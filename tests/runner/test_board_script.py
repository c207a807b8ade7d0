"""The board script by itself: the same file runs here and on boards."""

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devicekit.device.local import LocalDevice
from devicekit.runner import board_script
from devicekit.testing import warmup_model, write_dense_model

SCRIPT = Path(board_script.__file__)
QUICK = ("warmup_runs=1", "warmup_s=0", "runs=5", "min_s=0")
# The bound on the child's resident memory before the model is there.
BASE_KB = 20 * 1024


def old_pythons() -> list[Path]:
    """The Python that runs the tests, and every one from 3.6 on that pyenv has put here."""
    found = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))
    return [Path(sys.executable), *found]


@pytest.fixture(scope="session")
def library() -> str:
    device = LocalDevice()
    path = device.describe().runtime_library
    device.close()
    assert path
    return path


def call(
    arguments: Sequence[str], *, folder: Path, python: Path | str = sys.executable
) -> tuple[int, Any, str]:
    """Returns the exit code, the document and what came on stderr."""
    argv = [str(python), "-I", "-S", "-B", str(SCRIPT), *arguments]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout), done.stderr


def request(library: str, model: Path, *more: str) -> list[str]:
    return [f"lib={library}", f"model={model}", f"warmup={warmup_model()}", *QUICK, *more]


def expected_output(model: Path, x: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    result: np.ndarray[Any, Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return result


def test_it_is_python_3_6_with_nothing_but_the_standard_library() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert froms <= {"typing"}


@pytest.mark.parametrize("python", old_pythons(), ids=lambda path: path.parent.parent.name)
def test_every_python_here_measures_and_computes_the_same(python: Path, library: str, tmp_path: Path) -> None:
    model = write_dense_model(tmp_path / "m.tflite")
    x = np.arange(8, dtype=np.float32).reshape(1, 8)
    x.tofile(tmp_path / "in0.bin")
    code, document, _ = call(request(library, model, "in=x"), folder=tmp_path, python=python)
    assert code == 0, document
    assert len(document["ns"]) == 5 and min(document["ns"]) > 0
    found = np.fromfile(tmp_path / "out0.bin", np.float32)
    np.testing.assert_array_equal(found, expected_output(model, x).ravel())


def test_the_base_is_small_and_the_model_is_on_top_of_it(library: str, tmp_path: Path) -> None:
    model = write_dense_model(tmp_path / "m.tflite", inputs=1024, outputs=2048)
    code, document, _ = call(request(library, model), folder=tmp_path)
    assert code == 0
    assert document["mem_base"]["VmRSS"] <= BASE_KB
    packed_kb = 8 * 1024
    growth = document["mem_end"]["RssAnon"] - document["mem_base"]["RssAnon"]
    assert packed_kb <= growth <= packed_kb * 1.1
    assert document["mem_end"]["VmHWM"] - document["mem_base"]["VmRSS"] >= 2 * packed_kb  # and the file


def test_repeats_stop_at_the_cap(library: str, tmp_path: Path) -> None:
    more = ("runs=100000", "max_runs=70", "min_s=9")
    _, document, _ = call(request(library, warmup_model(), *more), folder=tmp_path)
    assert len(document["ns"]) == 70
    more = ("runs=100000", "max_runs=9000000", "max_s=0.05")
    _, document, _ = call(request(library, warmup_model(), *more), folder=tmp_path)
    assert 50e6 * 0.2 < sum(document["ns"]) < 60e6


def test_threads_and_pinning_are_what_was_asked(library: str, tmp_path: Path) -> None:
    model = write_dense_model(tmp_path / "m.tflite", inputs=512, outputs=512)
    _, one, _ = call(request(library, model, "cpus=0"), folder=tmp_path)
    _, three, _ = call(request(library, model, "threads=3"), folder=tmp_path)
    assert one["cpus"] == [0]
    assert one["mem_end"]["Threads"] == 1
    # Two models are open, the warm-up's and this one, each with a pool of two more threads.
    assert three["mem_end"]["Threads"] == 5


def test_the_memory_limit_bites_and_leaves_the_base_alone(library: str, tmp_path: Path) -> None:
    model = write_dense_model(tmp_path / "m.tflite", inputs=2048, outputs=2048)
    code, document, _ = call(request(library, model, f"memory={14 * 2**20}"), folder=tmp_path)
    assert (code, document["phase"], document["memory_reason"]) == (6, "first", None)
    code, document, _ = call(request(library, model, f"memory={20 * 2**20}"), folder=tmp_path)
    assert code == 0, document


def test_stacks_of_threads_do_not_eat_the_budget(library: str, tmp_path: Path) -> None:
    model = write_dense_model(tmp_path / "m.tflite", inputs=2048, outputs=2048)
    more = (f"memory={20 * 2**20}", "threads=8")
    code, document, _ = call(request(library, model, *more), folder=tmp_path)
    assert code == 0, document


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["model=m"], 2, "lib= is missing"),
        (["lib=a", "model=m", "warmup=w", "speed=9"], 2, "unknown argument: speed=9"),
        (["lib=a", "model=m", "warmup=w", "threads=two"], 2, "threads is no number: two"),
    ],
)
def test_a_wrong_command_line_is_told(arguments: list[str], code: int, error: str, tmp_path: Path) -> None:
    found, document, _ = call(arguments, folder=tmp_path)
    assert (found, document["error"], document["phase"]) == (code, error, "start")


def test_a_missing_library_is_told(tmp_path: Path) -> None:
    code, document, _ = call(request("/no/such.so", warmup_model()), folder=tmp_path)
    assert (code, document["phase"]) == (3, "library")
    assert "/no/such.so" in document["error"]


def test_a_corrupt_model_is_told(library: str, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"TFL3" * 100)
    code, document, errors = call(request(library, tmp_path / "m.tflite"), folder=tmp_path)
    assert (code, document["phase"]) == (4, "init")
    assert errors.splitlines()[-1] != "phase first"


def test_an_input_of_the_wrong_size_is_told(library: str, tmp_path: Path) -> None:
    (tmp_path / "in0.bin").write_bytes(b"12345")
    code, document, _ = call(request(library, warmup_model(), "in=x"), folder=tmp_path)
    assert (code, document["error"]) == (5, "input x takes 32 bytes, its file has 5")


def test_the_warm_up_model_is_what_its_tool_writes(tmp_path: Path) -> None:
    assert write_dense_model(tmp_path / "m.tflite").read_bytes() == warmup_model().read_bytes()
    assert warmup_model().stat().st_size < 2048
