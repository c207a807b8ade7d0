"""Non-maximum suppression: it and what follows it run behind the model, as a small Python module.

The model then gives the boxes and scores as they go in. Where anything but rearranging follows, it stays.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from devicekit.convert.inside.inputs import clean_names
from devicekit.convert.inside.load import Loaded, layers_in
from devicekit.convert.inside.outside import POSTPROCESS, Split, Unsplittable, cut, tensor_facts
from devicekit.convert.remedies.emit import all_ops, constant_value, emitted, outputs_of
from devicekit.convert.remedies.proof import SEED
from devicekit.convert.remedies.remedy import Remedy
from devicekit.graph.layers import Layers

_SUPPRESSIONS = ("CombinedNonMaxSuppression", "NonMaxSuppressionV3")
_REMEDY = "end the model with the suppression, and compute what follows in the app"
_EXAMPLES = 20
# Of more equal scores than this, CombinedNonMaxSuppression keeps what its heap gives first: no rule.
_EQUAL = 3


@dataclass(frozen=True)
class Plan:
    """What goes outside of a traced graph: `ops` in order, the tensors that they read and give, by name."""

    ops: tuple[Any, ...]
    reads: Mapping[str, Any]
    gives: Mapping[str, Any]


def _split(loaded: Loaded, function: Any, trace: Callable[[Loaded], Any]) -> Split | None:
    """Returns the model split before its suppression; None where it has none."""
    ops = [op for op in all_ops(function.graph) if op.type in _SUPPRESSIONS]
    if not ops:
        return None
    flat = _flat(function)
    plan = _planned(flat, layers_in(loaded))
    layers = layers_in(loaded).of_ops(op.name for op in ops) or (f"tf.{ops[0].type}",)
    roles = {name: _role(plan, tensor) for name, tensor in plan.reads.items()}
    return Split(
        function=_inner(flat, plan),
        trace=lambda again: _again(trace(again), layers_in(loaded)),
        role=POSTPROCESS,
        code="boxes",
        call=_module(plan),
        inputs=[tensor_facts(name, tensor) for name, tensor in plan.reads.items()],
        outputs=[tensor_facts(name, tensor) for name, tensor in plan.gives.items()],
        layers=layers,
        note=(
            f"{', '.join(plan.gives)} are computed outside the model, by the .postprocess.py beside it, from "
            f"its outputs {', '.join(plan.reads)}: every score here is of the latter"
        ),
        outer=cut(flat, inside=plan.reads, outputs=plan.gives, keep_inputs=False),
        outer_examples=lambda outer: _examples(outer, roles),
    )


def _again(traced: Any, layers: Layers) -> Any:
    flat = _flat(traced)
    return _inner(flat, _planned(flat, layers))


def _flat(function: Any) -> Any:
    """Returns the function with its suppression at the top level, not in a function that it calls."""
    if any(op.type in _SUPPRESSIONS for op in function.graph.get_operations()):
        return function
    flat, _ = emitted(function, {})
    if not any(op.type in _SUPPRESSIONS for op in flat.graph.get_operations()):
        raise Unsplittable("its suppression runs in a loop or a branch", _REMEDY)
    return flat


def _inner(flat: Any, plan: Plan) -> Any:
    outputs = outputs_of(flat)
    kept = {name: tensor for name, tensor in outputs.items() if name not in plan.gives}
    return cut(flat, inside={}, outputs={**plan.reads, **kept})


def _planned(flat: Any, layers: Layers) -> Plan:
    outputs = outputs_of(flat)
    order = [op for op in flat.graph.get_operations() if op.type != "Placeholder"]
    outside: dict[str, Any] = {}
    for op in order:  # ops stand behind their inputs
        if op.type in _SUPPRESSIONS or any(t.op.name in outside for t in op.inputs):
            outside[op.name] = op
    gives = {name: tensor for name, tensor in outputs.items() if tensor.op.name in outside}
    needed = _needed(gives.values(), outside)
    ops = tuple(op for name, op in outside.items() if name in needed)
    for op in ops:
        if op.type not in _CODE:
            where = layers.label(layers.of_op(op.name)) or "the suppression"
            raise Unsplittable(f"tf.{op.type} ({where}) follows the suppression", _REMEDY)
    read = list({t.ref(): t for op in ops for t in op.inputs if _is_read(t, outside)}.values())
    taken = [name for name in outputs if name not in gives]
    names = clean_names([*taken, *(_name(tensor, ops, layers) for tensor in read)])[len(taken) :]
    return Plan(ops, dict(zip(names, read, strict=True)), gives)


def _needed(tensors: Any, outside: Mapping[str, Any]) -> set[str]:
    needed: set[str] = set()
    pending = [tensor.op for tensor in tensors]
    while pending:
        op = pending.pop()
        if op.name in outside and op.name not in needed:
            needed.add(op.name)
            pending.extend(t.op for t in op.inputs)
    return needed


def _is_read(tensor: Any, outside: Mapping[str, Any]) -> bool:
    return tensor.op.name not in outside and constant_value(tensor) is None


def _name(tensor: Any, ops: Sequence[Any], layers: Layers) -> str:
    role = next((role for op in ops for role in [_role_in(op, tensor)] if role), None)
    return f"raw_{role}" if role else layers.of_op(tensor.op.name) or tensor.op.type


def _role(plan: Plan, tensor: Any) -> str:
    return next((role for op in plan.ops for role in [_role_in(op, tensor)] if role), "")


def _role_in(op: Any, tensor: Any) -> str:
    """Returns what a tensor is to a suppression: "boxes", "scores", or "" where it is neither."""
    if op.type not in _SUPPRESSIONS:
        return ""
    return next(
        (role for role, own in zip(("boxes", "scores"), op.inputs, strict=False) if own is tensor), ""
    )


def _module(plan: Plan) -> str:
    """Returns the function `postprocess` as Python text: a line per op."""
    names = {tensor.ref(): f"outputs[{name!r}]" for name, tensor in plan.reads.items()}
    lines: list[str] = []
    for op in plan.ops:
        arguments = [names.get(t.ref()) or _literal(t) for t in op.inputs]
        code = _CODE[op.type](op, arguments)
        if op.type == "Identity":
            results = [code]
        else:
            number = f"_{len(lines)}" if lines else ""
            results = [f"{label}{number}" for label in _RESULTS.get(op.type, ("value",))]
            lines.append(f"    {', '.join(results)} = {code}")
        names.update(zip((t.ref() for t in op.outputs), results, strict=True))
    given = [f"        {name!r}: {names[tensor.ref()]}," for name, tensor in plan.gives.items()]
    facts = [tensor_facts(name, tensor) for name, tensor in plan.reads.items()]
    return "\n".join(
        [
            "def postprocess(outputs: dict[str, Any]) -> dict[str, Any]:",
            '    """Returns the outputs of the whole model for those of the .tflite; others as they are."""',
            "    own = {",
            *(f"        {one['name']!r}: ({one['dtype']!r}, {one['shape']!r})," for one in facts),
            "    }",
            "    check_outputs(outputs, own)",
            *lines,
            "    others = {name: value for name, value in outputs.items() if name not in own}",
            "    return {",
            "        **others,",
            *given,
            "    }",
            "",
        ]
    )


def _literal(tensor: Any) -> str:
    return re.sub(r"\b(inf|nan)\b", r"np.\1", repr(constant_value(tensor).tolist()))


def _combined(op: Any, arguments: Sequence[str]) -> str:
    boxes, scores, per_class, total, iou, score = arguments
    return _call_text(
        "combined_non_max_suppression",
        boxes,
        scores,
        max_per_class=per_class,
        max_total=total,
        iou_threshold=iou,
        score_threshold=score,
        pad_per_class=op.get_attr("pad_per_class"),
        clip_boxes=op.get_attr("clip_boxes"),
    )


def _single(op: Any, arguments: Sequence[str]) -> str:
    boxes, scores, count, iou, score = arguments
    return _call_text(
        "non_max_suppression", boxes, scores, max_count=count, iou_threshold=iou, score_threshold=score
    )


def _call_text(function: str, *arguments: str, **named: Any) -> str:
    """Returns a call as Python text, an argument per line."""
    lines = [*arguments, *(f"{name}={value}" for name, value in named.items())]
    return "".join([f"{function}(\n", *(f"        {line},\n" for line in lines), "    )"])


def _cast(op: Any, arguments: Sequence[str]) -> str:
    return f"np.asarray({arguments[0]}).astype(np.{op.outputs[0].dtype.name})"


def _squeeze(op: Any, arguments: Sequence[str]) -> str:
    axes = tuple(op.get_attr("squeeze_dims"))
    return f"np.squeeze({arguments[0]}, {axes or None})"


def _strided(op: Any, arguments: Sequence[str]) -> str:
    """Returns indexing as people write it: [..., None], [:, :4]."""
    begin, end, strides = (constant_value(tensor).tolist() for tensor in op.inputs[1:])
    masks = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    has = {mask: op.get_attr(f"{mask}_mask") for mask in masks}
    parts = []
    for i, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << i
        if has["ellipsis"] & bit:
            parts.append("...")
        elif has["new_axis"] & bit:
            parts.append("None")
        elif has["shrink_axis"] & bit:
            parts.append(str(first))
        else:
            bounds = ("" if has["begin"] & bit else str(first), "" if has["end"] & bit else str(last))
            parts.append(":".join([*bounds, *([str(step)] if step != 1 else [])]))
    return f"{arguments[0]}[{', '.join(parts)}]"


def _arithmetic(function: str) -> Callable[[Any, Sequence[str]], str]:
    return lambda op, a: f"np.{function}({a[0]}, {a[1]}, dtype=np.{op.outputs[0].dtype.name})"


# TensorFlow op -> what it is in numpy: (op, its arguments as Python) -> an expression.
_CODE: dict[str, Callable[[Any, Sequence[str]], str]] = {
    "CombinedNonMaxSuppression": _combined,
    "NonMaxSuppressionV3": _single,
    "Identity": lambda op, a: a[0],
    "Cast": _cast,
    "Squeeze": _squeeze,
    "Reshape": lambda op, a: f"np.reshape({a[0]}, {a[1]})",
    "ExpandDims": lambda op, a: f"np.expand_dims({a[0]}, {a[1]})",
    "ConcatV2": lambda op, a: f"np.concatenate([{', '.join(a[:-1])}], {a[-1]})",
    "Pack": lambda op, a: f"np.stack([{', '.join(a)}], {op.get_attr('axis')})",
    "StridedSlice": _strided,
    "Transpose": lambda op, a: f"np.transpose({a[0]}, {a[1]})",
    "AddV2": _arithmetic("add"),
    "Maximum": _arithmetic("maximum"),
    "Minimum": _arithmetic("minimum"),
    "Mul": _arithmetic("multiply"),
    "RealDiv": _arithmetic("divide"),
    "Sub": _arithmetic("subtract"),
    "GatherV2": lambda op, a: f"np.take({a[0]}, {a[1]}, {a[2]})",
}
_RESULTS = {
    "CombinedNonMaxSuppression": ("boxes", "scores", "classes", "count"),
    "NonMaxSuppressionV3": ("kept",),
}


def _examples(outer: Any, roles: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Yields inputs of the part: boxes with corners in any order, or in a heap; scores of each kind."""
    generator = np.random.default_rng(SEED)
    for number in range(_EXAMPLES):
        inputs = {}
        for spec in outer.structured_input_signature[0]:
            role, shape = roles.get(spec.name, ""), tuple(spec.shape)
            if role == "boxes":
                values = _boxes(generator, shape, spread=(1.0, 1.0, 0.2, 0.0)[number % 4])
            elif role == "scores":
                values = _scores(generator, shape, number % 5)
            else:
                values = generator.uniform(0, 1, shape)
            inputs[spec.name] = np.asarray(values, spec.dtype.as_numpy_dtype)
        yield inputs


def _boxes(generator: Any, shape: tuple[int, ...], *, spread: float) -> Any:
    """Returns boxes of which the first corners span `spread`: at 0 all lie on one another."""
    corners = generator.uniform(-0.1, 0.1 + spread, (*shape[:-1], 2))
    sizes = generator.uniform(-0.1, 0.5, (*shape[:-1], 2)) if spread else np.full((*shape[:-1], 2), 0.5)
    return np.concatenate([corners if spread else 0 * corners, (corners if spread else 0) + sizes], -1)


def _scores(generator: Any, shape: tuple[int, ...], kind: int) -> Any:
    """Returns scores of a kind: 0..2 random and all different, 3 none at all, 4 a few that are equal."""
    size = int(np.prod(shape))
    if kind < 3:
        return generator.permutation((np.arange(size) + 1) / size).reshape(shape)
    scores = np.full(size, -np.inf)
    if kind == 4:
        scores[generator.permutation(size)[:_EQUAL]] = 0.75
    return scores.reshape(shape)


REMEDY = Remedy(
    name="boxes_outside",
    does="non-maximum suppression moved out of the model, into a Python module beside it",
    split=_split,
)
