"""The commands as a user types them: real processes, their output, errors and exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

PROFILE_WITH_THREE_MISTAKES = """schema = 1
extends = "pixel7"
[limits]
memory_mib = 0
memory_mb = 64
[device]
ram_mib = "8GB"
"""


def devicekit(*argv: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from devicekit.cli import main; main()", *map(str, argv)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **env}, timeout=300
    )


def test_help_shows_every_command_and_where_to_start(tmp_path: Path) -> None:
    shown = devicekit("--help", cwd=tmp_path).stdout
    for command in ("deploy", "inspect", "check", "convert", "measure", "compare", "profile"):
        assert f"\n  {command} " in shown
    assert "Start with: devicekit deploy model.h5 --profile pixel7" in shown


@pytest.mark.parametrize(
    "argv",
    [[name, "--help"] for name in ("deploy", "inspect", "check", "convert", "measure", "compare", "profile")]
    + [["profile", name, "--help"] for name in ("list", "show", "check")],
    ids=" ".join,
)
def test_every_command_has_help(argv: list[str], tmp_path: Path) -> None:
    result = devicekit(*argv, cwd=tmp_path)
    assert result.returncode == 0 and "Usage:" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_deploy_reads_well(data: Path, tmp_path: Path) -> None:
    result = devicekit(
        *("deploy", data / "digits.float32.tflite", "--profile", "pixel7", "--data", data / "digits.npz"),
        *("-r", "float32", "-r", "int8"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("▸") and line.endswith("chosen") for line in lines)
    assert "latency on Google Pixel 7: not predicted" in result.stdout
    assert "digits.float32.pixel7/" in lines[-2]
    assert re.fullmatch(r"filed +run (\S+): devicekit results show \1", lines[-1])
    assert "\x1b" not in result.stdout + result.stderr
    assert "quantize: int8" in result.stderr and "measure: int8" in result.stderr


def test_what_to_know_first_is_said_before_the_table(data: Path, tmp_path: Path) -> None:
    result = devicekit(
        *("deploy", data / "digits.float32.tflite", "-p", "pixel7", "-r", "float32", "-r", "int8"),
        *("--device", "host", "--no-store", "-q"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    before, table, after = result.stdout.partition("must-have")
    assert table and "warning" not in after
    assert re.search("^warning +random inputs: fidelity and int8 ranges are made up", before, re.M)
    assert re.search("^warning +int8: not chosen over recipes that need no data", before, re.M)
    assert "same class" in after and "top-1" not in result.stdout


@pytest.mark.parametrize("command", ["convert", "deploy"])
def test_wrong_data_is_said_and_nothing_is_made(command: str, data: Path, tmp_path: Path) -> None:
    with np.load(data / "digits.npz") as file:
        np.savez(tmp_path / "wrong.npz", x=file["x"], x_eval=file["x_eval"], y=(file["y"] + 1) % 10)
    argv = [command, data / "digits.float32.tflite", "-p", "pixel7", "--data", "wrong.npz", "-q", "-o", "out"]
    argv += ["--device", "host", "--no-store"] if command == "deploy" else []
    result = devicekit(*argv, cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == "" and not (tmp_path / "out").exists()
    assert re.search(r"error: wrong.npz: the float model hits 0\.\d% of 719 labels", result.stderr)
    assert "--accept-data" in result.stderr
    accepted = devicekit(*argv, "--accept-data", "--keep-worst", "1", cwd=tmp_path)
    assert accepted.returncode == 0 and (tmp_path / "out").exists()
    assert "of 719 labels" in accepted.stdout.partition("recipe ")[0]
    assert "worst sample  x_eval[" in accepted.stdout


def test_deploy_as_json_has_nothing_else_on_stdout(data: Path, tmp_path: Path) -> None:
    result = devicekit(
        *("deploy", data / "digits.float32.tflite", "-p", "pixel7", "-r", "float32", "--format", "json"),
        cwd=tmp_path,
    )
    document = json.loads(result.stdout)
    assert next(iter(document)) == "schema"
    assert document["evidence"] == "simulated"
    assert Path(tmp_path, document["chosen"]["path"]).is_file()


def test_deploy_that_does_not_fit_exits_3_with_the_nearest_miss(data: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text('schema = 1\nextends = "pixel7"\n[limits]\nmodel_mib = 0.01\n')
    argv = (
        "deploy",
        data / "digits.float32.tflite",
        "-p",
        "tiny.toml",
        "-r",
        "float32",
        "-r",
        "dynamic_int8",
    )
    result = devicekit(*argv, cwd=tmp_path)
    assert result.returncode == 3
    assert "error: digits.float32.tflite does not fit tiny: dynamic_int8 comes closest" in result.stderr
    assert "rejected" in result.stdout and "Traceback" not in result.stderr
    result = devicekit(*argv, "--format", "json", "--overwrite", cwd=tmp_path)
    document = json.loads(result.stdout)
    assert result.returncode == document["error"]["exit_code"] == 3
    assert document["chosen"] is None and document["candidates"][0]["findings"]


def test_inspect_check_convert_and_measure(data: Path, tmp_path: Path) -> None:
    model = data / "digits.float32.tflite"
    inspected = json.loads(devicekit("inspect", model, "--format", "json", cwd=tmp_path).stdout)
    assert {op["name"] for op in inspected["ops"]} >= {"CONV_2D", "DEPTHWISE_CONV_2D", "SOFTMAX"}
    checked = json.loads(devicekit("check", model, "-p", "pixel7", "--format", "json", cwd=tmp_path).stdout)
    assert checked["ok"] and checked["findings"] == []
    made = devicekit("convert", model, "-r", "dynamic_int8", "-o", "small.tflite", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "small.tflite").stat().st_size < model.stat().st_size / 2
    measured = json.loads(devicekit("measure", "small.tflite", "--format", "json", cwd=tmp_path).stdout)
    assert measured["evidence"] == "simulated" and measured["threads"] == 1
    assert measured["latency"]["count"] == len(measured["latency"]["samples_us"]) >= 50
    text = devicekit("measure", "small.tflite", "--profile", "pixel7", cwd=tmp_path).stdout
    assert "must-have" in text and "memory 128 MiB" in text


@pytest.mark.parametrize("command", ["deploy", "check", "inspect", "convert", "measure"])
def test_options_mean_the_same_everywhere(command: str, data: Path, tmp_path: Path) -> None:
    profile = ["-p", "pixel7"] if command in ("deploy", "check", "measure") else []
    recipe = ["-r", "float32"] if command in ("deploy", "convert") else []
    trust = [] if command == "measure" else ["--trust"]
    options = [*profile, *recipe, *trust, "--timeout", "60", "-q", "-v", "--debug", "--format", "json"]
    result = devicekit(command, data / "digits.float32.tflite", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["schema"] == 1


def test_check_exits_3_and_gives_remedies(data: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(
        'schema = 1\nextends = "pixel7"\n[limits]\nmodel_mib = 0.01\n[ops]\ndeny = ["SOFTMAX"]\n'
    )
    result = devicekit("check", data / "digits.float32.tflite", "-p", "tiny.toml", cwd=tmp_path)
    assert result.returncode == 3
    assert "does not fit tiny: 2 problems" in result.stdout
    assert result.stdout.count("→") == 2


def test_the_recipes_of_help_are_those_of_the_kit() -> None:
    from devicekit.cli.options import RECIPES as in_help
    from devicekit.quantize.recipes import RECIPES

    assert in_help == ", ".join(RECIPES)


@pytest.mark.parametrize("output", ["m.tflite", "./m.tflite", "keras.h5"])
def test_convert_never_writes_over_a_model(output: str, data: Path, tmp_path: Path) -> None:
    content = (data / "digits.float32.tflite").read_bytes()
    (tmp_path / "m.tflite").write_bytes(content)
    result = devicekit("convert", "m.tflite", "-r", "int8", "-o", output, "--overwrite", "-q", cwd=tmp_path)
    assert result.returncode == 2
    assert f"error: -o {Path(output)} would replace a model with a .tflite" in result.stderr
    assert (tmp_path / "m.tflite").read_bytes() == content


def test_convert_takes_one_recipe(data: Path, tmp_path: Path) -> None:
    model = data / "digits.float32.tflite"
    result = devicekit("convert", model, "-r", "int8", "-r", "float16", "-q", cwd=tmp_path)
    assert result.returncode == 2 and "convert writes one file: give one --recipe" in result.stderr


def test_an_own_metric_has_its_own_name_and_unit(data: Path, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def negative_error(predict):\n    return -37.5\n")
    model = data / "digits.float32.tflite"
    argv = ("deploy", model, "-p", "pixel7", "-r", "float32", "--eval", "f.py:negative_error", "-q")
    shown = devicekit(*argv, cwd=tmp_path).stdout
    assert "negative_error" in shown and "-37.5" in shown and "accuracy" not in shown


def test_an_output_that_exists_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "kept.tflite").write_bytes(b"mine")
    result = devicekit("convert", data / "digits.float32.tflite", "-o", "kept.tflite", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.endswith(
        "error: kept.tflite exists already\n  → add --overwrite, or name another with -o\n"
    )
    assert (tmp_path / "kept.tflite").read_bytes() == b"mine"


def truncated_h5(path: Path, data: Path) -> None:
    path.write_bytes((data / "digits.h5").read_bytes()[:20_000])


def plain_hdf5(path: Path, data: Path) -> None:
    with h5py.File(path, "w") as file:
        file["numbers"] = np.arange(3)


def weights_only(path: Path, data: Path) -> None:
    with h5py.File(data / "digits.h5") as whole, h5py.File(path, "w") as file:
        for name, value in whole["model_weights"].attrs.items():
            file.attrs[name] = value
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", file)


def no_saved_model(path: Path, data: Path) -> None:
    path.mkdir()


BAD_MODELS: dict[str, tuple[str, Any, str]] = {
    "missing": ("m.h5", None, "m.h5: no such file"),
    "empty": ("m.h5", lambda p, d: p.touch(), "m.h5: the file is empty"),
    "no SavedModel": ("m", no_saved_model, "m: a directory without saved_model.pb"),
    "truncated H5": ("m.h5", truncated_h5, "m.h5: a truncated HDF5 file"),
    "HDF5, no model": ("m.h5", plain_hdf5, "m.h5: an HDF5 file that holds no Keras model"),
    "weights only": ("m.h5", weights_only, "m.h5: an HDF5 file with weights only"),
    "corrupt .tflite": (
        "m.tflite",
        lambda p, d: p.write_bytes(b"\x1c\0\0\0TFL3" + b"\xff" * 64),
        "m.tflite: ",
    ),
    "text": ("m.h5", lambda p, d: p.write_text("hello world"), "m.h5: starts with b'hello wo'"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
@pytest.mark.parametrize("command", ["deploy", "check", "inspect", "convert"])
def test_a_bad_model_is_one_clear_error(case: str, command: str, data: Path, tmp_path: Path) -> None:
    name, make, message = BAD_MODELS[case]
    if make:
        make(tmp_path / name, data)
    profile = ["-p", "pixel7"] if command in ("deploy", "check") else []
    result = devicekit(command, name, *profile, "--quiet", cwd=tmp_path)
    assert result.returncode == 3, result.stderr
    assert result.stdout == ""
    error, remedy = result.stderr.strip().splitlines()
    assert error.startswith(f"error: {message}")
    assert remedy.startswith("  → ")
    assert {p.name for p in tmp_path.iterdir()} <= {name}


ALL_RECIPES = (
    "float32, float16, dynamic_int8, weight_int8, weight_int4, int8, int8_float_io, int16x8, int16x8_float_io"
)
WRONG = {
    "dploy m.h5": ('no command "dploy"; did you mean deploy?', "`devicekit --help` shows all"),
    "deploy m.h5": ("Missing option '--profile' / '-p'", "`devicekit deploy --help` shows how"),
    "deploy m.h5 -p pixel-7": (
        'no profile "pixel-7"; did you mean pixel7?',
        "`devicekit profile list` shows all 26",
    ),
    "deploy m.h5 -p pixel7 -r int9": (
        'no recipe "int9"; did you mean int8?',
        f"choose from: {ALL_RECIPES}",
    ),
    "convert m.h5 -r int9": ('no recipe "int9"; did you mean int8?', f"choose from: {ALL_RECIPES}"),
    "deploy m.h5 -p pixel7 -o no/such/place": (
        "no/such does not exist",
        "make it first: mkdir -p no/such",
    ),
    "deploy m.h5 -p pixel7 --format xml": (
        "Invalid value for '--format': 'xml' is not one of 'text', 'json'",
        "`devicekit deploy --help` shows how",
    ),
    "deploy m.h5 -p pixel7 --device nokia:1": (
        'no device "nokia:1"',
        "name an address (adb:SERIAL, ssh://user@host), an alias of the fleet file, auto or host",
    ),
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_line_exits_2(line: str, data: Path, tmp_path: Path) -> None:
    error, remedy = WRONG[line]
    (tmp_path / "m.h5").write_bytes((data / "digits.h5").read_bytes())
    result = devicekit(*line.split(), "--quiet", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: {error}\n  → {remedy}\n"


def test_a_profile_with_three_mistakes_says_all_three(data: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(PROFILE_WITH_THREE_MISTAKES)
    for argv in (["profile", "check", "p.toml"], ["check", data / "digits.h5", "-p", "./p.toml"]):
        result = devicekit(*argv, cwd=tmp_path)
        assert result.returncode == 2
        assert "p.toml has 3 problems" in result.stderr
        assert "did you mean memory_mib?" in result.stderr and "8192" in result.stderr


def test_errors_are_json_where_json_was_asked_for(tmp_path: Path) -> None:
    for argv in (["inspect", "missing.h5"], ["inspekt", "m"], ["deploy"]):
        result = devicekit(*argv, "--format", "json", cwd=tmp_path)
        document = json.loads(result.stdout)
        assert document["error"].keys() == {"kind", "message", "remedy", "exit_code"}
        assert document["error"]["exit_code"] == result.returncode


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros((4, 9, 9, 1), np.float32), "[4, 9, 9, 1]"),
        (np.full((4, 8, 8, 1), np.nan, np.float32), "NaN"),
        (np.array([["a"] * 8] * 8), "str"),
        (np.zeros((0, 8, 8, 1), np.float32), "0"),
    ],
    ids=["shape", "NaN", "dtype", "empty"],
)
def test_bad_calibration_data_is_one_clear_error(array: Any, error: str, data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", array)
    model = data / "digits.float32.tflite"
    result = devicekit("deploy", model, "-p", "pixel7", "--data", "c.npy", "--quiet", cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: c.npy") and error in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["c.npy"]


@pytest.mark.parametrize(
    "phase",
    [
        "convert: reading",
        "convert: loading",
        "convert: converting",
        "convert: verifying",
        "quantize: ",
        "measure: ",
    ],
)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
@pytest.mark.usefixtures("own_children")
def test_ctrl_c_in_every_phase_leaves_nothing(phase: str, how: int, data: Path, tmp_path: Path) -> None:
    work, cache = tmp_path / "work", tmp_path / "cache"
    work.mkdir()
    command = [sys.executable, "-c", "from devicekit.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "deploy", data / "digits.h5", "-p", "pixel7", "--data", data / "digits.npz"],
        cwd=work,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DEVICEKIT_CACHE_DIR": str(cache), "TMPDIR": str(tmp_path)},
    )
    assert process.stderr
    for line in process.stderr:
        if line.startswith(phase):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == 130
    assert rest.splitlines()[-1] == "interrupted: nothing was left behind"
    assert "Traceback" not in rest
    assert list(work.iterdir()) == []
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    left = {p.name for p in tmp_path.iterdir()}
    assert left <= {"work", "cache"}


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -c 'from devicekit.cli import main; main()' profile show pixel7 | head -1"
    result = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_output_that_takes_nothing_is_one_clear_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'from devicekit.cli import main; main()' profile list > /dev/full"
    result = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: the results cannot be printed: No space left on device\n")


def test_a_terminal_of_another_encoding_is_no_error(data: Path, tmp_path: Path) -> None:
    argv = ("check", data / "digits.float32.tflite", "-p", "pixel7", "-q")
    assert devicekit(*argv, cwd=tmp_path, PYTHONIOENCODING="ascii").returncode == 0
    assert devicekit("profile", "list", cwd=tmp_path, PYTHONIOENCODING="ascii").returncode == 0


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = devicekit("inspect", "missing.h5", "--debug", cwd=tmp_path)
    assert result.returncode == 3 and "Traceback" in result.stderr


def test_completion_works(tmp_path: Path) -> None:
    env = {"_DEVICEKIT_COMPLETE": "bash_complete", "COMP_WORDS": "devicekit dep", "COMP_CWORD": "1"}
    result = devicekit(cwd=tmp_path, **env)
    assert "plain,deploy" in result.stdout
