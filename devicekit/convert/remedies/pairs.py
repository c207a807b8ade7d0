"""Pair: a complex tensor as two real ones, with the arithmetic and the Fourier transform of such pairs.

Runs in the conversion child only: it imports TensorFlow.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Up to this many points a transform is one product with a matrix, beyond it steps through two factors: the
# matrix of 256 points holds 0.3 MB for real signals, of 16000 it would hold 1 GB. Longer sums round more too:
# one product of 521 points errs by 3e-6 of the largest value, steps of 400 by 8e-7 (LiteRT, November 2026).
MAX_DIRECT = 256
# A prime number of points has no factors: its matrix of this many squared complex numbers holds 32 MiB.
MAX_PRIME = 2048


@dataclass(frozen=True)
class Pair:
    """real + i·imag, tensors of one shape and dtype; `imag` is None where it is zero throughout."""

    real: Any
    imag: Any = None

    @classmethod
    def of(cls, value: Any) -> "Pair":
        """Returns a complex tensor, or what already is a Pair, as a Pair."""
        if isinstance(value, Pair):
            return value
        constant = tf.get_static_value(value)
        if constant is None:
            return cls(tf.math.real(value), tf.math.imag(value))
        imag = tf.constant(constant.imag) if constant.imag.any() else None
        return cls(tf.constant(constant.real), imag)

    def tensor(self) -> Any:
        return tf.complex(self.real, self.imaginary())

    def imaginary(self) -> Any:
        return tf.zeros_like(self.real) if self.imag is None else self.imag

    def each(self, function: Callable[[Any], Any]) -> "Pair":
        """Returns the Pair of what a linear function makes of each part."""
        return Pair(function(self.real), None if self.imag is None else function(self.imag))

    def conjugate(self) -> "Pair":
        return Pair(self.real, None if self.imag is None else -self.imag)

    def absolute(self) -> Any:
        if self.imag is None:
            return tf.abs(self.real)
        return tf.sqrt(tf.square(self.real) + tf.square(self.imag))


def product(left: Pair, right: Pair, multiply: Callable[[Any, Any], Any]) -> Pair:
    """Returns what a bilinear function of real tensors, as `multiply` is, makes of two Pairs."""
    if left.imag is None:
        return right.each(lambda part: multiply(left.real, part))
    if right.imag is None:
        return left.each(lambda part: multiply(part, right.real))
    real = multiply(left.real, right.real) - multiply(left.imag, right.imag)
    return Pair(real, multiply(left.real, right.imag) + multiply(left.imag, right.real))


def quotient(left: Pair, right: Pair) -> Pair:
    if right.imag is None:
        return left.each(lambda part: part / right.real)
    size = tf.square(right.real) + tf.square(right.imag)
    return product(left, right.conjugate(), tf.multiply).each(lambda part: part / size)


def has_transform(points: int) -> bool:
    """Tells whether a transform of so many points can be made: its largest prime factor is small enough."""
    return points >= 1 and (points <= MAX_DIRECT or _primes(points)[-1] <= MAX_PRIME)


def fourier(pair: Pair, points: int, sign: int, bins: int | None = None) -> Pair:
    """Returns the sums of x[j]·exp(sign·2πi·j·k/points) over the last axis, for k below `bins` (None: all).

    Beyond MAX_DIRECT points in steps: with points = n1·n2, j = n2·j1 + j2 and k = k1 + n1·k2, transforms over
    j1, a product with exp(sign·2πi·j2·k1/points), and transforms over j2 (Cooley and Tukey, Math. Comp. 19,
    1965).
    """
    bins = points if bins is None else bins
    first = _first_factor(points)
    if first == 1:
        return _times(pair, roots(points, sign)[:, :bins])
    second = points // first
    outer = list(pair.real.shape)[:-1]
    swap = [*range(len(outer)), len(outer) + 1, len(outer)]

    def swapped(part: Any) -> Any:
        return tf.transpose(part, swap)

    columns = pair.each(lambda part: swapped(tf.reshape(part, [*outer, first, second])))
    columns = fourier(columns, first, sign)
    twisted = product(columns, _constant(_twists(first, second, sign), pair), tf.multiply)
    rows = fourier(twisted.each(swapped), second, sign)
    return rows.each(lambda part: tf.reshape(swapped(part), [*outer, points])[..., :bins])


def real_inverse(pair: Pair, points: int) -> Any:
    """Returns the `points` real values whose transform starts with `pair`, which holds points // 2 + 1 bins.

    Each bin but frequency 0 and, of even `points`, the highest stands for its mirror image too. Imaginary
    parts of these two count for nothing, as in TensorFlow.
    """
    bins = points // 2 + 1
    weights = np.full(bins, 2 / points)
    weights[[0] if points % 2 else [0, -1]] = 1 / points
    if _first_factor(points) == 1:
        matrix = weights[:, None] * roots(points, 1)[:bins]
        if pair.imag is None:
            return _matmul(pair.real, matrix.real)
        return _matmul(tf.concat([pair.real, pair.imag], -1), np.concatenate([matrix.real, -matrix.imag]))
    behind = [*([0, 0] for _ in pair.real.shape[1:]), [0, points - bins]]
    weighted = product(pair, _constant(weights, pair), tf.multiply)
    return fourier(weighted.each(lambda part: tf.pad(part, behind)), points, 1).real


def roots(points: int, sign: int) -> NDArray[Any]:
    """Returns exp(sign·2πi·j·k/points) as complex128 [points, points]."""
    turns = np.outer(np.arange(points), np.arange(points)) % points / points
    # What is zero comes out as 1e-16: it would turn the angle of a negative number into -π.
    return np.asarray(np.round(np.exp(sign * 2j * np.pi * turns), 15) + 0.0)


def _twists(first: int, second: int, sign: int) -> NDArray[Any]:
    """Returns exp(sign·2πi·j·k/(first·second)) for j < second, k < first: complex128 [second, first]."""
    turns = np.outer(np.arange(second), np.arange(first)) / (first * second)
    return np.asarray(np.exp(sign * 2j * np.pi * turns))


def _times(pair: Pair, matrix: NDArray[Any]) -> Pair:
    """Returns the matrix product of a Pair [..., n] with a complex128 [n, m]: one product of real ones."""
    both = np.concatenate([matrix.real, matrix.imag], 1)
    if pair.imag is None:
        return Pair(*tf.split(_matmul(pair.real, both), 2, -1))
    real, imag = tf.unstack(_matmul(tf.stack([pair.real, pair.imag]), both))
    (real_cosines, real_sines), (imag_cosines, imag_sines) = tf.split(real, 2, -1), tf.split(imag, 2, -1)
    return Pair(real_cosines - imag_sines, real_sines + imag_cosines)


def _matmul(values: Any, matrix: NDArray[Any]) -> Any:
    """Returns the product of a tensor [..., n] with a matrix [n, m], as one of two axes: FULLY_CONNECTED."""
    outer = list(values.shape)[:-1]
    rows = tf.reshape(values, [math.prod(outer), matrix.shape[0]])
    return tf.reshape(tf.matmul(rows, tf.constant(matrix, values.dtype)), [*outer, matrix.shape[1]])


def _constant(values: NDArray[Any], like: Pair) -> Pair:
    dtype = like.real.dtype
    return Pair(
        tf.constant(values.real, dtype),
        tf.constant(values.imag, dtype) if np.iscomplexobj(values) else None,
    )


def _primes(number: int) -> Sequence[int]:
    """Returns the prime factors of a number in ascending order; [1] for 1."""
    found, factor = [], 2
    while factor * factor <= number:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return [*found, number] if number > 1 or not found else found


def _first_factor(points: int) -> int:
    """Returns the first of two factors to take a transform in; 1 where one matrix does."""
    if points <= MAX_DIRECT:
        return 1
    return max(one for one in range(1, math.isqrt(points) + 1) if points % one == 0)
