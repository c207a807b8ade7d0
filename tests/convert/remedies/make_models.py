"""Writes small models that need remedies, with inputs and the outputs of Keras: `make_models.py FOLDER`.

Each NAME.keras or NAME.h5 has a NAME.npz beside it: arrays "x" (4 samples) and "y".
"""

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
random = np.random.default_rng(11)
keras.utils.set_random_seed(11)


def save(model, name, *, integers=None):
    """Saves a model with its outputs for random floats, or for integers of a list."""
    shape = (4, *model.inputs[0].shape[1:])
    x = random.choice(integers, shape) if integers else random.uniform(0, 1, shape)
    x = x.astype(str(getattr(model.inputs[0].dtype, "name", model.inputs[0].dtype)))
    y = np.asarray(tf.cast(model(x, training=False), tf.float32))
    assert y.std() > 1e-4, f"{name}: its outputs hardly depend on anything"
    model.save(folder / name)
    np.savez((folder / name).with_suffix(".npz"), x=x, y=y)


def sequential(keras, shape, *layers, dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype, name="x"), *layers])


save(sequential(keras, (7, 3), k3.LSTM(5, return_sequences=True), k3.LSTM(4, name="top")), "lstm.keras")
save(sequential(keras, (7, 3), k3.Bidirectional(k3.LSTM(4), name="both")), "bilstm.keras")
save(sequential(keras, (7, 3), k3.GRU(5, name="gru")), "gru.keras")
save(sequential(tf_keras, (7, 3), k2.GRU(5, name="gru")), "gru2.h5")
save(sequential(keras, (40, 3), k3.GRU(5)), "long_gru.keras")
embedding = k3.Embedding(20, 4, mask_zero=True)
save(
    sequential(keras, (6,), embedding, k3.LSTM(5, name="masked"), dtype="int32"),
    "masked.keras",
    integers=[0, 1, 5, 19],
)
x = k2.Input((5, 3), name="x")
state = k2.Dense(4, activation="tanh")(k2.Flatten()(x))
save(tf_keras.Model(x, k2.LSTM(4, name="decoder")(x, initial_state=[state, state])), "state.h5")

# LSTMs, which LiteRT fuses into an op that keeps its state from one inference to the next.
save(sequential(tf_keras, (7, 3), k2.LSTM(5, return_sequences=True), k2.LSTM(4, name="top")), "lstm2.h5")
long = (41, 3)  # 41 leaves a step over, whatever a turn of the loop takes; 70 does not
save(sequential(keras, long, k3.LSTM(5, return_sequences=True), k3.LSTM(4, name="top")), "long_lstm.keras")
save(
    sequential(
        tf_keras,
        long,
        k2.LSTM(5, name="lstm", return_sequences=True, go_backwards=True),
        k2.LSTM(4, name="top"),
    ),
    "long_lstm2.h5",
)
masked = [k3.Embedding(20, 4, mask_zero=True), k3.LSTM(5, name="masked", return_sequences=True)]
save(
    sequential(keras, (70,), *masked, k3.LSTM(4, name="top"), dtype="int32"),
    "long_masked.keras",
    integers=[0, 1, 5, 19],
)
odd = k2.LSTM(5, name="odd", activation="relu", recurrent_activation="hard_sigmoid", use_bias=False)
save(sequential(tf_keras, (7, 3), odd), "odd_lstm.h5")
save(sequential(tf_keras, (20, 3), k2.LSTM(5, return_sequences=True)), "sequence_lstm.h5")
save(sequential(tf_keras, (200, 3), k2.LSTM(32, return_sequences=False)), "wide_lstm.h5")
folded = k2.TimeDistributed(k2.LSTM(4), name="folded")  # its steps are the LSTM's batch
save(sequential(tf_keras, (3, 40, 3), folded), "folded_lstm.h5")
saved = sequential(tf_keras, (7, 3), k2.LSTM(5, return_sequences=True), k2.LSTM(4))
save(saved, "lstm_saved")

half = {"dtype": "mixed_float16"}
save(
    sequential(keras, (8, 8, 3), k3.Conv2D(4, 3, **half), k3.BatchNormalization(**half), k3.Flatten()),
    "half.keras",
)
save(sequential(tf_keras, (6,), k2.Dense(5, dtype="float64"), dtype="float64"), "double.h5")
save(sequential(keras, (40, 3), k3.LSTM(5, name="lstm", **half)), "half_lstm.keras")
keras.utils.set_random_seed(7)  # weights that make 18 steps of rounding out of plain pixels
save(sequential(keras, (40, 3), k3.LSTM(5, name="lstm", **half)), "sensitive_half_lstm.keras")
save(sequential(keras, (40, 3), k3.LSTM(5, name="lstm", dtype="mixed_bfloat16")), "bfloat_lstm.keras")

