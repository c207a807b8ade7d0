"""Resizing that LiteRT has no kernel for (bicubic, area, antialiased): a product with two constant matrices.

Such a resize is linear, the same for every row and for every column. So its matrix along one axis is what
TensorFlow's own op makes of the identity.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, constant_value, run_now
from devicekit.convert.remedies.remedy import Remedy

# The matrices take 4·(H·h + W·w) bytes: 4 MiB for 1024 to 512. Above, a file would grow by more than the
# layer is worth.
MAX_MATRIX_BYTES = 4 * 2**20


def _resize(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """[batch, H, W, channels] -> [batch, h, w, channels], h and w constant."""
    images, constants = inputs[0], [constant_value(value) for value in inputs[1:]]
    if any(value is None for value in constants) or not images.shape.is_fully_defined():
        return None
    _, height, width, channels = images.shape
    high, wide = (int(size) for size in constants[0])
    if 4 * (height * high + width * wide) > MAX_MATRIX_BYTES:
        return None
    rows = tf.constant(_matrix(op, constants, axis=0, length=height))
    columns = tf.constant(_matrix(op, constants, axis=1, length=width))
    # As products of two matrices, which every runtime has: [h, H]·[H, W·C], then [w, W]·[W, h·C].
    resized = []
    for image in tf.unstack(tf.cast(images, tf.float32)):
        taller = tf.matmul(rows, tf.reshape(image, (height, width * channels)))
        turned = tf.transpose(tf.reshape(taller, (high, width, channels)), (1, 0, 2))
        wider = tf.matmul(columns, tf.reshape(turned, (width, high * channels)))
        resized.append(tf.transpose(tf.reshape(wider, (wide, high, channels)), (1, 0, 2)))
    return [tf.stack(resized)]


def _matrix(op: Any, constants: Sequence[Any], *, axis: int, length: int) -> Any:
    """Returns float32 [out, length]: what the op makes, along one axis, of the unit vectors of that axis.

    `constants` are the op's: size [2], and for ScaleAndTranslate scale [2] and translation [2].
    """
    neutral = [1, 1.0, 0.0]  # of the other axis, which has a single pixel
    own = [np.full_like(value, one) for value, one in zip(constants, neutral, strict=False)]
    for mine, value in zip(own, constants, strict=True):
        mine[axis] = value[axis]
    units = np.eye(length, dtype=np.float32)
    images = units[:, :, None, None] if axis == 0 else units[:, None, :, None]
    return run_now(op, [images, *own])[0].reshape(length, -1).T.copy()


REMEDY = Remedy(
    name="separable_resize",
    does="bicubic, area and antialiased resizing as products with two constant matrices",
    rules={"ResizeBicubic": _resize, "ResizeArea": _resize, "ScaleAndTranslate": _resize},
)
