"""A real dask scheduler and real workers, on loopback; one is killed in the middle of a run."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devicekit import progress
from devicekit.errors import UsageError
from devicekit.fleet.run import fleet_resume, fleet_run
from devicekit.store.open import Store
from devicekit.store.reading import cells_of

pytestmark = [pytest.mark.slow, pytest.mark.endpoint]

MAIN = "import sys; from devicekit.cli import main; sys.argv[0] = 'devicekit'; main()"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Returns a function that starts a process, which ends with the test."""
    with ExitStack() as running:

        def start(*command: str) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path
            )

            def end() -> None:
                process.kill()
                process.wait()
                assert process.stderr is not None
                process.stderr.close()

            running.callback(end)
            return process

        yield start


@pytest.fixture
def scheduler(started: Callable[..., "subprocess.Popen[str]"]) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    dask = str(Path(sys.executable).with_name("dask"))
    started(dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return f"tcp://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the scheduler does not listen")


@pytest.fixture
def work(
    started: Callable[..., "subprocess.Popen[str]"], scheduler: str
) -> Callable[[Path], "subprocess.Popen[str]"]:
    """Returns a function that starts `devicekit fleet worker` and waits until it offers its devices."""

    def begin(fleet: Path) -> "subprocess.Popen[str]":
        arguments = ("fleet", "worker", "--scheduler", scheduler, "--fleet", str(fleet))
        process = started(sys.executable, "-c", MAIN, *arguments)
        assert process.stderr is not None
        told = ""
        while "offers" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        return process

    return begin


def fleet_of(path: Path, **addresses: str) -> Path:
    tables = (
        f'[[device]]\nname = "{name}"\nprofile = "pixel7"\naddress = "{address}"\n'
        for name, address in addresses.items()
    )
    path.write_text("schema = 1\n" + "".join(tables))
    return path


def states(store: Store, run: str) -> dict[str, str]:
    with store.reading() as connection:
        return {cell.device: cell.state for cell in cells_of(connection, run)}


def test_each_host_measures_its_own_devices(
    model: Path, tmp_path: Path, results: Path, store: Store, scheduler: str, work: Callable[[Path], object]
) -> None:
    work(fleet_of(tmp_path / "one.toml", a="fake:here?latency_us=700", b="fake:b"))
    work(fleet_of(tmp_path / "two.toml", c="fake:c"))
    told: set[str] = set()

    class Watcher:
        def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
            if detail.startswith("measuring"):
                told.add(step)

    token = progress.current.set(Watcher())
    try:
        # The planner's address of "a" is another: the worker's own one wins.
        fleet = fleet_of(tmp_path / "all.toml", a="fake:there", b="fake:b", c="fake:c")
        run = fleet_run([model], fleet=fleet, store=results, scheduler=scheduler)
    finally:
        progress.current.reset(token)
    assert states(store, run) == {"a": "done", "b": "done", "c": "done"}
    with store.reading() as connection:
        cell = cells_of(connection, run)[0]
    assert cell.taken and cell.taken.typical_us == pytest.approx(700, rel=0.05)
    assert cell.facts and cell.facts["address"] == "fake:here?latency_us=700"
    assert told == {"a", "b", "c"}


def test_a_killed_host_gives_its_cells_to_another_or_they_are_reported(
    model: Path,
    tmp_path: Path,
    results: Path,
    store: Store,
    scheduler: str,
    work: Callable[[Path], "subprocess.Popen[str]"],
) -> None:
    slow = "?run_s=0.4"
    both = {f"s{i}": f"fake:s{i}{slow}" for i in range(4)}
    dying = work(fleet_of(tmp_path / "one.toml", **both, only=f"fake:only{slow}"))
    work(fleet_of(tmp_path / "two.toml", **both, other="fake:other"))
    fleet = fleet_of(tmp_path / "all.toml", **both, only="fake:only", other="fake:other")
    measuring = threading.Event()

    class Watcher:
        def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
            if step == "only" and detail.startswith("measuring"):
                measuring.set()

    def kill() -> None:
        assert measuring.wait(timeout=120)
        os.kill(dying.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    token = progress.current.set(Watcher())
    try:
        run = fleet_run([model], fleet=fleet, store=results, scheduler=scheduler)
    finally:
        progress.current.reset(token)
        measuring.set()
        killer.join()
    assert states(store, run) == {**dict.fromkeys([*both, "other"], "done"), "only": "failed"}
    with store.reading() as connection:
        [lost] = [cell for cell in cells_of(connection, run) if cell.state == "failed"]
    assert lost.error and lost.error["kind"] == "NoDevice" and "fleet worker" in lost.error["remedy"]

    work(fleet_of(tmp_path / "one.toml", only="fake:only"))
    fleet_resume(run, store=results, scheduler=scheduler)
    assert set(states(store, run).values()) == {"done"}


def test_a_worker_without_a_scheduler_says_so(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path / "one.toml", a="fake:a")
    command = [sys.executable, "-c", MAIN, "fleet", "worker", "--fleet", str(fleet)]
    done = subprocess.run([*command, "--scheduler", "tcp://127.0.0.1:1"], capture_output=True, text=True)
    assert done.returncode == 2 and "no dask scheduler answers" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_scheduler_s_address_must_be_one(model: Path, fleet_file: Path, results: Path) -> None:
    with pytest.raises(UsageError, match="no dask scheduler answers at nonsense://x"):
        fleet_run([model], fleet=fleet_file, store=results, scheduler="nonsense://x")
