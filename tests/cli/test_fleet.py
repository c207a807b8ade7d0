"""`devicekit fleet`, `results` and `store` as a user types them, wrong on purpose too."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from devicekit.store.open import open_store
from devicekit.store.schema import metadata
from devicekit.testing import write_dense_model
from tests.store.samples import file_run, measured, outcome, planned

Run = Callable[..., "subprocess.CompletedProcess[str]"]

FLEET = """schema = 1
[[device]]
name = "desk"
profile = "pixel7"
address = "fake:desk?latency_us=1900"
tags = ["android"]
[[device]]
name = "old"
profile = "pixel3"
address = "fake:old?fault=out_of_memory"
"""


@pytest.fixture
def kit(tmp_path: Path) -> Run:
    """Returns a function that runs devicekit in a folder of its own, with a store of its own."""

    def run(*argv: object, input_: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", "from devicekit.cli import main; main()", *map(str, argv)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            input=input_,
            env={
                **os.environ,
                "DEVICEKIT_DATA_DIR": str(tmp_path / "data"),
                "XDG_CONFIG_HOME": str(tmp_path),
            },
        )

    return run


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    write_dense_model(tmp_path / "net.tflite", seed=1)
    (tmp_path / "fleet.toml").write_text(FLEET)
    return tmp_path


def test_from_nothing_to_a_gate(kit: Run, tmp_path: Path) -> None:
    write_dense_model(tmp_path / "net.tflite")
    done = kit("fleet", "init", "--host", "pixel7")
    assert (done.returncode, done.stdout) == (0, "wrote fleet.toml: 1 device\n")
    assert "1 of 1 device ready" in kit("fleet", "list").stdout
    first = kit("fleet", "run", "net.tflite", "--label", "main", "--rounds", "3")
    assert first.returncode == 0, first.stderr
    assert "this-host" in first.stdout and "simulated" in first.stdout
    assert kit("fleet", "run", "net.tflite", "--rounds", "3", "-q").returncode == 0
    gate = kit("fleet", "gate", "--baseline", "main", "--max-regression", "10000%")
    assert gate.returncode == 0 and "the gate passes: 1 check" in gate.stdout
    assert "net on this-host" in kit("fleet", "history", "net").stdout


def test_a_run_shows_every_device_and_ends_with_the_failure_s_code(kit: Run, lab: Path) -> None:
    done = kit("fleet", "run", "net.tflite")
    assert done.returncode == 5
    lines = done.stdout.splitlines()
    assert lines[0].endswith("1 model × 2 devices: 1 fits, 1 failed") and max(map(len, lines)) <= 100
    assert "old" in done.stdout and "failed:" in done.stdout and "→" in done.stdout
    progress = done.stderr.splitlines()
    assert progress[0].startswith("run: ") and progress[-1] == "run: 2 of 2 done"
    assert any(line.startswith("desk: ") and line.endswith(")") for line in progress)
    document = json.loads(
        kit("fleet", "run", "net.tflite", "-q", "--format", "json", "--where", "tag=android").stdout
    )
    assert [row["device"] for row in document["rows"]] == ["desk"] and document["missing"] == []


def test_reports_go_to_files_of_every_format(kit: Run, lab: Path) -> None:
    kit("fleet", "run", "net.tflite", "-q")
    for format_, begins in (
        ("html", "<!doctype html>"),
        ("md", "### Fleet run"),
        ("csv", "run,model,device"),
    ):
        done = kit("fleet", "report", "--format", format_, "-o", f"report.{format_}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"wrote report.{format_}\n")
        assert (lab / f"report.{format_}").read_text(encoding="utf-8").startswith(begins)
    assert ET.fromstring(kit("fleet", "report", "--format", "junit").stdout).tag == "testsuites"
    assert json.loads(kit("fleet", "report", "last", "--format", "json").stdout)["counts"] == {
        "fits": 1,
        "failed": 1,
    }
    os.mkfifo(lab / "pipe")
    reader = subprocess.Popen(["cat", "pipe"], cwd=lab, stdout=subprocess.PIPE, text=True)
    assert kit("fleet", "report", "--format", "csv", "-o", "pipe").returncode == 0
    assert reader.communicate(timeout=30)[0] == (lab / "report.csv").read_text() and (lab / "pipe").is_fifo()
    done = kit("fleet", "report", "-o", "none/report.txt")
    assert done.returncode == 2 and "cannot be written" in done.stderr
    assert sorted(path.name for path in lab.iterdir() if "partial" in path.name) == []


def test_a_gate_ends_with_6_and_says_what_to_look_at(kit: Run, lab: Path) -> None:
    kit("fleet", "run", "net.tflite", "-q", "--where", "name=desk")
    (lab / "fleet.toml").write_text(FLEET.replace("1900", "2400"))
    kit("fleet", "run", "net.tflite", "-q", "--where", "name=desk")
    done = kit("fleet", "gate", "--baseline", "1-last", "--max-regression", "5%")
    assert done.returncode == 6 and "FAIL" in done.stdout and "the gate fails: 1 of 1 check" in done.stdout
    assert "address fake:desk?latency_us=1900" in " ".join(done.stdout.split())
    document = json.loads(kit("fleet", "gate", "--baseline", "last", "--format", "json").stdout)
    assert document["ok"] is False and document["max_regression"] == 0.05
    junit = kit("fleet", "gate", "--baseline", "last", "--format", "junit", "-o", "gate.xml")
    assert junit.returncode == 6 and ET.parse(lab / "gate.xml").getroot()[0].get("failures") == "1"
    assert kit("fleet", "gate", "--baseline", "last", "--max-regression", "50%").returncode == 0


WRONG = {
    "fleet run": "no MODEL given",
    "fleet run net.tflite --resume last": "both MODEL and --resume given",
    "fleet run --resume last": "the store holds no fleet run yet",
    "fleet run --resume last --label x": "--resume takes the run's own plan, and no label",
    "fleet run --resume last --recipe int8": "--resume takes the run's own plan, and no recipes",
    "fleet run --resume last --wait 5s": "--resume takes the run's own plan, and no wait",
    "fleet run none.tflite": "none.tflite: no such file or folder",
    "fleet run net.tflite --where tga=x": 'unknown field "tga"; did you mean tag?',
    "fleet run net.tflite --where name=nobody": "leaves none of 2 devices",
    "fleet run net.tflite --fleet none.toml": "none.toml",
    "fleet run net.tflite --jobs 0": "--jobs",
    "fleet run net.tflite --recipe int9": 'no recipe "int9"',
    "fleet run net.tflite --scheduler tcp://127.0.0.1:1": "no dask scheduler answers",
    "fleet report nothing": "the store holds no fleet run yet",
    "fleet gate --baseline last": "the store holds no fleet run yet",
    "fleet gate --baseline last --max-regression lots": '--max-regression: found "lots"',
    "fleet history net": 'the store knows no model "net"',
    "fleet list --where (": "makes no sense",
    "fleet init": "fleet.toml exists already",
    "results show nothing": "the store holds no run yet",
    "results list --store nonsense://x": "is no path and no URL of a database",
    "store import none.jsonl": "none.jsonl: No such file or directory",
    "store import fleet.toml": "fleet.toml, line 1",
    "serve --host 999.1.1.1 --port 0": "cannot listen on 999.1.1.1",
}


@pytest.mark.parametrize("argv", WRONG)
def test_what_is_wrong_is_told_with_a_remedy(kit: Run, lab: Path, argv: str) -> None:
    done = kit(*argv.split())
    assert WRONG[argv] in done.stderr, done.stderr
    assert "→" in done.stderr and "Traceback" not in done.stderr
    assert done.returncode in (
        {"fleet run none.tflite": 3, "results list --store nonsense://x": 7}.get(argv, 2),
    )


def test_results_are_listed_shown_and_compared(kit: Run, lab: Path) -> None:
    assert "the store holds no run yet" in kit("results", "list").stdout
    deployed = kit("deploy", "net.tflite", "-p", "pixel7", "--device", "fake:x", "-q", "-r", "float32")
    assert deployed.returncode == 0, deployed.stderr
    kit("fleet", "run", "net.tflite", "-q", "--label", "a")
    kit("fleet", "run", "net.tflite", "-q")
    listed = json.loads(kit("results", "list", "--format", "json").stdout)["runs"]
    assert [(one["kind"], one["label"]) for one in listed] == [
        ("fleet", None),
        ("fleet", "a"),
        ("deploy", None),
    ]
    assert listed[0]["cells"] == {"done": 1, "failed": 1}
    assert "not complete" not in kit("results", "list").stdout
    shown = kit("results", "show", listed[2]["id"])
    assert "fake:x" in shown.stdout and "float32" in shown.stdout
    compared = kit("results", "compare", "a", listed[0]["id"])
    assert f"against {listed[1]['id']} (a)" in compared.stdout and "no difference" in compared.stdout
    assert kit("results", "list", "--kind", "deploy").stdout.count("deploy") == 1


def test_deploy_warns_where_the_store_takes_nothing(kit: Run, lab: Path) -> None:
    done = kit(
        *("deploy", "net.tflite", "-p", "pixel7", "--device", "fake:x", "-r", "float32", "--store"),
        "fleet.toml/x.db",
    )
    assert done.returncode == 0
    assert "not filed in the store" in done.stderr and "filed  " not in done.stdout
    kit(
        "deploy",
        "net.tflite",
        "-p",
        "pixel7",
        "--device",
        "fake:x",
        "-q",
        "-r",
        "float32",
        "--overwrite",
        "--no-store",
    )
    assert not (lab / "data").exists()


def test_a_store_moves_by_a_pipe(kit: Run, lab: Path) -> None:
    with open_store(lab / "one.db") as store:
        for seed in range(3):
            file_run(store, [(planned(), outcome(measured(seed=seed)))])
    exported = kit("store", "export", "--store", "one.db").stdout
    assert kit("store", "import", "-", "--store", "two.db", input_=exported).stdout == "added 3 cells\n"
    again = kit("store", "import", "-", "--store", "two.db", input_=exported)
    assert again.stdout == "added 0 cells; 3 were there\n"
    assert kit("store", "export", "--store", "two.db", "-o", "out.jsonl").returncode == 0
    assert len((lab / "out.jsonl").read_text().splitlines()) == len(exported.splitlines())
    assert kit("fleet", "history", "net", "--store", "two.db").stdout.count("2.0 MiB") == 3
    assert kit("store", "vacuum", "--store", "two.db").stdout.startswith("vacuumed two.db: ")


def test_the_schema_is_documented_to_the_last_column(kit: Run) -> None:
    text = kit("store", "schema").stdout
    for table in metadata.sorted_tables:
        assert f"### {table.name}" in text and table.comment in text
        for column in table.columns:
            assert f"| `{column.name}` |" in text
    document = json.loads(kit("store", "schema", "--format", "json").stdout)
    assert set(document["tables"]) == set(metadata.tables)


def test_the_store_of_the_environment_is_taken(lab: Path, kit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICEKIT_STORE", str(lab / "mine.db"))
    kit("fleet", "run", "net.tflite", "-q")
    assert (lab / "mine.db").is_file() and not (lab / "data").exists()
