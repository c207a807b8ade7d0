"""Builds a traced graph anew, op by op, with rules that put something else in an op's place.

Runs in the conversion child only: it imports TensorFlow.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
# What a constant cannot come from, and how many ops it may take: sizes and scales take few.
_FREE = frozenset({"Placeholder", "ReadVariableOp", "VarHandleOp", "While", "StatelessWhile", *_CALLS})
_MOST_OPS = 100
# What sizes, counters and conditions are computed with; larger tensors are data.
_FOLDED = frozenset(
    {"Add", "AddV2", "Cast", "ConcatV2", "Equal", "ExpandDims", "FloorDiv", "FloorMod", "GatherV2", "Greater"}
    | {
        "GreaterEqual",
        "Identity",
        "Less",
        "LessEqual",
        "LogicalAnd",
        "LogicalNot",
        "LogicalOr",
        "Max",
        "Maximum",
    }
    | {"Min", "Minimum", "Mul", "Neg", "NotEqual", "Pack", "Prod", "Range", "Reshape", "Select", "SelectV2"}
    | {"Slice", "Squeeze", "StridedSlice", "Sub", "Sum"}
)
_MOST_ELEMENTS = 64
_PASSING = frozenset({"Identity", "StopGradient"})
_FUNCTION_ATTRS = ("f", "cond", "body", "then_branch", "else_branch")


# Takes an op of the traced graph, its inputs (tensors, or what another rule of the remedy gave for them) and
# the emitter; returns the values in place of its outputs, None where it is not concerned.
Rule = Callable[[Any, Sequence[Any], "Emitter"], Sequence[Any] | None]


class Emitter:
    """Emits ops into the graph that is being traced; `concerned` collects the names of those it replaced."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.concerned: dict[str, None] = {}
        self._rules = rules
        self._inside: tuple[str, ...] = ()  # the calls around the op at hand

    def run(
        self,
        graph: Any,
        arguments: Sequence[Any],
        captures: Mapping[Any, Any] | None = None,
        *,
        ops: Iterable[Any] | None = None,
    ) -> list[Any]:
        """Returns the outputs of a FuncGraph; `arguments` are those inputs that `captures` does not give.

        `ops` are what to emit, in order; None: all that the outputs need.
        """
        values = dict(captures or {})
        free = [tensor.ref() for tensor in graph.inputs if tensor.ref() not in values]
        values.update(zip(free, arguments, strict=True))
        emitted: dict[str, list[Any]] = {}
        for op in needed_ops(graph) if ops is None else ops:
            outputs = [tensor.ref() for tensor in op.outputs]
            if outputs and all(ref in values for ref in outputs):
                continue
            before = [one for control in op.control_inputs for one in emitted.get(control.name, [])]
            with tf.control_dependencies(before):
                results = self._emit(op, [values[tensor.ref()] for tensor in op.inputs])
            emitted[op.name] = [one.op for one in results if hasattr(one, "op")]
            values.update(zip(outputs, results, strict=True))
        return [values[tensor.ref()] for tensor in graph.outputs]

    def function(self, graph: Any, specs: Sequence[Any]) -> Any:
        """Returns a FuncGraph (a loop's body, a branch) anew, as a function of the graph being traced."""
        new = traced_as(lambda *values: [as_tensor(one) for one in self.run(graph, values)], specs)
        outer: Any = ops.get_default_graph()
        outer._add_function_recursive(new._inference_function)
        return new._inference_function

    @contextmanager
    def _scope(self, op: Any) -> Iterator[str]:
        """Yields the op's full name, as the scope of what is emitted: its Keras layer stays in the names."""
        self._inside = (*self._inside, op.name)
        name = "/".join(self._inside)
        with tf.name_scope(f"{re.sub(r'[^A-Za-z0-9_./-]', '_', name).lstrip('_/') or 'op'}/"):
            yield name
        self._inside = self._inside[:-1]

    def _emit(self, op: Any, inputs: Sequence[Any]) -> Sequence[Any]:
        if op.type in _PASSING and hasattr(inputs[0], "tensor"):
            return inputs
        known = folded(op, inputs)
        if known is not None:
            return known
        for rule in (self._rules.get(op.type), self._rules.get("*")):
            if rule is None:
                continue
            with self._scope(op) as name:
                results = rule(op, inputs, self)
            if results is not None:
                self.concerned[name] = None
                return results
        inner = called_function(op)
        if inner is not None:
            with self._scope(op):
                return self.run(inner.graph, inputs)
        return copied(op, [as_tensor(value) for value in inputs])


def folded(op: Any, inputs: Sequence[Any]) -> list[Any] | None:
    """Returns constants in place of an op that computes sizes, counters or conditions from known ones.

    A batch of 1 makes many known that the model computes. None where the op does more.
    """
    if not op.outputs or any(tensor.dtype not in (tf.int32, tf.int64, tf.bool) for tensor in op.outputs):
        return None
    if op.type in ("Shape", "Size", "Rank") and isinstance(inputs[0], tf.Tensor):
        shape = inputs[0].shape
        if shape.rank is None or not (op.type == "Rank" or shape.is_fully_defined()):
            return None
        kind = op.outputs[0].dtype
        value = {"Shape": shape.as_list, "Size": shape.num_elements, "Rank": lambda: shape.rank}[op.type]()
        return [tf.constant(value, kind, shape=op.outputs[0].shape if value == [] else None)]
    if op.type not in _FOLDED or not all(isinstance(value, tf.Tensor) for value in inputs):
        return None
    if any((value.shape.num_elements() or 0) > _MOST_ELEMENTS for value in inputs):
        return None
    values = [tf.get_static_value(value) for value in inputs]
    if any(value is None for value in values):
        return None
    return [tf.constant(value) for value in run_now(op, values)]


