"""Convolutional networks: images, volumes, and signals."""


def mlp(keras, layers):
    return keras.Sequential(
        [
            layers.Input((16,), name="features"),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(16, activation="tanh"),
            layers.Dense(4, activation="softmax", name="classes"),
        ]
    )


def cnn(keras, layers):
    return keras.Sequential(
        [
            layers.Input((16, 16, 3), name="image"),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, activation="relu"),
            layers.SpatialDropout2D(0.1),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(5, activation="softmax", name="classes"),
        ]
    )


def mobilenet_v1(keras, layers):
    image = x = layers.Input((16, 16, 3), name="image")
    for width, stride in ((8, 2), (16, 2)):
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.Conv2D(width, 1, use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Reshape((4,), name="scores")(layers.Conv2D(4, 1)(x))
    return keras.Model(image, layers.Softmax(name="classes")(x))


def _inverted_residual(layers, x, width, activation):
    y = layers.Conv2D(3 * int(x.shape[-1]), 1, use_bias=False)(x)
    y = layers.Activation(activation)(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
    y = layers.Activation(activation)(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(width, 1, use_bias=False)(y))
    return layers.Add()([x, y]) if int(x.shape[-1]) == width else y


def _squeeze_excite(layers, x, activation="sigmoid"):
    width = int(x.shape[-1])
    gate = layers.Reshape((1, 1, width))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv2D(max(width // 4, 2), 1, activation="relu")(gate)
    return layers.Multiply()([x, layers.Conv2D(width, 1, activation=activation)(gate)])


def mobilenet_v2(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(image)
    for width in (8, 8, 12):
        x = _inverted_residual(layers, x, width, "relu6")
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="classes")(x))


def mobilenet_v3(keras, layers):
    def hard_swish(x):
        y = layers.Rescaling(1 / 6)(layers.ReLU(6.0)(layers.Rescaling(1.0, offset=3.0)(x)))
        return layers.Multiply()([x, y])

    image = layers.Input((16, 16, 3), name="image")
    x = hard_swish(layers.Conv2D(8, 3, strides=2, padding="same")(image))
    y = hard_swish(layers.BatchNormalization()(layers.Conv2D(24, 1, use_bias=False)(x)))
    y = layers.DepthwiseConv2D(5, padding="same")(y)
    y = layers.Conv2D(8, 1)(_squeeze_excite(layers, hard_swish(y), "hard_sigmoid"))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    return keras.Model(image, layers.Dense(4, name="classes")(x))


def efficientnet(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="swish")(image)
    for width in (8, 12):
        x = _squeeze_excite(layers, _inverted_residual(layers, x, width, "swish"))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="classes")(x))


def resnet(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    x = layers.ZeroPadding2D(1)(image)
    x = layers.MaxPooling2D(2)(layers.Conv2D(8, 3, activation="relu")(x))
    for width, stride in ((8, 1), (16, 2)):
        y = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same", use_bias=False)(y))
        if stride > 1:
            x = layers.BatchNormalization()(layers.Conv2D(width, 1, strides=stride)(x))
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="classes")(x))


