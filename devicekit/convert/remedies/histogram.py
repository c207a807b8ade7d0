"""Counts of integers (bincount, CategoryEncoding): LiteRT has no kernel for them; one-hot rows are summed."""

import math
from collections.abc import Sequence
from typing import Any

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
    import tensorflow as tf

    rows = tf.one_hot(values, bins, dtype=dtype)
    if is_binary:
        return tf.reduce_max(rows, -2)
    if weights is not None and weights.shape.num_elements() != 0:
        rows *= weights[..., None]
    return tf.reduce_sum(rows, -2)


def _histogram(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """Floats of any shape, [low, high], bins -> [bins]; values outside count in the first or the last."""
    import tensorflow as tf

    values, limits, size = inputs
    bins, ends, count = constant_value(size), constant_value(limits), values.shape.num_elements()
    if bins is None or ends is None or count is None or count * int(bins) > MAX_ELEMENTS:
        return None
    low, high = map(float, ends)
    steps = tf.floor((tf.reshape(values, [count]) - low) * (int(bins) / (high - low)))
    index = tf.cast(tf.clip_by_value(steps, 0, int(bins) - 1), tf.int32)
    return [_counts(index, int(bins), op.outputs[0].dtype)]


REMEDY = Remedy(
    name="histogram",
    does="counts of integers as sums of one-hot rows",
    rules={"Bincount": _bincount, "DenseBincount": _bincount, "HistogramFixedWidth": _histogram},
)
