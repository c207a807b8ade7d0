"""Writes small models at the edges of what a model is: `make_odd_models.py FOLDER`."""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

folder = Path(sys.argv[1])
k2, k3 = tf_keras.layers, keras.layers

flat = keras.Sequential([keras.Input((4, 3), name="x"), k3.Rescaling(1 / 255), k3.Flatten(name="flat")])
flat.save(folder / "flat.keras")
np.savez(folder / "flat.npz", x=np.random.default_rng(3).uniform(0, 255, (64, 4, 3)).astype(np.float32))


class Ends(tf.Module):
    """Inputs of rank 0 and 1, and an unused one; outputs: an input, one tensor twice, a number."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((), tf.float32, name="gain"),
            tf.TensorSpec((1,), tf.float32, name="bias"),
            tf.TensorSpec((None, 2), tf.float32, name="spare"),
            tf.TensorSpec((None, 4), tf.float32, name="x"),
        ]
    )
    def __call__(self, gain, bias, spare, x):
        y = gain * x + bias
        return {"same": x, "left": y, "right": y, "total": tf.reduce_sum(y)}


ends = Ends()
tf.saved_model.save(ends, str(folder / "ends"), signatures=ends.__call__)


class Wave(tf.Module):
    """Takes a waveform of any length, without a batch."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="wave")])
    def __call__(self, wave):
        return {"level": tf.reduce_mean(wave * wave), "peak": tf.reduce_max(tf.abs(wave), keepdims=True)}


wave = Wave()
tf.saved_model.save(wave, str(folder / "wave"), signatures=wave.__call__)

series, image = keras.Input((None, 3), name="series"), keras.Input((None, None, 2), name="image")
joined = k3.Concatenate()([k3.Conv1D(4, 3)(series)[:, -1], k3.GlobalAveragePooling2D()(image)])
open_model = keras.Model([series, image], k3.Dense(2, name="y")(joined))
open_model.save(folder / "open.keras")
open_model.export(folder / "open", verbose=False)

square = k2.Input((3, 3), name="square")
tf_keras.Model(square, k2.Dense(2, name="y")(k2.Flatten()(tf.linalg.inv(square)))).save(folder / "inverse.h5")

for kit, name in ((tf_keras, "first.h5"), (keras, "first.keras")):
    photo = kit.layers.Input((3, 12, 10), name="photo")
    features = kit.layers.Conv2D(4, 3, data_format="channels_first")(photo)
    kit.Model(photo, kit.layers.Flatten()(features)).save(folder / name)

feature = keras.Input((4,), name="feature")
heads = {"score": k3.Dense(1, name="z")(feature), "class": k3.Dense(3, name="a")(feature)}
keras.Model(feature, heads).save(folder / "heads.keras")


def exported(name, shape, function):
    """Saves a function of x, of the shape, as a SavedModel."""
    module = tf.Module()
    x = tf.TensorSpec(shape, tf.float32, name="x")
    signature = tf.function(function).get_concrete_function(*([x] if shape is not None else []))
    tf.saved_model.save(module, str(folder / name), signatures=signature)


def checked(x):
    tf.debugging.assert_less(x, 0.25)
    return {"y": 2 * x}


# An inverse that Flex would compute, of what has none: NaN whatever is fed.
exported("undefined", (1, 3, 3), lambda x: {"y": tf.linalg.inv(tf.eye(3) + x * 0) * tf.math.log(0 * x - 1)})
exported("checked", (None, 4), checked)
exported("given_nothing", None, lambda: {"y": tf.ones((1, 4))})
