"""Text of a SavedModel, which has no layers: look-ups of strings run before the model, as a Python module.

A look-up is recognised with what stands before it: as Keras' TextVectorization makes it, lowered, stripped of
punctuation, split at spaces and padded; or none of that. The proof tells whether that was all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from devicekit.convert.inside.inputs import clean_names
from devicekit.convert.inside.load import Loaded
from devicekit.convert.inside.outside import PREPROCESS, Split, Unsplittable, cut, fixed_shape, tensor_facts
from devicekit.convert.remedies.emit import captures_of, constant_value, emitted, outputs_of
from devicekit.convert.remedies.remedy import Remedy
from devicekit.convert.remedies.text_outside import PASSING, examples, module, note, text_counts

_FIND = "LookupTableFindV2"
# What Keras strips, in the words of both Kerases: another expression is something else of the user's.
_PUNCTUATION = r"""[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']"""
_REMEDY = "save the model as .keras, which says what its text layers are"


@dataclass(frozen=True)
class LookUp:
    """A look-up of the text of the input `source`: `settings` of parts.text.text_layer, and its `result`."""

    source: str
    settings: Mapping[str, Any]
    result: Any


def _split(loaded: Loaded, function: Any, trace: Callable[[Loaded], Any]) -> Split | None:
    """Returns the model split behind its look-ups of strings; None where it has none, or has layers."""
    strings = [s for s in function.structured_input_signature[0] if s.dtype.name == "string"]
    if loaded.layers or not strings:
        return None
    flat, _ = emitted(function, {})
    found = _look_ups(flat)
    if not found:
        return None
    settings = {name: one.settings for name, one in found.items()}
    sources = {name: one.source for name, one in found.items()}
    return Split(
        function=_cut(flat, found),
        trace=lambda again: _traced(trace(again)),
        role=PREPROCESS,
        code="text",
        call=module(sources, text_counts(strings)),
        constants=settings,
        inputs=[tensor_facts(spec.name, spec) for spec in strings],
        outputs=[tensor_facts(name, one.result) for name, one in found.items()],
        layers=tuple(f"tf.{_FIND} of {source}" for source in dict.fromkeys(sources.values())),
        note=note(sources),
        examples=lambda given: examples(given, settings),
    )


def _traced(function: Any) -> Any:
    flat, _ = emitted(function, {})
    return _cut(flat, _look_ups(flat))


def _cut(flat: Any, found: Mapping[str, LookUp]) -> Any:
    inside = {name: one.result for name, one in found.items()}
    return cut(flat, inside=inside, outputs=outputs_of(flat))


def _look_ups(flat: Any) -> dict[str, LookUp]:
    """Returns the look-ups of strings by the name of the input that takes their place."""
    finds = [op for op in flat.graph.get_operations() if op.type == _FIND]
    found = [_look_up(op, flat) for op in finds if op.inputs[1].dtype.name == "string"]
    return dict(zip(clean_names(f"{one.source}_indices" for one in found), found, strict=True))


def _look_up(find: Any, flat: Any) -> LookUp:
    tensor, steps = find.inputs[1], set()
    while tensor.op.type != "Placeholder":
        steps.add(_step(tensor.op))
        tensor = tensor.op.inputs[0]
    names = [spec.name for spec in flat.structured_input_signature[0]]
    source = next(n for n, t in zip(names, flat.graph.inputs, strict=False) if t is tensor)
    result = _padded(find, flat) if "whitespace" in steps else find.outputs[0]
    if None in fixed_shape(result):
        raise Unsplittable("a look-up gives as many values as the text has tokens", _REMEDY)
    standardize = {
        ("lower",): "lower",
        ("punctuation",): "strip_punctuation",
        ("lower", "punctuation"): "lower_and_strip_punctuation",
    }.get(tuple(sorted(steps & {"lower", "punctuation"})))
    settings = {
        "indices": _table(captures_of(flat).get(find.inputs[0].ref()), find),
        "unknown": int(constant_value(find.inputs[2])),
        "shape": fixed_shape(result),
        "dtype": "int32",
        "standardize": standardize,
        "split": "whitespace" if "whitespace" in steps else None,
    }
    return LookUp(source, settings, result)


def _step(op: Any) -> str:
    """Returns what an op does to text on its way to a look-up, "" where that is nothing."""
    if op.type in PASSING:
        return ""
    if op.type == "StringLower":
        return "lower"
    if op.type == "StaticRegexReplace" and _strips_punctuation(op):
        return "punctuation"
    if op.type == "StringSplitV2" and constant_value(op.inputs[1]) == b"" and op.get_attr("maxsplit") < 0:
        return "whitespace"
    raise Unsplittable(f"its text goes through tf.{op.type}", _REMEDY)


def _strips_punctuation(op: Any) -> bool:
    found = (op.get_attr("pattern"), op.get_attr("rewrite"), op.get_attr("replace_global"))
    return found == (_PUNCTUATION.encode(), b"", True)


def _padded(find: Any, flat: Any) -> Any:
    """Returns the tensor in which the tokens' indices, of any number before, are padded to a fixed length."""
    behind = {find.name}
    for op in flat.graph.get_operations():  # ops stand behind their inputs
        if any(tensor.op.name in behind for tensor in op.inputs):
            behind.add(op.name)
            if op.type == "RaggedTensorToTensor":
                return op.outputs[0]
    raise Unsplittable("a look-up gives as many values as the text has tokens", _REMEDY)


def _table(handle: Any, find: Any) -> dict[str, int]:
    """Returns the keys of a table with their values. Raises Unsplittable where a key is no UTF-8."""
    if handle is None:
        raise Unsplittable("its look-up table is of TensorFlow 1", "export it again, with TensorFlow 2")

    keys, values = tf.raw_ops.LookupTableExportV2(
        table_handle=handle, Tkeys=tf.string, Tvalues=find.outputs[0].dtype
    )
    try:
        return {key.decode(): int(value) for key, value in zip(keys.numpy(), values.numpy(), strict=True)}
    except (UnicodeDecodeError, ValueError) as error:
        raise Unsplittable("its table holds bytes that are no text, or gives no indices", _REMEDY) from error


REMEDY = Remedy(
    name="tables_outside",
    does="look-ups of text moved out of the model, into a Python module beside it",
    split=_split,
)
