"""The files in profiles/ops/: that they are whole, what `devicekit ops` says, that a runtime here agrees."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from devicekit.errors import UsageError
from devicekit.profile.op_support import Support, listing, names, support
from devicekit.profile.schema import Delegate, Dtype, RuntimeName

ROOT = Path(__file__).parents[2]


def ops(*argv: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from devicekit.cli import main; main()", "ops", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_every_runtime_and_delegate_of_a_profile_has_a_file() -> None:
    assert set(names("runtime")) == set(get_args(RuntimeName))
    assert set(names("delegate")) == set(get_args(Delegate)) - {"none"}


@pytest.mark.parametrize("name", names())
def test_a_file_names_its_origin_and_real_operators(name: str) -> None:
    from ai_edge_litert import schema_py_generated as schema

    found = support(name)
    assert found.origin.startswith(("https://", "measured 20")) and len(found.ops) > 30
    known = {op for op in vars(schema.BuiltinOperator) if op.isupper()}
    assert set(found.ops) <= known
    dtypes = set(get_args(Dtype))
    for op in found.ops.values():
        assert all(set(one.split("+")) <= dtypes for one in op.types or ()), op.name
        assert (op.first is None) == (not found.has_versions), op.name


def test_releases_answer_for_themselves() -> None:
    tflite: Support = support("tflite")
    assert tflite.first_release("FULLY_CONNECTED", 12) == "2.17"
    assert tflite.highest_version("FULLY_CONNECTED", "2.14.0") == 10
    assert tflite.highest_version("FULLY_CONNECTED", "2.5") == 9
    assert tflite.first_release("RESIZE_BICUBIC", 1) is None
    assert (tflite.oldest, support("litert").oldest, support("tflm").oldest) == ("2.5", "1.0", None)
    assert tflite.is_known("2.5.0") and tflite.is_known("3.0") and not tflite.is_known("2.4")


@pytest.mark.parametrize(
    ("name", "dtype", "runs"),
    [("CONV_2D", "int8", True), ("CONV_2D", "float32+int8", False), ("ELU", "int16", False)],
)
def test_tflm_here_runs_what_its_file_says(name: str, dtype: str, runs: bool) -> None:
    """The measurement that wrote the file, for a few operators: tools/op_support.py --verify does all."""
    pytest.importorskip("tflite_micro", reason="pip install 'devicekit[micro]' (Linux on x86-64)")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import op_support as o; "
        f"model = o.model_of({name!r}, {dtype!r}, case=o.CASES[{name!r}]); "
        "print(o.in_a_fork(lambda: o.run_in_tflm(model)) is None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(runs)
    assert (dtype in (support("tflm").ops[name].types or ())) is runs


def test_the_overview_lists_all_with_their_origin() -> None:
    done = ops()
    assert done.returncode == 0
    assert all(name in done.stdout for name in names())
    assert "measured 2026" in done.stdout and max(map(len, done.stdout.splitlines())) <= 100


def test_a_release_lists_what_it_has() -> None:
    count = []
    for release in ("2.21", "2.5"):
        done = ops("-r", "tflite", "--version", release, "--format", "json")
        count.append(len(json.loads(done.stdout)["supports"][0]["ops"]))
    assert count[0] > count[1] > 100
    assert "2.14" in ops("-r", "tflite", "--version", "2.14").stdout.splitlines()[0]
    assert "dtypes of 2.14" in ops("-r", "tflite", "--version", "2.5").stdout
    text = ops("BITCAST", "ABS", "-r", "tflite", "--version", "2.5").stdout
    assert text.startswith("TensorFlow Lite 2.5   1 operator\n")
    assert "\nBITCAST   is not in TensorFlow Lite 2.5, but from 2.13 on\n" in text


def test_an_operator_is_shown_in_all_of_them() -> None:
    text = ops("resize_bilinear").stdout
    assert text.startswith("RESIZE_BILINEAR\n")
    assert "TensorFlow Lite Micro" in text and "Edge TPU" in text and "4 in 2.5" in text
    assert "no" in ops("RFFT2D").stdout.split("Edge TPU")[1].splitlines()[0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ({"asked": ("CONV2D",)}, 'no operator "CONV2D" in any runtime; did you mean CONV_2D?'),
        ({"runtime": "litrt"}, 'no runtime or delegate "litrt"; did you mean litert?'),
        ({"runtime": "../pixel7"}, 'no runtime or delegate "../pixel7"'),
        ({"delegate": "tflm"}, "tflm is no delegate"),
        ({"runtime": "tflm", "version": "2.14"}, "--version is of a runtime with releases"),
        ({"runtime": "tflite", "version": "new"}, '--version is "new"'),
        ({"runtime": "tflite", "version": "2.4"}, "nobody knows the operators of TensorFlow Lite 2.4"),
    ],
)
def test_a_wrong_question_is_answered(argv: dict[str, Any], message: str) -> None:
    wanted: dict[str, Any] = {"runtime": None, "version": None, "delegate": None, "asked": (), **argv}
    with pytest.raises(UsageError) as caught:
        listing(wanted.pop("asked"), **wanted)
    assert caught.value.message == message
