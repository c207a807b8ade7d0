"""Writes the models of tests/bad and their data: `python -m tests.bad.build FOLDER`. Imports TensorFlow.

Hidden layers are random, what reads them is fitted by least squares: outputs vary as a trained model's do,
and it takes no training.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np

DIGITS = Path(__file__).parent.parent / "data" / "digits.npz"
SIZE, HIDDEN, SAMPLES, EVALUATED = 16, 48, 100, 200
Make = Callable[[Any, np.random.Generator], tuple[Any, dict[str, Any]]]
MODELS: dict[str, Make] = {}


def model(make: Make) -> Make:
    MODELS[make.__name__] = make
    return make


def _data(values: Any, name: str = "x") -> dict[str, Any]:
    return {name: values[:SAMPLES].astype("float32"), f"{name}_eval": values[SAMPLES:].astype("float32")}


def _body(keras: Any, rng: np.random.Generator, targets: int) -> tuple[Any, Any, Any]:
    """Returns an input, a layer of `targets` numbers that spread by about 1 around 0, and samples of it."""
    values = rng.normal(size=(SAMPLES + EVALUATED, SIZE)).astype("float32")
    source = keras.Input((SIZE,), name="x")
    hidden = keras.layers.Dense(HIDDEN, activation="relu")(source)
    raw = keras.layers.Dense(targets)(hidden)
    inner = keras.Model(source, raw)
    kernel, bias = inner.layers[-1].get_weights()
    outputs = inner.predict(values, verbose=0)
    inner.layers[-1].set_weights([kernel / outputs.std(0), (bias - outputs.mean(0)) / outputs.std(0)])
    return source, raw, values


def _boxes(keras: Any, raw: Any) -> tuple[Any, Any]:
    """Returns boxes in pixels of the first four numbers, scores in 0..1 of the others."""
    pixels = keras.layers.Rescaling(320.0)(keras.ops.sigmoid(raw[..., :4]))
    return pixels, keras.ops.sigmoid(raw[..., 4:] - 1)


@model
def boxes_then_scores(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    source, raw, values = _body(keras, rng, 7)
    pred = keras.layers.Concatenate(name="pred")(_boxes(keras, raw))
    return keras.Model(source, pred), _data(values)


@model
def scores_then_boxes_by_anchor(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    source, raw, values = _body(keras, rng, 70)
    pixels, scores = _boxes(keras, keras.layers.Reshape((10, 7))(raw))
    pred = keras.layers.Concatenate(name="pred")([scores, pixels])
    return keras.Model(source, pred), _data(values)


@model
def channels_before_anchors(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    source, raw, values = _body(keras, rng, 70)
    joined = keras.layers.Concatenate()(_boxes(keras, keras.layers.Reshape((10, 7))(raw)))
    return keras.Model(source, keras.layers.Permute((2, 1), name="pred")(joined)), _data(values)


@model
def kelvin_and_humidity(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    source, raw, values = _body(keras, rng, 2)
    kelvin = keras.layers.Rescaling(0.3, offset=293.0)(raw[:, :1])
    weather = keras.layers.Concatenate(name="weather")([kelvin, keras.ops.sigmoid(raw[:, 1:])])
    return keras.Model(source, weather), _data(values)


@model
def kelvin(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    source, raw, values = _body(keras, rng, 1)
    return keras.Model(source, keras.layers.Rescaling(3.0, offset=293.0, name="kelvin")(raw)), _data(values)


@model
def three_temperatures(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    source, raw, values = _body(keras, rng, 3)
    return keras.Model(source, keras.layers.Rescaling(0.4, offset=36.8, name="body")(raw)), _data(values)


@model
def many_classes(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    source, raw, values = _body(keras, rng, 1000)
    return keras.Model(source, keras.layers.Softmax(name="classes")(raw)), _data(values)


@model
def rescaling_inside(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """Takes 0..255, and is given 0..1."""
    source = keras.Input((16, 16, 3), name="x")
    hidden = keras.layers.Rescaling(1 / 255, name="scale")(source)
    hidden = keras.layers.Conv2D(8, 3, activation="swish")(hidden)
    out = keras.layers.Dense(4, name="logits")(keras.layers.GlobalAveragePooling2D()(hidden))
    values = rng.integers(0, 256, (SAMPLES + EVALUATED, 16, 16, 3)) * rng.uniform(0.1, 1, (300, 1, 1, 3))
    return keras.Model(source, out), _data(values / 255)


@model
def float_indices(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    source = keras.Input((12,), name="x", dtype="float32")
    rows = keras.layers.Embedding(1000, 8)(keras.ops.cast(source, "int32"))
    out = keras.layers.Dense(4, name="logits")(keras.layers.GlobalAveragePooling1D()(rows))
    return keras.Model(source, out), _data(rng.integers(0, 1000, (SAMPLES + EVALUATED, 12)))


@model
def indices_of_two_inputs(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """Joins two inputs of float indices before it looks them up."""
    sources = [keras.Input((6,), name=name, dtype="float32") for name in ("a", "b")]
    joined = keras.ops.cast(keras.layers.Concatenate()(sources), "int32")
    rows = keras.layers.Embedding(200, 8)(joined)
    out = keras.layers.Dense(4, name="logits")(keras.layers.GlobalAveragePooling1D()(rows))
    values = rng.integers(0, 200, (SAMPLES + EVALUATED, 12))
    return keras.Model(sources, out), {**_data(values[:, :6], "a"), **_data(values[:, 6:], "b")}


@model
def dead(keras: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """Gives the same for all that it is given: its data is far below where it begins to tell."""
    source, raw, values = _body(keras, rng, 4)
    hidden = keras.ops.relu(raw - 50)
    return keras.Model(source, keras.layers.Dense(3, name="logits")(hidden)), _data(values)


def digits(kind: str) -> dict[str, Any]:
    """Returns data of the trained digits that is wrong: "bytes" or "labels"."""
    with np.load(DIGITS) as file:
        data = {key: file[key] for key in file.files}
    if kind == "bytes":
        return {**data, "x_eval": data["x_eval"] * 255}
    return {**data, "y": np.random.default_rng(0).permutation(data["y"])}


def main(folder: Path) -> None:
    import keras

    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(7)
    for name, make in MODELS.items():
        made, data = make(keras, rng)
        made.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", **data)
    for kind in ("bytes", "labels"):
        np.savez(folder / f"digits_{kind}.npz", **digits(kind))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
