"""Loops whose lists have sizes that depend on the batch: for a batch of 1 they become constants.

A SavedModel was traced for any batch: the converter refuses its RNNs ("element_shape to be static"). Building
the graph anew for a batch of 1 makes computed sizes constants (emit.folded); what was left open is the batch.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, constant_value, copied
from devicekit.convert.remedies.remedy import Remedy


def _with_batch_of_one(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    position = [argument.name for argument in op.op_def.input_arg].index("element_shape")
    dims = constant_value(inputs[position])
    if dims is None or not dims.ndim or dims[0] != -1:
        return copied(op, inputs)
    fixed = tf.constant([1, *dims[1:]], inputs[position].dtype)
    return copied(op, [*inputs[:position], fixed, *inputs[position + 1 :]])


def _is_open(ops: Sequence[Any]) -> bool:
    """Returns whether there are lists, and functions that were traced for any batch."""
    has_lists = any(op.type == "TensorListReserve" for op in ops)
    arguments = [op.outputs[0].shape for op in ops if op.type == "Placeholder"]
    return has_lists and any(shape.rank and shape[0] is None for shape in arguments)


REMEDY = Remedy(
    name="fixed_sizes",
    does="sizes that depend on the batch as constants, for a batch of 1",
    rules={"TensorListReserve": _with_batch_of_one, "TensorListStack": _with_batch_of_one},
    recognises=_is_open,
)