def densenet(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same")(image)
    for _ in range(3):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same")(y)])
    x = layers.AveragePooling2D(2)(layers.Conv2D(10, 1)(x))
    return keras.Model(image, layers.Dense(4, name="classes")(layers.GlobalMaxPooling2D()(x)))


def inception(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    branches = [layers.Conv2D(4, size, padding="same", activation="relu")(image) for size in (1, 3, 5)]
    pooled = layers.MaxPooling2D(3, strides=1, padding="same")(image)
    x = layers.Concatenate()([*branches, layers.Conv2D(4, (1, 7), padding="same")(pooled)])
    x = layers.Average()([x, layers.Maximum()([x, layers.Minimum()([x, layers.Subtract()([x, x])])])])
    return keras.Model(image, layers.Dense(4, name="classes")(layers.GlobalAveragePooling2D()(x)))


def squeeze_excite(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(image)
    x = _squeeze_excite(layers, layers.SeparableConv2D(16, 3, padding="same", activation="relu")(x))
    return keras.Model(image, layers.Dense(4, name="classes")(layers.GlobalAveragePooling2D()(x)))


def unet(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    one = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    two = layers.Conv2D(12, 3, padding="same", activation="relu")(layers.MaxPooling2D()(one))
    low = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(two))
    x = layers.Concatenate()([layers.Conv2DTranspose(12, 2, strides=2)(low), two])
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    x = layers.Concatenate()([layers.Conv2DTranspose(8, 3, strides=2, padding="same")(x), one])
    return keras.Model(image, layers.Conv2D(2, 1, activation="sigmoid", name="mask")(x))


def grouped_conv(keras, layers):
    image = layers.Input((12, 12, 4), name="image")
    x = layers.Conv2D(8, 3, groups=2, activation="relu")(image)
    x = layers.Conv2D(16, 3, groups=4, padding="same")(x)
    return keras.Model(image, layers.Dense(4, name="classes")(layers.GlobalAveragePooling2D()(x)))


def shufflenet(keras, layers):
    image = layers.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    height, width, channels = (int(size) for size in x.shape[1:])
    x = layers.Permute((1, 2, 4, 3))(layers.Reshape((height, width, 2, channels // 2))(x))
    x = layers.Reshape((height, width, channels))(x)
    x = layers.Conv2D(8, 1, groups=2, activation="relu")(x)
    return keras.Model(image, layers.Dense(4, name="classes")(layers.GlobalAveragePooling2D()(x)))


def dilated(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same")(image)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    x = layers.LeakyReLU()(x)
    return keras.Model(image, layers.Conv2D(3, 1, name="map")(layers.Cropping2D(2)(x)))


def detector(keras, layers):
    """A one-stage detector's raw output: boxes and scores for each cell, no suppression."""
    image = layers.Input((32, 32, 3), name="image")
    x = image
    for width in (8, 12, 16):
        x = layers.LeakyReLU()(layers.BatchNormalization()(layers.Conv2D(width, 3, 2, "same")(x)))
    boxes = layers.Conv2D(4, 1, activation="sigmoid")(x)
    scores = layers.Conv2D(3, 1, activation="softmax")(x)
    boxes = layers.Reshape((16, 4), name="boxes")(boxes)
    return keras.Model(image, [boxes, layers.Reshape((16, 3), name="scores")(scores)])


def feature_pyramid(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    one = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    two = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(one)
    x = layers.Add()([one, layers.UpSampling2D(2, interpolation="nearest")(two)])
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(image, layers.Conv2D(1, 3, padding="same", name="depth")(x))


def autoencoder(keras, layers):
    encoder = keras.Sequential(
        [layers.Input((12, 12, 1)), layers.Conv2D(8, 3, 2, "same", activation="elu"), layers.Flatten()],
        name="encoder",
    )
    decoder = keras.Sequential(
        [
            layers.Input((16,)),
            layers.Dense(6 * 6 * 4, activation="selu"),
            layers.Reshape((6, 6, 4)),
            layers.Conv2DTranspose(1, 3, 2, "same", activation="sigmoid"),
        ],
        name="decoder",
    )
    image = layers.Input((12, 12, 1), name="image")
    return keras.Model(image, decoder(layers.Dense(16, name="code")(encoder(image))))


def generator(keras, layers):
    """The generator of a small GAN: noise to an image, transposed convolutions and tanh."""
    noise = layers.Input((12,), name="noise")
    x = layers.Reshape((4, 4, 6))(layers.Dense(96, use_bias=False)(noise))
    for width in (12, 8):
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", use_bias=False)(x)
        x = layers.LeakyReLU()(layers.BatchNormalization()(x))
    return keras.Model(noise, layers.Conv2D(3, 3, padding="same", activation="tanh", name="image")(x))


def dynamic_image(keras, layers):
    photo = layers.Input((None, None, 3), name="photo")
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(photo)
    x = layers.SeparableConv2D(12, 3, activation="relu")(x)
    return keras.Model(photo, layers.Dense(4, name="classes")(layers.GlobalAveragePooling2D()(x)))


def conv3d(keras, layers):
    volume = layers.Input((8, 8, 8, 1), name="volume")
    x = layers.Conv3D(6, 3, padding="same", activation="relu")(volume)
    x = layers.Conv3D(8, 3, activation="relu")(layers.MaxPooling3D(2)(x))
    return keras.Model(volume, layers.Dense(3, name="classes")(layers.Flatten()(x)))


def conv3d_average(keras, layers):
    volume = layers.Input((8, 8, 8, 1), name="volume")
    x = layers.Conv3D(6, 3, strides=(1, 2, 2), padding="same", activation="relu")(volume)
    x = layers.AveragePooling3D(2)(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling3D()(x), layers.GlobalMaxPooling3D()(x)])
    return keras.Model(volume, layers.Dense(3, name="classes")(x))


def conv3d_transpose(keras, layers):
    volume = layers.Input((4, 4, 4, 2), name="volume")
    x = layers.Conv3DTranspose(4, 3, strides=2, padding="same", activation="relu")(volume)
    return keras.Model(volume, layers.Conv3D(1, 1, name="map")(layers.UpSampling3D(1)(x)))


def conv1d(keras, layers):
    return keras.Sequential(
        [
            layers.Input((128, 1), name="signal"),
            layers.Conv1D(8, 9, strides=4, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling1D(2),
            layers.SeparableConv1D(12, 3, activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(4, activation="softmax", name="classes"),
        ]
    )


def tcn(keras, layers):
    x = series = layers.Input((32, 3), name="series")
    for dilation in (1, 2, 4):
        y = layers.Conv1D(8, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
        y = layers.SpatialDropout1D(0.1)(layers.LayerNormalization()(y))
        x = layers.Add()([layers.Conv1D(8, 1)(x), y])
    return keras.Model(series, layers.Dense(2, name="next")(layers.Cropping1D((31, 0))(x)))


def wavenet(keras, layers):
    series = layers.Input((32, 1), name="series")
    x = layers.Conv1D(8, 2, padding="causal")(series)
    skips = []
    for dilation in (1, 2):
        options = {"padding": "causal", "dilation_rate": dilation}
        y = layers.Multiply()(
            [layers.Conv1D(8, 2, activation=a, **options)(x) for a in ("tanh", "sigmoid")],
        )
        skips.append(layers.Conv1D(8, 1)(y))
        x = layers.Add()([x, skips[-1]])
    return keras.Model(series, layers.Conv1D(1, 1, name="next")(layers.ReLU()(layers.Add()(skips))))


def conv1d_unet(keras, layers):
    signal = layers.Input((64, 2), name="signal")
    one = layers.Conv1D(8, 5, padding="same", activation="relu")(signal)
    low = layers.Conv1D(12, 5, strides=2, padding="same", activation="relu")(one)
    up = layers.Conv1DTranspose(8, 4, strides=2, padding="same")(low)
    x = layers.Concatenate()([up, layers.UpSampling1D(2)(low), layers.ZeroPadding1D(1)(one[:, 1:-1, :])])
    return keras.Model(signal, layers.Conv1D(1, 1, name="clean")(x))


def locally_connected(keras, layers):
    """Weights that positions do not share; Keras 3 dropped the layer."""
    image = layers.Input((8, 8, 2), name="image")
    x = layers.LocallyConnected2D(4, 3, activation="relu")(image)
    return keras.Model(image, layers.Dense(3, name="classes")(layers.Flatten()(x)))
