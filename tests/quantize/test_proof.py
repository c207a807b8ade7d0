"""proof: what counts as quantized, by the dtypes of every constant."""

from pathlib import Path

import pytest

from devicekit.finding import Finding
from devicekit.graph.read import read_graph_bytes
from devicekit.quantize import proof
from devicekit.quantize.recipes import load_recipe

WEIGHT_RECIPES = ["float16", "dynamic_int8", "weight_int8", "weight_int4"]


@pytest.mark.parametrize("recipe", WEIGHT_RECIPES)
def test_a_large_float_constant_of_any_op_is_no_quantized_model(recipe: str, multiplier: Path) -> None:
    model = load_recipe(recipe)(multiplier.read_bytes(), None)
    assert len(model) > 256 * 256 * 4
    assert list(proof.unquantized(recipe, read_graph_bytes(model, multiplier))) == [
        Finding(
            "quantized",
            "100% of the weights stay float32: MUL",
            "use float32, or a recipe that can",
            op="MUL",
        )
    ]


@pytest.mark.parametrize("recipe", WEIGHT_RECIPES)
def test_a_small_float_constant_is_a_note_and_a_bias_is_none(recipe: str, scaled_dense: Path) -> None:
    graph = read_graph_bytes(load_recipe(recipe)(scaled_dense.read_bytes(), None), scaled_dense)
    assert list(proof.unquantized(recipe, graph)) == []
    assert list(proof.float_parts(recipe, graph)) == ["6% of the weights stay float32: MUL"]


@pytest.mark.parametrize("recipe", WEIGHT_RECIPES)
def test_a_window_that_outweighs_a_tiny_network_is_a_note(recipe: str, windowed: Path) -> None:
    graph = read_graph_bytes(load_recipe(recipe)(windowed.read_bytes(), None), windowed)
    assert list(proof.unquantized(recipe, graph)) == []
    assert list(proof.float_parts(recipe, graph)) == ["67% of the weights stay float32: MUL"]


@pytest.mark.parametrize("recipe", ["float16", "dynamic_int8", "weight_int8"])
def test_a_table_too_small_to_quantize_is_no_reason_to_refuse_a_recipe(
    recipe: str, small_table: Path
) -> None:
    graph = read_graph_bytes(load_recipe(recipe)(small_table.read_bytes(), None), small_table)
    assert list(proof.unquantized(recipe, graph)) == []


def test_a_table_that_two_ops_share_weighs_once(embedding: Path) -> None:
    graph = read_graph_bytes(embedding.read_bytes(), embedding)
    (finding,) = proof.unquantized("weight_int8", graph)
    assert finding.detail == "100% of the weights stay float32: GATHER ×2"
    assert proof._elements(proof._weights(graph)) == 500 * 32


def test_weight_int4_without_an_int4_weight_is_a_finding() -> None:
    path = Path(__file__).parent.parent / "data" / "tflite" / "lstm.tflite"
    model = load_recipe("weight_int4")(path.read_bytes(), None)
    (finding,) = proof.unquantized("weight_int4", read_graph_bytes(model, path))
    assert finding.detail == "no weight became int4: UNIDIRECTIONAL_SEQUENCE_LSTM"
    assert finding.remedy == "use weight_int8"
