"""Builds the architectures of published latency tables with random weights: latency does not depend on their
values.

    python tools/published_models.py FOLDER [NAME ...]

writes FOLDER/NAME.fp32.tflite, and FOLDER/NAME.int8.tflite for those that a table gives in 8 bits.
Architectures: Keras applications, and from their papers MnasNet (arXiv:1807.11626, A1 without squeeze and
excite, as hosted), SqueezeNet 1.0 (arXiv:1602.07360), Inception v1 (arXiv:1409.4842), v2 (arXiv:1502.03167),
v4 (arXiv:1602.07261).
"""

import argparse
import os
import re
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

WIDTHS, RESOLUTIONS = ("0.25", "0.5", "0.75", "1.0"), (128, 160, 192, 224)
NAMES = [
    *[f"mobilenet_v1_{width}_{size}" for width in WIDTHS for size in RESOLUTIONS],
    "mobilenet_v2_1.0_224",
    "mobilenet_v3_large_1.0_224",
    "mobilenet_v3_small_1.0_224",
    *[f"mnasnet_{width}_224" for width in ("0.5", "0.75", "1.3")],
    *[f"mnasnet_1.0_{size}" for size in (96, 128, 160, 192, 224)],
    "squeezenet_224",
    "densenet_224",
    "nasnet_mobile_224",
    "inception_v1_224",
    "inception_v2_224",
    "inception_v3_299",
    "inception_v4_299",
    "inception_resnet_v2_299",
    "resnet_v2_101_299",
    "nasnet_large_331",
]
IN_8_BITS = re.compile(r"mobilenet_v[12]|mobilenet_v1|inception_v\d")


def build(name: str):
    """Returns the Keras model that `name` stands for."""
    import keras

    apps = keras.applications
    family, width, size = _parts(name)
    shape = (size, size, 3)
    if family == "mobilenet_v1":
        return apps.MobileNet(input_shape=shape, alpha=width, weights=None)
    if family == "mobilenet_v2":
        return apps.MobileNetV2(input_shape=shape, alpha=width, weights=None)
    if family.startswith("mobilenet_v3"):
        kind = apps.MobileNetV3Large if "large" in family else apps.MobileNetV3Small
        return kind(input_shape=shape, alpha=width, weights=None, include_preprocessing=False)
    named = {
        "densenet": apps.DenseNet121,
        "nasnet_mobile": apps.NASNetMobile,
        "nasnet_large": apps.NASNetLarge,
        "inception_v3": apps.InceptionV3,
        "inception_resnet_v2": apps.InceptionResNetV2,
        "resnet_v2_101": apps.ResNet101V2,
    }
    if family in named:
        return named[family](input_shape=shape, weights=None)
    own = {
        "mnasnet": mnasnet,
        "squeezenet": squeezenet,
        "inception_v1": inception_v1,
        "inception_v2": inception_v2,
        "inception_v4": inception_v4,
    }
    return own[family](shape, width)


def _parts(name: str) -> tuple[str, float, int]:
    """Returns ("mobilenet_v1", 0.25, 128) of "mobilenet_v1_0.25_128"."""
    found = re.fullmatch(r"(.+?)(?:_(\d\.\d+))?_(\d{2,3})", name)
    assert found, name
    return found[1], float(found[2] or 1), int(found[3])


def _conv(x, filters, kernel, strides=1, *, padding="same", activation="relu", norm=True):
    from keras import layers

    x = layers.Conv2D(filters, kernel, strides=strides, padding=padding, use_bias=not norm)(x)
    x = layers.BatchNormalization()(x) if norm else x
    return layers.Activation(activation)(x) if activation else x


def _classified(image, x, classes=1001):
    import keras
    from keras import layers

    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x))


def _rounded(filters: float, divisor: int = 8) -> int:
    whole = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return whole + divisor if whole < 0.9 * filters else whole


