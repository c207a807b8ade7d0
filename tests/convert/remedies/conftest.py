"""Models that need remedies, made once per session."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ailing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models that make_models.py writes."""
    folder = tmp_path_factory.mktemp("ailing")
    script = Path(__file__).with_name("make_models.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


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
