"""Writes small models that no file in tests/data has. Run once per test session: `make_models.py FOLDER`."""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import tensorflow as tf
import tf_keras

folder = Path(sys.argv[1])
k2, k3 = tf_keras.layers, keras.layers

# Two inputs in an order that is not the alphabet's, with names that are no identifiers; two outputs.
left, right = k2.Input((4,), name="right-hand"), k2.Input((3,), name="left/hand")
outputs = [k2.Dense(2, name="sum")(k2.Concatenate()([left, right])), k2.Dense(5, name="own")(left)]
tf_keras.Model([left, right], outputs).save(folder / "two_inputs.h5")

square = k2.Input((9, 9))
tf_keras.Model(square, tf.linalg.inv(square)).save(folder / "inverse.h5")

half = k2.Conv2D(4, 3, dtype="mixed_float16")
tf_keras.Sequential([k2.Input((8, 8, 3)), half, k2.Flatten()]).save(folder / "half.h5")

feature = k2.Input((4,))
noise = tf.random.normal(tf.shape(feature)[:1])[:, None]
tf_keras.Model(feature, k2.Dense(2)(feature) + noise).save(folder / "random.h5")
mean = k2.Dense(2, name="mean")(feature)
drawn = k2.Activation("linear", name="drawn")(mean + noise)
tf_keras.Model(feature, {"mean": mean, "drawn": drawn}).save(folder / "half_random.h5")

text = keras.Sequential([k3.Input((1,), dtype="string", name="text"), k3.StringLookup(vocabulary=["a", "b"])])
text.save(folder / "text.keras")

tf_keras.Sequential([k2.Input(batch_shape=(8, 5, 3)), k2.LSTM(4, stateful=True)]).save(folder / "stateful.h5")

tf_keras.Sequential([k2.Input((None, None, 3), name="photo"), k2.Conv2D(4, 3)]).save(folder / "free_size.h5")

tf_keras.Sequential([k2.Input((4,)), k2.Dense(2)]).save_weights(folder / "weights.h5")
tf_keras.Sequential([k2.Input((4,)), k2.Dense(2)]).save(folder / "legacy.keras")

modern = keras.Sequential([k3.Input((4,), name="features"), k3.Dense(8, activation="relu"), k3.Dense(2)])
modern.save(folder / "modern.h5")
modern.save_weights(folder / "modern.weights.h5")
modern.export(folder / "modern", verbose=False)


@keras.saving.register_keras_serializable("lab")
class Twice(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


keras.Sequential([k3.Input((4,)), Twice(), k3.Dense(2)]).save(folder / "twice.keras")
keras.Sequential([k3.Input((4,)), k3.Lambda(lambda x: 2 * x)]).save(folder / "lambda.keras")

# Code that shows that it ran: it writes the file that $MARKER names.
scope = {}
exec("mark = lambda x: (open(__import__('os').environ['MARKER'], 'w').close(), x * 2)[1]", scope)
os.environ["MARKER"] = os.devnull
keras.Sequential([k3.Input((4,)), k3.Lambda(scope["mark"], name="mark")]).save(folder / "marks.keras")
inner = keras.Sequential([k3.Input((4,)), k3.Lambda(scope["mark"], name="inner-mark")], name="inner")
outer = k3.Input((4,), name="x")
keras.Model(outer, k3.Dense(2)(inner(outer))).save(folder / "nested_marks.keras")


class Python(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def __call__(self, x):
        return {"y": tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), (1, 4))}


class SummaryWriter(tf.saved_model.experimental.TrackableResource):
    """Makes a directory for its events as soon as a model that holds it is loaded."""

    def _create_resource(self):
        return tf.raw_ops.SummaryWriter(shared_name="writer", container="")

    def _initialize(self):
        tf.raw_ops.CreateSummaryFileWriter(
            writer=self.resource_handle,
            logdir=str(folder / "summary_ran"),
            max_queue=1,
            flush_millis=1,
            filename_suffix="",
        )


class Writing(tf.Module):
    def __init__(self):
        self.writer = SummaryWriter()

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def __call__(self, x):
        with tf.control_dependencies([self.writer.resource_handle]):
            return {"y": x + 1}


writing = Writing()
tf.saved_model.save(writing, str(folder / "summary"), signatures=writing.__call__)


class Table(tf.Module):
    def __init__(self):
        values = tf.lookup.KeyValueTensorInitializer(
            tf.range(3, dtype=tf.int64), tf.range(10, 13, dtype=tf.int64)
        )
        self.table = tf.lookup.StaticHashTable(values, -1)

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def __call__(self, x):
        return {"y": tf.cast(self.table.lookup(tf.constant([0, 1, 2, 5], tf.int64)), tf.float32) + x}


table = Table()
tf.saved_model.save(table, str(folder / "table"), signatures=table.__call__)

flip = tf_keras.Sequential([k2.Input((8, 8, 3)), k2.RandomFlip(), k2.Conv2D(2, 3)])
flip.save(folder / "flip", save_format="tf")
words = tf_keras.Sequential(
    [k2.Input((1,), dtype="string", name="text"), k2.StringLookup(vocabulary=["a", "b"])]
)
words.save(folder / "words", save_format="tf")
recurrent = tf_keras.Sequential([k2.Input((5, 3)), k2.LSTM(2), k2.Dropout(0.5)])
recurrent.save(folder / "recurrent", save_format="tf")


class Spectrum(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 16), tf.float32)])
    def __call__(self, x):
        return {"spectrum": tf.signal.rfft(x)}


spectrum = Spectrum()
tf.saved_model.save(spectrum, str(folder / "spectrum"), signatures=spectrum.__call__)

module = Python()
tf.saved_model.save(module, str(folder / "python"), signatures=module.__call__)
tf.saved_model.save(tf.Module(), str(folder / "no_signature"))


class Two(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32, name="x")])
    def double(self, x):
        return {"y": 2 * x}

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32, name="x")])
    def triple(self, x):
        return {"y": 3 * x}


two = Two()
tf.saved_model.save(two, folder / "two_signatures", {"double": two.double, "triple": two.triple})

# Models whose first steps tell what they take: as layers, as ops, inside another one, as a mean and a spread.
photo = (8, 8, 3)


def ending(layers, start):
    return layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, padding="same")(start)))


image = k2.Input(photo, name="image")
tf_keras.Model(image, ending(k2, k2.Rescaling(1 / 255)(image))).save(folder / "told_rescaling.h5")
tf_keras.Model(image, ending(k2, image / 127.5 - 1)).save(folder / "told_ops.h5")
eight_bits = k3.Input(photo, name="image")
scaled = keras.Sequential([k3.Input(photo), k3.Rescaling(1 / 127.5, offset=-1)], name="scaled")
keras.Model(eight_bits, ending(k3, scaled(eight_bits))).save(folder / "told_nested.keras")
keras.Model(eight_bits, ending(k3, k3.Rescaling(1 / 255)(eight_bits))).export(
    folder / "told_saved", verbose=False
)
for kit, kit_layers, name in ((tf_keras, k2, "told_spread.h5"), (keras, k3, "told_spread.keras")):
    table = kit_layers.Input((2,), name="row")
    adapted = kit_layers.Normalization(mean=[40.0, 50000.0], variance=[100.0, 4e8])
    kit.Model(table, kit_layers.Dense(2)(adapted(table))).save(folder / name)
