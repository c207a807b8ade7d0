"""Loads a source model as a function of batch 1. Runs in the conversion child only: it imports TensorFlow.

Legacy Keras 2 files go through tf_keras, Keras 3 files through Keras 3: Keras 3 loads none of thirty legacy
.h5 files plainly (measured, November 2026).
"""

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from devicekit.convert.container import Header
from devicekit.convert.inputs import clean_names, input_specs, no_batch_of_one
from devicekit.convert.trust import foreign_names
from devicekit.errors import ConvertError, LoadError, UsageError
from devicekit.graph.layers import Layers


@dataclass(frozen=True)
class Loaded:
    """A model as the converter wants it.

    `call` takes tensors in the order of `inputs` (tf.TensorSpec with batch 1 and clean names) and returns
    tensors by output name. `holds` are the variables, or the object that owns them, which conversion must
    keep. `layers` are the Keras layers, inner ones too; a SavedModel has none.
    `is_legacy` says that they are Keras 2's.
    """

    path: Path
    call: Callable[..., Mapping[str, Any]]
    inputs: tuple[Any, ...]
    holds: Any
    parameters: int | None
    layers: tuple[Any, ...] = ()
    is_legacy: bool = False
    notes: tuple[str, ...] = ()


def layers_in(loaded: Loaded) -> Layers:
    """Returns the names of a loaded model's layers."""
    classes = {layer.name: type(layer).__name__ for layer in loaded.layers}
    # Keras 3 has called each layer once when it was built: the trace is the second call.
    return Layers(classes, numbered=bool(classes) and not loaded.is_legacy)


