"""Counts of integers (bincount, CategoryEncoding): LiteRT has no kernel for them; one-hot rows are summed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from devicekit.convert.remedies.emit import Emitter, constant_value
from devicekit.convert.remedies.remedy import Remedy

# The one-hot rows hold values · bins numbers of four bytes: 64 MiB at most.
MAX_ELEMENTS = 2**24


def _bincount(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """Integers [n] or [rows, n] -> [bins] or [rows, bins]; values past the last bin are left out."""
    values, size, weights = inputs
    (bins, most), count = _bounds(size), values.shape.num_elements()
    if bins != most or count is None or count * bins > MAX_ELEMENTS:
        return None
    is_binary = op.type == "DenseBincount" and op.get_attr("binary_output")
    return [_counts(values, int(bins), op.outputs[0].dtype, weights=weights, is_binary=is_binary)]


def _bounds(tensor: Any) -> tuple[float, float]:
    """Returns the least and the most that a number can be: min(maxlength, max(minlength, …)) may be known."""
    value, op = constant_value(tensor), tensor.op
    if value is not None:
        return float(value), float(value)
    if op.type in ("Identity", "Cast"):
        return _bounds(op.inputs[0])
    if op.type in ("Minimum", "Maximum"):
        choose = min if op.type == "Minimum" else max
        lows, highs = zip(*map(_bounds, op.inputs), strict=True)
        return choose(lows), choose(highs)
    return -math.inf, math.inf


def _counts(values: Any, bins: int, dtype: Any, *, weights: Any = None, is_binary: bool = False) -> Any:
    rows = tf.one_hot(values, bins, dtype=dtype)
    if is_binary:
        return tf.reduce_max(rows, -2)
    if weights is not None and weights.shape.num_elements() != 0:
        rows *= weights[..., None]
    return tf.reduce_sum(rows, -2)


def _histogram(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """Floats of any shape, [low, high], bins -> [bins]; values outside count in the first or the last."""
    values, limits, size = inputs
    bins, ends, count = constant_value(size), constant_value(limits), values.shape.num_elements()
    if bins is None or ends is None or count is None or count * int(bins) > MAX_ELEMENTS:
        return None
    edges = _edges(float(ends[0]), float(ends[1]), int(bins))
    if edges is None or values.dtype != tf.float32:
        return None
    is_beyond = tf.reshape(values, [count, 1]) - float(ends[0]) >= edges
    beyond = tf.concat([[count], tf.reduce_sum(tf.cast(is_beyond, tf.int32), 0), [0]], 0)
    return [tf.cast(beyond[:-1] - beyond[1:], op.outputs[0].dtype)]


def _edges(low: float, high: float, bins: int) -> NDArray[Any] | None:
    """Returns how far behind `low` each bin but the first begins: float32 [bins - 1].

    TensorFlow subtracts in float32 and divides in double: the least float32 that it puts into the bin. None
    where the bins are too narrow for that.
    """
    width = float(np.float32(high) - np.float32(low)) / bins
    numbers = np.arange(1, bins)
    edges = (numbers * width).astype(np.float32)
    for towards in (np.float32(-np.inf), np.float32(np.inf)):  # off by one step at most
        near = np.nextafter(edges, towards)
        is_lower = towards < 0
        moves = near.astype(float) / width >= numbers if is_lower else edges.astype(float) / width < numbers
        edges = np.where(moves, near, edges)
    is_exact = (edges.astype(float) / width >= numbers) & (
        np.nextafter(edges, np.float32(-np.inf)).astype(float) / width < numbers
    )
    return edges if is_exact.all() else None


REMEDY = Remedy(
    name="histogram",
    does="counts of integers as sums of one-hot rows",
    rules={"Bincount": _bincount, "DenseBincount": _bincount, "HistogramFixedWidth": _histogram},
)
