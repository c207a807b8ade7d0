"""Mends Keras 3's addition for a batch of 1. Runs in the conversion child only: it imports TensorFlow."""

from typing import Any

import tensorflow as tf


def mend_addition() -> None:
    """Makes Keras 3 add a tensor of the shape [1, C, 1] as it adds one of [B, C, 1].

    Its backend takes what squeezes to a vector for a bias, and adds that along an axis of the same size, the
    last one first: with a batch of 1, ordinary activations squeeze to one (Keras 3.15, November 2026).
    """
    from keras.src.backend.common import dtypes
    from keras.src.backend.tensorflow import numpy as backend
    from keras.src.backend.tensorflow.core import convert_to_tensor

    own = backend.add

    def add(x1: Any, x2: Any) -> Any:
        if isinstance(x1, tf.SparseTensor) or isinstance(x2, tf.SparseTensor) or not hasattr(x2, "shape"):
            return own(x1, x2)
        ends = [tuple(getattr(value, "shape", ()))[-1:] for value in (x1, x2)]
        if len(x2.shape) < 2 or (ends[0] == ends[1] and ends[1] != (1,)):
            return own(x1, x2)  # a bias along the last axis, as every broadcast has it
        dtype = dtypes.result_type(getattr(x1, "dtype", type(x1)), x2.dtype)
        return tf.add(convert_to_tensor(x1, dtype), convert_to_tensor(x2, dtype))

    backend.add = add
