"""Text layers: StringLookup and TextVectorization run before the model, as a small Python module.

The model then takes what the layers give: indices as int32, encodings as float32.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from devicekit.convert.inside.inputs import clean_names
from devicekit.convert.inside.load import Loaded
from devicekit.convert.inside.outside import PREPROCESS, Split, Unsplittable, cut, fixed_shape, tensor_facts
from devicekit.convert.remedies.emit import outputs_of
from devicekit.convert.remedies.proof import SEED
from devicekit.convert.remedies.remedy import Remedy

PASSING = ("Identity", "Reshape", "ExpandDims", "Squeeze")
_STANDARDIZE = (None, "lower", "strip_punctuation", "lower_and_strip_punctuation")
_SPLIT = (None, "whitespace", "character")
_REMEDY = "save the model without this layer, and compute it in the app"
_WORDS = ("", "zebra-unseen", "Unseen!", "Ünïcödé", "日本", "it's", "A.B", "x y", "\t", "[UNK]", "  ", "a1")
_EDGES = (
    "",
    "   ",
    "...",
    "Ünïcödé, 日本!",
    "tab\tand\nline",
    "it's  a   test",
    "[UNK] a",
    "!a!",
    "a b" * 40,
    "<b>1a2 3</b>",
    "http://a.b/c?d=e @x #y",
)


@dataclass(frozen=True)
class Call:
    """One call of a text layer: its input and its output, tensors of the traced graph."""

    layer: Any
    given: Any
    result: Any


def _split(loaded: Loaded, function: Any, trace: Callable[[Loaded], Any]) -> Split | None:
    """Returns the model split behind its text layers; None where it has none that takes strings."""
    layers = _text_layers(loaded.layers)
    hashing = next((layer for layer in loaded.layers if type(layer).__name__ == "Hashing"), None)
    strings = [s for s in function.structured_input_signature[0] if s.dtype.name == "string"]
    if strings and hashing:
        raise Unsplittable(f"{_label(hashing)} hashes strings", _REMEDY)
    if not layers or not strings:
        return None
    calls: list[Call] = []
    before = [(layer, layer.call) for layer in layers]
    for layer in layers:
        layer.call = _recorded(layer, calls)
    try:
        traced = trace(loaded)
        own = _of_graph(calls, traced.graph)
        names = _names(own)
        settings = {name: _settings(call) for name, call in zip(names, own, strict=True)}
        sources = [_input_of(call, traced) for call in own]
        inner = _cut(traced, calls)
    except Unsplittable:
        for layer, call in before:
            layer.call = call
        raise
    named = dict(zip(names, sources, strict=True))
    return Split(
        function=inner,
        trace=lambda again: _cut(trace(again), calls),
        role=PREPROCESS,
        code="text",
        call=module(named, text_counts(strings)),
        constants=settings,
        inputs=[tensor_facts(spec.name, spec) for spec in strings],
        outputs=[tensor_facts(name, call.result) for name, call in zip(names, own, strict=True)],
        layers=tuple(dict.fromkeys(call.layer.name for call in own)),
        note=note(named),
        examples=lambda given: examples(given, settings),
    )


def _text_layers(layers: Sequence[Any]) -> list[Any]:
    """Returns the outermost layers that look strings up."""
    inner = {id(getattr(layer, "_lookup_layer", None)) for layer in layers}
    return [
        layer
        for layer in layers
        if type(layer).__name__ in ("StringLookup", "TextVectorization")
        and id(layer) not in inner
        and not getattr(layer, "invert", False)
    ]


def _recorded(layer: Any, calls: list[Call]) -> Callable[..., Any]:
    original = layer.call

    @functools.wraps(original)
    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(inputs, *args, **kwargs)
        calls.append(Call(layer, inputs, result))
        return result

    return call


def _of_graph(calls: Sequence[Call], graph: Any) -> list[Call]:
    own = [call for call in calls if getattr(call.given, "graph", None) is graph]
    if not own:
        raise Unsplittable("its text layers are called inside a function of their own", _REMEDY)
    return own


def _names(calls: Sequence[Call]) -> list[str]:
    return clean_names(call.layer.name for call in calls)


def _cut(traced: Any, calls: Sequence[Call]) -> Any:
    own = _of_graph(calls, traced.graph)
    for call in own:
        _check_result(call)
    inside = dict(zip(_names(own), (call.result for call in own), strict=True))
    return cut(traced, inside=inside, outputs=outputs_of(traced))


def _check_result(call: Call) -> None:
    if not hasattr(call.result, "op"):
        raise Unsplittable(f"{_label(call.layer)} gives ragged or sparse tensors", _REMEDY)
    if call.result.shape.rank is None or None in fixed_shape(call.result):
        raise Unsplittable(
            f"{_label(call.layer)} gives as many values as the text has tokens",
            "save the model with output_sequence_length set in that layer",
        )


def _label(layer: Any) -> str:
    return f"{layer.name} ({type(layer).__name__})"


def _input_of(call: Call, traced: Any) -> str:
    """Returns the name of the input that a text layer reads, as it is but for its shape."""
    tensor = call.given
    while tensor.op.type in PASSING:
        tensor = tensor.op.inputs[0]
    names = [spec.name for spec in traced.structured_input_signature[0]]
    for name, given in zip(names, traced.graph.inputs, strict=False):
        if given is tensor:
            return str(name)
    raise Unsplittable(f"{_label(call.layer)} reads text that tf.{tensor.op.type} makes", _REMEDY)


def _settings(call: Call) -> dict[str, Any]:
    """Returns the arguments of parts.text.text_layer for a layer. Raises Unsplittable."""
    _check_result(call)
    layer, config = call.layer, call.layer.get_config()
    lookup = getattr(layer, "_lookup_layer", layer)
    standardize, split = config.get("standardize"), config.get("split")
    if standardize not in _STANDARDIZE or split not in _SPLIT:
        raise Unsplittable(f"{_label(layer)} has a standardize or split function of its own", _REMEDY)
    if lookup.num_oov_indices > 1:
        raise Unsplittable(
            f"{_label(layer)} hashes unknown words into {lookup.num_oov_indices} indices",
            "save the model with num_oov_indices=1 in that layer",
        )
    return {
        "indices": _indices(lookup),
        "unknown": lookup._oov_start_index() if lookup.num_oov_indices else None,
        "shape": fixed_shape(call.result),
        "dtype": tensor_facts("", call.result)["dtype"],
        "standardize": standardize,
        "split": split,
        "ngrams": _widths(config.get("ngrams")),
        "output_mode": config["output_mode"],
        "weights": _weights(lookup),
    }


def _indices(lookup: Any) -> dict[str, int]:
    start = lookup._token_start_index()
    words = {
        str(word): start + i for i, word in enumerate(lookup.get_vocabulary(include_special_tokens=False))
    }
    if lookup.mask_token is not None:
        words[lookup.mask_token] = int(lookup._mask_value)
    return words


def _widths(ngrams: Any) -> list[int]:
    """Returns the widths of n-grams: Keras takes n for all up to n."""
    return list(range(1, ngrams + 1)) if isinstance(ngrams, int) else list(ngrams or ())


def _weights(lookup: Any) -> list[float] | None:
    if lookup.output_mode != "tf_idf":
        return None
    return [float(weight) for weight in lookup.idf_weights_const.numpy()]


def module(sources: Mapping[str, str], strings: Mapping[str, int | None]) -> str:
    """Returns the function `preprocess` as Python text.

    `sources` are the inputs of the layers' names, `strings` how many texts each input of strings holds.
    """
    lines = [
        f"        {name!r}: text_layer(inputs[{source!r}], **layers[{name!r}]),"
        for name, source in sources.items()
    ]
    return "\n".join(
        [
            "def preprocess(inputs: Mapping[str, Any]) -> dict[str, Any]:",
            '    """Returns the inputs of the .tflite: text prepared, other inputs as they are."""',
            "    layers = read_layers(__file__)",
            f"    text = {dict(strings)!r}",
            "    check_texts(inputs, text)",
            "    others = {name: value for name, value in inputs.items() if name not in text}",
            "    return {",
            "        **others,",
            *lines,
            "    }",
            "",
        ]
    )


def text_counts(specs: Sequence[Any]) -> dict[str, int | None]:
    """Returns how many texts each input of strings holds, None for any number."""
    return {spec.name: spec.shape.num_elements() for spec in specs}


def note(sources: Mapping[str, str]) -> str:
    """Returns what to know of text that is prepared outside; `sources`: what it gives -> what it reads."""
    return (
        f"the text of {', '.join(dict.fromkeys(sources.values()))} is prepared outside the model, by the "
        f".preprocess.py beside it: --data holds what that gives, {', '.join(sources)}"
    )


def examples(given: Any, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yields texts for every input of strings: words of the vocabularies, unknown and odd ones, and edges.

    A layer without an index for unknown words is fed known ones only: it refuses others.
    """
    generator = np.random.default_rng(SEED)
    known = [word for one in settings.values() for word in list(one["indices"])[:2000]]
    is_open = all(one["unknown"] is not None for one in settings.values())
    pool = [*known, *(word.upper() for word in known[:20]), *_WORDS] if is_open else known
    is_text = any(one["split"] for one in settings.values())
    specs = [s for s in given.structured_input_signature[0] if s.dtype.name == "string"]
    edges = _EDGES if is_open and is_text else _WORDS if is_open else ()
    for edge in edges:
        yield {spec.name: np.full(tuple(spec.shape), edge.encode(), object) for spec in specs}
    while True:
        yield {spec.name: _drawn(generator, spec, pool, longest=12 if is_text else 1) for spec in specs}


def _drawn(generator: Any, spec: Any, pool: Sequence[str], *, longest: int) -> Any:
    values = np.empty(tuple(spec.shape), object)
    for place in np.ndindex(values.shape):
        count = 1 if longest == 1 else int(generator.integers(0, longest + 1))
        values[place] = " ".join(str(word) for word in generator.choice(pool, count)).encode()
    return values


REMEDY = Remedy(
    name="text_outside",
    does="text layers moved out of the model, into a Python module beside it",
    split=_split,
)
