"""Writes models with text and boxes, and what Keras gives for them: `make_split_models.py FOLDER`.

NAME.npz holds "in/…" and "out/…" of one sample each, as recorded by the Keras that saved the model.
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

folder = Path(sys.argv[1])
WORDS = ["the", "movie", "was", "good", "bad", "terrible", "it's"]
TEXTS = ["The movie was GOOD!", "", "terrible, terrible…", "Ünïcödé was unseen", " the\tmovie\n", "the " * 20]


def record(name, model, inputs):
    """Saves what the model gives for samples {input: [N, ...]}, one at a time."""
    count = len(next(iter(inputs.values())))
    arrays = {}
    for i in range(count):
        feed = {key: tf.constant(values[i : i + 1]) for key, values in inputs.items()}
        result = model([feed[key] for key in inputs] if len(feed) > 1 else next(iter(feed.values())))
        for key, value in (result if isinstance(result, dict) else {"y": result}).items():
            arrays.setdefault(f"out/{key}", []).append(np.array(value))
    given = {f"in/{key}": v.astype("S") if v.dtype == object else v for key, v in inputs.items()}
    np.savez(folder / f"{name}.npz", **given, **arrays)


def texts(values=TEXTS):
    return np.array([[text.encode()] for text in values], object)


def review(kit, **options):
    k = kit.layers
    text = k.Input((1,), dtype="string", name="text")
    tokens = k.TextVectorization(vocabulary=WORDS, output_sequence_length=8, name="tokens", **options)(text)
    mean = k.GlobalAveragePooling1D()(k.Embedding(40, 4)(tokens))
    return kit.Model(text, k.Dense(2, activation="softmax", name="y")(mean))


def bag(kit, mode, **options):
    """Three inputs: a text as a bag of words, a category as one-hot, and numbers."""
    k = kit.layers
    text, colour = k.Input((), dtype="string", name="text"), k.Input((1,), dtype="string", name="colour")
    size = k.Input((3,), name="size")
    if kit is tf_keras:
        text = k.Input((1,), dtype="string", name="text")
    words = k.TextVectorization(vocabulary=WORDS, output_mode=mode, name="bag", **options)(text)
    shade = k.StringLookup(vocabulary=["red", "green"], output_mode="one_hot", name="shade")(colour)
    return kit.Model([text, colour, size], k.Dense(3, name="y")(k.Concatenate()([words, shade, size])))


def detector(kit, threshold=0.3):
    k = kit.layers

    class Suppress(k.Layer):
        def call(self, inputs):
            boxes, scores = inputs
            found = tf.image.combined_non_max_suppression(boxes[:, :, None], scores, 5, 8, 0.5, threshold)
            return dict(zip(("boxes", "scores", "classes", "count"), found, strict=True))

    image = k.Input((16, 16, 3), name="image")
    features = k.Flatten()(k.Conv2D(8, 3, strides=2, activation="relu")(image))
    boxes = k.Reshape((30, 4))(k.Dense(120, activation="sigmoid")(features))
    scores = k.Reshape((30, 3))(k.Dense(90, activation="sigmoid")(features))
    return kit.Model(image, Suppress(name="suppress")([boxes, scores]))


keras.utils.set_random_seed(7)
for kit, tag in ((keras, "modern"), (tf_keras, "legacy")):
    k = kit.layers
    category = k.Input((1,), dtype="string", name="category")
    lookup = kit.Model(category, k.StringLookup(vocabulary=["a", "b", "it's"], name="index")(category))
    lookup.save(folder / f"lookup_{tag}.keras")
    record(f"lookup_{tag}", lookup, {"category": texts(["a", "it's", "", "A", "ü", "[UNK]"])})

    model = review(kit)
    model.save(folder / f"review_{tag}.keras")
    record(f"review_{tag}", model, {"text": texts()})
    letters = review(kit, split="character", standardize="lower")
    letters.save(folder / f"letters_{tag}.keras")
    record(f"letters_{tag}", letters, {"text": texts()})

    for mode, options in (
        ("multi_hot", {"ngrams": 2}),
        # tf_keras reads no tuple back from its own file.
        ("count", {"ngrams": (1, 3) if kit is keras else 3, "standardize": None}),
        ("tf_idf", {"idf_weights": [0.5 + i for i in range(len(WORDS))]}),
    ):
        model = bag(kit, mode, **options)
        model.save(folder / f"{mode}_{tag}.keras")
        text = texts() if kit is tf_keras else texts()[:, 0]
        sizes = np.random.default_rng(1).uniform(0, 1, (len(text), 3)).astype(np.float32)
        colours = texts(["red", "green", "blue", "", "RED", "red"])
        record(f"{mode}_{tag}", model, {"text": text, "colour": colours, "size": sizes})

    for name, layer in (
        ("hashed", k.Hashing(20, name="hash")),
        ("salted", k.StringLookup(vocabulary=["a"], num_oov_indices=3, name="index")),
        ("endless", k.TextVectorization(vocabulary=WORDS, name="tokens")),
    ):
        if kit is keras:
            kit.Model(category, k.Embedding(40, 2)(layer(category))).save(folder / f"{name}.keras")

model = review(tf_keras)
model.save(folder / "review_folder", save_format="tf")


def without_tags(text):
    """A standardisation of the user's own, as tutorials have it."""
    return tf.strings.regex_replace(tf.strings.lower(text), "<[^>]*>", "")


review(tf_keras, standardize=without_tags).save(folder / "own_folder", save_format="tf")
record("review_folder", model, {"text": texts()})
image = np.random.default_rng(2).uniform(0, 1, (5, 16, 16, 3)).astype(np.float32)
legacy, modern = detector(tf_keras), detector(keras)
detector(keras, threshold=-np.inf).export(folder / "detector_unbounded", verbose=False)
legacy.save(folder / "detector_legacy", save_format="tf")
modern.export(folder / "detector_modern", verbose=False)
record("detector_legacy", legacy, {"image": image})
record("detector_modern", modern, {"image": image})
