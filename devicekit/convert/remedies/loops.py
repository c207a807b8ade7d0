"""Loops of a known number of steps, such as a GRU over a fixed time axis: written out step by step.

A loop (WHILE) runs in float and with dynamic_int8, but nothing quantizes it statically: litert-quantizer
refuses, and the TensorFlow converter's calibration crashes (2.14 to 2.21, November 2026). Lists of tensors,
which carry a loop's inputs and outputs, become the tensors themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, constant_value
from devicekit.convert.remedies.remedy import NotApplicable, Remedy

# Every step adds its ops to the file: more steps would cost more storage than static quantization saves.
MAX_STEPS = 32
MAX_OPS = 4000
# In the names of loops that stay loops: they take many steps, some at a time.
KEPT = "steps_in_parts"


@dataclass(frozen=True)
class TensorList:
    """The elements of a TensorList; None where one was reserved and not written yet."""

    elements: tuple[Any, ...]
    dtype: Any

    def tensor(self) -> Any:
        raise NotApplicable("a list of tensors is used by a loop that stays one")


def _unrolled(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    if KEPT in op.name:
        return None
    condition, body = (
        op.graph._get_function(op.node_def.attr[name].func.name).graph for name in ("cond", "body")
    )
    values, steps = list(inputs), 0
    while True:
        [go_on] = emitter.run(condition, values)
        is_going = constant_value(go_on)
        if is_going is None:
            raise NotApplicable("the number of steps depends on the input")
        if not is_going:
            return values
        steps += 1
        if steps > MAX_STEPS or steps * len(body.get_operations()) > MAX_OPS:
            raise NotApplicable(f"a loop of more than {steps - 1} steps would make a large file")
        values = emitter.run(body, values)


def _reserve(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    count = constant_value(inputs[1])
    if count is None or count < 0:
        raise NotApplicable("the length of a list depends on the input")
    return [TensorList((None,) * int(count), op.get_attr("element_dtype"))]


def _from_tensor(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    if inputs[0].shape[0] is None:
        raise NotApplicable("the length of a list depends on the input")
    return [TensorList(tuple(tf.unstack(inputs[0])), inputs[0].dtype)]


def _empty(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    return [TensorList((), op.get_attr("element_dtype"))]


def _get_item(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    items, index, shape = inputs
    element = items.elements[_index(index)]
    return [_zeros(shape, items.dtype) if element is None else element]


def _set_item(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    items, index, item = inputs
    elements = list(items.elements)
    elements[_index(index)] = item
    return [TensorList(tuple(elements), items.dtype)]


def _push_back(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    return [TensorList((*inputs[0].elements, inputs[1]), inputs[0].dtype)]


def _stack(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    items, shape = inputs[0], inputs[1]
    return [tf.stack([_zeros(shape, items.dtype) if one is None else one for one in items.elements])]


def _length(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any]:
    return [tf.constant(len(inputs[0].elements), tf.int32)]


def _index(tensor: Any) -> int:
    index = constant_value(tensor)
    if index is None:
        raise NotApplicable("it picks elements of a list that depend on the input")
    return int(index)


def _zeros(shape: Any, dtype: Any) -> Any:
    dims = constant_value(shape)
    if dims is None or min(dims, default=0) < 0:
        raise NotApplicable("it reads an element of a list that was never written")
    return tf.zeros(dims, dtype)


REMEDY = Remedy(
    name="loops",
    does="loops of a known number of steps written out, so that they can be quantized statically",
    rules={
        "EmptyTensorList": _empty,
        "StatelessWhile": _unrolled,
        "TensorListFromTensor": _from_tensor,
        "TensorListGetItem": _get_item,
        "TensorListLength": _length,
        "TensorListPushBack": _push_back,
        "TensorListReserve": _reserve,
        "TensorListSetItem": _set_item,
        "TensorListStack": _stack,
        "While": _unrolled,
    },
)
