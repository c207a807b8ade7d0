"""Number formats, activations, norms and unusual operators."""

from tests.zoo import custom


def small_cnn(keras, layers):
    image = layers.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu")(image)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3)(x))
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))
    x = layers.Dense(4, name="scores")(x)
    return keras.Model(image, layers.Activation("softmax", dtype="float32", name="classes")(x))


def small_lstm(keras, layers):
    series = layers.Input((8, 4), name="series")
    x = layers.LayerNormalization()(layers.LSTM(8, return_sequences=True)(series))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(series, layers.Dense(3, dtype="float32", name="y")(x))


def _with_policy(policy, build, keras):
    keras.mixed_precision.set_global_policy(policy)
    try:
        return build(keras, keras.layers)
    finally:
        keras.mixed_precision.set_global_policy("float32")


def mixed_float16(keras, layers):
    return _with_policy("mixed_float16", small_cnn, keras)


def mixed_bfloat16(keras, layers):
    return _with_policy("mixed_bfloat16", small_cnn, keras)


def float16_lstm(keras, layers):
    return _with_policy("mixed_float16", small_lstm, keras)


def float64(keras, layers):
    keras.backend.set_floatx("float64")
    try:
        columns = layers.Input((8,), name="columns")
        x = layers.Dense(12, activation="relu")(columns)
        x = layers.LayerNormalization()(layers.Dense(6, activation="tanh")(x))
        return keras.Model(columns, layers.Dense(2, name="y")(x))
    finally:
        keras.backend.set_floatx("float32")


def activations(keras, layers):
    """Every activation that Keras names, side by side."""
    features = layers.Input((8,), name="features")
    names = ("elu", "selu", "softplus", "softsign", "swish", "mish", "gelu", "hard_sigmoid", "exponential")
    x = layers.Dense(8)(features)
    x = layers.Concatenate()([layers.Activation(name)(layers.Dense(4)(x)) for name in names])
    return keras.Model(features, layers.Dense(3, name="y")(layers.LeakyReLU()(x)))


def gelu_erf(keras, layers):
    features = layers.Input((8,), name="features")
    x = layers.Dense(12, activation=custom.exact_gelu)(features)
    return keras.Model(features, layers.Dense(3, name="y")(layers.Activation("gelu")(x)))


def norms(keras, layers):
    image = layers.Input((8, 8, 4), name="image")
    x = layers.GroupNormalization(2)(layers.Conv2D(8, 3)(image))
    x = layers.LayerNormalization(axis=[1, 2, 3])(layers.ReLU()(x))
    x = layers.UnitNormalization()(layers.Conv2D(6, 1)(x))
    return keras.Model(image, layers.Dense(3, name="y")(layers.Flatten()(x)))


def spectral_norm(keras, layers):
    image = layers.Input((8, 8, 3), name="image")
    x = layers.SpectralNormalization(layers.Conv2D(6, 3, activation="relu"))(image)
    return keras.Model(image, layers.Dense(3, name="y")(layers.Flatten()(x)))


def matrix_inverse(keras, layers):
    features = layers.Input((16,), name="features")
    return keras.Model(features, layers.Dense(3, name="y")(custom.Inverse(name="inverse")(features)))


def suppression(keras, layers):
    """A detector that ends in non-maximum suppression."""
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(image)
    boxes = layers.Reshape((16, 4), name="boxes")(layers.Conv2D(4, 1, activation="sigmoid")(x))
    scores = layers.Reshape((16, 2), name="scores")(layers.Conv2D(2, 1, activation="sigmoid")(x))
    return keras.Model(image, custom.Detections(name="detections")([boxes, scores]))


def odd_operators(keras, layers):
    features = layers.Input((8,), name="features")
    x = custom.OddOperators(name="odd")(layers.Dense(8, activation="sigmoid")(features))
    return keras.Model(features, layers.Dense(3, name="y")(x))


def top_k(keras, layers):
    features = layers.Input((8,), name="features")
    return keras.Model(features, custom.Best(name="best")(layers.Dense(8)(features)))


def einsum(keras, layers):
    series = layers.Input((6, 8), name="series")
    return keras.Model(series, layers.Dense(2, name="y")(custom.Einsum(name="bilinear")(series)))
