"""Text pre-processing as Keras does it: StringLookup and TextVectorization, for one sample.

Runs before the .tflite that lies beside it: model(**preprocess(inputs)). Needs numpy only.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PUNCTUATION = rb"""!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"""


def check_texts(inputs: Mapping[str, Any], counts: Mapping[str, Any]) -> None:
    """Raises ValueError where an input holds more texts than one sample has, or fewer; None is any number."""
    for name, count in counts.items():
        found = np.asarray(inputs[name], object)
        if count is not None and found.size != count:
            raise ValueError(
                f"{name} holds {found.size} texts {list(found.shape)}, expected {count}: "
                "give one sample at a time"
            )


def text_layer(
    values: Any,
    *,
    indices: Mapping[str, int],
    unknown: int | None,
    shape: Sequence[int],
    dtype: str = "int32",
    standardize: str | None = None,
    split: str | None = None,
    ngrams: Sequence[int] = (),
    output_mode: str = "int",
    weights: Sequence[float] | None = None,
) -> Any:
    """Returns what the layer gives for an array of strings: indices or encodings of `shape`.

    `unknown` is the index of tokens that `indices` lacks; None: they are an error, as in the layer.
    """
    tokens = [
        token
        for value in np.asarray(values, object).ravel()
        for token in tokens_of(_bytes(value), standardize=standardize, split=split)
    ]
    if ngrams:
        tokens = ngrams_of(tokens, ngrams)
    found = [index_of(token, indices, unknown) for token in tokens]
    size = int(np.prod(shape))
    if output_mode == "int":
        return np.array((found + [0] * size)[:size], dtype).reshape(shape)
    encoded = np.zeros((size // shape[-1], shape[-1]), np.float32)
    for position, index in enumerate(found):
        row = position if output_mode == "one_hot" else 0
        encoded[row, index] = encoded[row, index] + 1 if output_mode in ("count", "tf_idf") else 1
    if weights is not None:
        encoded = encoded * np.array(weights, np.float32)
    return encoded.astype(dtype).reshape(shape)


def tokens_of(text: bytes, *, standardize: str | None, split: str | None) -> list[bytes]:
    """Returns the tokens of a text. Only A-Z are lowered and only ASCII spaces split, as in TensorFlow."""
    if standardize in ("lower", "lower_and_strip_punctuation"):
        text = text.lower()
    if standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
        text = text.translate(None, PUNCTUATION)
    if split == "whitespace":
        return text.split()
    if split == "character":
        return [character.encode() for character in text.decode("utf-8", "replace")]
    return [text]


def ngrams_of(tokens: Sequence[bytes], widths: Sequence[int]) -> list[bytes]:
    """Returns every run of so many tokens, joined by spaces: all of the first width, then of the next."""
    return [
        b" ".join(tokens[start : start + width])
        for width in widths
        for start in range(len(tokens) - width + 1)
    ]


def index_of(token: bytes, indices: Mapping[str, int], unknown: int | None) -> int:
    index = indices.get(token.decode("utf-8", "surrogateescape"), unknown)
    if index is None:
        raise ValueError(f"{token!r} is not in the vocabulary, and the layer has no index for unknown tokens")
    return index


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def read_layers(file: str) -> Any:
    """Returns the settings of the layers, by name, from the .json beside this file."""
    return json.loads(Path(file).with_suffix(".json").read_text(encoding="utf-8"))
