"""Trigonometric and hyperbolic functions: LiteRT has sin, cos, atan2, exp and log, and the rest follows."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, Rule
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


def _elementwise(function: Callable[[Any], Any]) -> Rule:
    def rule(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
        return [function(inputs[0])] if inputs[0].dtype.is_floating else None

    return rule


REMEDY = Remedy(
    name="trigonometry",
    does="trigonometric and hyperbolic functions by sin, cos, atan2, exp and log",
    rules={
        "Tan": _elementwise(_tan),
        "Asin": _elementwise(_asin),
        "Acos": _elementwise(_acos),
        "Atan": _elementwise(_atan),
        "Sinh": _elementwise(_sinh),
        "Cosh": _elementwise(_cosh),
        "Asinh": _elementwise(_asinh),
        "Acosh": _elementwise(_acosh),
        "Atanh": _elementwise(_atanh),
    },
)
