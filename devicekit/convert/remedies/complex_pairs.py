"""Complex tensors as pairs of real ones: LiteRT transforms real signals of 2ⁿ points, and little else.

Other Fourier transforms become products with constant matrices, and what stands between works on the pairs.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, types_pb2

from devicekit.convert.remedies.emit import Emitter, Rule, as_tensor, constant_value, copied
from devicekit.convert.remedies.pairs import Pair, fourier, has_transform, product, quotient, real_inverse
from devicekit.convert.remedies.remedy import Remedy

# What LiteRT computes on complex tensors (each tried alone with TensorFlow 2.21, November 2026).
_NATIVE = frozenset(
    {"Const", "Placeholder", "Identity", "Cast", "Mul", "Square", "Reshape", "ExpandDims", "Squeeze"}
    | {"Real", "Imag", "ComplexAbs"}
)
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
# Ops that treat real and imaginary parts alike, each for itself.
_BY_PART = frozenset(
    {"Identity", "Reshape", "Transpose", "StridedSlice", "Slice", "ConcatV2", "Pad", "PadV2", "ExpandDims"}
    | {"Squeeze", "Pack", "Unpack", "Split", "SplitV", "Sum", "Mean", "AddV2", "Add", "AddN", "Sub", "Neg"}
    | {"GatherV2", "GatherNd", "Tile", "ReverseV2", "BroadcastTo", "Roll", "ZerosLike", "SelectV2", "Fill"}
    | {"MatrixDiagPartV3", "MatrixDiagV3", "MatrixBandPart", "Cumsum", "StopGradient", "EnsureShape"}
    | {"MirrorPad", "SpaceToBatchND", "BatchToSpaceND"}
)
_BILINEAR = frozenset({"Mul", "MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum"})
_OF_SHAPE = frozenset({"Shape", "Size", "Rank"})


def _recognises(ops: Sequence[Any]) -> bool:
    return any(_is_foreign(op) for op in ops)


def _is_foreign(op: Any) -> bool:
    """Tells whether an op works on complex tensors in a way that LiteRT does not know."""
    if op.type in ("RFFT", "RFFT2D"):
        return not _is_native(op)
    is_complex = any(tensor.dtype.is_complex for tensor in (*op.inputs, *op.outputs))
    return is_complex and op.type not in _NATIVE and op.type not in _CALLS


def _is_native(op: Any) -> bool:
    """Tells whether LiteRT has this RFFT or RFFT2D: of float32, and 2ⁿ points."""
    points = constant_value(op.inputs[1])
    is_known = points is not None and op.outputs[0].dtype.name == "complex64"
    return is_known and all(one > 1 and one & (one - 1) == 0 for one in points.tolist())


def _any(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
    if not any(_is_complex(value) for value in inputs):
        return None
    if op.type in _BY_PART:
        return _by_part(op, inputs)
    if op.type in _BILINEAR and len(inputs) == 2:
        return [_bilinear(op, inputs)]
    if op.type in _OF_SHAPE:
        return copied(op, [Pair.of(inputs[0]).real], _real_types(op))
    return None


def _is_complex(value: Any) -> bool:
    return isinstance(value, Pair) or value.dtype.is_complex


def _real_types(op: Any) -> dict[str, Any]:
    """Returns the attributes of an op that name complex types, with the types of the parts in their place."""
    parts = {
        types_pb2.DT_COMPLEX64: types_pb2.DT_FLOAT,
        types_pb2.DT_COMPLEX128: types_pb2.DT_DOUBLE,
    }
    return {
        name: attr_value_pb2.AttrValue(type=parts[attr.type])
        for name, attr in op.node_def.attr.items()
        if attr.type in parts
    }


def _by_part(op: Any, inputs: Sequence[Any]) -> list[Pair]:
    values = [Pair.of(value) if _is_complex(value) else value for value in inputs]
    pairs = [value for value in values if isinstance(value, Pair)]
    types = _real_types(op)
    real = copied(op, [one.real if isinstance(one, Pair) else one for one in values], types)
    if all(one.imag is None for one in pairs):
        return [Pair(one) for one in real]
    imag = copied(op, [one.imaginary() if isinstance(one, Pair) else one for one in values], types)
    return [Pair(*parts) for parts in zip(real, imag, strict=True)]


def _bilinear(op: Any, inputs: Sequence[Any]) -> Pair:
    """A product of any kind; adj_x and adj_y of matrix products mean the conjugate."""
    types = _real_types(op)
    left, right = (
        Pair.of(value).conjugate() if name in op.node_def.attr and op.get_attr(name) else Pair.of(value)
        for value, name in zip(inputs, ("adj_x", "adj_y"), strict=True)
    )
    return product(left, right, lambda x, y: copied(op, [x, y], types)[0])


def _transform(axes: int, sign: int) -> Rule:
    """FFT or IFFT over so many last axes."""

    def rule(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
        pair = Pair.of(inputs[0])
        shape = list(pair.real.shape)
        if None in shape or not all(map(has_transform, shape[-axes:])):
            return None
        for axis in range(-axes, 0):
            pair = _along(pair, axis, sign, shape[axis])
        return [_scaled(pair, math.prod(shape[-axes:])) if sign > 0 else pair]

    return rule


def _along(pair: Pair, axis: int, sign: int, points: int) -> Pair:
    swap = _swap(len(pair.real.shape), axis)
    return _transposed(fourier(_transposed(pair, swap), points, sign), swap)


def _swap(rank: int, axis: int) -> list[int]:
    """Returns the permutation that exchanges an axis, counted from the end, with the last."""
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return order


def _transposed(pair: Pair, order: Sequence[int]) -> Pair:
    is_same = list(order) == sorted(order)
    return pair if is_same else pair.each(lambda part: tf.transpose(part, order))


def _scaled(pair: Pair, divisor: int) -> Pair:
    return pair.each(lambda part: part / divisor)


def _real_transform(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
    """RFFT over the last axes, cropped to `fft_length`. LiteRT's own is kept where it suits."""
    points = constant_value(op.inputs[1])
    shape = list(inputs[0].shape)
    if points is None or _is_native(op) or None in shape or not all(map(has_transform, points)):
        return None
    *outer, last = points.tolist()
    pair = fourier(Pair(_cropped(inputs[0], points)), last, -1, last // 2 + 1)
    for axis, length in zip(range(-len(points), -1), outer, strict=True):
        pair = _along(pair, axis, -1, length)
    return [pair]


def _inverse_real_transform(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
    points = constant_value(op.inputs[1])
    pair = Pair.of(inputs[0])
    if points is None or None in list(pair.real.shape) or not all(map(has_transform, points)):
        return None
    *outer, last = points.tolist()
    pair = pair.each(lambda part: _cropped(part, [*outer, last // 2 + 1]))
    for axis, length in zip(range(-len(points), -1), outer, strict=True):
        pair = _scaled(_along(pair, axis, 1, length), length)
    return [real_inverse(pair, last)]


def _cropped(values: Any, sizes: Sequence[int]) -> Any:
    """Returns the first `sizes` values of the last axes."""
    return values[(..., *(slice(size) for size in sizes))]


def _to_complex(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
    dtype = op.outputs[0].dtype
    if _is_complex(inputs[0]):
        pair = Pair.of(inputs[0])
        return (
            [pair.each(lambda part: tf.cast(part, dtype.real_dtype))]
            if dtype.is_complex
            else [tf.cast(pair.real, dtype)]
        )
    return [Pair(tf.cast(inputs[0], dtype.real_dtype))] if dtype.is_complex else None


def _of_pair(function: Callable[[Pair], Any], *, native: bool = False) -> Rule:
    """A rule for ops of one complex tensor; of those that LiteRT knows (`native`) only where it is a Pair."""

    def rule(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
        is_concerned = isinstance(inputs[0], Pair) if native else _is_complex(inputs[0])
        return [function(Pair.of(inputs[0]))] if is_concerned else None

    return rule


def _divide(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
    if not any(map(_is_complex, inputs)):
        return None
    return [quotient(*map(Pair.of, inputs))]


def _square(pair: Pair) -> Pair:
    return product(pair, pair, tf.multiply)


def _exp(pair: Pair) -> Pair:
    size, angle = tf.exp(pair.real), pair.imaginary()
    return Pair(size * tf.cos(angle), size * tf.sin(angle))


def _angle(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
    """The angle of a pair; LiteRT's RFFT2D gives -0.0 where TensorFlow's RFFT gives 0.0: -π in place of π."""
    if not _is_complex(inputs[0]):
        return None
    pair = Pair.of(inputs[0])
    imag = pair.imaginary()
    if not isinstance(inputs[0], Pair):
        imag = tf.where(tf.equal(imag, 0), tf.zeros_like(imag), imag)
    return [tf.atan2(imag, pair.real)]


def _pair(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any]:
    real, imag = map(as_tensor, inputs)
    return [Pair(real, imag)]


REMEDY = Remedy(
    name="complex_pairs",
    does="complex tensors as pairs of real ones, Fourier transforms as products with constant matrices",
    rules={
        **{f"FFT{name}": _transform(axes, -1) for axes, name in ((1, ""), (2, "2D"), (3, "3D"))},
        **{f"IFFT{name}": _transform(axes, 1) for axes, name in ((1, ""), (2, "2D"), (3, "3D"))},
        **{f"RFFT{name}": _real_transform for name in ("", "2D", "3D")},
        **{f"IRFFT{name}": _inverse_real_transform for name in ("", "2D", "3D")},
        "Cast": _to_complex,
        "Complex": _pair,
        "Real": _of_pair(lambda pair: pair.real, native=True),
        "Imag": _of_pair(Pair.imaginary, native=True),
        "ComplexAbs": _of_pair(Pair.absolute, native=True),
        "Square": _of_pair(_square),
        "Angle": _angle,
        "Conj": _of_pair(Pair.conjugate),
        "Exp": _of_pair(_exp),
        "RealDiv": _divide,
        "Div": _divide,
        "*": _any,
    },
    recognises=_recognises,
)
