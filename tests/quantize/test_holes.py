"""fill_holes: the weights that litert-quantizer leaves float."""

from pathlib import Path

import numpy as np
import pytest

from devicekit.graph.read import read_graph, read_graph_bytes
from devicekit.quantize import proof
from devicekit.quantize.fidelity import compare
from devicekit.quantize.holes import fill_holes
from devicekit.quantize.predictor import Predictor
from devicekit.quantize.recipes import load_recipe

LSTM = Path(__file__).parent.parent / "data" / "tflite" / "lstm.tflite"
WEIGHT_RECIPES = ["float16", "dynamic_int8", "weight_int8", "weight_int4"]
# What the proof says of the file: there is no int4 GATHER and no int4 LSTM, weight_int4 gives int8.
PROOF = {"weight_int4": ["no weight became int4: "]}


def outputs(model: bytes, name: str, values: list[np.ndarray]) -> dict[str, np.ndarray]:
    predictor = Predictor(model, threads=1)
    found = [predictor.predict({name: value}) for value in values]
    return {key: np.concatenate([one[key] for one in found]) for key in found[0]}


def proven(recipe: str, model: bytes, path: Path) -> list[str]:
    return [finding.detail for finding in proof.unquantized(recipe, read_graph_bytes(model, path))]


@pytest.mark.parametrize("recipe", WEIGHT_RECIPES)
def test_an_embedding_table_is_stored_small_and_keeps_its_meaning(recipe: str, embedding: Path) -> None:
    model = embedding.read_bytes()
    quantized = load_recipe(recipe)(model, None)
    assert len(quantized) < len(model) * (0.55 if recipe == "float16" else 0.31)
    assert proven(recipe, quantized, embedding) == [f"{words}GATHER ×2" for words in PROOF.get(recipe, [])]
    tokens = [np.random.default_rng(i).integers(0, 500, (1, 8), np.int32) for i in range(8)]
    wanted, found = outputs(model, "tokens", tokens), outputs(quantized, "tokens", tokens)
    assert compare(wanted, found).snr_db > 20
    assert read_graph_bytes(quantized, embedding).output_tensors["y"].dtype == "float32"


@pytest.mark.parametrize("recipe", WEIGHT_RECIPES)
def test_the_weights_of_a_fused_lstm_are_stored_small_and_keep_their_meaning(recipe: str) -> None:
    model = LSTM.read_bytes()
    quantized = load_recipe(recipe)(model, None)
    op = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    assert proven(recipe, quantized, LSTM) == [f"{words}{op}" for words in PROOF.get(recipe, [])]
    series = [np.random.default_rng(i).normal(size=(1, 7, 3)).astype(np.float32) for i in range(8)]
    score = compare(outputs(model, "series", series), outputs(quantized, "series", series))
    assert score.cosine > 0.98


def test_a_model_without_holes_stays_as_it_is(digits: Path) -> None:
    model = digits.read_bytes()
    assert fill_holes(model, "dynamic_int8") is model


def test_a_small_table_is_filled_too_so_that_the_file_is_what_its_recipe_says() -> None:
    path = LSTM.parent / "embedding.tflite"
    assert read_graph(path).main.tensors[1].data_bytes < 4096
    filled = load_recipe("weight_int8")(path.read_bytes(), None)
    assert list(proof.unquantized("weight_int8", read_graph_bytes(filled, path))) == []