bicubic = k3.Resizing(9, 4, interpolation="bicubic", name="bigger")
save(sequential(keras, (6, 5, 3), bicubic, k3.Conv2D(2, 3)), "bicubic.keras")
antialiased = k3.Resizing(3, 4, interpolation="bilinear", antialias=True)
save(sequential(keras, (9, 8, 2), antialiased, k3.Conv2D(2, 2)), "antialiased.keras")
save(sequential(tf_keras, (6, 6, 3), k2.Resizing(3, 3, interpolation="area"), k2.Conv2D(2, 2)), "area.h5")
pooled = k2.MaxPooling3D((2, 2, 1), padding="same", name="pool")
save(sequential(tf_keras, (5, 6, 7, 2), k2.Conv3D(3, 2), pooled, k2.Flatten(), k2.Dense(3)), "pool3d.h5")

averaged = k3.AveragePooling3D((2, 3, 2), padding="same", name="pool")
save(sequential(keras, (5, 6, 7, 2), averaged, k3.Flatten(), k3.Dense(3)), "average3d.keras")

near = k3.IntegerLookup(vocabulary=[3, 5, 9, 12], name="ids")
save(
    sequential(keras, (4,), near, k3.Embedding(6, 3), dtype="int64"),
    "lookup.keras",
    integers=[3, 5, 9, 12, 4, -7],
)
far = k2.IntegerLookup(vocabulary=[3, 5_000_000, 12], name="ids")
save(
    sequential(tf_keras, (4,), far, k2.Embedding(6, 3), dtype="int64"),
    "far_lookup.h5",
    integers=[3, 5_000_000, 12, 4],
)

x = k2.Input((8, 8, 3), name="x")
flipped = k2.RandomFlip(name="flip")(x, training=True)
conv = k2.Conv2D(2, 3)
tf_keras.Model(x, conv(flipped)).save(folder / "augmented.h5")
image = random.uniform(0, 1, (4, 8, 8, 3)).astype(np.float32)
np.savez(folder / "augmented.npz", x=image, y=np.asarray(conv(image)))

kept = k2.Input(batch_shape=(1, 5, 3), name="x")
remembering = tf_keras.Model(kept, k2.GRU(4, stateful=True, name="gru")(kept))
series, results = random.uniform(0, 1, (4, 5, 3)).astype(np.float32), []
for sample in series:
    remembering.reset_states()
    results.append(np.asarray(remembering(sample[None])))
remembering.save(folder / "stateful.h5")
np.savez(folder / "stateful.npz", x=series, y=np.concatenate(results))

for module, layers, name, steps in (
    (tf_keras, k2, "stateful_lstm.h5", 6),
    (keras, k3, "stateful_lstm.keras", 40),
):
    kept = layers.Input(batch_shape=(1, steps, 3), name="x")
    hidden = layers.GRU(5, stateful=True, return_sequences=True, name="gru")(kept)
    remembering = module.Model(kept, layers.LSTM(4, stateful=True, name="lstm")(hidden))
    series = random.uniform(-1, 1, (6, steps, 3)).astype(np.float32)
    results = [np.asarray(remembering(sample[None])) for sample in series]  # one sequence
    for layer in remembering.layers[1:]:
        (layer.reset_states if module is tf_keras else layer.reset_state)()
    remembering.save(folder / name)
    np.savez((folder / name).with_suffix(f".{name.split('.')[1]}.npz"), x=series, y=np.concatenate(results))

# With a batch of 1, Keras 3.15 takes the second operand for a bias, and adds it along the last axis.
x = k3.Input((4, 6), name="x")
summed = keras.Model(x, k3.Add(name="sum")([k3.Dense(4)(x), k3.Dense(1)(x)]))
save(summed, "broadcast_sum.keras")

long = sequential(keras, (40, 3), k3.LSTM(5, activation="relu"))
long.export(folder / "long_rnn", verbose=False)
sequence = random.uniform(0, 1, (4, 40, 3)).astype(np.float32)
np.savez(folder / "long_rnn.npz", x=sequence, y=np.asarray(long(sequence)))


@keras.saving.register_keras_serializable("lab")
class Inverse(keras.layers.Layer):
    def call(self, inputs):
        return tf.linalg.inv(inputs) + tf.linalg.det(inputs)[:, None, None]


@keras.saving.register_keras_serializable("lab")
class Centred(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs - keras.ops.mean(inputs, axis=0, keepdims=True)


sequential(keras, (4,), k3.Dense(3), Centred(name="centred")).save(folder / "mixing.keras")

sequential(keras, (9, 9), Inverse(name="inverse"), k3.Flatten(), k3.Dense(3)).save(folder / "inverse.keras")
