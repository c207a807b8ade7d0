"""Makes the tiny .tflite files of tests/data/tflite, with TensorFlow: our own graphs, seeded random weights.

    .venv/bin/python tools/make_test_models.py

Run it only to add a model: the files are committed, and another TensorFlow writes other bytes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "tflite"

layers = tf_keras.layers
BIASED = {"bias_initializer": "random_normal"}  # zeros would be shared between layers, or left out


def cnn(batch: int | None = 1) -> tf_keras.Model:
    """Returns a residual CNN: convolutions of every kind that mobile networks use, softmax at the end."""
    image = layers.Input((12, 12, 3), batch_size=batch, name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem", **BIASED)(image)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="depthwise", **BIASED)(x)
    y = layers.Conv2D(8, 1, name="pointwise", **BIASED)(y)
    x = layers.Add(name="residual")([x, y])
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    return tf_keras.Model(image, layers.Dense(5, activation="softmax", name="scores", **BIASED)(x))


def embedding() -> tf_keras.Model:
    words = layers.Input((6,), batch_size=1, dtype=tf.int32, name="words")
    x = layers.Embedding(40, 4, name="table")(words)
    x = layers.GlobalAveragePooling1D()(x)
    return tf_keras.Model(words, layers.Dense(2, name="scores", **BIASED)(x))


def lstm() -> tf_keras.Model:
    series = layers.Input((7, 3), batch_size=1, name="series")
    return tf_keras.Model(series, layers.Dense(2)(layers.LSTM(4, name="memory")(series)))


def rnns() -> dict[str, tf_keras.Model]:
    """Returns RNNs that become fused LSTMs, that are unrolled, and one that becomes a loop (WHILE)."""

    def model(*stack: tf_keras.layers.Layer) -> tf_keras.Model:
        return tf_keras.Sequential(
            [layers.Input((5, 4), batch_size=1, name="series"), *stack, layers.Dense(3)]
        )

    return {
        "lstm_stacked": model(layers.LSTM(6, return_sequences=True), layers.LSTM(5)),
        "lstm_bidirectional": model(layers.Bidirectional(layers.LSTM(6))),
        "lstm_unrolled": model(layers.LSTM(6, unroll=True)),
        "gru_unrolled": model(layers.GRU(6, unroll=True)),
        "rnn_unrolled": model(layers.SimpleRNN(6, unroll=True)),
        "gru_loop": model(layers.GRU(6)),
    }


def inverse() -> tf.Module:
    """Returns a module that needs an operator TensorFlow Lite does not have: MatrixInverse."""
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": tf.linalg.inv(x)}, [tf.TensorSpec([1, 3, 3], name="x")])
    return module


def branch() -> tf.Module:
    """Returns a module of two dense layers with a tf.cond between them, which becomes an IF."""
    rng = np.random.default_rng(0)
    before, within, behind = (
        tf.constant(rng.normal(size=size), tf.float32) for size in ((8, 8), (8, 8), (8, 4))
    )

    def call(x: tf.Tensor) -> dict[str, tf.Tensor]:
        hidden = tf.nn.relu(x @ before)
        chosen = tf.cond(tf.reduce_sum(x) > 4, lambda: tf.tanh(hidden @ within), lambda: hidden * 2)
        return {"y": chosen @ behind}

    module = tf.Module()
    module.call = tf.function(call, [tf.TensorSpec([1, 8], name="x")])
    return module


def convert(
    model: tf.Module, settle: Callable[[tf.lite.TFLiteConverter], None] = lambda converter: None
) -> bytes:
    if isinstance(model, tf_keras.Model):
        specs = [tf.TensorSpec(i.shape, i.dtype, i.name) for i in model.inputs]
        function = tf.function(lambda x: {"y": model(x)}, specs)
    else:
        function = model.call
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], model)
    settle(converter)
    return converter.convert()


def int8(converter: tf.lite.TFLiteConverter) -> None:
    def samples() -> Iterator[list[np.ndarray]]:
        for _ in range(8):
            yield [np.random.default_rng(0).random((1, 12, 12, 3), np.float32)]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8


def flex(converter: tf.lite.TFLiteConverter) -> None:
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]


class Until(tf.Module):
    """Goes on until a step is small: the condition of its loop reads a float that the loop carries."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.random.default_rng(3).normal(0, 0.3, (8, 8)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec((1, 8), name="x")])
    def call(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        def body(turn: tf.Tensor, state: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, ...]:
            new = 0.5 * tf.tanh(state @ self.kernel) + 0.5 * x
            return turn + 1, new, tf.reduce_max(tf.abs(new - state), axis=1)

        def is_going(turn: tf.Tensor, state: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
            return tf.logical_and(turn < 60, step[0] > 0.05)

        return {"y": tf.while_loop(is_going, body, (0, x, tf.abs(x[:, 0]) + 1.0))[1]}


class Sum(tf.Module):
    """Adds up what it has been given so far: a resource variable is written in every inference."""

    def __init__(self) -> None:
        super().__init__()
        self.total = tf.Variable(tf.zeros((1, 4)))

    @tf.function(input_signature=[tf.TensorSpec((1, 4), name="x")])
    def call(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": self.total.assign(self.total + x).read_value()}


def until() -> bytes:
    module = Until()
    function = module.call.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([function], module).convert()


def remembering() -> bytes:
    module = Sum()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    converter.experimental_enable_resource_variables = True
    return converter.convert()


def custom(converter: tf.lite.TFLiteConverter) -> None:
    converter.allow_custom_ops = True


def main() -> None:
    tf.keras.utils.set_random_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    small = cnn()
    models = {
        "cnn_float32": convert(small),
        "cnn_int8": convert(small, int8),
        "cnn_dynamic_batch": convert(cnn(batch=None)),
        "embedding": convert(embedding()),
        "lstm": convert(lstm()),
        "remembering": remembering(),
        "loop_until": until(),
        "flex": convert(inverse(), flex),
        "custom": convert(inverse(), custom),
        "branch": convert(branch()),
        **{name: convert(model) for name, model in rnns().items()},
    }
    for name, content in models.items():
        (OUT / f"{name}.tflite").write_bytes(content)
        print(f"{name}.tflite  {len(content)} bytes")


if __name__ == "__main__":
    main()
