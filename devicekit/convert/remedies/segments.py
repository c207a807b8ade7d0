"""Segments of constant sorted numbers: LiteRT has kernels for sums, and for unsorted numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, constant_value
from devicekit.convert.remedies.remedy import Remedy


def _segments(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """[n, ...] and their segments [n] -> [segments, ...]; empty ones as TensorFlow fills them."""
    values, numbers = inputs[0], constant_value(inputs[1])
    if numbers is None or not numbers.size:
        return None
    counts = np.bincount(numbers)
    trailing = [1] * (values.shape.rank - 1)
    sizes = counts.reshape([-1, *trailing])
    if op.type == "SegmentMean":
        sums = tf.math.unsorted_segment_sum(values, inputs[1], len(counts))
        return [sums / tf.constant(np.maximum(sizes, 1), values.dtype)]
    function = {
        "SegmentMax": tf.math.unsorted_segment_max,
        "SegmentMin": tf.math.unsorted_segment_min,
        "SegmentProd": tf.math.unsorted_segment_prod,
    }[op.type]
    found = function(values, inputs[1], len(counts))
    if op.type == "SegmentProd" or (counts > 0).all():
        return [found]
    return [tf.where(tf.constant(sizes > 0), found, tf.zeros_like(found))]


REMEDY = Remedy(
    name="segments",
    does="means, largest, smallest and products of segments by the kernels for unsorted ones",
    rules=dict.fromkeys(("SegmentMax", "SegmentMean", "SegmentMin", "SegmentProd"), _segments),
)
