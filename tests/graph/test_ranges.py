"""Random inputs: of the right shape and dtype, and within what the model takes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devicekit.errors import UsageError
from devicekit.graph.model import Graph, Op, Subgraph, Tensor
from devicekit.graph.ranges import input_range, random_inputs, random_range
from devicekit.graph.read import read_graph

DATA = Path(__file__).parent.parent / "data" / "tflite"


def graph_of(tensor: Tensor, *ops: Op, others: tuple[Tensor, ...] = ()) -> Graph:
    subgraph = Subgraph("main", (tensor, *others), ops, (0,), ())
    return Graph(Path("m.tflite"), 0, "", (subgraph,), (), None, "")


def an_input(dtype: str, shape: tuple[int, ...] = (1, 4), **more: Any) -> Tensor:
    return Tensor(0, "x", dtype, shape, more.pop("signature", shape), **more)


def test_float_inputs_are_drawn_from_0_to_1() -> None:
    inputs = random_inputs(read_graph(DATA / "cnn_float32.tflite"), 20, seed=0)
    image = inputs["image"]
    assert (image.shape, image.dtype) == ((20, 12, 12, 3), np.float32)
    assert 0 <= image.min() < 0.01 and 0.99 < image.max() <= 1


def test_equal_seeds_give_equal_inputs() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    first, second, other = (random_inputs(graph, 2, seed)["image"] for seed in (3, 3, 4))
    assert np.array_equal(first, second) and not np.array_equal(first, other)


def test_int8_inputs_cover_the_raw_values_of_0_to_1() -> None:
    graph = read_graph(DATA / "cnn_int8.tflite")
    image = random_inputs(graph, 20, seed=0)["image"]
    assert image.dtype == np.int8
    assert (image.min(), image.max()) == (-128, 127)
    narrow = graph_of(an_input("uint8", scale=(0.1,), zero_point=(20,)))
    assert random_range(narrow, "x") == (20, 30)
    assert input_range(narrow, "x") == (0, 255), "other values are valid, if unusual"


def test_indices_stay_within_the_table_that_they_are_looked_up_in() -> None:
    graph = read_graph(DATA / "embedding.tflite")
    assert input_range(graph, "words") == (0, 39)
    words = random_inputs(graph, 200, seed=0)["words"]
    assert (words.shape, words.dtype) == ((200, 6), np.int32)
    assert (words.min(), words.max()) == (0, 39)


def test_a_lookup_behind_cast_and_reshape_still_bounds_the_input() -> None:
    cast = Op(0, "CAST", 1, (0,), (1,))
    reshape = Op(1, "RESHAPE", 1, (1, 2), (3,))
    lookup = Op(2, "EMBEDDING_LOOKUP", 1, (3, 4), (5,))
    others = [Tensor(i, f"t{i}", "int32", (4,), (4,)) for i in range(1, 6)]
    others[3] = replace(others[3], dtype="float32", shape=(7, 2), shape_signature=(7, 2))
    graph = graph_of(an_input("int64"), cast, reshape, lookup, others=tuple(others))
    assert input_range(graph, "x") == random_range(graph, "x") == (0, 6)


def test_a_lookup_behind_keras_3_wrapping_of_negative_indices_still_bounds_the_input() -> None:
    less = Op(0, "LESS", 1, (0, 1), (2,))
    add = Op(1, "ADD", 1, (0, 1), (3,))
    select = Op(2, "SELECT", 1, (2, 3, 0), (4,))
    lookup = Op(3, "GATHER", 1, (5, 4), (6,))
    others = [Tensor(i, f"t{i}", "int32", (4,), (4,)) for i in range(1, 7)]
    others[4] = replace(others[4], dtype="float32", shape=(500, 16), shape_signature=(500, 16))
    graph = graph_of(an_input("int32"), less, add, select, lookup, others=tuple(others))
    assert input_range(graph, "x") == (0, 499)


def test_free_integers_are_drawn_small_and_valid_over_their_dtype() -> None:
    graph = graph_of(an_input("int32"))
    assert random_range(graph, "x") == (0, 9)
    assert input_range(graph, "x") == (-(2**31), 2**31 - 1)
    assert set(random_inputs(graph, 100, seed=0)["x"].ravel()) == set(range(10))


def test_bools_are_both() -> None:
    drawn = random_inputs(graph_of(an_input("bool")), 20, seed=0)["x"]
    assert drawn.dtype == np.bool_ and drawn.any() and not drawn.all()


def test_open_dimensions_are_1_and_the_first_axis_counts_samples() -> None:
    graph = graph_of(an_input("float32", (1, 1, 1, 3), signature=(-1, -1, -1, 3)))
    assert random_inputs(graph, 5, seed=0)["x"].shape == (5, 1, 1, 3)


def test_strings_cannot_be_drawn() -> None:
    with pytest.raises(UsageError) as caught:
        random_inputs(graph_of(an_input("string")), 1, seed=0)
    assert caught.value.message == 'm.tflite: input "x" is string, which cannot be drawn at random'
    assert caught.value.remedy == "give real samples with --data"


def test_inputs_that_would_fill_the_memory_are_refused() -> None:
    with pytest.raises(UsageError, match=r"would take 4\.0 GiB"):
        random_inputs(graph_of(an_input("float32", (1, 2**30))), 1, seed=0)
