"""What TensorFlow and Keras read of the environment while they are imported, for the file at hand."""

import json
from pathlib import Path

from devicekit.convert.container import Header


def environment_for(path: Path, header: Header) -> dict[str, str]:
    """Returns the variables to set before anything imports TensorFlow."""
    variables = {"KERAS_BACKEND": "tensorflow"}
    if _puts_channels_first(path, header):
        # TensorFlow's own CPU kernels refuse that order; elsewhere they round alike on every machine.
        variables["TF_ENABLE_ONEDNN_OPTS"] = "1"
    if header.is_legacy:
        variables["TF_USE_LEGACY_KERAS"] = "1"  # so that tf.keras in --custom-objects is the same Keras
    return variables


def _puts_channels_first(path: Path, header: Header) -> bool:
    if header.format == "savedmodel":
        graph = (path / "saved_model.pb").read_bytes()  # its attributes: name, then length and text
        return any(
            b"data_format" + value in graph for value in (b"\x12\x06\x12\x04NCHW", b"\x12\x07\x12\x05NCDHW")
        )
    config = json.dumps(header.config)
    return any(order in config for order in ('"channels_first"', '"NCHW"', '"NCDHW"'))
