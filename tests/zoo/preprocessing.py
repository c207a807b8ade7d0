"""Preprocessing layers inside the model, as tutorials advise."""


def _classified(keras, layers, image, x):
    x = layers.Conv2D(6, 3, strides=2, activation="relu")(x)
    return keras.Model(image, layers.Dense(4, name="classes")(layers.GlobalAveragePooling2D()(x)))


def rescaling(keras, layers):
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    return _classified(keras, layers, image, layers.Normalization(mean=0.1, variance=0.3)(x))


def rescaling_integers(keras, layers):
    """The camera's own bytes go in."""
    image = layers.Input((16, 16, 3), dtype="uint8", name="image")
    return _classified(keras, layers, image, layers.Rescaling(1 / 255)(image))


def normalization(keras, layers):
    import numpy as np

    columns = layers.Input((5,), name="columns")
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal([0, 5, 10, 50, 100], [1, 2, 3, 9, 30], (64, 5)))
    return keras.Model(columns, layers.Dense(2, name="y")(layers.Dense(8, activation="relu")(layer(columns))))


def resizing_bilinear(keras, layers):
    image = layers.Input((20, 20, 3), name="image")
    x = layers.Resizing(12, 12, interpolation="bilinear")(image)
    return _classified(keras, layers, image, x)


def resizing_nearest(keras, layers):
    image = layers.Input((10, 10, 3), name="image")
    x = layers.Resizing(16, 16, interpolation="nearest")(image)
    return _classified(keras, layers, image, x)


def resizing_bicubic(keras, layers):
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Resizing(16, 16, interpolation="bicubic", name="enlarge")(image)
    return _classified(keras, layers, image, x)


def upsampling_bicubic(keras, layers):
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    x = layers.UpSampling2D(2, interpolation="bicubic", name="enlarge")(x)
    return keras.Model(image, layers.Conv2D(3, 3, padding="same", name="large")(x))


def center_crop(keras, layers):
    image = layers.Input((20, 20, 3), name="image")
    x = layers.CenterCrop(14, 14)(image)
    return _classified(keras, layers, image, layers.Rescaling(2.0, offset=-1.0)(x))


def augmentation(keras, layers):
    image = x = layers.Input((16, 16, 3), name="image")
    for layer in (
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.1),
        layers.RandomZoom(0.1),
        layers.RandomContrast(0.2),
        layers.RandomTranslation(0.1, 0.1),
        layers.GaussianNoise(0.1),
    ):
        x = layer(x)
    return _classified(keras, layers, image, x)
