"""Models that need remedies, made once per session."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm


@pytest.fixture(scope="session")
def ailing(written_by: Callable[[Path], Path]) -> Path:
    """The folder of models that make_models.py writes."""
    return written_by(Path(__file__).with_name("make_models.py"))


@pytest.fixture(scope="session")
def own_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the layers of inverse.keras and mixing.keras."""
    path = tmp_path_factory.mktemp("layers") / "layers.py"
    path.write_text(
        "import keras\nimport tensorflow as tf\n"
        '@keras.saving.register_keras_serializable("lab")\n'
        "class Inverse(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return tf.linalg.inv(inputs) + tf.linalg.det(inputs)[:, None, None]\n"
        '@keras.saving.register_keras_serializable("lab")\n'
        "class Centred(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return 2 * inputs - keras.ops.mean(inputs, axis=0, keepdims=True)\n"
    )
    return path


@pytest.fixture(scope="module")
def probed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What probe.py finds of the module's CASES, the name of a file here (half a minute)."""
    path = tmp_path_factory.mktemp("probed") / "result.json"
    here = Path(__file__).parent
    argv = [warm.python(), str(here / "probe.py"), str(here / request.module.CASES), str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found
