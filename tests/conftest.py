"""What all tests share: the test models, and a cache of their own."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import warm

DATA = Path(__file__).parent / "data"

# A shell starts its background jobs with Ctrl-C ignored, and every process of the tests would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The longest files, which begin first, so that no worker ends with one of them.
LONGEST = (
    "tests/endpoints/test_faults.py",
    "tests/zoo/test_zoo.py",
    "tests/endpoints/test_machine.py",
    "tests/endpoints/test_contract.py",
    "tests/endpoints/test_probe.py",
    "tests/cli/test_commands.py",
    "tests/convert/test_source.py",
    "tests/cli/test_fleet.py",
    "tests/fleet/test_cluster.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also what is marked full: the suite's long version")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what only --all runs, and puts the longest files first."""
    if not config.getoption("--all"):
        full = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if item not in full]
    order = {str(config.rootpath / name): turn for turn, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(str(item.path), len(order)))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps the tests out of the user's cache and store; one cache, so that a model is converted once."""
    os.environ["DEVICEKIT_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["DEVICEKIT_DATA_DIR"] = str(tmp_path_factory.mktemp("data"))
    os.environ.pop("DEVICEKIT_STORE", None)


@pytest.fixture(scope="session", autouse=True)
def _warm_children(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Has children forked from a Python that has TensorFlow imported: one for all workers of a run."""
    base, owner = tmp_path_factory.getbasetemp(), os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base, owner = base.parent, os.getppid()
    os.environ["DEVICEKIT_PYTHON"] = str(warm.python_in(base / "warm", owner=owner))


@pytest.fixture
def own_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has this test's children started as the kit does for its users."""
    monkeypatch.delenv("DEVICEKIT_PYTHON")


@pytest.fixture(scope="session", autouse=True)
def _no_device() -> None:
    """Keeps the tests off the developer's phones: nothing listens where they look for the adb server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.environ["ANDROID_ADB_SERVER_PORT"] = str(server.getsockname()[1])
    os.environ.pop("DEVICEKIT_FLEET", None)


@pytest.fixture(scope="session")
def data() -> Path:
    """Returns the folder of test models and their inputs."""
    return DATA


@pytest.fixture(scope="session")
def written_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Returns the folder that a script fills: `make_….py FOLDER`."""

    def write(script: Path) -> Path:
        folder = tmp_path_factory.mktemp(script.stem)
        subprocess.run([warm.python(), str(script), str(folder)], check=True, capture_output=True)
        return folder

    return write
