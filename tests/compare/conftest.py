"""Output folders to compare: made once on made-up devices, and on this host."""

from pathlib import Path
from typing import Any

import pytest

import devicekit
from devicekit.testing import FakeDevice


@pytest.fixture(scope="session")
def folders(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Returns output folders by what made them: a "slow" and a "fast" fake, the "host"; "none" is empty."""
    place = tmp_path_factory.mktemp("folders")

    def deploy(name: str, **options: Any) -> Path:
        given = {"data": str(data / "digits.npz"), "folder": place / name, **options}
        devicekit.deploy(data / "digits.float32.tflite", "pixel7", **given)
        return place / name

    return {
        "slow": deploy("slow", device=FakeDevice(latency_us=3000.0), recipes=["float32"]),
        "fast": deploy("fast", device=FakeDevice(latency_us=1000.0), recipes=["int8"]),
        "host": deploy("host", device="host", recipes=["int8"]),
        "none": deploy("none", device=FakeDevice(), recipes=["int8"], max_size_bytes=1000),
    }
