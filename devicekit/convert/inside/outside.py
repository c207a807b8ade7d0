"""What runs outside the model: splits it off, writes it as a Python module, proves that the two match.

Runs in the conversion child only: it imports TensorFlow.
"""

import importlib.util
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from devicekit.convert.inside import parts
from devicekit.convert.inside.blame import summary
from devicekit.convert.inside.load import Loaded
from devicekit.convert.remedies.emit import Emitter, as_tensor, captures_of, in_order, traced_as
from devicekit.convert.remedies.proof import FLOOR, distance, feeds, size
from devicekit.convert.remedies.remedy import MAX_DIFFERENCE, Remedy
from devicekit.convert.source import Rewrite
from devicekit.errors import ConvertError, Unsupported
from devicekit.plugins import resolve

_log = logging.getLogger(__name__)

PREPROCESS, POSTPROCESS = "preprocess", "postprocess"
SAMPLES = 24  # inputs of a proof, besides the edge cases


class Unsplittable(Exception):
    """The part cannot be written for outside: why, and what to do, as one instruction."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


@dataclass(frozen=True)
class Split:
    """A model in two. `function` is what stays in the model, `trace` traces that from the loaded model anew.

    `code` names the module of inside.parts that is written whole, `call` is the Python function behind it,
    `constants` go into a .json beside it (None: there are none). `inputs` and `outputs` are what the part
    takes and gives: {"name", "dtype", "shape"}. `examples` yields inputs of the given model that matter to
    the part, by name. `outer` is the part as a traced function, for inputs that the model hardly gives.
    """

    function: Any
    trace: Callable[[Loaded], Any]
    role: str
    code: str
    call: str
    inputs: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]
    layers: tuple[str, ...]
    note: str
    constants: Mapping[str, Any] | None = None
    examples: Callable[[Any], Iterator[Mapping[str, Any]]] | None = None
    outer: Any = None
    outer_examples: Callable[[Any], Iterator[Mapping[str, Any]]] | None = None


@dataclass(frozen=True)
class Part:
    """What runs outside: `files`, the module first; `run`, its function: arrays by name in, the same out."""

    role: str
    files: tuple[Path, ...]
    inputs: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]
    run: Callable[[Mapping[str, Any]], dict[str, Any]]
    examples: Callable[[Any], Iterator[Mapping[str, Any]]] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "files": [file.name for file in self.files],
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
        }


@dataclass(frozen=True)
class Apart:
    """The model without what runs outside: the traced `function`, and how to `trace` it anew.

    `refused` are the reasons of parts that could not be split off.
    """

    function: Any
    trace: Callable[[Loaded], Any]
    parts: tuple[Part, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    notes: tuple[str, ...] = ()
    refused: tuple[Unsplittable, ...] = field(default=())

    @property
    def all_notes(self) -> tuple[str, ...]:
        return (*self.notes, *(f"not moved out of the model: {why}" for why in self.refused))

    @property
    def ends_outside(self) -> bool:
        return any(part.role == POSTPROCESS for part in self.parts)

    def before(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the inputs of `function` for those of the given model, arrays by name."""
        return self._through(PREPROCESS, inputs)

    def after(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the outputs of the given model for those of `function`, arrays by name."""
        return self._through(POSTPROCESS, outputs)

    def samples(self, given: Any, numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns inputs of the given function, of batch 1 each: text drawn, the rest of `numbers`.

        `numbers` are arrays by name with a leading axis of samples.
        """
        specs = given.structured_input_signature[0]
        count = len(next(iter(numbers.values()), ()))
        texts: Sequence[Mapping[str, Any]] = [{}] * count
        if any(spec.dtype.name == "string" for spec in specs):
            texts = [*drawn_inputs(given, self.parts, SAMPLES)][-count:]
        numbered = [spec for spec in specs if spec.dtype.name != "string"]
        return [
            {**text, **{s.name: numbers[s.name][i : i + 1].reshape(s.shape) for s in numbered}}
            for i, text in enumerate(texts)
        ]

    def _through(self, role: str, values: Mapping[str, Any]) -> dict[str, Any]:
        arrays = dict(values)
        for part in self.parts:
            arrays = part.run(arrays) if part.role == role else arrays
        return arrays


def with_reasons(error: Unsupported, refused: Sequence[Unsplittable]) -> Unsupported:
    """Returns the error with why its suppressions could not be moved out of the model."""
    if not refused:
        return error
    findings = [
        replace(
            one,
            detail=f"{one.detail}, and cannot be moved out of the model: {refused[0]}",
            remedy=refused[0].remedy,
        )
        if "Suppression" in (one.op or "")
        else one
        for one in error.findings
    ]
    return Unsupported(error.path, findings=findings)


def set_apart(
    loaded: Loaded,
    function: Any,
    trace: Callable[[Loaded], Any],
    *,
    table: Mapping[str, str],
    out_dir: Path,
) -> Apart:
    """Returns the traced `function` of `loaded` without what the remedies of the kind `split` take out of it.

    The parts are written into `out_dir`: preprocess.py, postprocess.py, each with its .json where it has one.
    """
    apart = Apart(function, trace)
    for target in table.values():
        remedy: Remedy = resolve(target)
        if remedy.split is None:
            continue
        try:
            split = remedy.split(loaded, apart.function, apart.trace)
            apart = apart if split is None else _proven(apart, remedy, split, function, out_dir)
        except Unsplittable as error:
            apart = replace(apart, refused=(*apart.refused, error))
        except MemoryError:
            raise
        except Exception as error:  # a graph that no Keras wrote may lack what a split looks for
            _log.info("%s failed", remedy.name, exc_info=True)
            why = Unsplittable(f"{remedy.name} failed ({summary(error)})", "save the model as .keras")
            apart = replace(apart, refused=(*apart.refused, why))
    return apart


def _proven(apart: Apart, remedy: Remedy, split: Split, given: Any, out_dir: Path) -> Apart:
    """Returns `apart` with the split; raises Unsplittable where the two together are not the given model."""
    part = _written(split, out_dir)
    new = replace(apart, function=split.function, trace=split.trace, parts=(*apart.parts, part))
    # Part for part, where a split brings its own function: equal scores come out in TensorFlow's own order.
    whole = new if split.outer is None else replace(new, parts=(*apart.parts, _as_traced(split, part)))
    try:
        found = max(_difference_of_whole(given, whole), _difference_of_part(split, part))
    except MemoryError:
        raise
    except Exception as error:  # what TensorFlow, or the part itself, raises where the two do not match
        _log.info("%s failed", remedy.name, exc_info=True)
        found, why = float("inf"), f": {summary(error)}"
    else:
        why = f" (outputs would differ by {found:.1g})"
    if found > MAX_DIFFERENCE:
        for file in part.files:
            file.unlink()
        layers = ", ".join(split.layers)
        raise Unsplittable(
            f"what {layers} computes could not be proven equal outside the model{why}",
            f"save the model without {layers}, and compute it in the app",
        )
    rewrite = Rewrite(remedy.name, remedy.does, split.layers, found)
    return replace(new, rewrites=(*apart.rewrites, rewrite), notes=(*apart.notes, split.note))


def _as_traced(split: Split, part: Part) -> Part:
    """Returns the part run by TensorFlow, as it was cut out."""
    own = {one["name"] for one in split.inputs}

    def run(values: Mapping[str, Any]) -> dict[str, Any]:
        others = {name: value for name, value in values.items() if name not in own}
        return {**others, **run_function(split.outer, values)}

    return replace(part, run=run)


def _difference_of_whole(given: Any, apart: Apart) -> float:
    """Returns how far the parts around the rewritten function are from the given one, on drawn inputs."""
    results = []
    for inputs in drawn_inputs(given, apart.parts, SAMPLES):
        outputs = run_function(apart.function, apart.before(inputs))
        results.append((run_function(given, inputs), apart.after(outputs)))
    return _worst(results)


def _difference_of_part(split: Split, part: Part) -> float:
    if split.outer is None or split.outer_examples is None:
        return 0.0
    examples = split.outer_examples(split.outer)
    return _worst([(run_function(split.outer, one), part.run(one)) for one in examples])


def _worst(results: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> float:
    """Returns the largest difference of any output on any inputs; see proof.distance."""
    largest: dict[str, float] = {}
    for expected, _ in results:
        for name, values in expected.items():
            largest[name] = max(largest.get(name, 0.0), size(values))
    return max(
        distance(values, np.asarray(actual[name]), floor=FLOOR * largest[name])
        for expected, actual in results
        for name, values in expected.items()
    )


def drawn_inputs(given: Any, with_parts: Sequence[Part], count: int) -> Iterator[dict[str, Any]]:
    """Yields inputs of the given function, by name: what the parts call for, then random and edge values."""
    specs = given.structured_input_signature[0]
    numbers = [spec for spec in specs if spec.dtype.name != "string"]
    plain = itertools.cycle(
        dict(zip((spec.name for spec in numbers), feed, strict=True)) for feed in feeds(numbers)
    )
    makers = [part.examples(given) for part in with_parts if part.examples]
    rows = itertools.zip_longest(*makers) if makers else [()] * 6
    for row in itertools.islice(rows, count):
        texts = {name: value for example in row if example for name, value in example.items()}
        empty = {s.name: np.full(tuple(s.shape), b"", object) for s in specs if s.dtype.name == "string"}
        yield {**empty, **next(plain, {}), **texts}


def run_function(function: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the outputs of a traced function by name; `inputs` may hold more than it takes."""
    specs = function.structured_input_signature[0]
    tensors = [tf.reshape(tf.constant(inputs[spec.name], spec.dtype), spec.shape) for spec in specs]
    return {name: np.asarray(value.numpy()) for name, value in function(*tensors).items()}


def cut(
    function: Any, *, inside: Mapping[str, Any], outputs: Mapping[str, Any], keep_inputs: bool = True
) -> Any:
    """Returns a concrete function of a region of `function`, from new inputs to some of its tensors.

    `inside` maps the names of new inputs to the tensors that they stand for; int64 is fed as int32.
    `outputs` maps names to tensors. Inputs of `function` that the region reads stay, before the new ones
    (with `keep_inputs`). Raises Unsplittable where the region reads anything else.
    """
    specs = function.structured_input_signature[0]
    captures = captures_of(function)
    free = [tensor for tensor in function.graph.inputs if tensor.ref() not in captures]
    given = {tensor.ref() for tensor in inside.values()}
    controls = list(function.graph.control_outputs) if keep_inputs else []
    ops, read = _region(list(outputs.values()), given, controls)
    kept = [(s, t) for s, t in zip(specs, free, strict=True) if keep_inputs and t.dtype != tf.string]
    if read - {t.ref() for _, t in kept} - set(captures):
        raise Unsplittable("other parts of the model read the same input", "save the model without that part")
    new = [tf.TensorSpec(fixed_shape(t), _fed(t.dtype), name=name) for name, t in inside.items()]
    region = SimpleNamespace(
        inputs=[t for _, t in kept]
        + list(inside.values())
        + [t for t in function.graph.inputs if t.ref() in captures],
        outputs=list(outputs.values()),
    )
    types = [t.dtype for _, t in kept] + [t.dtype for t in inside.values()]

    def call(*tensors: Any) -> dict[str, Any]:
        arguments = [
            tf.cast(t, dtype) if t.dtype != dtype else t for t, dtype in zip(tensors, types, strict=True)
        ]
        results = Emitter({}).run(region, arguments, captures, ops=ops)
        return {name: tf.identity(as_tensor(one)) for name, one in zip(outputs, results, strict=True)}

    return traced_as(call, [*(spec for spec, _ in kept), *new])


def _fed(dtype: Any) -> Any:
    return tf.int32 if dtype == tf.int64 else dtype


def _region(outputs: Sequence[Any], given: set[Any], controls: Sequence[Any]) -> tuple[list[Any], set[Any]]:
    """Returns the ops that compute `outputs` from `given`, each behind its inputs, and placeholders read.

    Side effects (`controls`) belong to it where they read no strings: an assertion about text goes outside.
    """
    ends = [op for op in controls if not _reads_strings(op)]
    ends += [tensor.op for tensor in outputs if tensor.ref() not in given]
    ordered = list(in_order(ends, lambda op: [t.op for t in op.inputs if t.ref() not in given]))
    read = {op.outputs[0].ref() for op in ordered if op.type == "Placeholder"}
    return [op for op in ordered if op.type != "Placeholder"], read


def _reads_strings(op: Any) -> bool:
    """Returns whether an op depends on text, an input of strings of the model."""
    pending, seen = [op], set()
    while pending:
        one = pending.pop()
        if one.name in seen:
            continue
        seen.add(one.name)
        if one.type == "Placeholder" and one.outputs[0].dtype.name == "string":
            return True
        pending.extend(t.op for t in one.inputs)
    return False


def tensor_facts(name: str, tensor: Any) -> dict[str, Any]:
    """Returns what a report says of a tensor that is fed or given: {"name", "dtype", "shape"}."""
    return {"name": name, "dtype": _fed(tensor.dtype).name, "shape": fixed_shape(tensor)}


def fixed_shape(tensor: Any) -> list[int | None]:
    """Returns the shape of a tensor; a first size that TensorFlow lost sight of is the batch, 1."""
    sizes: list[int | None] = [] if tensor.shape.rank is None else tensor.shape.as_list()
    return [1, *sizes[1:]] if sizes[:1] == [None] else sizes


def refuse_strings(path: Path, apart: Apart, *, may_rewrite: bool) -> None:
    """Raises ConvertError where an input of the function takes strings still.

    Unless the user forbade to rewrite the model, that was tried.
    """
    untried = "leave out --no-rewrite, so that text layers move out of the model"
    remedy = "save the model without its text look-up, and feed it the indices" if may_rewrite else untried
    for spec in apart.function.structured_input_signature[0]:
        if spec.dtype.name == "string":
            why = next(iter(apart.refused), None)
            told = "takes strings, which no recipe, runner or comparison here can feed"
            raise ConvertError(
                str(path),
                found=f'input "{spec.name}" {told}' + (f"; {why}" if why else ""),
                remedy=why.remedy if why else remedy,
            )


def _written(split: Split, out_dir: Path) -> Part:
    """Writes the module, and its constants; returns the part, with the function of the file as written."""
    file = out_dir / f"{split.role}.py"
    folder = Path(parts.__file__).parent
    code = (folder / f"{split.code}.py").read_text(encoding="utf-8")
    file.write_text(f"{code}\n\n{split.call}", encoding="utf-8")
    files = [file]
    if split.constants is not None:
        files.append(file.with_suffix(".json"))
        text = json.dumps(split.constants, ensure_ascii=False, indent=1)
        files[1].write_text(text + "\n", encoding="utf-8")
    return Part(
        split.role,
        tuple(files),
        split.inputs,
        split.outputs,
        getattr(loaded_module(file), split.role),
        split.examples,
    )


def loaded_module(file: Path) -> Any:
    """Returns the module that a written part is."""
    spec = importlib.util.spec_from_file_location(f"devicekit_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
