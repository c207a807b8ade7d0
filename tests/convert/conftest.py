"""Models for the conversion tests, and one cache of conversions for the whole session."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

ROOT = Path(__file__).parents[2]
BASIC_PITCH = ROOT / ".cache" / "basic-pitch"


@pytest.fixture(scope="session")
def data() -> Path:
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session", autouse=True)
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder that every test here shares: a model is converted once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEVICEKIT_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, for tests that look at it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DEVICEKIT_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def made(written_by: Callable[[Path], Path]) -> Path:
    """The folder of models that make_models.py writes (seven seconds)."""
    return written_by(Path(__file__).with_name("make_models.py"))


@pytest.fixture(scope="session")
def basic_pitch() -> Path:
    """The folder with savedmodel/ and nmp.tflite: a trained model that nobody here made."""
    if not (BASIC_PITCH / "nmp.tflite").is_file():
        pytest.skip("Basic Pitch is not there: run `.venv/bin/python tools/fetch_test_models.py`")
    return BASIC_PITCH


@pytest.fixture
def h5(tmp_path: Path) -> Callable[..., Path]:
    """Writes an HDF5 file with a model_config (a dict, or text as it is) and returns its path."""

    def write(config: Any, name: str = "model.h5") -> Path:
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            file.attrs["keras_version"] = "2.15.0"
            file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
            file.create_group("model_weights")
        return path

    return write
