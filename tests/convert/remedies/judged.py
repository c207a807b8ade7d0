"""Remedies that are equal, and remedies that are not, on two small models: `judged.py RESULT.json`.

The result is, for each remedy of TABLE applied alone, its `rewrites` (name, difference) and `notes`, and
`moved`: how far the model itself is afterwards from what it was.
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from devicekit.convert.inside.load import Loaded
from devicekit.convert.inside.lower import trace
from devicekit.convert.remedies.apply import rewritten
from devicekit.convert.remedies.remedy import Remedy


def on_relu(make):
    """A remedy with `make(relu(x))` in place of relu(x)."""
    return Remedy(
        "on_relu", "test", rules={"Relu": lambda op, inputs, emitter: [make(tf.nn.relu(inputs[0]))]}
    )


def on_dense(make):
    """A remedy with `make(dense(x))` in place of the first layer."""

    def call_for(layer, own):
        return (lambda inputs: make(own.call(inputs))) if layer.name == "first" else None

    return Remedy("on_dense", "test", layer_call=call_for)


def fail(values):
    raise ValueError("no such thing")


same = on_relu(lambda y: y)
near = on_relu(lambda y: y * (1 + 2e-5))
apart = on_relu(lambda y: y * 1.001)
apart_at_zeros = on_relu(lambda y: tf.where(tf.reduce_all(y == 1.0), y + 0.01, y))  # its bias alone
not_finite = on_relu(lambda y: tf.where(y > 1.0, np.nan, y))
other_shape = on_relu(lambda y: tf.concat([y, y], axis=0))
failing = on_relu(fail)
# For log_of_spread: in the last bit of its values, and in much more.
last_bit = on_relu(lambda y: y * (1 + 1.2e-7 * tf.constant([1.0, -1.0, 1.0, -1.0])))
apart_in_log = on_relu(lambda y: y * 1.01)
# As if the model computed in float16: within its rounding, and beyond what a step of the inputs changes.
step_apart = replace(on_relu(lambda y: y * 1.01), step=2.0**-10)
steps_apart = replace(on_relu(lambda y: y * 1.05), step=2.0**-10)
same_layer = on_dense(lambda y: y + 0.0)
apart_layer = on_dense(lambda y: y * 1.01)

TABLE = (
    *("same", "near", "apart", "apart_at_zeros", "not_finite", "other_shape", "failing"),
    *("last_bit", "apart_in_log", "same_layer", "apart_layer", "step_apart", "steps_apart"),
)


def log_of_spread(x):
    """Takes the logarithm of rounding where inputs are equal, like a log-mel spectrogram of a constant."""
    y = tf.nn.relu(x)
    return tf.math.log(tf.abs(y - tf.reduce_mean(y)) + 1e-9)


def named_y(compute):
    return lambda x: {"y": compute(x)}


def main() -> None:
    layers = keras.layers
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="first", bias_initializer="ones"), layers.ReLU(name="last")]
    )
    sample = tf.ones((1, 4))
    wanted = model(sample).numpy()
    results = {}
    for name in TABLE:
        loaded = Loaded(
            path=Path("model.keras"),
            call=named_y(log_of_spread if name in ("last_bit", "apart_in_log") else model),
            inputs=(tf.TensorSpec((1, 4), name="x"),),
            holds=model,
            parameters=None,
            layers=tuple(model.layers),
        )
        done = rewritten(loaded, trace(loaded), trace, table={name: f"__main__:{name}"})
        results[name] = {
            "rewrites": [(one.remedy, one.difference) for one in done.rewrites],
            "notes": done.notes,
            "moved": float(np.abs(model(sample).numpy() - wanted).max()),
        }
        for layer in model.layers:  # an applied remedy stays in the layers
            layer.__dict__.pop("call", None)
    Path(sys.argv[1]).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
