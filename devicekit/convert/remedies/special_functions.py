"""The error function, its inverse, and the digamma function, by polynomials: LiteRT has no kernels for them.

A GELU of the usual form is left alone: the converter knows it. The coefficients were fitted to float64 values
(least squares, reweighted towards the largest relative error); each states the error in float32.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import Rule, of_floats
from devicekit.convert.remedies.gelu import scalar
from devicekit.convert.remedies.remedy import Remedy

# erf(x) = x·P(x²)/Q(x²) for |x| <= 3.95, beyond it ±1: within 4e-7 of erf(x).
_ERF_LIMIT = 3.95
_ERF_ABOVE = (
    *(1.1283791065216064, 0.19153423607349396, 0.052872247993946075, 0.0038071884773671627),
    *(0.00028461834881454706, 2.0254115042916965e-06),
)
_ERF_BELOW = (
    *(1.0, 0.5030754804611206, 0.11455200612545013, 0.015053165145218372, 0.001170401694253087),
    3.7823007005499676e-05,
)
# erfinv(x) = x·P(w - 2.5) for w = -ln(1 - x²) < 5, x·P(√w - 3) beyond: within 4e-7 of erfinv(x).
_ERFINV_BORDER = 5.0
_ERFINV_NEAR = (
    *(1.50140949, 0.246640554, -0.00417812713, -0.00125352714, 0.000218943345, -4.43679175e-06),
    *(-3.61111355e-06, 3.45567705e-07, 3.43974021e-08),
)
_ERFINV_FAR = (
    *(2.83297746, 1.00167742, 0.00942803121, -0.0076553749, 0.00579939477, -0.00358207466),
    *(0.00122325423, 2.53514908e-05, -0.000109604858),
)
# The asymptotic series of digamma holds to 3e-9 from here on (Abramowitz and Stegun, 6.3.18); smaller x are
# moved there by digamma(x) = digamma(x + 1) - 1/x.
_DIGAMMA_STEPS = 6


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """Returns c0 + c1·x + c2·x² + …"""
    result: Any = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


def _erf(x: Any) -> Any:
    inside = tf.clip_by_value(x, -_ERF_LIMIT, _ERF_LIMIT)
    square = inside * inside
    ratio = _polynomial(_ERF_ABOVE, square) / _polynomial(_ERF_BELOW, square)
    return tf.clip_by_value(inside * ratio, -1, 1)


def _erfc(x: Any) -> Any:
    return 1 - _erf(x)


def _erfinv(x: Any) -> Any:
    return _erfinv_of(x, -tf.math.log((1 - x) * (1 + x)))


def _ndtri(p: Any) -> Any:
    """The quantile of the normal distribution, √2·erfinv(2p - 1); w is taken of p, as it may be small."""
    return math.sqrt(2) * _erfinv_of(2 * p - 1, -tf.math.log(4 * p * (1 - p)))


def _erfinv_of(x: Any, w: Any) -> Any:
    """Returns erfinv(x) for w = -ln(1 - x²); infinite at ±1, NaN beyond.

    Infinity is the result of a division, as the converter writes the constant as 3.4e38.
    """
    near = _polynomial(_ERFINV_NEAR, w - 2.5)
    far = _polynomial(_ERFINV_FAR, tf.sqrt(tf.maximum(w, _ERFINV_BORDER)) - 3)
    result = x * tf.where(w < _ERFINV_BORDER, near, far)
    size = tf.abs(x)
    return tf.where(tf.equal(size, 1), x / (1 - size), result)


def _digamma(x: Any) -> Any:
    """By digamma(1 - x) - digamma(x) = π/tan(πx) for x up to 0; not finite where its poles are."""
    is_mirrored = x <= 0
    positive = tf.where(is_mirrored, 1 - x, x)
    large = positive + _DIGAMMA_STEPS
    inverse = 1 / (large * large)
    result = tf.math.log(large) - 0.5 / large - inverse * (1 / 12 - inverse * (1 / 120 - inverse / 252))
    for step in range(_DIGAMMA_STEPS):
        result -= 1 / (positive + step)
    turns = math.pi * (x - tf.round(x))
    return tf.where(is_mirrored, result - math.pi * tf.cos(turns) / tf.sin(turns), result)


def _elementwise(function: Callable[[Any], Any]) -> Rule:
    rule = of_floats(function)
    return lambda op, inputs, emitter: None if _is_in_gelu(op) else rule(op, inputs, emitter)


def _is_in_gelu(op: Any) -> bool:
    """Tells whether the converter will make a GELU of this: (x/2)·(1 + erf(x/√2)), or (x/2)·erfc(-x/√2).

    In this order: of six others that were tried (November 2026) it knows none.
    """
    factor = _consumer(op, "Mul")
    if op.type == "Erf":
        sum_of_one = _consumer(op, "AddV2")
        if sum_of_one is None or 1 not in (scalar(value) for value in sum_of_one.inputs):
            return False
        factor = _consumer(sum_of_one, "Mul")
    if op.type not in ("Erf", "Erfc") or factor is None or factor.inputs[1].op not in (op, *_users(op)):
        return False
    half, of_half = _scaled(factor.inputs[0])
    root, of_root = _scaled(op.inputs[0])
    wanted = math.sqrt(0.5) if op.type == "Erf" else -math.sqrt(0.5)
    return of_half is of_root and half == 0.5 and math.isclose(root, wanted, rel_tol=1e-6)


def _users(op: Any) -> list[Any]:
    return list(op.outputs[0].consumers())


def _consumer(op: Any, kind: str) -> Any:
    """Returns the only op that takes this one's output, where it is of that kind."""
    users = _users(op)
    return users[0] if len(users) == 1 and users[0].type == kind else None


def _scaled(tensor: Any) -> tuple[float, Any]:
    """Returns a factor and what it is multiplied with to give the tensor."""
    factor = 1.0
    while tensor.op.type in ("Mul", "RealDiv", "Neg", "Identity"):
        op = tensor.op
        scalars = [scalar(value) for value in op.inputs]
        if op.type in ("Neg", "Identity"):
            factor, tensor = factor * (-1 if op.type == "Neg" else 1), op.inputs[0]
        elif scalars[1] is not None:
            factor, tensor = factor * (scalars[1] if op.type == "Mul" else 1 / scalars[1]), op.inputs[0]
        elif scalars[0] is not None and op.type == "Mul":
            factor, tensor = factor * scalars[0], op.inputs[1]
        else:
            break
    return factor, tensor


REMEDY = Remedy(
    name="special_functions",
    does="erf, erfc, their inverses and digamma by polynomials",
    rules={
        "Digamma": _elementwise(_digamma),
        "Erf": _elementwise(_erf),
        "Erfc": _elementwise(_erfc),
        "Erfinv": _elementwise(_erfinv),
        "Ndtri": _elementwise(_ndtri),
    },
)
