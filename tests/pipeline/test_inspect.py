"""inspect_model: what is in a file, and the JSON that scripts rely on."""

import hashlib
import json
from pathlib import Path

import pytest

from devicekit import inspect_model

DATA = Path(__file__).parent.parent / "data"


def test_json_has_the_documented_shape() -> None:
    path = DATA / "tflite" / "cnn_int8.tflite"
    document = json.loads(json.dumps(inspect_model(path).to_json(), allow_nan=False))
    fields = "inputs outputs ops parameters macs size_bytes min_runtime_version arena_bytes arena_exact"
    assert {"schema", "model", *fields.split()} <= set(document)
    assert document["schema"] == 1
    assert document["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert document["ops"][0] == {"name": "CONV_2D", "count": 2, "version": 3}
    (image,) = document["inputs"]
    assert (image["name"], image["dtype"], image["shape"]) == ("image", "int8", [1, 12, 12, 3])
    assert image["scale"] == pytest.approx(1 / 255, rel=0.01) and image["zero_point"] == -128


def test_numbers_of_a_small_cnn() -> None:
    inspection = inspect_model(DATA / "tflite" / "cnn_float32.tflite")
    assert (inspection.parameters, inspection.macs, inspection.kind) == (741, 13032, ".tflite")
    assert (inspection.arena_bytes, inspection.arena_exact) == (6784, True)
    assert inspection.inputs["image"].scale == ()


def test_an_estimated_arena_says_why() -> None:
    document = inspect_model(DATA / "tflite" / "custom.tflite").to_json()
    assert document["arena_exact"] is False
    assert document["arena_reason"].endswith("MatrixInverse may take memory that is not known here")


def test_an_open_batch_shows_in_the_signature_of_the_shape() -> None:
    (image,) = inspect_model(DATA / "tflite" / "cnn_dynamic_batch.tflite").to_json()["inputs"]
    assert (image["shape"], image["shape_signature"]) == ([1, 12, 12, 3], [-1, 12, 12, 3])


@pytest.mark.slow
def test_a_keras_file_is_shown_as_its_float_tflite() -> None:
    inspection = inspect_model(DATA / "digits.h5")
    assert inspection.kind.startswith("Keras 2")
    assert inspection.sha256 == hashlib.sha256((DATA / "digits.h5").read_bytes()).hexdigest()
    assert {op.name for op in inspection.ops} >= {"CONV_2D", "DEPTHWISE_CONV_2D", "SOFTMAX"}
