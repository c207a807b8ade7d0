"""What all tests share: the test models, and a cache of their own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"

# A shell starts its background jobs with Ctrl-C ignored, and every process of the tests would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps the tests out of the user's cache and store; one cache, so that a model is converted once."""
    os.environ["DEVICEKIT_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["DEVICEKIT_DATA_DIR"] = str(tmp_path_factory.mktemp("data"))
    os.environ.pop("DEVICEKIT_STORE", None)


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
        subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
        return folder

    return write
