"""Ops that only move elements (diagonals, image patches): LiteRT has no kernel; they become a GATHER.

Where each element comes from is found by running the op itself on the elements' numbers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from devicekit.convert.remedies.emit import Emitter, constant_value
from devicekit.convert.remedies.remedy import Remedy

# An index of four bytes per element that the op gives: 16 MiB at most.
MAX_ELEMENTS = 2**22


def _matrix(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """Diagonals put into a matrix or taken out of it, with a constant in the places that nothing goes to.

    Of constants, as in tf.eye, the converter makes a constant.
    """
    if constant_value(inputs[0]) is not None:
        return None
    names = [argument.name for argument in op.op_def.input_arg[1:]]
    constants = {name: constant_value(value) for name, value in zip(names, inputs[1:], strict=True)}
    padding = constants.pop("padding_value", 0)
    if padding is None or any(value is None for value in constants.values()):
        return None
    return _moved(op, inputs[0], list(inputs[0].shape), constants, padding=padding)


def _patches(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """[batch, height, width, channels] -> [batch, rows, columns, size·channels]; pixels move as a whole."""
    block = _block(op, inputs[0])
    if block:
        return [tf.nn.space_to_depth(inputs[0], block)]
    return _moved(op, inputs[0], [*inputs[0].shape[:-1], 1], {})


def _block(op: Any, images: Any) -> int | None:
    """Returns the side of square patches that lie side by side and cover the images, else None."""
    sizes, strides = op.get_attr("ksizes"), op.get_attr("strides")
    if (
        op.type != "ExtractImagePatches"
        or sizes != strides
        or any(rate != 1 for rate in op.get_attr("rates"))
    ):
        return None
    _, height, width, _ = sizes
    is_square = height == width > 1 and None not in images.shape
    covers = is_square and images.shape[1] % height == 0 and images.shape[2] % width == 0
    return height if covers else None


def _moved(
    op: Any, values: Any, numbered: list[int | None], constants: Mapping[str, Any], *, padding: Any = 0
) -> list[Any] | None:
    """Returns the op's output as a GATHER from `values`, whose elements stand in the shape `numbered`.

    Where that has fewer elements than `values`, each stands for the last axis.
    """
    count, results = values.shape.num_elements(), op.outputs[0].shape.num_elements()
    if count is None or None in numbered or results is None or results > MAX_ELEMENTS:
        return None
    places = math.prod(one or 0 for one in numbered)
    index = _sources(op, places, numbered, constants)
    rows = tf.reshape(values, [places, count // places])
    if (index < 0).any():
        rows = tf.concat([rows, tf.fill([1, count // places], tf.cast(padding, rows.dtype))], 0)
        index[index < 0] = places
    return [tf.reshape(tf.gather(rows, index), op.outputs[0].shape)]


def _sources(op: Any, places: int, shape: Sequence[int | None], constants: Mapping[str, Any]) -> NDArray[Any]:
    """Returns the number of the element that comes to each place, -1 where none does: int32, flat."""
    attributes = {
        attr.name: op.get_attr(attr.name) for attr in op.op_def.attr if attr.name not in ("T", "Tpaddings")
    }
    numbers = np.reshape(np.arange(1, places + 1, dtype=np.int64), [one or 0 for one in shape])
    first = op.op_def.input_arg[0].name
    if any(argument.name == "padding_value" for argument in op.op_def.input_arg):
        constants = {**constants, "padding_value": np.int64(0)}
    with tf.init_scope():
        moved = getattr(tf.raw_ops, op.type)(**{first: tf.constant(numbers)}, **constants, **attributes)
        return np.asarray(moved.numpy().reshape(-1) - 1, np.int32)


REMEDY = Remedy(
    name="rearrangement",
    does="diagonals and image patches as a GATHER with constant indices",
    rules={
        "Diag": _matrix,
        "DiagPart": _matrix,
        "ExtractImagePatches": _patches,
        "ExtractVolumePatches": _patches,
        "MatrixDiagPart": _matrix,
        "MatrixDiagPartV2": _matrix,
        "MatrixDiagPartV3": _matrix,
        "MatrixDiagV2": _matrix,
        "MatrixDiagV3": _matrix,
    },
)
