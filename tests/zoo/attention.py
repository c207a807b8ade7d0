"""Attention: from one dot product to small transformers."""

from tests.zoo import custom


def dot_attention(keras, layers):
    query, value = layers.Input((6, 8), name="query"), layers.Input((10, 8), name="value")
    x = layers.GlobalAveragePooling1D()(layers.Attention(use_scale=True)([query, value]))
    return keras.Model([query, value], layers.Dense(3, name="y")(x))


def additive_attention(keras, layers):
    query, value = layers.Input((6, 8), name="query"), layers.Input((10, 8), name="value")
    x = layers.Concatenate()([query, layers.AdditiveAttention()([query, value])])
    return keras.Model([query, value], layers.Dense(3, name="y")(layers.GlobalMaxPooling1D()(x)))


def _block(layers, x, *, causal=False, activation="gelu"):
    width = int(x.shape[-1])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, width // 2)(y, y, use_causal_mask=causal)])
    y = layers.Dense(2 * width, activation=activation)(layers.LayerNormalization(epsilon=1e-6)(x))
    return layers.Add()([x, layers.Dropout(0.1)(layers.Dense(width)(y))])


def transformer_encoder(keras, layers):
    words = layers.Input((12,), dtype="int32", name="words")
    x = custom.Positions()(layers.Embedding(50, 16)(words))
    x = _block(layers, _block(layers, x))
    return keras.Model(words, layers.Dense(3, name="classes")(layers.GlobalAveragePooling1D()(x)))


def transformer_decoder(keras, layers):
    words = layers.Input((12,), dtype="int32", name="words")
    memory = layers.Input((8, 16), name="memory")
    x = _block(layers, custom.Positions()(layers.Embedding(50, 16)(words)), causal=True)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, memory)])
    return keras.Model([words, memory], layers.Dense(20, activation="softmax", name="next")(x))


def vit(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 4, strides=4)(image))
    x = custom.Positions()(custom.ClassToken()(x))
    x = layers.LayerNormalization()(_block(layers, _block(layers, x)))
    return keras.Model(image, layers.Dense(4, name="classes")(x[:, 0]))


def mixer(keras, layers):
    """An MLP mixer: dense layers over patches, then over channels."""
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Reshape((16, 12))(layers.Conv2D(12, 4, strides=4)(image))
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    y = layers.Dense(16)(layers.Dense(24, activation="gelu")(y))
    x = layers.Add()([x, layers.Permute((2, 1))(y)])
    y = layers.Dense(12)(layers.Dense(24, activation="gelu")(layers.LayerNormalization()(x)))
    x = layers.GlobalAveragePooling1D()(layers.Add()([x, y]))
    return keras.Model(image, layers.Dense(4, name="classes")(x))


def conformer(keras, layers):
    """Attention and depthwise convolution over time, as in speech recognition."""
    frames = layers.Input((16, 12), name="frames")
    x = _block(layers, layers.Dense(16)(frames), activation="swish")
    y = layers.Conv1D(32, 1)(layers.LayerNormalization()(x))
    y = layers.Multiply()([y[..., :16], layers.Activation("sigmoid")(y[..., 16:])])
    y = layers.DepthwiseConv1D(5, padding="same")(y)
    y = layers.Activation("swish")(layers.BatchNormalization()(y))
    return keras.Model(frames, layers.Dense(5, name="letters")(layers.Add()([x, y])))


def channel_and_space(keras, layers):
    """Attention over channels, then over places of an image (CBAM)."""
    image = layers.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    shared = keras.Sequential([layers.Input((8,)), layers.Dense(4, activation="relu"), layers.Dense(8)])
    pooled = [shared(pool()(x)) for pool in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)]
    gate = layers.Activation("sigmoid")(layers.Add()(pooled))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(gate)])
    place = layers.Conv2D(1, 7, padding="same", activation="sigmoid")(x)
    x = layers.GlobalAveragePooling2D()(layers.Multiply()([x, place]))
    return keras.Model(image, layers.Dense(4, name="classes")(x))


def llama(keras, layers):
    """A language model's block as they are today: RMS norm and a gated feed-forward layer."""
    words = layers.Input((10,), dtype="int32", name="words")
    x = layers.Embedding(40, 16)(words)
    y = custom.RootMeanSquareNorm()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 4, use_bias=False)(y, y, use_causal_mask=True)])
    y = custom.RootMeanSquareNorm()(x)
    y = layers.Multiply()([layers.Dense(24, activation="swish")(y), layers.Dense(24)(y)])
    x = layers.Add()([x, layers.Dense(16)(y)])
    return keras.Model(words, layers.Dense(40, name="next")(x))


def grouped_query_attention(keras, layers):
    """Keras 3 alone has the layer."""
    series = layers.Input((8, 16), name="series")
    x = layers.GroupQueryAttention(8, 4, 2)(series, series)
    return keras.Model(series, layers.Dense(3, name="y")(layers.RMSNormalization()(x)))
