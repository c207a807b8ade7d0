"""A model whose layers wait for each other is told before anything is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devicekit.convert.container import format_of, read_header
from devicekit.convert.wiring import find_cycle
from devicekit.errors import LoadError


def keras_2(name: str, *calls: list[list[Any]]) -> dict[str, Any]:
    """Returns a layer that is called on tensors [layer, call, output], once per list of them."""
    nodes = [[[*tensor, {}] for tensor in call] for call in calls]
    return {"class_name": "Dense", "name": name, "config": {"name": name}, "inbound_nodes": nodes}


def keras_3(name: str, *calls: list[list[Any]]) -> dict[str, Any]:
    nodes = [{"args": [_tensor(*tensor) for tensor in call], "kwargs": {}} for call in calls]
    return {"class_name": "Dense", "name": name, "config": {"name": name}, "inbound_nodes": nodes}


def _tensor(*history: Any) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "keras_history": [*history]}}


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "m", "layers": [*layers]}}


BOTH = pytest.mark.parametrize("layer", [keras_2, keras_3])


@BOTH
def test_layers_that_wait_for_each_other_are_a_cycle(layer: Callable[..., dict[str, Any]]) -> None:
    layers = [layer("x"), layer("before", [["x", 0, 0]]), layer("behind", [["b", 0, 0]])]
    waiting = [
        layer("a", [["before", 0, 0], ["b", 0, 0]]),
        layer("b", [["c", 0, 0]]),
        layer("c", [["a", 0, 0]]),
    ]
    inner = {**layer("inner", [["x", 0, 0]]), **model(*layers, *waiting)}
    assert find_cycle(model(layer("x"), inner)) == ("b", "c", "a")
    assert find_cycle(model(layer("x"), layer("self", [["self", 0, 0]]))) == ("self",)


@BOTH
def test_a_layer_that_is_called_on_what_it_gave_is_none(layer: Callable[..., dict[str, Any]]) -> None:
    shared = layer("shared", [["x", 0, 0]], [["between", 0, 0]])
    assert find_cycle(model(shared, layer("between", [["shared", 0, 0]]), layer("x"))) == ()
    # A model's own layers are its first call: in the model around it, Keras 2 counts on from there.
    counted = layer("between", [["shared", 1, 0]])
    inner = {**shared, **model(layer("inside"))}
    assert find_cycle(model(inner, counted, layer("last", [["shared", 2, 0]]), layer("x"))) == ()


@BOTH
def test_a_second_call_that_waits_for_itself_is_a_cycle(layer: Callable[..., dict[str, Any]]) -> None:
    twice = layer("twice", [["x", 0, 0]], [["twice", 1, 0]])
    assert find_cycle(model(layer("x"), twice)) == ("twice",)


@pytest.mark.parametrize("config", [None, {}, {"layers": [None, 1, {"name": "a"}]}, {"layers": "many"}])
def test_what_is_no_functional_model_has_none(config: Any) -> None:
    assert find_cycle(config) == ()


def test_an_h5_of_a_cycle_is_refused_at_once(h5: Callable[..., Path]) -> None:
    path = h5(model(keras_2("x"), keras_2("a", [["b", 0, 0]]), keras_2("b", [["a", 0, 0]])))
    with pytest.raises(LoadError) as caught:
        read_header(path, format_of(path), trusted=False)
    assert caught.value.message == (
        f"{path}: its layers wait for their own outputs (a ← b ← a); expected layers that follow each other"
    )
    assert (
        caught.value.remedy == "save it again from the code that builds it: model.save() writes no such cycle"
    )
