import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from devicekit import progress
from devicekit.device.lock import locked
from devicekit.errors import FleetError, LoadError, UsageError
from devicekit.fleet import run as runs
from devicekit.fleet.outcome import run_report
from devicekit.fleet.run import fleet_resume
from devicekit.pipeline.making import Making
from devicekit.store.open import Store
from devicekit.store.reading import Cell, cells_of, document_of, find_run
from devicekit.testing import write_dense_model

Make = Callable[..., Path]


fleet_run = partial(runs.fleet_run, retry_s=0.0)  # what is lost in these tests stays lost


def cells(store: Store, run: str) -> dict[tuple[str, str], Cell]:
    with store.reading() as connection:
        return {cell.key: cell for cell in cells_of(connection, run)}


def test_every_device_is_measured_and_one_failure_stops_none(
    model: Path, fleet_file: Path, results: Path, store: Store
) -> None:
    run = fleet_run([model], fleet=fleet_file, store=results)
    found = cells(store, run)
    assert [(one.device, one.state, one.attempts) for one in found.values()] == [
        *(("desk", "done", 1), ("rack", "done", 1), ("old", "failed", 2))
    ]
    desk, old = found["net", "desk"], found["net", "old"]
    assert desk.taken and desk.taken.evidence == "emulated" and len(desk.taken.rounds_us or ()) == 5
    assert desk.taken.typical_us == pytest.approx(1900, rel=0.05)
    assert desk.facts and desk.facts["model"] == "FakeDevice"
    assert old.error and old.error["kind"] == "Lost"
    with store.reading() as connection:
        assert find_run(connection, run).ended_at
        assert len(document_of(connection, desk.taken.id)["latency"]["samples_us"]) == desk.taken.count


def test_each_profile_gets_what_fits_it_and_equal_needs_are_built_once(
    tmp_path: Path, make_fleet: Make, results: Path, store: Store
) -> None:
    small = tmp_path / "small.toml"
    small.write_text('schema = 1\nextends = "pixel7"\n[recipes]\ntry = ["int8"]\n')
    twin = tmp_path / "twin.toml"
    twin.write_text('schema = 1\nextends = "pixel7"\ntitle = "another name"\n')
    model = write_dense_model(tmp_path / "wide.tflite", inputs=64, outputs=64, seed=2)
    fleet = make_fleet(a="pixel7 fake:a", b="small.toml fake:b", c="twin.toml fake:c")
    built: list[str] = []

    class Watcher:
        def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
            if step == "artifacts" and "built" in detail:
                built.append(detail)

    token = progress.current.set(Watcher())
    try:
        run = fleet_run([model], fleet=fleet, store=results)
    finally:
        progress.current.reset(token)
    found = cells(store, run)
    recipes = {name: one.taken.recipe for (_, name), one in found.items() if one.taken}
    shas = {name: one.taken.sha256 for (_, name), one in found.items() if one.taken}
    assert recipes["b"] == "int8" != recipes["a"] == recipes["c"]
    assert shas["a"] == shas["c"]
    assert built == ["2 built, or there before"]


def test_a_model_that_fits_nowhere_is_a_row(
    tmp_path: Path, make_fleet: Make, results: Path, store: Store
) -> None:
    tiny = tmp_path / "tiny.toml"
    tiny.write_text('schema = 1\nextends = "pixel7"\n[limits]\nmodel_mib = 0.0001\n')
    model = write_dense_model(tmp_path / "net.tflite", inputs=64, outputs=64)
    run = fleet_run([model], fleet=make_fleet(a="tiny.toml fake:a", b="pixel7 fake:b"), store=results)
    found = cells(store, run)
    error = found["net", "a"].error
    assert error and error["kind"] == "DoesNotFit" and "does not fit tiny" in error["message"]
    assert found["net", "b"].state == "done"


def test_a_memory_limit_is_enforced_while_a_device_runs(
    tmp_path: Path, model: Path, make_fleet: Make, results: Path, store: Store
) -> None:
    tight = tmp_path / "tight.toml"
    tight.write_text('schema = 1\nextends = "pixel7"\n[limits]\nmemory_mib = 5\n')
    fleet = make_fleet(a="tight.toml fake:a?must_have_mib=4.9", b="tight.toml fake:b?must_have_mib=9")
    fleet_run([model], fleet=fleet, store=results)
    report = run_report(store)
    assert [row.status for row in report.rows] == ["fits", "failed"]  # the limit is enforced while it runs
    assert report.rows[1].why.startswith("net.tflite needs 9.0 MiB, the limit is 5 MiB")


@contextmanager
def measuring_at_once() -> Iterator[list[int]]:
    """Yields a list that ends with the most devices that were measured at the same time."""
    running: set[str] = set()
    most = [0]
    lock = threading.Lock()

    class Watcher:
        def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
            with lock:
                if detail.startswith("measuring"):
                    running.add(step)
                    most.append(max(most[-1], len(running)))
                elif total and done >= total:
                    running.discard(step)

    token = progress.current.set(Watcher())
    try:
        yield most
    finally:
        progress.current.reset(token)