def run_now(op: Any, values: Sequence[Any]) -> list[Any]:
    """Returns the outputs (numpy) of running the op, now, on other inputs of the same types."""
    with tf.Graph().as_default() as graph:
        inputs = [tf.constant(value, tensor.dtype) for value, tensor in zip(values, op.inputs, strict=True)]
        kinds = [tensor.dtype for tensor in op.outputs]
        new = graph.create_op(op.type, inputs, kinds, attrs=op.node_def.attr, op_def=op.op_def)
        with tf.compat.v1.Session(graph=graph) as session:
            return list(session.run(new.outputs))


def as_tensor(value: Any) -> Any:
    """Returns the tensor that a value stands for: rules may pass on things that are none yet."""
    return value.tensor() if hasattr(value, "tensor") else value


def copied(op: Any, inputs: Sequence[Any], attrs: Mapping[str, Any] | None = None) -> list[Any]:
    """Emits the op on other inputs, of the same types but for what `attrs` changes; returns its outputs."""
    graph: Any = ops.get_default_graph()
    attributes = {**op.node_def.attr, **(attrs or {})}
    for name in _FUNCTION_ATTRS:
        if name not in (attrs or {}) and op.node_def.attr[name].func.name:
            graph._add_function_recursive(op.graph._get_function(op.node_def.attr[name].func.name))
    new = graph.create_op(
        op.type,
        list(inputs),
        [tensor.dtype for tensor in op.outputs] if attrs is None else None,
        name=op.name,
        attrs=attributes,
        op_def=op.op_def,
    )
    for old, made in zip(op.outputs, new.outputs, strict=True):
        if made.shape.rank is None or not made.shape.is_fully_defined():
            made.set_shape(made.shape.merge_with(old.shape) if attrs is None else made.shape)
    return list(new.outputs)


def called_function(op: Any) -> Any:
    """Returns the function that a call op runs; None for other ops."""
    return op.graph._get_function(op.node_def.attr["f"].func.name) if op.type in _CALLS else None


def function_graphs(op: Any) -> dict[str, Any]:
    """Returns the FuncGraphs of an op's function attributes, by attribute."""
    names = [name for name in _FUNCTION_ATTRS if op.node_def.attr[name].func.name]
    return {name: op.graph._get_function(op.node_def.attr[name].func.name).graph for name in names}


def needed_ops(graph: Any) -> Iterator[Any]:
    """Yields the ops that a FuncGraph's outputs and side effects depend on, each behind its inputs."""
    ends = [*getattr(graph, "control_outputs", ()), *(tensor.op for tensor in graph.outputs)]
    return in_order(ends, lambda op: [*(tensor.op for tensor in op.inputs), *op.control_inputs])


def in_order(ends: Sequence[Any], needs: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    """Yields the ops `ends` and all that they need by `needs`, and so on, each behind what it needs."""
    pending = [*reversed(ends)]
    done: set[str] = set()
    while pending:
        op = pending[-1]
        before = [one for one in needs(op) if one.name not in done]
        if op.name in done:
            pending.pop()
        elif before:
            pending.extend(before)
        else:
            done.add(pending.pop().name)
            yield op


def all_ops(graph: Any) -> Iterator[Any]:
    """Yields the ops of a FuncGraph, those of the functions that it calls and of its loops among them."""
    seen: set[int] = set()
    pending = [graph]
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        for op in one.get_operations():
            yield op
            pending.extend(function_graphs(op).values())


def captures_of(function: Any) -> dict[Any, Any]:
    """Returns the variables and tables that a concrete function reads: placeholder -> what it stands for."""
    return {internal.ref(): external for external, internal in function.graph.captures}


def emitted(
    function: Any, rules: Mapping[str, Rule], input_spec: Callable[[Any], Any] | None = None
) -> tuple[Any, tuple[str, ...]]:
    """Returns a concrete function anew under `rules`, and the names of the ops that a rule replaced."""

    emitter = Emitter(rules)
    names = list(outputs_of(function))

    def call(*tensors: Any) -> dict[str, Any]:
        for variable in function.variables:  # it captures their handles, which tells nobody of them
            ops.get_default_graph().watch_variable(variable)
        outputs = emitter.run(function.graph, tensors, captures_of(function))
        return dict(zip(names, map(as_tensor, outputs), strict=True))

    specs = function.structured_input_signature[0]
    traced = traced_as(call, map(input_spec, specs) if input_spec else specs)
    return traced, tuple(emitter.concerned)


def outputs_of(function: Any) -> dict[str, Any]:
    """Returns the outputs of a concrete function by name: TensorFlow flattens a dict by its sorted keys."""
    return dict(zip(sorted(function.structured_outputs), function.graph.outputs, strict=True))


def traced_as(call: Callable[..., Any], specs: Iterable[Any]) -> Any:
    return tf.function(call, input_signature=tuple(specs), autograph=False).get_concrete_function()


def constant_value(tensor: Any) -> Any:
    """Returns the numpy value of a tensor that depends on constants alone; None where it does not."""
    value = tf.get_static_value(tensor)
    if value is not None:
        return value
    pending, seen = [tensor.op], {tensor.op.name}
    while pending:
        op = pending.pop()
        if op.type in _FREE or len(seen) > _MOST_OPS:
            return None
        new = [one.op for one in op.inputs if one.op.name not in seen]
        seen.update(one.name for one in new)
        pending.extend(new)
    with tf.init_scope(), tf.compat.v1.Session(graph=tensor.graph) as session:
        return session.run(tensor)


def of_floats(function: Callable[..., Any]) -> Rule:
    """Returns the rule that puts `function` of an op's inputs in its place, where they are floating point."""

    def rule(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
        return [function(*inputs)] if inputs[0].dtype.is_floating else None

    return rule
