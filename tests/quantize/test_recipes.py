"""Recipes: their names, that they quantize what they say, and how they calibrate."""

from pathlib import Path

import numpy as np
import pytest

from devicekit.errors import RecipeError, UsageError
from devicekit.graph.read import read_graph_bytes
from devicekit.quantize import proof
from devicekit.quantize.predictor import Predictor
from devicekit.quantize.recipes import (
    RECIPES,
    Io,
    Variant,
    calibrate,
    describe,
    dynamic_int8,
    int8,
    int8_float_io,
    known_recipe,
    load_recipe,
    needs_calibration,
    with_io,
)
from devicekit.quantize.signatures import with_signature

# litert-quantizer asks the runtime to keep all tensors, which the runtime warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")


def samples(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"image": rng.random((1, 8, 8, 1)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_described_in_one_line(name: str) -> None:
    assert 20 < len(describe(name)) < 100
    assert "\n" not in describe(name)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        known_recipe("dynamic_int")
    assert caught.value.message == 'no recipe "dynamic_int"; did you mean dynamic_int8?'
    assert caught.value.remedy == f"choose from: {', '.join(RECIPES)}"


def test_only_static_recipes_need_calibration() -> None:
    static = ["int8", "int8_float_io", "int16x8", "int16x8_float_io"]
    assert [name for name in RECIPES if needs_calibration(name)] == static


@pytest.mark.parametrize(
    ("io", "expected"),
    [
        (None, ("float16", "int8", "int8_float_io", "int16x8")),
        ("float", ("float16", "int8_float_io", "int16x8_float_io")),
        ("int8", ("float16", "int8", "int16x8")),
    ],
)
def test_io_maps_static_recipes_and_drops_what_it_makes_equal(
    io: Io | None, expected: tuple[str, ...]
) -> None:
    assert with_io(("float16", "int8", "int8_float_io", "int16x8"), io) == expected


def test_io_knows_two_kinds() -> None:
    with pytest.raises(UsageError) as caught:
        with_io(("int8",), "uint8")  # type: ignore[arg-type]
    assert caught.value.message == 'no inputs and outputs "uint8"'
    assert caught.value.remedy == "choose from: int8, float"


def test_calibration_takes_the_minimum_and_maximum_over_all_samples(digits: Path) -> None:
    """Not litert-quantizer's default, a moving average: the ranges of all samples contain each one's."""
    model = digits.read_bytes()
    together = calibrate(model, samples(6), signature="serving_default", threads=1).ranges
    alone = [calibrate(model, [one], signature="serving_default", threads=1).ranges for one in samples(6)]
    assert together.keys() == alone[0].keys()
    for tensor, limits in together.items():
        np.testing.assert_array_equal(limits["min"], np.min([one[tensor]["min"] for one in alone], axis=0))
        np.testing.assert_array_equal(limits["max"], np.max([one[tensor]["max"] for one in alone], axis=0))


def test_the_profiler_sees_the_ranges_that_keeping_all_tensors_of_one_batch_gives(digits: Path) -> None:
    from litert_quantizer.quantizer import Quantizer
    from litert_quantizer.recipe import static_wi8_ai8

    model, rows = digits.read_bytes(), samples(6)
    batch = {"image": np.concatenate([row["image"] for row in rows])}
    expected = Quantizer(model, static_wi8_ai8()).calibrate({"serving_default": [batch]}, num_threads=1)
    found = calibrate(model, rows, signature="serving_default", threads=1).ranges
    assert found.keys() == expected.keys()
    for tensor, limits in expected.items():
        np.testing.assert_allclose(found[tensor]["min"].ravel(), limits["min"].ravel(), atol=1e-5)
        np.testing.assert_allclose(found[tensor]["max"].ravel(), limits["max"].ravel(), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "float32"])
def test_a_recipe_quantizes_as_it_says(name: str, digits: Path) -> None:
    model = digits.read_bytes()
    calibration = calibrate(model, samples(4), signature="serving_default", threads=1)
    quantized = load_recipe(name)(model, calibration if needs_calibration(name) else None)
    assert list(proof.unquantized(name, read_graph_bytes(quantized, digits))) == []
    assert len(quantized) < len(model) * (0.6 if name == "float16" else 0.45)


def test_int8_has_integer_borders_with_a_scale_and_int8_float_io_has_not(digits: Path) -> None:
    model = digits.read_bytes()
    calibration = calibrate(model, samples(4), signature="serving_default", threads=1)
    integer = read_graph_bytes(int8(model, calibration), digits)
    floating = read_graph_bytes(int8_float_io(model, calibration), digits)
    image = integer.input_tensors["image"]
    assert (image.dtype, len(image.scale), len(image.zero_point)) == ("int8", 1, 1)
    assert image.scale[0] == pytest.approx(1 / 255, rel=0.01)  # the samples span 0..1
    assert integer.output_tensors["digit"].dtype == "int8"
    assert floating.input_tensors["image"].dtype == floating.output_tensors["digit"].dtype == "float32"


def test_a_recipe_leaves_the_calibration_as_it_was(digits: Path) -> None:
    """litert-quantizer writes the fixed range of a softmax into the ranges that it is given."""
    model = digits.read_bytes()
    rows = [{"image": np.zeros((1, 8, 8, 1), np.float32)}, *samples(2)]
    calibration = calibrate(model, rows, signature="serving_default", threads=1)
    before = {name: float(limits["max"].max()) for name, limits in calibration.ranges.items()}
    int8(model, calibration)
    assert {name: float(limits["max"].max()) for name, limits in calibration.ranges.items()} == before


def test_int16x8_float_io_is_int16_between_float_borders(digits: Path) -> None:
    model = digits.read_bytes()
    calibration = calibrate(model, samples(4), signature="serving_default", threads=1)
    graph = read_graph_bytes(load_recipe("int16x8_float_io")(model, calibration), digits)
    assert graph.input_tensors["image"].dtype == graph.output_tensors["digit"].dtype == "float32"
    inner = [op for op in graph.ops if op.name == "CONV_2D"]
    assert {graph.main.tensors[op.outputs[0]].dtype for op in inner} == {"int16"}


def test_dynamic_dense_says_which_version_it_needs_and_has_one_scale_where_asked(digits: Path) -> None:
    """12 is the first that takes a scale per channel with float activations (op_version.cc)."""
    found = []
    for variant in (Variant(), Variant(per_tensor_dense=True)):
        graph = read_graph_bytes(dynamic_int8(digits.read_bytes(), None, variant=variant), digits)
        (dense,) = [op for op in graph.ops if op.name == "FULLY_CONNECTED"]
        found.append((dense.version, len(graph.main.tensors[dense.inputs[1]].scale)))
        (conv, *_) = [op for op in graph.ops if op.name == "CONV_2D"]
        assert len(graph.main.tensors[conv.inputs[1]].scale) > 1
    assert found == [(12, 10), (1, 1)]


def test_a_model_without_signature_gets_one_by_its_tensor_names(without_signature: Path) -> None:
    model = with_signature(without_signature.read_bytes())
    (row,) = samples(1)
    outputs = Predictor(model, threads=1).predict({"serving_default_image:0": row["image"]})
    assert {name: values.shape for name, values in outputs.items()} == {"StatefulPartitionedCall:0": (1, 10)}


def test_an_output_that_feeds_another_op_is_int8_by_name_and_by_position(shared_output: Path) -> None:
    model = shared_output.read_bytes()
    rows = [{"x": np.random.default_rng(i).normal(size=(1, 16)).astype(np.float32)} for i in range(4)]
    calibration = calibrate(model, rows, signature="serving_default", threads=1)
    graph = read_graph_bytes(int8(model, calibration), shared_output)
    by_name = graph.signatures[0].outputs
    assert [by_name["hidden"], by_name["y"]] == list(graph.main.outputs)
    assert graph.output_tensors["hidden"].dtype == "int8"
