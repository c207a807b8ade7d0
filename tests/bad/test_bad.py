"""Models made bad on purpose: each is caught, and what is wrong with it is named."""

from pathlib import Path

import numpy as np
import pytest

import devicekit
from devicekit.errors import UsageError
from tests.bad import cases
from tests.quantize.outputs import outputs_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cases.built(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize("bad", cases.BAD, ids=lambda bad: bad.data or bad.model)
def test_it_is_caught_and_named(bad: cases.Bad, folder: Path) -> None:
    said = cases.said_of(bad, folder)
    assert cases.missing(bad, said) == [], said


def test_data_for_0_to_1_is_taken_as_the_layer_says(folder: Path, tmp_path: Path) -> None:
    """Calibrated on 0..1, int8 knew one value of 256: 1.0000 in the report, 0.44 in the app."""
    model, data = folder / "rescaling_inside.keras", folder / "rescaling_inside.npz"
    made = {
        recipe: devicekit.convert(model, recipe=recipe, data=str(data), path=tmp_path / f"{recipe}.tflite")
        for recipe in ("float32", "int8")
    }
    with np.load(data) as file:
        as_in_the_app = {"x": (file["x_eval"] * 255).round().astype(np.float32)}
    outputs = {recipe: outputs_of(one.chosen.path, as_in_the_app) for recipe, one in made.items()}
    error = np.abs(outputs["int8"]["logits"] - outputs["float32"]["logits"]).max()
    assert error < 0.05 * np.abs(outputs["float32"]["logits"]).max()


@pytest.mark.parametrize("name", ["float_indices", "indices_of_two_inputs"])
def test_the_remedy_for_indices_works(name: str, folder: Path, tmp_path: Path) -> None:
    data = folder / f"{name}.npz"
    refused = devicekit.convert(
        folder / f"{name}.keras", recipe="int8", data=str(data), path=tmp_path / "refused.tflite"
    ).error
    assert refused and "int8 would round them" in refused.message and "int8_float_io" in refused.remedy
    made = {
        recipe: devicekit.convert(
            folder / f"{name}.keras", recipe=recipe, data=str(data), path=tmp_path / f"{recipe}.tflite"
        )
        for recipe in ("float32", "int8_float_io")
    }
    with np.load(data) as file:
        samples = {key.removesuffix("_eval"): file[key] for key in file.files if key.endswith("_eval")}
    found = {recipe: outputs_of(one.chosen.path, samples)["logits"] for recipe, one in made.items()}
    error = np.abs(found["int8_float_io"] - found["float32"]).mean()
    assert error < 0.05 * np.abs(found["float32"]).mean()


def test_int8_that_is_too_coarse_at_its_outputs_leaves_them_in_float(folder: Path, tmp_path: Path) -> None:
    model, data = folder / "boxes_then_scores.keras", folder / "boxes_then_scores.npz"
    made = devicekit.convert(model, profile=cases.PROFILE, data=str(data), path=tmp_path / "out.tflite")
    mixed = next(one for one in made.candidates if one.recipe == "int8_mixed")
    assert mixed.findings == () and mixed.fidelity and mixed.fidelity.cosine > 0.98
    assert "pred stays float32" in mixed.notes


@pytest.mark.parametrize("measures", [False, True])
def test_wrong_data_ends_convert_and_deploy_alike(measures: bool, folder: Path, tmp_path: Path) -> None:
    data = str(folder / "digits_labels.npz")

    def run(**options: bool) -> devicekit.pipeline.deployment.Conversion:
        if measures:
            return devicekit.deploy(
                cases.DIGITS, "pixel7", data=data, device="host", folder=tmp_path / "out", store="", **options
            )
        return devicekit.convert(
            cases.DIGITS, profile="pixel7", data=data, path=tmp_path / "o.tflite", **options
        )

    with pytest.raises(UsageError, match="as guessing among 10 classes would") as caught:
        run()
    assert caught.value.exit_code == 2 and "--accept-data" in caught.value.remedy
    made = run(accept_data=True)
    assert any("as guessing among 10 classes would" in warning for warning in made.data.warnings)
