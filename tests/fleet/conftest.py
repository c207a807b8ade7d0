"""A fleet of fake devices, and a store of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devicekit.store.open import Store, open_store
from devicekit.testing import write_dense_model

FLEET = """schema = 1
[[device]]
name = "desk"
profile = "pixel7"
address = "fake:desk?latency_us=1900&spread=0.01"
tags = ["android", "lab"]
[[device]]
name = "rack"
profile = "raspberrypi4"
address = "fake:rack?latency_us=3100&spread=0.01"
tags = ["linux", "lab"]
[[device]]
name = "old"
profile = "pixel3"
address = "fake:old?fault=lost"
tags = ["android"]
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_dense_model(tmp_path / "net.tflite", seed=1)


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    return path


@pytest.fixture
def make_fleet(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes a fleet file: name="profile address"."""

    def make(**devices: str) -> Path:
        path = tmp_path / "made.toml"
        tables = []
        for name, said in devices.items():
            profile, _, address = said.partition(" ")
            lines = f'name = "{name}"\nprofile = "{profile}"\naddress = "{address}"\n'
            tables.append(f"[[device]]\n{lines}")
        path.write_text("schema = 1\n" + "".join(tables))
        return path

    return make


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture
def store(results: Path) -> Iterator[Store]:
    with open_store(results) as store:
        yield store
