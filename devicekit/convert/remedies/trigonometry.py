"""Trigonometric and hyperbolic functions: LiteRT has sin, cos, atan2, exp and log, and the rest follows."""

from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import of_floats
from devicekit.convert.remedies.remedy import Remedy


def _tan(x: Any) -> Any:
    return tf.sin(x) / tf.cos(x)


def _asin(x: Any) -> Any:
    return tf.atan2(x, tf.sqrt((1 - x) * (1 + x)))


def _acos(x: Any) -> Any:
    return tf.atan2(tf.sqrt((1 - x) * (1 + x)), x)


def _atan(x: Any) -> Any:
    return tf.atan2(x, tf.ones_like(x))


def _sinh(x: Any) -> Any:
    """Of the square root of eˣ, which is finite wherever the result is."""
    root = tf.exp(x / 2)
    return 0.5 * root * root - 0.5 / root / root


def _cosh(x: Any) -> Any:
    root = tf.exp(x / 2)
    return 0.5 * root * root + 0.5 / root / root


def _asinh(x: Any) -> Any:
    size = tf.abs(x)
    return tf.sign(x) * tf.math.log(size + tf.sqrt(size * size + 1))


def _acosh(x: Any) -> Any:
    return tf.math.log(x + tf.sqrt((x - 1) * (x + 1)))


def _atanh(x: Any) -> Any:
    return tf.math.log((1 + x) / (1 - x)) / 2


REMEDY = Remedy(
    name="trigonometry",
    does="trigonometric and hyperbolic functions by sin, cos, atan2, exp and log",
    rules={
        "Tan": of_floats(_tan),
        "Asin": of_floats(_asin),
        "Acos": of_floats(_acos),
        "Atan": of_floats(_atan),
        "Sinh": of_floats(_sinh),
        "Cosh": of_floats(_cosh),
        "Asinh": of_floats(_asinh),
        "Acosh": of_floats(_acosh),
        "Atanh": of_floats(_atanh),
    },
)