def load(
    path: Path,
    header: Header,
    *,
    trusted: bool,
    custom_objects: Path | None,
    shapes: Mapping[str, Sequence[int]],
    scratch: Path,
) -> Loaded:
    """Returns the loaded model. Raises LoadError, naming unknown custom objects, and ConvertError.

    `shapes` fixes inputs, by their names, whose sizes are free. `scratch` is a directory for a link to the
    model.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if header.is_legacy:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # so that tf.keras in --custom-objects is the same Keras
    if header.format == "savedmodel":
        return _load_saved_model(path, shapes)
    keras: ModuleType = importlib.import_module("tf_keras" if header.is_legacy else "keras")
    objects = _custom_objects(custom_objects, keras) if custom_objects else {}
    unknown = [name for name in foreign_names(header.config) if name not in objects]
    if unknown and not trusted:
        raise _unknown_object(path, unknown[0], custom_objects)
    try:
        # Of the two, only Keras 3 knows safe_mode for an .h5; the config has been searched for code before.
        options = {} if header.is_legacy and header.format == "h5" else {"safe_mode": not trusted}
        file = _named_by_format(path, header, scratch)
        model = keras.models.load_model(str(file), custom_objects=objects, compile=False, **options)
    except MemoryError:
        raise
    except Exception as error:  # whatever a config makes Keras raise
        raise _load_error(path, header, error, custom_objects) from error
    return _from_keras(path, model, keras, shapes)


def _named_by_format(path: Path, header: Header, scratch: Path) -> Path:
    """Returns a link to `path` with the suffix of the format that was searched for code.

    Keras chooses its reader by the suffix, and a file can be a .keras for one and an .h5 for another.
    """
    link = scratch / f"model.{header.format}"
    try:
        link.symlink_to(path.resolve())
    except OSError:  # Windows, without the privilege
        shutil.copyfile(path, link)
    return link


def _load_saved_model(path: Path, shapes: Mapping[str, Sequence[int]]) -> Loaded:
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(path))
    except MemoryError:
        raise
    except Exception as error:  # TensorFlow raises many kinds here
        raise LoadError(
            str(path),
            found=_last_line(error),
            expected="a SavedModel",
            remedy="export it again, with TensorFlow 2",
        ) from error
    signatures = dict(model.signatures)
    function = signatures.get("serving_default") or next(iter(signatures.values()), None)
    if function is None:
        raise LoadError(
            str(path),
            found="a SavedModel without signatures",
            expected="serving_default",
            remedy="export it with model.export(), or pass signatures= to tf.saved_model.save()",
        )
    named = dict(function.structured_input_signature[1])
    for name, spec in named.items():
        if spec.shape.rank is None or (spec.shape.rank and spec.shape[0] not in (None, 1)):
            raise no_batch_of_one(path, name, spec.shape)
    inputs = input_specs(path, [(name, spec.shape, spec.dtype) for name, spec in named.items()], shapes)

    def call(*tensors: Any) -> Mapping[str, Any]:
        outputs = function(**dict(zip(named, tensors, strict=True)))
        return dict(zip(clean_names(outputs), outputs.values(), strict=True))

    count = sum(int(variable.shape.num_elements() or 0) for variable in function.variables)
    notes = _other_signatures(signatures, function)
    return Loaded(path, call, inputs, model, count or None, notes=notes)


def _other_signatures(signatures: Mapping[str, Any], taken: Any) -> tuple[str, ...]:
    """Returns a note where a SavedModel has signatures that are left out."""
    name = next(key for key, function in signatures.items() if function is taken)
    others = [key for key in signatures if key != name]
    return (f"signature {name} was taken, not {', '.join(others)}",) if others else ()


def _from_keras(path: Path, model: Any, keras: Any, shapes: Mapping[str, Sequence[int]]) -> Loaded:
    is_legacy = keras.__name__.startswith("tf_keras")
    functional = getattr(model, "_functional", None) or model  # Keras 3 keeps a Sequential's graph there
    if not getattr(functional, "inputs", None):
        raise ConvertError(
            str(path),
            found=f"the input shapes of {type(model).__name__} are not in the file",
            remedy="save it wrapped in a functional model with keras.Input(shape), or export a SavedModel",
        )
    names = list(functional.input_names) if is_legacy else [tensor.name for tensor in functional.inputs]
    declared = [(n, t.shape, t.dtype) for n, t in zip(names, functional.inputs, strict=True)]
    inputs = input_specs(path, declared, shapes)
    outputs = clean_names(functional.output_names)
    if is_legacy:
        import tensorflow as tf

        tree, structure = tf.nest, getattr(functional, "_nested_inputs", functional.inputs)
        holds = [*model.variables, *_tables(model)]
    else:
        tree, structure = keras.tree, getattr(functional, "_inputs_struct", functional.inputs)
        # A Keras 3 variable is no tf.Variable: with it, conversion gives a model of NaN (facts §0.3).
        holds = [*(variable._value for variable in model.variables), *_tables(model)]

    def call(*tensors: Any) -> Mapping[str, Any]:
        result = functional(tree.pack_sequence_as(structure, list(tensors)), training=False)
        return dict(zip(outputs, tree.flatten(result), strict=True))

    layers = tuple(model._flatten_layers())
    return Loaded(path, call, inputs, holds, int(model.count_params()), layers, is_legacy)


def _tables(model: Any) -> list[Any]:
    """Returns the lookup tables of the layers: resources that are no variables."""
    import tensorflow as tf

    resource = tf.saved_model.experimental.TrackableResource
    return [
        value
        for layer in model._flatten_layers()
        for value in vars(layer).values()
        if isinstance(value, resource)
    ]


def _custom_objects(path: Path, keras: Any) -> dict[str, Any]:
    """Returns the classes and functions that the user's file defines, by name.

    While it runs, `import keras` in it means the Keras that loads the model.
    """
    spec = importlib.util.spec_from_file_location("devicekit_custom_objects", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"{path}: no such Python file", remedy="give --custom-objects a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    before = {name: sys.modules.get(name) for name in ("keras", "keras.layers")}
    sys.modules.update({"keras": keras, "keras.layers": keras.layers})
    try:
        spec.loader.exec_module(module)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # the user's code
        raise UsageError(
            f"{path}: {type(error).__name__}: {error}", remedy="make the file importable on its own"
        ) from error
    finally:
        for name, old in before.items():
            sys.modules.pop(name, None) if old is None else sys.modules.update({name: old})
    own = {k: v for k, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == spec.name}
    # Registered classes are looked up as "Package>Name".
    return {**own, **{keras.saving.get_registered_name(value): value for value in own.values()}}


_UNKNOWN = (
    re.compile(r"Unknown [\w ]+: '?([\w>.]+)'?"),
    re.compile(r"Could not locate (?:class|function) '([\w>.]+)'"),
    re.compile(r"Could not interpret [\w ]+ identifier: '?([\w>.]+)'?"),
)


def _load_error(path: Path, header: Header, error: Exception, given: Path | None) -> LoadError:
    text = str(error)
    for pattern in _UNKNOWN:
        found = pattern.search(text)
        if found:
            return _unknown_object(path, found[1], given)
    if "bad marshal data" in text:
        version = ".".join(map(str, sys.version_info[:2]))
        return LoadError(
            str(path),
            found=f"a Lambda layer written by another version of Python than this ({version})",
            remedy="re-save it with a registered layer in place of the Lambda",
        )
    return LoadError(
        str(path),
        found=f"{header.kind} file that does not load: {_last_line(error)}",
        remedy="export it as a SavedModel with the Keras that wrote it, and give that",
    )


def _unknown_object(path: Path, name: str, given: Path | None) -> LoadError:
    """Returns the error for a custom object that neither Keras nor the user's file `given` defines."""
    if given is not None:
        return LoadError(
            str(path),
            found=f'"{name}" is not a part of Keras, and {given} does not define it',
            remedy=f"define {name.rpartition('>')[2]} in {given}",
        )
    return LoadError(
        str(path),
        found=f'"{name}" is not a part of Keras',
        expected="the Python code of this custom object",
        remedy=f"add --custom-objects file.py, a file that defines {name.rpartition('>')[2]}",
    )


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    return f"{type(error).__name__}: {text[:300]}"
