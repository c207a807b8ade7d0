"""`devicekit compare`, and the budgets of `deploy` and `convert`, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def devicekit(*argv: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from devicekit.cli import main; main()", *map(str, argv)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=dict(os.environ), timeout=300)


def test_compare_reads_well(data: Path, tmp_path: Path) -> None:
    model = data / "digits.float32.tflite"
    small = devicekit("convert", model, "-r", "dynamic_int8", "-o", "small.tflite", cwd=tmp_path)
    assert small.returncode == 0, small.stderr
    result = devicekit("compare", model, "small.tflite", "--data", data / "digits.npz", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    titles = [line.split("  ")[0] for line in lines]
    assert [title for title in titles if title][:4] == ["A", "B", "measured", "fidelity"]
    assert {"size", "ops", "arena", "must-have", "median ms", "ratio to A", "cosine", "accuracy"} <= set(
        titles
    )
    assert "latency       B against A: " in result.stdout
    assert lines[-1].startswith("best") or "note" in titles
    assert "smallest B" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr
    assert "compare: B with A" in result.stderr and "measure: A" in result.stderr


def test_compare_as_json_has_nothing_else_on_stdout(data: Path, tmp_path: Path) -> None:
    model = data / "digits.float32.tflite"
    result = devicekit("compare", model, model, "--no-measure", "--format", "json", "-q", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == ""
    document = json.loads(result.stdout)
    assert next(iter(document)) == "schema"
    assert [one["label"] for one in document["models"]] == ["A", "B"]
    assert document["models"][1]["against_first"]["fidelity"]["cosine"] == 1.0


@pytest.mark.parametrize(
    ("argv", "code", "error", "remedy"),
    [
        (
            ["compare", "MODEL"],
            2,
            "compare takes two models or more; found 1",
            "name the others too: devicekit compare A.tflite B.tflite",
        ),
        (
            ["compare", "MODEL", "missing.tflite"],
            3,
            "missing.tflite: no such file",
            "give the path of",
        ),
        (
            ["compare", "MODEL", "DATA/digits.keras"],
            3,
            "digits.keras: is a Keras model; expected a .tflite or an output folder of `devicekit deploy`",
            "convert it first: devicekit convert ",
        ),
        (
            ["compare", "MODEL", "."],
            3,
            ".: was not made by devicekit: it has no manifest.json",
            "name a .tflite, or an output folder of `devicekit deploy`",
        ),
        (
            ["deploy", "MODEL", "-p", "pixel7", "--max-size", "500 pounds"],
            2,
            '--max-size: found "500 pounds", expected a size above 0, such as 500KiB, 2MiB or 2MB',
            "use B, KiB, MiB, GiB (1024) or kB, MB, GB (1000); a plain number is bytes",
        ),
        (
            ["convert", "MODEL", "--max-memory", "5ms"],
            2,
            '--max-memory: found "5ms", expected a size above 0, such as 500KiB, 2MiB or 2MB',
            "use B, KiB, MiB, GiB (1024) or kB, MB, GB (1000); a plain number is bytes",
        ),
        (
            ["convert", "MODEL", "--max-latency", "5ms"],
            2,
            "--max-latency cannot be judged: convert measures nothing",
            "use `devicekit deploy`, which measures, or leave --max-latency out",
        ),
        (
            ["deploy", "MODEL", "-p", "pixel7", "--max-accuracy-drop", "1%"],
            2,
            "--max-accuracy-drop needs a task metric: there are no labels",
            "give labelled samples (y in --data samples.npz), or --eval FILE.py:FUNCTION",
        ),
    ],
    ids=lambda value: " ".join(value[:1] + value[2:4]) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_one_error_with_a_remedy(
    argv: list[str], code: int, error: str, remedy: str, data: Path, tmp_path: Path
) -> None:
    model = str(data / "digits.float32.tflite")
    words = [model if word == "MODEL" else word.replace("DATA", str(data)) for word in argv]
    result = devicekit(*words, "-q", cwd=tmp_path)
    assert result.returncode == code
    first, second = result.stderr.splitlines()
    assert first.startswith("error: ") and first.endswith(error)
    assert second.startswith(f"  → {remedy}")
    assert list(tmp_path.iterdir()) == []


def test_budgets_decide_and_findings_name_the_flags(data: Path, tmp_path: Path) -> None:
    model = data / "digits.float32.tflite"
    recipes = ("-r", "float32", "-r", "int8", "-r", "int8_float_io")
    options = ("--data", data / "digits.npz", "--max-size", "100KiB", "--max-accuracy-drop", "1%", "-q")
    result = devicekit("deploy", model, "-p", "pixel7", *recipes, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "budgets                --max-size 100 KiB, --max-accuracy-drop 0.01" in result.stdout
    assert "rejected      float32: is 126 KiB, --max-size is 100 KiB" in result.stdout
    report = json.loads((tmp_path / "digits.float32.pixel7" / "report.json").read_text())
    assert report["budgets"] == {"max_size_bytes": 102400, "max_accuracy_drop": 0.01}
    assert report["chosen"]["recipe"] in ("int8", "int8_float_io")


def test_nothing_within_the_budget_exits_3_with_the_nearest_miss(data: Path, tmp_path: Path) -> None:
    argv = ("deploy", data / "digits.float32.tflite", "-p", "pixel7", "-r", "float32", "--max-latency", "1us")
    result = devicekit(*argv, "-q", cwd=tmp_path)
    assert result.returncode == 3
    assert "does not fit pixel7: float32 comes closest: median 0.0" in result.stderr
    assert "ms on this host (simulated), --max-latency is 0.001 ms" in result.stderr


def test_what_is_dominated_says_so(data: Path, tmp_path: Path) -> None:
    """Nothing is measured: int8_float_io is a larger file than int8, and no closer to the float model."""
    argv = ("convert", data / "digits.float32.tflite", "-p", "two.toml", "--data", data / "digits.npz", "-q")
    (tmp_path / "two.toml").write_text(
        'schema = 1\nextends = "pixel7"\n[recipes]\ntry = ["int8", "int8_float_io"]\n'
    )
    result = devicekit(*argv, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    row = next(line for line in result.stdout.splitlines() if line.strip().startswith("int8_float_io"))
    assert row.endswith("dominated")
    assert "dominated     int8_float_io by int8: worse in something, better in nothing" in result.stdout
