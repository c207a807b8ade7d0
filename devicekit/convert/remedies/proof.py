"""Proves that a rewritten model computes what the given one does: both run on random and edge inputs.

Runs in the conversion child only: it imports TensorFlow.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from devicekit.convert.remedies.remedy import ROUNDING_STEPS, NotApplicable
from devicekit.convert.remedies.variables import from_the_beginning

Feed = Sequence[NDArray[Any]]

SEED = 2026
RANDOM_FEEDS = 3
# A difference counts against the output's largest value on the same inputs, or against this share of its
# largest on any: where all that comes out is rounding, only rounding can differ.
FLOOR = 1e-3
# Ranges of floats that people feed: prepared images, standardised values, plain pixels.
_FLOAT_RANGES = ((0.0, 1.0), (-3.0, 3.0), (0.0, 255.0))
_INTEGERS = tuple(range(10))
# Where a model takes the logarithm or the angle of what is nothing but rounding (a spectrogram of a constant
# signal), no two ways to compute it agree. A difference of more than this share does not count where inputs
# that differ in their last bit alone change the given model's output by a tenth of it or more: of log-mel
# spectrograms they change it by 0.02, the rewrite by 0.07, and on random signals by 2e-7 (November 2026).
ROUNDING = 1e-5
SHARE_OF_ROUNDING = 0.1


def difference(given: Any, rewritten: Any, keys: Sequence[int] = (), *, step: float = 0.0) -> float:
    """Returns max|rewritten - given| / max|given|, the worst of all outputs and inputs; inf: not the same.

    `keys` are integers that matter to the model, such as those of its lookup tables. `step` is that of the
    half type in which the given model computes, 0 for none. Raises NotApplicable where the given model runs
    on none of the inputs.
    """
    specs = given.structured_input_signature[0]
    results = _both(given, rewritten, feeds(specs, keys))
    if not results:
        raise NotApplicable("the model runs on no inputs that could be drawn")
    largest: dict[str, float] = {}
    for _, expected, _ in results:
        for name, values in expected.items():
            largest[name] = max(largest.get(name, 0.0), size(values))
    negligible = max(ROUNDING, ROUNDING_STEPS * step)
    found: list[float] = []
    for feed, expected, actual in results:
        for name, values in expected.items():
            floor = FLOOR * largest[name]
            error = distance(values, actual[name], floor=floor) if name in actual else np.inf
            is_rounding = negligible < error < np.inf and SHARE_OF_ROUNDING * error <= distance(
                values, _alone(given, _nudged(feed, step))[name], floor=floor
            )
            found.extend([] if is_rounding else [error])
    if not found:
        raise NotApplicable("rounding decides its outputs on all inputs that could be drawn")
    return max(found)


def distance(expected: NDArray[Any], actual: NDArray[Any], *, floor: float) -> float:
    """Returns max|actual - expected| over the larger of max|expected| and `floor`; inf where they are others.

    What is not a float must be equal; what is not finite must be so in both.
    """
    if expected.shape != actual.shape:
        return np.inf
    if expected.dtype.kind not in "fc" or actual.dtype.kind not in "fc":
        return 0.0 if np.array_equal(expected, actual) else np.inf
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(actual)):
        return np.inf
    wanted, found = (np.where(finite, values, 0).astype(np.complex128) for values in (expected, actual))
    error = float(np.abs(found - wanted).max(initial=0.0))
    return error / (max(size(wanted), floor) or 1.0)


def feeds(specs: Sequence[Any], keys: Sequence[int] = ()) -> Iterator[Feed]:
    """Yields inputs for tf.TensorSpecs: random ones of several ranges, then zeros, ones and -1."""
    generator = np.random.default_rng(SEED)
    for number in range(RANDOM_FEEDS):
        low, high = _FLOAT_RANGES[number % len(_FLOAT_RANGES)]
        yield [_drawn(generator, spec, low, high, keys) for spec in specs]
    for value in (0, 1, -1):
        yield [_filled(spec, value) for spec in specs]


def _drawn(generator: Any, spec: Any, low: float, high: float, keys: Sequence[int]) -> NDArray[Any]:
    shape, dtype = tuple(spec.shape), spec.dtype.as_numpy_dtype
    if spec.dtype.is_floating:
        return np.asarray(generator.uniform(low, high, shape)).astype(dtype)
    if spec.dtype.is_complex:
        return np.asarray(generator.normal(size=shape) + 1j * generator.normal(size=shape)).astype(dtype)
    pool = np.array([*_INTEGERS, *keys][-1000:], np.int64)
    return np.asarray(generator.choice(pool, shape)).astype(dtype)


def _nudged(feed: Feed, step: float) -> Feed:
    """Returns inputs whose floats differ in their last bit, or by `step` if that is more, up or down."""
    generator = np.random.default_rng(SEED)

    def moved(values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype.kind not in "fc":
            return values
        steps = generator.choice([-1, 1], values.shape) * max(step, np.finfo(values.dtype).eps)
        return np.asarray(values * (1 + steps)).astype(values.dtype)

    return [moved(values) for values in feed]


def _filled(spec: Any, value: int) -> NDArray[Any]:
    dtype = spec.dtype.as_numpy_dtype
    is_signed = spec.dtype.is_floating or spec.dtype.is_complex or np.issubdtype(dtype, np.signedinteger)
    return np.full(tuple(spec.shape), value if is_signed else abs(value), dtype)


def _both(
    given: Any, rewritten: Any, inputs: Iterator[Feed]
) -> list[tuple[Feed, Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]]:
    """Returns inputs and the outputs of both, but for what the given model refuses (an index out of range).

    Each takes all inputs in a row from its first state, so that one which keeps a state is compared with it.
    """
    taken = []
    with from_the_beginning(given, rewritten):
        for feed in inputs:
            with suppress(tf.errors.InvalidArgumentError):
                taken.append((feed, run(given, feed)))
    with from_the_beginning(given, rewritten):
        return [(feed, expected, run(rewritten, feed)) for feed, expected in taken]


def _alone(function: Any, feed: Feed) -> dict[str, NDArray[Any]]:
    with from_the_beginning(function):
        return run(function, feed)


def run(function: Any, feed: Feed) -> dict[str, NDArray[Any]]:
    """Returns the outputs of a concrete function, half precision as float32."""
    specs = function.structured_input_signature[0]
    tensors = [
        tf.constant(value.astype(spec.dtype.as_numpy_dtype)) for value, spec in zip(feed, specs, strict=True)
    ]
    return {name: wide(value.numpy()) for name, value in function(*tensors).items()}


def wide(values: Any) -> NDArray[Any]:
    """Returns half precision as float32: numpy knows no bfloat16."""
    array = np.asarray(values)
    return array.astype(np.float32) if array.dtype.itemsize == 2 and array.dtype.kind in "fV" else array


def size(values: NDArray[Any]) -> float:
    """Returns the largest finite value of an array of floats, without its sign; 0 where there is none."""
    if values.dtype.kind not in "fc" or not values.size:
        return 0.0
    return float(np.abs(np.where(np.isfinite(values), values, 0)).max(initial=0.0))
