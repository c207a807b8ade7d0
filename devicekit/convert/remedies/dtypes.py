"""Half and double precision (mixed_float16, bfloat16, float64 policies): the same graph in float32.

LiteRT's float kernels take float32. Values that were half are rounded less now: what the given model computes
differs from it by that rounding, so the bound on the difference is a few steps of the narrower type in place
of MAX_DIFFERENCE, or what such a step of the inputs changes; a wrong rewrite is off by far more.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2

from devicekit.convert.remedies.emit import Emitter, Rule, all_ops, as_tensor, copied, function_graphs
from devicekit.convert.remedies.remedy import HALF_STEPS, Remedy


def _in_float32(narrow: str, op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """Returns the op with float32 wherever `narrow` stood; None for an op without it."""
    changed = {**_changed(op, getattr(tf, narrow).as_datatype_enum), **_bodies(narrow, op, inputs, emitter)}
    if not changed:
        return None
    if op.type == "Const":
        return [tf.constant(tf.make_ndarray(op.node_def.attr["value"].tensor).astype("float32"))]
    if op.type == "ReadVariableOp":  # the variable stays what it is: its value becomes a constant
        with tf.init_scope():
            value = tf.raw_ops.ReadVariableOp(resource=inputs[0], dtype=getattr(tf, narrow))
            return [tf.constant(tf.cast(value, tf.float32).numpy())]
    if op.type == "Cast":
        return [tf.cast(as_tensor(inputs[0]), tf.float32 if "DstT" in changed else op.outputs[0].dtype)]
    return copied(op, [as_tensor(value) for value in inputs], attrs=changed)


def _changed(op: Any, narrow: int) -> dict[str, Any]:
    """Returns the op's type attributes that name `narrow`, with float32 in its place."""
    float32 = tf.float32.as_datatype_enum
    changed = {}
    for name, value in op.node_def.attr.items():
        if value.type == narrow:
            changed[name] = attr_value_pb2.AttrValue(type=float32)
        elif narrow in value.list.type:
            types = [float32 if one == narrow else one for one in value.list.type]
            changed[name] = attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(type=types))
    return changed


def _bodies(narrow: str, op: Any, inputs: Sequence[Any], emitter: Emitter) -> dict[str, Any]:
    """Returns the op's function attributes (of a loop, a branch) with functions in float32 in their place."""
    graphs = function_graphs(op)
    if not any(_has(narrow, list(all_ops(graph))) for graph in graphs.values()):
        return {}
    taken = inputs[1:] if "then_branch" in graphs else inputs  # the first input of If is its condition
    specs = [tf.TensorSpec(value.shape, value.dtype) for value in map(as_tensor, taken)]
    changed = {}
    for name, graph in graphs.items():
        function = emitter.function(graph, specs)
        changed[name] = attr_value_pb2.AttrValue(func=attr_value_pb2.NameAttrList(name=function.name))
    return changed


def _spec(narrow: str, spec: Any) -> Any:
    return tf.TensorSpec(spec.shape, tf.float32, name=spec.name) if spec.dtype.name == narrow else spec


def _has(narrow: str, ops: Sequence[Any]) -> bool:
    """Returns whether something is computed in `narrow` from an input or a variable; constants get folded."""
    moving = {id(op) for op in ops if op.type in ("Placeholder", "ReadVariableOp")}
    for op in ops:  # in the order in which they were made: inputs first
        if any(id(tensor.op) in moving for tensor in op.inputs):
            moving.add(id(op))
    return any(tensor.dtype.name == narrow for op in ops if id(op) in moving for tensor in op.outputs)


def _remedy(narrow: str) -> Remedy:
    rule: Rule = partial(_in_float32, narrow)
    return Remedy(
        name=narrow,
        does=f"{narrow} computed in float32",
        rules={"*": rule},
        recognises=partial(_has, narrow),
        step=HALF_STEPS.get(narrow, 0.0),
        input_spec=partial(_spec, narrow),
    )


FLOAT16 = _remedy("float16")
BFLOAT16 = _remedy("bfloat16")
FLOAT64 = _remedy("float64")