def test_one_device_under_two_names_runs_one_thing_at_a_time(
    model: Path, make_fleet: Make, results: Path, store: Store
) -> None:
    fleet = make_fleet(a="pixel7 fake:same?run_s=0.1", b="pixel3 fake:same?run_s=0.1")
    with measuring_at_once() as most:
        run = fleet_run([model], fleet=fleet, store=results, jobs=4)
    assert {one.state for one in cells(store, run).values()} == {"done"} and most[-1] == 1


def test_devices_run_at_the_same_time(model: Path, make_fleet: Make, results: Path) -> None:
    fleet = make_fleet(**{f"d{i}": f"pixel7 fake:d{i}?run_s=0.1" for i in range(4)})
    for jobs in (1, 4):
        with measuring_at_once() as most:
            fleet_run([model], fleet=fleet, store=results, jobs=jobs)
        assert most[-1] == jobs


def test_a_run_that_was_killed_goes_on_and_measures_nothing_twice(
    model: Path, make_fleet: Make, results: Path, store: Store
) -> None:
    fleet = make_fleet(**{f"d{i}": f"pixel7 fake:d{i}?run_s=0.05" for i in range(12)})
    code = (
        "import sys\nfrom devicekit.fleet.run import fleet_run\n"
        "fleet_run([sys.argv[1]], fleet=sys.argv[2], store=sys.argv[3], jobs=2)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(model), str(fleet), str(results)])
    deadline = time.monotonic() + 120
    done: dict[str, object] = {}
    while len(done) < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
        with store.reading() as connection:
            from devicekit.store.reading import last_runs

            runs = last_runs(connection, limit=1)
            found = cells_of(connection, runs[0].id) if runs else []
        done = {one.device: one.taken and one.taken.taken_at for one in found if one.state == "done"}
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = fleet_resume("last", store=results)
    after = cells(store, run)
    assert len(after) == 12 and {one.state for one in after.values()} == {"done"}
    for name, taken_at in done.items():
        cell = after["net", str(name)]
        assert cell.taken and cell.taken.taken_at == taken_at and cell.attempts == 1
    assert fleet_resume(run, store=results) == run  # nothing is left: nothing is done
    assert cells(store, run) == after


def test_ctrl_c_ends_every_device_and_says_how_to_go_on(
    model: Path, make_fleet: Make, results: Path, store: Store, tmp_path: Path
) -> None:
    fleet = make_fleet(**{f"d{i}": f"pixel7 fake:d{i}?run_s=0.3" for i in range(8)})
    command = ["fleet", "run", str(model), "--fleet", str(fleet)]
    code = "from devicekit.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command, "--store", str(results), "--jobs", "4"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    told = ""
    while "d0:" not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    os.kill(process.pid, signal.SIGINT)
    told += process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 130
    run = told.split("run: ")[1].split()[0]
    assert f"devicekit fleet run --resume {run}" in told
    states = [one.state for one in cells(store, run).values()]
    assert "done" in states and "planned" in states and "failed" not in states


def test_a_run_that_goes_on_elsewhere_is_not_resumed(model: Path, make_fleet: Make, results: Path) -> None:
    run = fleet_run([model], fleet=make_fleet(a="pixel7 fake:a?fault=lost"), store=results)
    with locked(f"run:{run}", wait_s=0), pytest.raises(UsageError, match="going on in another process"):
        fleet_resume(run, store=results)


def test_what_has_changed_since_is_not_mixed(
    model: Path, tmp_path: Path, make_fleet: Make, results: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('schema = 1\nextends = "pixel7"\n')
    run = fleet_run([model], fleet=make_fleet(a="own.toml fake:a?fault=lost"), store=results)
    own.write_text('schema = 1\nextends = "pixel7"\ntitle = "other"\n')
    with pytest.raises(UsageError, match="the profile own has changed"):
        fleet_resume(run, store=results)
    own.write_text('schema = 1\nextends = "pixel7"\n')
    write_dense_model(model, seed=9)
    with pytest.raises(UsageError, match="is not what"):
        fleet_resume(run, store=results)


def test_options_are_kept_for_the_resumed_run(
    tmp_path: Path, make_fleet: Make, results: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dense_model(tmp_path / "net.tflite", inputs=64, outputs=64)
    fleet = make_fleet(a="pixel7 fake:a?fault=lost")
    making = Making(recipes=("float16",))
    monkeypatch.chdir(tmp_path)
    run = fleet_run(["net.tflite"], fleet="made.toml", store=results, making=making, rounds=2, threads=2)
    with store.writing() as connection:  # the device is well again
        plan = dict(find_run(connection, run).plan)
        plan["devices"][0]["address"] = "fake:a"
        from sqlalchemy import update

        from devicekit.store import schema

        connection.execute(update(schema.runs).values(plan=plan))
    monkeypatch.chdir("/")
    fleet_resume(run, store=results)
    [cell] = cells(store, run).values()
    assert cell.taken and (cell.taken.recipe, cell.taken.threads) == ("float16", 2)
    assert len(cell.taken.rounds_us or ()) == 2 and cell.attempts == 3
    assert fleet.exists()


def test_several_models_and_a_filter(tmp_path: Path, fleet_file: Path, results: Path, store: Store) -> None:
    models = [write_dense_model(tmp_path / f"{name}.tflite", seed=i) for i, name in enumerate(("one", "two"))]
    run = fleet_run(models, fleet=fleet_file, store=results, where="tag=lab and kind=android")
    assert list(cells(store, run)) == [("one", "desk"), ("two", "desk")]


def test_mistakes_are_told_before_anything_runs(
    model: Path, tmp_path: Path, fleet_file: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    other = write_dense_model(tmp_path / "sub" / "net.tflite")
    with pytest.raises(UsageError, match="2 models are called net"):
        fleet_run([model, other], fleet=fleet_file, store=results)
    with pytest.raises(LoadError, match="no such file"):
        fleet_run([tmp_path / "none.tflite"], fleet=fleet_file, store=results)
    with pytest.raises(UsageError, match="no model"):
        fleet_run([], fleet=fleet_file, store=results)
    with pytest.raises(FleetError):
        fleet_run([model], fleet=tmp_path / "none.toml", store=results)
    (tmp_path / "empty.toml").write_text("schema = 1\n")
    with pytest.raises(UsageError, match="names no device"):
        fleet_run([model], fleet=tmp_path / "empty.toml", store=results)
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="there is no fleet file"):
        fleet_run([model], store=results)
    assert not results.exists()


def test_a_model_that_cannot_be_read_is_a_row_on_every_device(
    tmp_path: Path, model: Path, fleet_file: Path, results: Path, store: Store
) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"no model")
    run = fleet_run([tmp_path / "broken.tflite", model], fleet=fleet_file, where="tag=lab", store=results)
    found = cells(store, run)
    assert [one.state for one in found.values()] == ["failed", "done", "failed", "done"]
    error = found["broken", "desk"].error
    assert error and error["exit_code"] == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: run it as root")
def test_a_full_disk_ends_the_run_and_says_how_to_go_on(
    model: Path, make_fleet: Make, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    fleet = make_fleet(**{f"d{i}": f"pixel7 fake:d{i}" for i in range(40)})
    kit = [sys.executable, "-c", "from devicekit.cli import main; main()", "fleet"]
    # A disk of 1 MiB in a mount namespace of its own; what is on it is looked at, and made room on, in there.
    script = (
        f"mount -t tmpfs -o size=1m tmpfs {disk}\n"
        f"dd if=/dev/zero of={disk}/fill bs=1k count=500 2> /dev/null\n"
        '"$@" run "$MODEL" --fleet "$FLEET" --store "$STORE" --jobs 4; echo "code $?"\n'
        f"rm {disk}/fill; mount -o remount,size=20m {disk}\n"
        '"$@" run --resume last --store "$STORE" -q; echo "code $?"\n'
    )
    places = {"MODEL": str(model), "FLEET": str(fleet), "STORE": str(disk / "r.db")}
    command = ["unshare", "-m", "sh", "-c", script, "sh", *kit]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **places}, timeout=300)
    codes = [line for line in done.stdout.splitlines() if line.startswith("code ")]
    assert codes == ["code 7", "code 0"], done.stdout + done.stderr
    assert "its disk is full; what was filed before is kept" in done.stderr
    run = done.stderr.split("run: ")[1].split()[0]
    assert f"devicekit fleet run --resume {run}" in done.stderr
    assert "1 model × 40 devices: 40 fits" in done.stdout


def test_the_plan_is_json(model: Path, fleet_file: Path, results: Path, store: Store) -> None:
    run = fleet_run([model], fleet=fleet_file, where="name=desk", store=results)
    with store.reading() as connection:
        json.dumps(find_run(connection, run).plan)


def test_a_scheduler_that_is_not_there_is_said_before_anything_is_filed(
    model: Path, fleet_file: Path, results: Path
) -> None:
    with pytest.raises(UsageError, match="no dask scheduler answers"):
        fleet_run([model], fleet=fleet_file, store=results, scheduler="tcp://127.0.0.1:1")
    assert not results.exists()


@pytest.mark.slow
def test_a_keras_model_with_data_is_scored_and_converted_once(
    data: Path, fleet_file: Path, results: Path, store: Store
) -> None:
    making = Making(data=str(data / "digits.npz"), recipes=("int8",))
    run = fleet_run([data / "digits.h5"], fleet=fleet_file, where="tag=lab", store=results, making=making)
    found = cells(store, run)
    for name in ("desk", "rack"):
        taken = found["digits", name].taken
        assert taken and taken.fidelity and taken.recipe == "int8"
        assert taken.fidelity["task_metric"] is not None and taken.fidelity["task_metric"] > 0.95
        assert {"tensorflow", "litert-quantizer", "devicekit", "runtime"} <= taken.versions.keys()
