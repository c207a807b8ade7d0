"""Trains the small separable CNN of the tests on scikit-learn's digits, and writes it in every format.

Run with the development environment: `.venv/bin/python tools/train_digits.py [FOLDER]` (about a minute). The
outputs are kept in tests/data; run this again only to change them. tests/data/README.md describes the files.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the same weights on every x86-64 machine

SEED = 7
CALIBRATION_COUNT = 100
EVALUATION_SHARE = 0.4  # 719 of the 1,797 images
EPOCHS = 30


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "tests" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    data = load_digits_split()
    model = train(data)
    write_data(folder / "digits.npz", data)
    write_models(folder, model, data["x_eval"])
    write_tflite(folder / "digits.float32.tflite", model)


def load_digits_split() -> dict[str, Any]:
    """Returns images float32 [n, 8, 8, 1] in 0..1 and labels int64 [n], for training and for evaluation."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images / 16).astype("float32")[..., None]
    x, x_eval, y, y_eval = train_test_split(
        images, digits.target, test_size=EVALUATION_SHARE, random_state=SEED, stratify=digits.target
    )
    return {"x": x, "y": y, "x_eval": x_eval, "y_eval": y_eval}


def build(layers: Any, sequential: Any) -> Any:
    """Returns the network (32 k parameters), from the layers of either Keras."""
    blocks: list[Any] = []
    for filters, pool in ((64, True), (128, True), (128, False)):
        blocks += [
            layers.SeparableConv2D(filters, 3, padding="same", name=f"separable_{len(blocks) // 3 + 1}"),
            layers.BatchNormalization(),
            layers.ReLU(max_value=6.0),
        ]
        if pool:
            blocks.append(layers.MaxPooling2D())
    return sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="stem"),
            layers.BatchNormalization(),
            *blocks,
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )


def train(data: dict[str, Any]) -> Any:
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    model = build(tf_keras.layers, tf_keras.Sequential)
    model.compile(
        optimizer=tf_keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(data["x"], data["y"], epochs=EPOCHS, batch_size=32, verbose=0)
    accuracy = model.evaluate(data["x_eval"], data["y_eval"], verbose=0)[1]
    sys.stdout.write(f"{model.count_params()} parameters, accuracy {accuracy:.4f}\n")
    return model


def write_data(path: Path, data: dict[str, Any]) -> None:
    import numpy as np

    np.savez_compressed(
        path,
        x=data["x"][:CALIBRATION_COUNT],
        x_eval=data["x_eval"],
        y=data["y_eval"].astype(np.int64),
    )


def write_models(folder: Path, model: Any, x: Any) -> None:
    """Writes digits.h5 (Keras 2), digits.keras (Keras 3, the same weights) and digits_savedmodel/."""
    import keras
    import numpy as np

    model.save(folder / "digits.h5", save_format="h5")
    shutil.rmtree(folder / "digits_savedmodel", ignore_errors=True)
    model.save(folder / "digits_savedmodel", save_format="tf", include_optimizer=False)
    modern = build(keras.layers, keras.Sequential)
    modern.set_weights(model.get_weights())
    difference = float(np.abs(modern(x).numpy() - model(x).numpy()).max())
    if difference > 1e-6:
        raise SystemExit(f"Keras 3 computes something else than Keras 2: {difference:.3g}")
    modern.save(folder / "digits.keras")


def write_tflite(path: Path, model: Any) -> None:
    import tensorflow as tf

    function = tf.function(
        lambda image: {"digit": model(image, training=False)},
        input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image")],
    )
    concrete = function.get_concrete_function()
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], model).convert())


if __name__ == "__main__":
    main()
