"""Cumprod: LiteRT has no kernel for it. Products of 2, 4, 8, … neighbours are taken in log2(n) steps."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, constant_value
from devicekit.convert.remedies.remedy import Remedy


def _cumprod(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """After the step of width w each element is the product of the 2·w up to it (Hillis and Steele, 1986)."""
    values, axis = inputs[0], constant_value(inputs[1])
    if axis is None or not values.shape.is_fully_defined():
        return None
    axis = int(axis) % values.shape.rank
    length, is_reverse = values.shape[axis], op.get_attr("reverse")
    if is_reverse:
        values = tf.reverse(values, [axis])
    if op.get_attr("exclusive"):
        values = _later(values, axis, min(1, length))
    width = 1
    while width < length:
        values *= _later(values, axis, width)
        width *= 2
    return [tf.reverse(values, [axis]) if is_reverse else values]


def _later(values: Any, axis: int, steps: int) -> Any:
    """Returns the values moved on by some steps along an axis, with ones in front."""
    length = values.shape[axis]
    kept = tf.split(values, [length - steps, steps], axis)[0]
    front = [*values.shape]
    front[axis] = steps
    return tf.concat([tf.ones(front, values.dtype), kept], axis)


REMEDY = Remedy(
    name="cumulative_product",
    does="Cumprod by log2(n) products of neighbours",
    rules={"Cumprod": _cumprod},
)