def mnasnet(shape, width):
    from keras import layers

    image = layers.Input(shape)
    x = _conv(image, _rounded(32 * width), 3, 2)
    x = layers.ReLU()(
        layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    )
    x = _conv(x, _rounded(16 * width), 1, activation=None)
    blocks = [
        (24, 3, 3, 2, 3), (40, 3, 5, 2, 3), (80, 3, 5, 2, 6), (96, 2, 3, 1, 6), (192, 4, 5, 2, 6), (320, 1, 3,
        1, 6),
    ]  # fmt: skip
    for filters, repeats, kernel, strides, expansion in blocks:
        for number in range(repeats):
            x = _inverted(x, _rounded(filters * width), kernel, strides if number == 0 else 1, expansion)
    return _classified(image, _conv(x, 1280, 1))


def _inverted(x, filters, kernel, strides, expansion):
    from keras import layers

    source = x
    x = _conv(x, expansion * x.shape[-1], 1)
    x = layers.DepthwiseConv2D(kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = _conv(x, filters, 1, activation=None)
    return layers.Add()([source, x]) if source.shape == x.shape else x


def squeezenet(shape, width):
    from keras import layers

    def fire(x, squeeze, expand):
        x = _conv(x, squeeze, 1, norm=False)
        return layers.Concatenate()([_conv(x, expand, 1, norm=False), _conv(x, expand, 3, norm=False)])

    image = layers.Input(shape)
    x = layers.MaxPooling2D(3, 2)(_conv(image, 96, 7, 2, padding="valid", norm=False))
    for squeeze, expand in ((16, 64), (16, 64), (32, 128)):
        x = fire(x, squeeze, expand)
    x = layers.MaxPooling2D(3, 2)(x)
    for squeeze, expand in ((32, 128), (48, 192), (48, 192), (64, 256)):
        x = fire(x, squeeze, expand)
    x = fire(layers.MaxPooling2D(3, 2)(x), 64, 256)
    import keras

    x = layers.GlobalAveragePooling2D()(_conv(x, 1001, 1, norm=False))
    return keras.Model(image, layers.Softmax()(x))


def inception_v1(shape, width):
    from keras import layers

    def block(x, a, b0, b1, c0, c1, d):
        pooled = layers.MaxPooling2D(3, 1, padding="same")(x)
        branches = [
            _conv(x, a, 1),
            _conv(_conv(x, b0, 1), b1, 3),
            _conv(_conv(x, c0, 1), c1, 3),
            _conv(pooled, d, 1),
        ]
        return layers.Concatenate()(branches)

    image = layers.Input(shape)
    x = layers.MaxPooling2D(3, 2, padding="same")(_conv(image, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, padding="same")(_conv(_conv(x, 64, 1), 192, 3))
    x = block(block(x, 64, 96, 128, 16, 32, 32), 128, 128, 192, 32, 96, 64)
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for sizes in (
        (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128),
    ):  # fmt: skip
        x = block(x, *sizes)
    x = layers.MaxPooling2D(2, 2, padding="same")(x)
    x = block(block(x, 256, 160, 320, 32, 128, 128), 384, 192, 384, 48, 128, 128)
    return _classified(image, x)


def inception_v2(shape, width):
    from keras import layers

    def block(x, a, b0, b1, c0, c1, d):
        pooled = layers.AveragePooling2D(3, 1, padding="same")(x)
        third = _conv(_conv(_conv(x, c0, 1), c1, 3), c1, 3)
        return layers.Concatenate()(
            [_conv(x, a, 1), _conv(_conv(x, b0, 1), b1, 3), third, _conv(pooled, d, 1)]
        )

    def reduction(x, b0, b1, c0, c1):
        third = _conv(_conv(_conv(x, c0, 1), c1, 3), c1, 3, 2)
        pooled = layers.MaxPooling2D(3, 2, padding="same")(x)
        return layers.Concatenate()([_conv(_conv(x, b0, 1), b1, 3, 2), third, pooled])

    image = layers.Input(shape)
    x = layers.SeparableConv2D(64, 7, strides=2, depth_multiplier=8, padding="same", use_bias=False)(image)
    x = layers.MaxPooling2D(3, 2, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
    x = layers.MaxPooling2D(3, 2, padding="same")(_conv(_conv(x, 64, 1), 192, 3))
    x = block(block(x, 64, 64, 64, 64, 96, 32), 64, 64, 96, 64, 96, 64)
    x = reduction(x, 128, 160, 64, 96)
    for sizes in (
        (224, 64, 96, 96, 128, 128), (192, 96, 128, 96, 128, 128), (160, 128, 160, 128, 160, 96),
        (96, 128, 192, 160, 192, 96),
    ):  # fmt: skip
        x = block(x, *sizes)
    x = reduction(x, 128, 192, 192, 256)
    x = block(block(x, 352, 192, 320, 160, 224, 128), 352, 192, 320, 192, 224, 128)
    return _classified(image, x)


def inception_v4(shape, width):
    from keras import layers

    def joined(*branches):
        return layers.Concatenate()(list(branches))

    def pooled(x):
        return layers.AveragePooling2D(3, 1, padding="same")(x)

    image = layers.Input(shape)
    x = _conv(_conv(_conv(image, 32, 3, 2, padding="valid"), 32, 3, padding="valid"), 64, 3)
    x = joined(layers.MaxPooling2D(3, 2)(x), _conv(x, 96, 3, 2, padding="valid"))
    other = _conv(_conv(_conv(x, 64, 1), 64, (1, 7)), 64, (7, 1))
    x = joined(_conv(_conv(x, 64, 1), 96, 3, padding="valid"), _conv(other, 96, 3, padding="valid"))
    x = joined(_conv(x, 192, 3, 2, padding="valid"), layers.MaxPooling2D(3, 2)(x))
    for _ in range(4):
        third = _conv(_conv(_conv(x, 64, 1), 96, 3), 96, 3)
        x = joined(_conv(x, 96, 1), _conv(_conv(x, 64, 1), 96, 3), third, _conv(pooled(x), 96, 1))
    third = _conv(_conv(_conv(x, 192, 1), 224, 3), 256, 3, 2, padding="valid")
    x = joined(_conv(x, 384, 3, 2, padding="valid"), third, layers.MaxPooling2D(3, 2)(x))
    for _ in range(7):
        second = _conv(_conv(_conv(x, 192, 1), 224, (1, 7)), 256, (7, 1))
        third = _conv(_conv(_conv(x, 192, 1), 192, (7, 1)), 224, (1, 7))
        third = _conv(_conv(third, 224, (7, 1)), 256, (1, 7))
        x = joined(_conv(x, 384, 1), second, third, _conv(pooled(x), 128, 1))
    second = _conv(_conv(x, 192, 1), 192, 3, 2, padding="valid")
    third = _conv(_conv(_conv(x, 256, 1), 256, (1, 7)), 320, (7, 1))
    x = joined(second, _conv(third, 320, 3, 2, padding="valid"), layers.MaxPooling2D(3, 2)(x))
    for _ in range(3):
        second = _conv(x, 384, 1)
        third = _conv(_conv(_conv(x, 384, 1), 448, (1, 3)), 512, (3, 1))
        x = joined(
            _conv(x, 256, 1), _conv(second, 256, (1, 3)), _conv(second, 256, (3, 1)),
            _conv(third, 256, (1, 3)), _conv(third, 256, (3, 1)), _conv(pooled(x), 256, 1),
        )  # fmt: skip
    return _classified(image, x)


def write(name: str, folder: Path) -> None:
    """Writes the .tflite files of one architecture, where they are not there yet."""
    import keras

    from devicekit.convert.source import convert_source
    from devicekit.pipeline.screening import SECOND_SOURCE
    from devicekit.quantize.build import build as quantize

    precisions = {"fp32": "float32", **({"int8": "int8"} if IN_8_BITS.match(name) else {})}
    missing = {
        key: recipe for key, recipe in precisions.items() if not (folder / f"{name}.{key}.tflite").exists()
    }
    if not missing:
        return
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{name}.keras"
        build(name).save(path)
        source = convert_source(path)
        result = quantize(
            source.float_path,
            list(missing.values()),
            data=None,
            out_dir=Path(scratch) / "out",
            second_source=SECOND_SOURCE,
            evaluation_s=0.1,
        )
        for key, built in zip(missing, result.candidates, strict=False):
            if built.path:
                shutil.move(built.path, folder / f"{name}.{key}.tflite")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=NAMES)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        write(name, arguments.folder)
        print(name, flush=True)


if __name__ == "__main__":
    main()
