"""Loads a source model as a function of batch 1. Runs in the conversion child only: it imports TensorFlow.

Legacy Keras 2 files go through tf_keras, Keras 3 files through Keras 3: Keras 3 loads none of thirty legacy
.h5 files plainly (measured, November 2026).
"""

import importlib
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from devicekit.convert.container import Header
from devicekit.convert.inside.addition import mend_addition
from devicekit.convert.inside.blame import load_error, raised_in, ran_out, summary, unknown_object
from devicekit.convert.inside.inputs import clean_names, input_specs, no_batch_of_one, shape_text
from devicekit.convert.inside.modern_h5 import load_modern_h5
from devicekit.convert.inside.shaped import Shaped, output_names
from devicekit.convert.objects import load_objects, with_names_for
from devicekit.convert.trust import foreign_names, registered_names
from devicekit.errors import ConvertError, DevicekitError, LoadError
from devicekit.graph.layers import Layers


@dataclass(frozen=True)
class Loaded:
    """A model as the converter wants it.

    `call` takes tensors in the order of `inputs` (tf.TensorSpec with batch 1 and clean names) and returns
    tensors by output name. `holds` are the variables, or the object that owns them, which conversion must
    keep. `layers` are the Keras layers, inner ones too; a SavedModel has none.
    `is_legacy` says that they are Keras 2's, `takes_batches` that `call` takes more samples than one.
    """

    path: Path
    call: Callable[..., Mapping[str, Any]]
    inputs: tuple[Any, ...]
    holds: Any
    parameters: int | None
    layers: tuple[Any, ...] = ()
    is_legacy: bool = False
    takes_batches: bool = False
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
    if header.format == "savedmodel":
        return _load_saved_model(path, shapes)
    keras: ModuleType = importlib.import_module("tf_keras" if header.is_legacy else "keras")
    _show_whole_tracebacks(keras)
    if not header.is_legacy:
        mend_addition()
    objects = load_objects(custom_objects, keras, registered_names(header.config))
    unknown = [name for name in foreign_names(header.config) if name not in objects]
    if unknown and not trusted:
        raise unknown_object(path, header, unknown[0], custom_objects)
    shaped = Shaped(path, header.config, shapes)
    file = _named_by_format(path, header, scratch)
    try:
        model = _load_keras(file, header, keras, objects, trusted=trusted, build=shaped.build)
    except (MemoryError, DevicekitError):
        raise
    except Exception as error:  # whatever a config makes Keras raise
        if ran_out(error):
            raise MemoryError from error
        raise load_error(path, header, error, given=custom_objects, objects=objects) from error
    return _from_keras(path, model, keras, shaped, custom_objects)


def _show_whole_tracebacks(keras: Any) -> None:
    """Keeps Keras from cutting its frames out of tracebacks: they hold the layer at fault."""
    tf.debugging.disable_traceback_filtering()
    if hasattr(keras, "config"):
        keras.config.disable_traceback_filtering()


def _load_keras(
    file: Path,
    header: Header,
    keras: Any,
    objects: Mapping[str, Any],
    *,
    trusted: bool,
    build: Callable[[Any], None],
) -> Any:
    """Returns the Keras model of a file whose config was searched for code. Raises whatever Keras raises."""
    config = header.config
    assert config is not None
    if trusted and not header.is_legacy:
        _lend_names(keras, objects)
    if header.format == "keras":
        return keras.models.load_model(
            str(file), custom_objects=objects, compile=False, safe_mode=not trusted
        )
    if not header.is_legacy:
        return load_modern_h5(file, config, keras, objects=objects, trusted=trusted, build=build)
    config = with_names_for(config, objects)
    if config == header.config and not header.has_stand_ins:
        return keras.models.load_model(str(file), custom_objects=objects, compile=False)
    model = keras.models.model_from_config(config, custom_objects=objects)
    model.load_weights(str(file))
    return model


def _lend_names(keras: Any, objects: Mapping[str, Any]) -> None:
    """Lets the code of Keras 3 Lambda layers find tf, np, keras and the user's names, as tf_keras does.

    Their bytecode comes without its module, and runs with the names of the module that unpacks it.
    """
    names = {"tf": tf, "tensorflow": tf, "np": np, "keras": keras, "ops": keras.ops, "K": keras.backend}
    module = vars(importlib.import_module("keras.src.utils.python_utils"))
    for name, value in {**names, **objects}.items():
        module.setdefault(name, value)


def _named_by_format(path: Path, header: Header, scratch: Path) -> Path:
    """Returns a link to `path` with the suffix of the format that was searched for code.

    Keras chooses its reader by the suffix, and a file can be a .keras for one and an .h5 for another. Where
    functions stand in for Lambda layers, a .keras becomes a copy with the config that says so.
    """
    link = scratch / f"model.{header.format}"
    if header.has_stand_ins and header.format == "keras":
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(link, "w") as copy:
            for name in source.namelist():
                own = json.dumps(header.config).encode() if name == "config.json" else None
                copy.writestr(name, own or source.read(name))
        return link
    try:
        link.symlink_to(path.resolve())
    except OSError:  # Windows, without the privilege
        shutil.copyfile(path, link)
    return link


