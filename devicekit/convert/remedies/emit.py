"""Builds a traced graph anew, op by op, with rules that put something else in an op's place.

Runs in the conversion child only: it imports TensorFlow.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from devicekit.convert.remedies.remedy import Rule

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_FUNCTION_ATTRS = ("f", "cond", "body", "then_branch", "else_branch")


class Emitter:
    """Emits ops into the graph that is being traced; `concerned` collects the names of those it replaced."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.concerned: dict[str, None] = {}
        self._rules = rules

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
        import tensorflow as tf

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

    def _emit(self, op: Any, inputs: Sequence[Any]) -> Sequence[Any]:
        import tensorflow as tf

        for rule in (self._rules.get(op.type), self._rules.get("*")):
            if rule is None:
                continue
            with tf.name_scope(scope_of(op)):
                results = rule(op, inputs, self)
            if results is not None:
                self.concerned[op.name] = None
                return results
        inner = called_graph(op)
        if inner is not None:
            return self.run(inner, inputs)
        return copied(op, [as_tensor(value) for value in inputs])


def as_tensor(value: Any) -> Any:
    """Returns the tensor that a value stands for: rules may pass on things that are none yet."""
    return value.tensor() if hasattr(value, "tensor") else value


def copied(op: Any, inputs: Sequence[Any], attrs: Mapping[str, Any] | None = None) -> list[Any]:
    """Emits the op on other inputs, of the same types but for what `attrs` changes; returns its outputs."""
    from tensorflow.python.framework import ops

    graph: Any = ops.get_default_graph()
    attributes = {**op.node_def.attr, **(attrs or {})}
    for name in _FUNCTION_ATTRS:
        if name in attributes and attributes[name].func.name:
            graph._add_function_recursive(op.graph._get_function(attributes[name].func.name))
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


def scope_of(op: Any) -> str:
    """Returns the op's name as the scope of what replaces it, so that its Keras layer stays in the names."""
    return f"{re.sub(r'[^A-Za-z0-9_./-]', '_', op.name).lstrip('_/') or 'op'}/"


def called_graph(op: Any) -> Any:
    """Returns the FuncGraph that a call op runs; None for other ops, and for those that must stay calls.

    A function with `api_implements` is a fused kernel in waiting: the converter knows Keras 2's LSTM by it.
    """
    if op.type not in _CALLS:
        return None
    function = op.graph._get_function(op.node_def.attr["f"].func.name)
    if function is None or "api_implements" in function.cached_definition.attr:
        return None
    return function.graph


def needed_ops(graph: Any) -> Iterator[Any]:
    """Yields the ops that a FuncGraph's outputs and side effects depend on, each behind its inputs."""
    pending = [tensor.op for tensor in reversed(graph.outputs)] + list(getattr(graph, "control_outputs", ()))
    done: set[str] = set()
    while pending:
        op = pending[-1]
        before = [one for one in (*(t.op for t in op.inputs), *op.control_inputs) if one.name not in done]
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
            for name in _FUNCTION_ATTRS:
                if name in op.node_def.attr and op.node_def.attr[name].func.name:
                    function = op.graph._get_function(op.node_def.attr[name].func.name)
                    pending.extend([function.graph] if function is not None else [])


def captures_of(function: Any) -> dict[Any, Any]:
    """Returns the variables and tables that a concrete function reads: placeholder -> what it stands for."""
    return {internal.ref(): external for external, internal in function.graph.captures}


def emitted(function: Any, rules: Mapping[str, Rule]) -> tuple[Any, tuple[str, ...]]:
    """Returns a concrete function anew under `rules`, and the names of the ops that a rule replaced."""

    emitter = Emitter(rules)
    names = list(outputs_of(function))

    def call(*tensors: Any) -> dict[str, Any]:
        outputs = emitter.run(function.graph, tensors, captures_of(function))
        return dict(zip(names, map(as_tensor, outputs), strict=True))

    traced = traced_as(call, function.structured_input_signature[0])
    return traced, tuple(emitter.concerned)


def outputs_of(function: Any) -> dict[str, Any]:
    """Returns the outputs of a concrete function by name: TensorFlow flattens a dict by its sorted keys."""
    return dict(zip(sorted(function.structured_outputs), function.graph.outputs, strict=True))


def traced_as(call: Callable[..., Any], specs: Iterable[Any]) -> Any:
    import tensorflow as tf

    return tf.function(call, input_signature=tuple(specs), autograph=False).get_concrete_function()


def constant_value(tensor: Any) -> Any:
    """Returns the numpy value of a tensor that is constant, or was folded to be; None where it is not."""
    import tensorflow as tf

    return tf.get_static_value(tensor)
