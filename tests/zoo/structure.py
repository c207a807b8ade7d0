"""How a model is put together: inputs and outputs, nesting, sharing, classes, control flow."""

from tests.zoo import custom


def multi_input_output(keras, layers):
    image, meta = layers.Input((8, 8, 3), name="image"), layers.Input((4,), name="meta-data")
    x = layers.Flatten()(layers.Conv2D(6, 3, strides=2, activation="relu")(image))
    x = layers.Concatenate()([x, layers.Dense(6)(meta)])
    outputs = [layers.Dense(3, activation="softmax", name="kind")(x), layers.Dense(1, name="age")(x)]
    return keras.Model([image, meta], outputs)


def dict_input_output(keras, layers):
    inputs = {"right": layers.Input((4,), name="right"), "left": layers.Input((6,), name="left")}
    x = layers.Concatenate()([layers.Dense(5)(inputs["right"]), layers.Dense(3)(inputs["left"])])
    return keras.Model(inputs, {"sum": layers.Dense(2, name="sum")(x), "own": layers.Dense(3, name="own")(x)})


def nested(keras, layers):
    block = keras.Sequential(
        [layers.Input((8,)), layers.Dense(8, activation="relu"), layers.BatchNormalization()], name="block"
    )
    inner_input = layers.Input((8,))
    inner = keras.Model(
        inner_input, layers.Add()([inner_input, layers.Dense(8)(block(inner_input))]), name="inner"
    )
    features = layers.Input((8,), name="features")
    return keras.Model(features, layers.Dense(3, name="y")(inner(features)))


def shared(keras, layers):
    """One dense layer used three times."""
    features = layers.Input((8,), name="features")
    dense = layers.Dense(8, activation="tanh")
    return keras.Model(features, layers.Dense(3, name="y")(dense(dense(dense(features)))))


def siamese(keras, layers):
    left, right = layers.Input((8, 8, 1), name="left"), layers.Input((8, 8, 1), name="right")
    tower = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(8),
            layers.UnitNormalization(),
        ]
    )
    difference = layers.Subtract()([tower(left), tower(right)])
    return keras.Model([left, right], layers.Dense(2, name="same")(difference))


def subclassed(keras, layers):
    """A class of its own, without a graph; an .h5 cannot hold one."""
    model = custom.Subclassed()
    model(keras.ops.zeros((1, 8)))
    return model


def subclassed_block(keras, layers):
    features = layers.Input((8,), name="features")
    return keras.Model(features, layers.Dense(3, name="y")(custom.Gate(8, name="block")(features)))


def custom_layer(keras, layers):
    features = layers.Input((8,), name="features")
    x = custom.Scale(name="scale")(layers.Dense(8)(features))
    return keras.Model(features, layers.Dense(3, name="y")(x))


def custom_activation(keras, layers):
    features = layers.Input((8,), name="features")
    x = layers.Dense(12, activation=custom.softsign_squared)(features)
    return keras.Model(features, layers.Dense(3, name="y")(x))


def lambda_layer(keras, layers):
    features = layers.Input((8,), name="features")
    x = layers.Lambda(lambda t: t * t + 0.5 * t, name="parabola", output_shape=(8,))(features)
    return keras.Model(features, layers.Dense(3, name="y")(x))


def operators(keras, layers):
    """Functions on symbolic tensors, without layers around them."""
    import tensorflow as tf

    ops = getattr(keras, "ops", tf)
    features = layers.Input((8,), name="features")
    x = ops.abs(features - 0.5) * 2.0 + ops.exp(-features)
    x = ops.transpose(ops.reshape(x, (-1, 2, 4)), (0, 2, 1))[:, 1:, :]
    return keras.Model(features, layers.Dense(3, name="y")(layers.Flatten()(ops.square(x))))


def while_loop(keras, layers):
    features = layers.Input((8,), name="features")
    x = custom.Doubling(name="doubling")(layers.Dense(6)(features))
    return keras.Model(features, layers.Dense(3, name="y")(x))


def condition(keras, layers):
    features = layers.Input((8,), name="features")
    x = custom.Branches(name="branches")(features)
    return keras.Model(features, layers.Dense(3, name="y")(x))


def variational(keras, layers):
    features = layers.Input((8,), name="features")
    x = layers.Dense(12, activation="relu")(features)
    mean, spread = layers.Dense(3, name="mean")(x), layers.Dense(3, name="log_variance")(x)
    drawn = layers.Dense(8, name="drawn")(custom.Sampling(name="sampling")([mean, spread]))
    return keras.Model(features, [mean, drawn])


def dueling(keras, layers):
    """A dueling value network of reinforcement learning."""
    import tensorflow as tf

    mean = keras.ops.mean if hasattr(keras, "ops") else tf.reduce_mean
    state = layers.Input((8,), name="state")
    x = layers.Dense(16, activation="relu")(state)
    value, advantage = layers.Dense(1)(x), layers.Dense(4)(x)
    relative = layers.Subtract()([advantage, mean(advantage, axis=1, keepdims=True)])
    return keras.Model(state, layers.Add(name="values")([value, relative]))


def new_axis(keras, layers):
    """A new axis by indexing, then a sum with a repeated vector."""
    features = layers.Input((8,), name="features")
    column = layers.Dense(4)(features)[..., None]
    x = layers.Add(name="sum")([layers.RepeatVector(4)(layers.Dense(1)(features)), column])
    return keras.Model(features, layers.Flatten(name="y")(x))


def broadcast_sum(keras, layers):
    """[batch, 4, 4] + [batch, 4, 1]: at batch 1, Keras 3 takes the second for a bias of the last axis."""
    series = layers.Input((4, 6), name="series")
    x = layers.Add(name="sum")([layers.Dense(4)(series), layers.Dense(1)(series)])
    return keras.Model(series, layers.Dense(3, name="y")(layers.Flatten()(x)))


def experts(keras, layers):
    """A mixture of experts, weighted by a softmax gate."""
    features = layers.Input((8,), name="features")
    outputs = [layers.Reshape((1, 4))(layers.Dense(4, activation="relu")(features)) for _ in range(3)]
    gate = layers.Reshape((3, 1))(layers.Dense(3, activation="softmax")(features))
    x = layers.Multiply()([layers.Concatenate(axis=1)(outputs), gate])
    return keras.Model(features, layers.Dense(2, name="y")(layers.Flatten()(x)))


def high_rank(keras, layers):
    image = layers.Input((4, 4, 12), name="image")
    x = custom.HighRank(name="shuffle")(layers.Conv2D(48, 1)(image))
    return keras.Model(image, layers.Conv2D(2, 3, name="map")(x))


def py_function(keras, layers):
    features = layers.Input((8,), name="features")
    return keras.Model(features, layers.Dense(3, name="y")(custom.Pythonic(name="python")(features)))