def _load_saved_model(path: Path, shapes: Mapping[str, Sequence[int]]) -> Loaded:
    try:
        model = tf.saved_model.load(str(path))
    except MemoryError:
        raise
    except Exception as error:  # TensorFlow raises many kinds here
        raise LoadError(
            str(path),
            found=f"a SavedModel that does not load ({summary(error)})",
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
    if not named:
        raise ConvertError(
            str(path),
            found="its signature takes no inputs",
            remedy="export a signature that takes what the model computes from",
        )
    for name, spec in named.items():
        if spec.shape.rank and spec.shape[0] not in (None, 1):
            raise no_batch_of_one(path, name, spec.shape)
    inputs = input_specs(path, [(name, spec.shape, spec.dtype) for name, spec in named.items()], shapes)

    def call(*tensors: Any) -> Mapping[str, Any]:
        outputs = function(**dict(zip(named, tensors, strict=True)))
        return dict(zip(clean_names(outputs), outputs.values(), strict=True))

    count = sum(int(variable.shape.num_elements() or 0) for variable in function.variables)
    notes = (*_other_signatures(signatures, function), *_single_numbers(inputs, named))
    return Loaded(path, call, inputs, model, count or None, notes=notes)


def _other_signatures(signatures: Mapping[str, Any], taken: Any) -> tuple[str, ...]:
    """Returns a note where a SavedModel has signatures that are left out."""
    name = next(key for key, function in signatures.items() if function is taken)
    others = [key for key in signatures if key != name]
    return (f"signature {name} was taken, not {', '.join(others)}",) if others else ()


def _single_numbers(inputs: Sequence[Any], named: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns a note per input [?]: its one size may have been meant as the length of a signal."""
    return tuple(
        f'input "{spec.name}" [?] was taken as a batch of one number: give a signal a batch, [?, 16000]'
        for spec, own in zip(inputs, named.values(), strict=True)
        if own.shape.rank == 1 and own.shape[0] is None
    )


def _from_keras(path: Path, model: Any, keras: Any, shaped: Shaped, own: Path | None) -> Loaded:
    """Returns the model as a function of batch 1: as its graph where it has one, else by its `call`."""
    functional = getattr(model, "_functional", None) or model  # Keras 3 keeps a Sequential's graph there
    if getattr(functional, "inputs", None):
        names, inputs, run = _graph(path, functional, keras, shaped.shapes)
    else:
        names, inputs, run = None, shaped.specs(model), shaped.runner(model)
        _make_variables(path, model, _blaming(path, run, own), inputs)
    flatten, blamed = _tree(keras).flatten, _blaming(path, run, own)

    def call(*tensors: Any) -> Mapping[str, Any]:
        result = blamed(*tensors)
        own = names if names and not isinstance(result, Mapping) else clean_names(output_names(result))
        return dict(zip(own, flatten(result), strict=True))

    is_legacy = keras.__name__.startswith("tf_keras")
    variables = model.variables
    if not is_legacy:
        # A Keras 3 variable is no tf.Variable: with it, conversion gives a model of NaN (facts §0.3).
        variables = [variable._value for variable in variables]
    holds = [*variables, *_tables(model)]
    layers = tuple(model._flatten_layers())
    declared = getattr(functional, "inputs", None) or ()
    return Loaded(
        path,
        call,
        inputs,
        holds,
        int(model.count_params()),
        layers,
        is_legacy,
        takes_batches=bool(declared) and all(tensor.shape[:1] == (None,) for tensor in declared),
    )


def _blaming(path: Path, run: Callable[..., Any], own: Path | None) -> Callable[..., Any]:
    """Returns `run` with errors that name the line of the user's file `own`, and MemoryError as such."""

    def blaming(*tensors: Any) -> Any:
        try:
            return run(*tensors)
        except Exception as error:
            if ran_out(error):
                raise MemoryError from error
            if own and (at := raised_in(own, error)):
                raise ConvertError(
                    str(path),
                    found=f"{at.function} ({own.name}:{at.line}) raises {summary(at.error)}",
                    remedy=f"correct it in {own}, line {at.line}",
                ) from error
            raise

    return blaming


def _make_variables(path: Path, model: Any, run: Callable[..., Any], inputs: Sequence[Any]) -> None:
    """Calls a model without a graph once, on zeros. Raises ConvertError."""
    try:
        run(*(_zeros(spec) for spec in inputs))
    except (MemoryError, DevicekitError):
        raise
    except Exception as error:  # whatever the layers raise
        shapes = ", ".join(f"{spec.name} {shape_text(spec.shape)}" for spec in inputs)
        raise ConvertError(
            str(path),
            found=f"{type(model).__name__} does not run on {shapes} ({summary(error)})",
            remedy="give the sizes that it was trained with, by --shape",
        ) from error


def _graph(
    path: Path, functional: Any, keras: Any, shapes: Mapping[str, Sequence[int]]
) -> tuple[list[str], tuple[Any, ...], Callable[..., Any]]:
    """Returns output names, inputs and the function of a model that knows its inputs."""
    if keras.__name__.startswith("tf_keras"):
        names = list(functional.input_names)
        structure = getattr(functional, "_nested_inputs", functional.inputs)
    else:
        names = [tensor.name for tensor in functional.inputs]
        structure = getattr(functional, "_inputs_struct", functional.inputs)
    declared = [(n, t.shape, t.dtype) for n, t in zip(names, functional.inputs, strict=True)]
    inputs = input_specs(path, declared, shapes)
    tree = _tree(keras)

    def run(*tensors: Any) -> Any:
        return functional(tree.pack_sequence_as(structure, list(tensors)), training=False)

    return clean_names(functional.output_names), inputs, run


def _tree(keras: Any) -> Any:
    """Returns what flattens structures in the order of this Keras."""
    if not keras.__name__.startswith("tf_keras"):
        return keras.tree
    return tf.nest


def _zeros(spec: Any) -> Any:
    return tf.zeros(spec.shape, spec.dtype)


def _tables(model: Any) -> list[Any]:
    """Returns the lookup tables of the layers: resources that are no variables."""
    resource = tf.saved_model.experimental.TrackableResource
    return [
        value
        for layer in model._flatten_layers()
        for value in vars(layer).values()
        if isinstance(value, resource)
    ]
