"""GELU in any order of its factors: the converter knows it in one, as (x/2)·(1 + erf(x/√2)).

As BERT's authors wrote it, x·((1 + erf(x/√2))/2), it would need an erf, which LiteRT has no kernel for.
"""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, constant_value
from devicekit.convert.remedies.remedy import Remedy


def _product(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """In place of the last product. The inner ones are left to nobody, so that they vanish."""
    if not all(isinstance(value, tf.Tensor) for value in inputs):
        return None
    factor, leaves = _divided(*inputs) if op.type == "RealDiv" else _multiplied(*inputs)
    sums = [leaf for leaf in leaves if _erf_of_sum(leaf) is not None]
    if len(sums) != 1 or _is_known(op, inputs):
        return None
    rest = [leaf for leaf in leaves if leaf is not sums[0]]
    scale, arguments = _factors(_erf_of_sum(sums[0]))
    is_same = sorted(one.name for one in rest) == sorted(one.name for one in arguments)
    if len(rest) != 1 or not is_same or not math.isclose(factor, 0.5) or not _is_root_of_half(scale):
        return None
    return [tf.nn.gelu(rest[0])]


def _is_known(op: Any, inputs: Sequence[Any]) -> bool:
    """Tells whether this product is as the converter wants it."""
    return op.type == "Mul" and inputs[1].op.type == "AddV2" and _factors(inputs[0])[0] == 0.5


def _is_root_of_half(scale: float) -> bool:
    return math.isclose(scale, math.sqrt(0.5), rel_tol=1e-6)


def _erf_of_sum(tensor: Any) -> Any:
    """Returns the argument of erf where the tensor is 1 + erf(…), else None."""
    if tensor.op.type not in ("AddV2", "Add"):
        return None
    for one, other in (tensor.op.inputs, reversed(tensor.op.inputs)):
        if other.op.type == "Erf" and scalar(one) == 1:
            return other.op.inputs[0]
    return None


def _factors(tensor: Any) -> tuple[float, list[Any]]:
    """Returns a number and tensors whose product the tensor is."""
    op = tensor.op
    if op.type == "Identity":
        return _factors(op.inputs[0])
    if op.type == "RealDiv":
        return _divided(*op.inputs) if scalar(op.inputs[1]) else (1.0, [tensor])
    return _multiplied(*op.inputs) if op.type == "Mul" else (1.0, [tensor])


def _multiplied(*tensors: Any) -> tuple[float, list[Any]]:
    factor = 1.0
    leaves: list[Any] = []
    for tensor in tensors:
        value = scalar(tensor)
        one, more = _factors(tensor) if value is None else (value, [])
        factor, leaves = factor * one, [*leaves, *more]
    return factor, leaves


def _divided(tensor: Any, divisor: Any) -> tuple[float, list[Any]]:
    factor, leaves = _factors(tensor)
    value = scalar(divisor)
    return (factor / value, leaves) if value else (math.nan, [])


def scalar(tensor: Any) -> float | None:
    """Returns the value of a constant of one element; None of anything else."""
    value = constant_value(tensor)
    return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


def _has_erf(ops: Sequence[Any]) -> bool:
    return any(op.type == "Erf" for op in ops)


REMEDY = Remedy(
    name="gelu",
    does="GELU with its factors in the order that the converter knows",
    rules={"Mul": _product, "RealDiv": _product},
    recognises=_has_erf,
)
