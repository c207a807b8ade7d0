"""The zoo's own check finds what a kit could get wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.zoo import check
from tests.zoo.check import Outside, examine


@pytest.fixture
def model(data: Path) -> Path:
    return data / "tflite" / "cnn_float32.tflite"


@pytest.fixture
def inputs() -> dict[str, Any]:
    return {"image": np.random.default_rng(0).random((4, 12, 12, 3)).astype(np.float32)}


@pytest.fixture
def outputs(model: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    return check.run(model, inputs, check.NOTHING)


def problems(*given: Any, **named: Any) -> list[str]:
    found: list[str] = examine(*given, **named)["problems"]
    return found


def test_a_right_file_has_no_problem(model: Path, inputs: Any, outputs: Any) -> None:
    assert examine(model, inputs, outputs, recipe="float32", cosine=1.0) == {
        "problems": [],
        "difference": 0.0,
        "cosine": pytest.approx(1.0),
    }


def test_a_difference_above_a_thousandth_is_a_problem(model: Path, inputs: Any, outputs: Any) -> None:
    shifted = {"y": outputs["y"] + 0.002 * outputs["y"].max()}
    assert problems(model, inputs, shifted, recipe="float32") == ["differs from Keras by 0.002"]


def test_a_cosine_that_the_kit_made_up_is_a_problem(model: Path, inputs: Any, outputs: Any) -> None:
    reversed_classes = {"y": outputs["y"][:, ::-1] - 0.2}
    [problem] = problems(model, inputs, reversed_classes, recipe="float16", cosine=0.999)[-1:]
    assert problem.startswith("cosine ") and problem.endswith("the kit says 0.999")


def test_outputs_that_are_missing_or_misshapen_are_a_problem(model: Path, inputs: Any, outputs: Any) -> None:
    wide = {"y": np.concatenate([outputs["y"]] * 2, axis=1)}
    assert problems(model, inputs, wide, recipe="float32") == [
        "output y has the shape [4, 5], in Keras [4, 10]"
    ]
    assert problems(model, inputs, {**outputs, "z": outputs["y"]}, recipe="float32") == [
        "output z is missing"
    ]


def test_nan_where_keras_has_a_number_is_a_problem(model: Path, inputs: Any, outputs: Any) -> None:
    lost = Outside(after=lambda given: {"y": given["y"] * np.nan})
    assert problems(model, inputs, outputs, recipe="float32", outside=lost) == [
        "output y is not finite where Keras is"
    ]


@pytest.mark.parametrize("recipe", ["float16", "dynamic_int8", "weight_int8", "int8", "int16x8"])
def test_a_float_file_is_no_quantized_one(model: Path, inputs: Any, outputs: Any, recipe: str) -> None:
    assert problems(model, inputs, outputs, recipe=recipe)[0].startswith("not quantized: ")


def test_a_quantized_file_is_one(data: Path, inputs: Any, outputs: Any) -> None:
    assert problems(data / "tflite" / "cnn_int8.tflite", inputs, outputs, recipe="int8", cosine=0.99) == []


@pytest.mark.parametrize(("name", "op"), [("flex", "FlexMatrixInverse"), ("custom", "MatrixInverse")])
def test_an_operator_that_is_no_builtin_is_a_problem(data: Path, name: str, op: str) -> None:
    square = {"x": np.eye(3, dtype=np.float32)[None]}
    found = problems(data / "tflite" / f"{name}.tflite", square, {"y": square["x"]}, recipe="float32")
    assert found[0] == f"{op} is no builtin operator"
    assert found[1].startswith("does not run: ")


def test_what_runs_outside_runs_with_the_file(tmp_path: Path, model: Path, inputs: Any, outputs: Any) -> None:
    (tmp_path / "m.preprocess.py").write_text(
        "def preprocess(inputs):\n    return {'image': inputs['photo'] / 255}\n"
    )
    (tmp_path / "m.postprocess.py").write_text(
        "def postprocess(outputs):\n    return {'best': outputs['y'].argmax(axis=-1)}\n"
    )
    photos = {"photo": (inputs["image"] * 255).astype(np.float32)}
    best = {"best": outputs["y"].argmax(axis=-1)}
    parts = check.outside(tmp_path)
    assert problems(model, photos, best, recipe="float32", outside=parts) == []
    assert problems(model, photos, best, recipe="float32")[0].startswith("output best has the shape")


def test_a_file_that_remembers_is_a_problem_unless_the_model_is_stateful(data: Path) -> None:
    model = data / "tflite" / "remembering.tflite"
    inputs = {"x": np.random.default_rng(0).random((5, 4)).astype(np.float32)}
    sequence = {"y": np.cumsum(inputs["x"], axis=0)}
    found = problems(model, inputs, sequence, recipe="float32")
    assert found == ["output y depends on the samples before"]
    assert problems(model, inputs, sequence, recipe="float32", is_stateful=True) == []
    alone = problems(model, inputs, {"y": inputs["x"]}, recipe="float32", is_stateful=True)
    assert alone and alone[0].startswith("differs from Keras by ")
