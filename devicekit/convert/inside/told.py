"""What a traced model's first steps tell of its inputs' ranges. Runs in the conversion child only."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import called_function, captures_of, constant_value
from devicekit.graph.layers import Layers
from devicekit.graph.told import Step, Told, told_by

_PASSING = frozenset({"Identity", "StopGradient", "Reshape", "ExpandDims", "Squeeze"})
_PASSING |= {"ResizeBilinear", "ResizeNearestNeighbor", "ReverseV2", "StridedSlice"}
# They change the order of channels, or leave some out.
_TURNING = frozenset({"ReverseV2", "StridedSlice"})
_KINDS = {"Mul": "mul", "Add": "add", "AddV2": "add", "BiasAdd": "add", "Sub": "sub", "RealDiv": "div"}
# They read a tensor's size alone.
_OF_SIZES = frozenset({"Shape", "Size", "Rank"})
_MOST_STEPS = 12


def told_of(function: Any, layers: Layers) -> dict[str, Told]:
    """Returns the ranges that a concrete function tells of its float inputs, by their names."""
    found = {}
    for spec, tensor in zip(function.structured_input_signature[0], function.graph.inputs, strict=False):
        steps = list(_steps(tensor, captures_of(function))) if tensor.dtype.is_floating else []
        if not steps:
            continue
        name = steps[0][1].name
        told = told_by([step for step, _, _ in steps], layers.label(layers.of_op(name)) or name)
        is_turned = any(turned for _, _, turned in steps)
        if told is not None and (told.is_exact or not is_turned):
            found[spec.name] = told
    return found


def _steps(tensor: Any, outer: dict[Any, Any]) -> Iterator[tuple[Step, Any, bool]]:
    """Yields the steps behind `tensor`, as long as one op alone reads it.

    Each with its op, and whether the channels are in another order by then, or fewer.
    `outer` maps placeholders to what they stand for outside: a variable, a constant, a tensor of the caller.
    """
    turned = False
    for _ in range(_MOST_STEPS):
        readers = [op for op in tensor.consumers() if op.type not in _OF_SIZES]
        if len(readers) != 1:
            return
        [op] = readers
        place = next(i for i, one in enumerate(op.inputs) if one is tensor)
        inner = called_function(op)
        if inner is not None:
            outer = {**outer, **dict(zip(map(_ref, inner.graph.inputs), op.inputs, strict=True))}
            tensor = inner.graph.inputs[place]
            continue
        if op.type in _KINDS:
            constant = _constant(op.inputs[1 - place], outer)
            if constant is None or (place == 1 and op.type in ("Sub", "RealDiv")):
                return
            yield Step(_KINDS[op.type], constant), op, turned
        elif op.type not in _PASSING or place:
            return
        turned = turned or op.type in _TURNING
        tensor = op.outputs[0]


def _ref(tensor: Any) -> Any:
    return tensor.ref()


def _constant(tensor: Any, outer: dict[Any, Any]) -> Any:
    """Returns the floats that a tensor always holds; None where it depends on what goes in, or is learned."""
    if tensor.dtype not in (tf.float32, tf.float64):
        return None
    while tensor.ref() in outer:
        tensor = outer[tensor.ref()]
        if hasattr(tensor, "numpy"):
            return tensor.numpy()
    return constant_value(tensor)
