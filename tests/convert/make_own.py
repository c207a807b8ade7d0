"""Writes models with code of their own, by one Keras per run: `make_own.py keras|tf_keras FOLDER`."""

import importlib
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

keras = importlib.import_module(sys.argv[1])
layers, folder = keras.layers, Path(sys.argv[2])
registered = keras.saving.register_keras_serializable("lab")


@registered
class Scale(layers.Layer):
    def __init__(self, factor, **rest):
        super().__init__(**rest)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Bare(layers.Layer):
    """Its get_config leaves out what __init__ needs."""

    def __init__(self, factor, **rest):
        super().__init__(**rest)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return super().get_config()


@registered
class Tens(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None, **_):
        import tensorflow as tf

        return 10 * tf.ones(shape, dtype or "float32")

    def get_config(self):
        return {}


@registered
def bent(x):
    return keras.activations.relu(x) * 0.5 + x


@registered
def miss(wanted, given):
    return (wanted - given) ** 2


class Sub(keras.Model):
    def __init__(self, units=3, **rest):
        super().__init__(**rest)
        self.units = units
        self.dense = layers.Dense(units)

    def call(self, image):
        return self.dense(image)

    def get_config(self):
        return {"units": self.units}


def save(name, model, *formats):
    for suffix in formats or (".h5", ".keras"):
        model.save(folder / f"{name}{suffix}")


x = layers.Input((4,), name="x")
hidden = layers.Dense(3, activation=bent, kernel_initializer=Tens(), name="hidden")(x)
own = keras.Model(x, layers.Dense(2)(Scale(3.0, name="triple")(hidden)))
own.compile("adam", loss=miss)
save("own", own)
save("bare", keras.Sequential([layers.Input((4,)), Bare(5, name="five")]))
inner = keras.Sequential(
    [layers.Input((4,)), layers.Lambda(lambda t: t * 2, name="inner-scale")], name="inner"
)
x = layers.Input((4,), name="x")
save("nested_lambda", keras.Model(x, layers.Dense(2)(inner(x))))
sub = Sub(name="sub")
sub(keras.backend.zeros((2, 4)) if sys.argv[1] == "tf_keras" else keras.ops.zeros((2, 4)))
save("sub", sub, *([".keras"] if sys.argv[1] == "tf_keras" else []))
image, steps = layers.Input((None, None, 3), name="image"), layers.Input((None, 5), name="steps")
pooled = [layers.GlobalAveragePooling2D()(image), layers.GlobalAveragePooling1D()(steps)]
save("open", keras.Model([image, steps], layers.Concatenate()(pooled)))

if sys.argv[1] == "keras":
    x = layers.Input((8, 8, 3), name="x")
    y = keras.ops.tanh(layers.Conv2D(4, 3, name="c")(x))[:, 1:] * 2.0 + 3.0
    y = keras.ops.concatenate([keras.ops.average(y, axis=1), keras.ops.max(y, axis=1)], axis=-1)
    y = layers.Attention()([y, y])
    y = layers.MultiHeadAttention(2, 4)(y, value=y) + y
    save("operations", keras.Model(x, layers.LayerNormalization()(y)))
    import tensorflow as tf

    lent = layers.Lambda(lambda t: tf.nn.l2_normalize(t, -1), name="unit")
    save("uses_tf", keras.Sequential([layers.Input((4,)), lent, layers.Dense(2)]))
