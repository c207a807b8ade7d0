"""A file that keeps a state between inferences says so, and how the app begins anew, wherever one looks."""

import json
from pathlib import Path

import pytest

import devicekit
from devicekit.graph.state import RESET_RESOURCES, RESET_TENSORS
from devicekit.report.text import render
from devicekit.runner.micro import is_installed

MODELS = Path(__file__).parent.parent / "data" / "tflite"
needs_tflm = pytest.mark.skipif(not is_installed(), reason="pip install tflite-micro (Linux on x86-64)")


def test_a_deployment_tells_of_the_state_before_its_table(tmp_path: Path) -> None:
    found = devicekit.deploy(
        MODELS / "remembering.tflite", "pixel7", recipes=["float32"], device="host", folder=tmp_path / "out"
    )
    state = {"ops": ["ASSIGN_VARIABLE"], "begin_anew": RESET_RESOURCES}
    assert found.to_json()["state"] == state
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["artifact"]["state"] == state
    assert found.chosen and found.chosen.measurement
    assert found.chosen.measurement.conditions["verified"]["inferences"] == [1, 3]
    text = " ".join(render(found).split())
    told = f"state kept between inferences (ASSIGN_VARIABLE); begin anew {RESET_RESOURCES}"
    assert told in text
    assert text.index(told) < text.index("recipe size")


def test_a_model_without_a_state_has_nothing_to_tell(tmp_path: Path) -> None:
    found = devicekit.convert(MODELS / "cnn_float32.tflite", recipe="float32", path=tmp_path / "x.tflite")
    assert found.to_json()["state"] is None
    assert "between inferences" not in render(found)


@needs_tflm
def test_firmware_reads_how_to_begin_anew(tmp_path: Path) -> None:
    devicekit.deploy(
        MODELS / "lstm.tflite", "esp32s3", recipes=["float32"], device="host", folder=tmp_path / "out"
    )
    header = (tmp_path / "out" / "model_data.h").read_text()
    assert f"// It keeps a state between inferences. Begin anew {RESET_TENSORS}.\n" in header


def test_inspect_and_measure_tell_of_the_state() -> None:
    found = devicekit.inspect_model(MODELS / "lstm.tflite")
    assert found.to_json()["state"] == {
        "ops": ["UNIDIRECTIONAL_SEQUENCE_LSTM"],
        "begin_anew": RESET_TENSORS,
    }
    assert "kept between inferences" in render(found)
    measured = devicekit.measure(MODELS / "lstm.tflite", device="host")
    assert f"it keeps a state between inferences: an app begins anew {RESET_TENSORS}" in measured.notes
