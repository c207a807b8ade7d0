"""Ranks by counting: searchsorted and in_top_k have no kernel in LiteRT; comparisons are summed."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter
from devicekit.convert.remedies.remedy import Remedy

# Each value is compared with each: 16 Mi comparisons of one byte, and of four when they are summed.
MAX_ELEMENTS = 2**24


def _bound(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """Sorted [rows, n], values [rows, m] -> how many of the sorted are less (LowerBound), or not greater."""
    known, values = inputs
    if None in (*known.shape, *values.shape) or known.shape[1] * values.shape.num_elements() > MAX_ELEMENTS:
        return None
    compare = tf.less if op.type == "LowerBound" else tf.less_equal
    is_before = compare(known[:, None, :], values[:, :, None])
    return [tf.reduce_sum(tf.cast(is_before, op.outputs[0].dtype), -1)]


def _in_top_k(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """Predictions [rows, classes], true classes [rows], k -> whether fewer than k predictions are greater."""
    predictions, targets, k = inputs
    if None in predictions.shape:
        return None
    is_true = tf.one_hot(targets, predictions.shape[1], on_value=True, off_value=False, dtype=tf.bool)
    own = tf.reduce_sum(tf.where(is_true, predictions, tf.zeros_like(predictions)), 1, keepdims=True)
    greater = tf.reduce_sum(tf.cast(predictions > own, k.dtype), 1)
    return [greater < k]


REMEDY = Remedy(
    name="ranks",
    does="searchsorted and in_top_k as sums of comparisons",
    rules={"InTopKV2": _in_top_k, "LowerBound": _bound, "UpperBound": _bound},
)
