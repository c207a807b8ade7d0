"""Ops that others of LiteRT's express exactly: bits, remainders, norms, subtraction in places."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, constant_value
from devicekit.convert.remedies.remedy import Remedy


def _both_bits(left: Any, right: Any) -> Any:
    """left & right: a sum counts the bits of both twice, and left ^ right not at all.

    Without their last bits, so that the sum cannot overflow: what it counts twice is in place then.
    """
    a, b = (tf.bitwise.right_shift(value, tf.ones_like(value)) for value in (left, right))
    return a + b - tf.bitwise.bitwise_xor(a, b) + (left - 2 * a) * (right - 2 * b)


def _and(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    return [_both_bits(*inputs)] if inputs[0].dtype == tf.int32 else None


def _or(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    if inputs[0].dtype != tf.int32:
        return None
    return [tf.bitwise.bitwise_xor(*inputs) + _both_bits(*inputs)]


def _invert(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    if inputs[0].dtype not in (tf.int8, tf.int16, tf.int32):
        return None
    return [tf.bitwise.bitwise_xor(inputs[0], tf.constant(-1, inputs[0].dtype))]


def _left_shift(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    steps = constant_value(inputs[1])
    if inputs[0].dtype != tf.int32 or steps is None or (steps < 0).any() or (steps > 30).any():
        return None
    return [inputs[0] * tf.constant(np.left_shift(1, steps), tf.int32)]


def _truncated_remainder(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """The remainder with the sign of the dividend, where LiteRT's has the divisor's."""
    left, right = inputs
    if left.dtype not in (tf.float32, tf.int32):
        return None
    return [tf.sign(left) * tf.math.floormod(tf.abs(left), tf.abs(right))]


def _norm(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    axes = constant_value(inputs[1])
    if axes is None or not inputs[0].dtype.is_floating:
        return None
    return [tf.sqrt(tf.reduce_sum(tf.square(inputs[0]), axes.tolist(), keepdims=op.get_attr("keep_dims")))]


def _scatter_sub(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    values, indices, updates = inputs
    return [tf.tensor_scatter_nd_add(values, indices, -updates)]


REMEDY = Remedy(
    name="arithmetic",
    does="bits, remainders and norms by other arithmetic",
    rules={
        "BitwiseAnd": _and,
        "BitwiseOr": _or,
        "EuclideanNorm": _norm,
        "Invert": _invert,
        "LeftShift": _left_shift,
        "TensorScatterSub": _scatter_sub,
        "TruncateMod": _truncated_remainder,
    },
)
