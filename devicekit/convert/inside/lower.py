"""Lowers a loaded model to a float .tflite. Runs in the conversion child only: it imports TensorFlow."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf
from tensorflow.python.checkpoint.graph_view import ObjectGraphView

from devicekit.convert.inside.advice import unsupported
from devicekit.convert.inside.load import Loaded, layers_in
from devicekit.convert.remedies.emit import all_ops, outputs_of
from devicekit.convert.remedies.variables import keeps_state
from devicekit.errors import ConvertError, DevicekitError, Unsupported
from devicekit.graph.layers import Layers


def trace(loaded: Loaded) -> Any:
    """Returns the model as one concrete tf.function of batch 1."""
    function = tf.function(loaded.call, input_signature=loaded.inputs, autograph=False)
    try:
        return function.get_concrete_function()
    except (MemoryError, DevicekitError):
        raise
    except Exception as error:  # whatever the layers raise
        raise ConvertError(
            str(loaded.path),
            found=f"it does not run on a batch of 1 ({_summary(error)})",
            remedy="re-save it with a batch size of None, and without state across batches",
        ) from error


def to_tflite(
    loaded: Loaded, function: Any, *, holds: Sequence[Any] = (), flex: bool = False, custom_ops: bool = False
) -> bytes:
    """Returns the float .tflite of a concrete function, with its signature kept.

    Its ops are builtin ones, TensorFlow's own where `flex` is true and they must, and custom ones in place of
    whatever is left where `custom_ops` is true. `holds` are variables besides those of `loaded`.

    A plain tf.Module holds the variables: with a Keras 3 model in its place the converter writes a model
    without weights, and with nothing no signature (measured, November 2026).
    """
    module = tf.Module()
    module.holds = held(loaded.holds, holds, function)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if flex:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    converter.allow_custom_ops = custom_ops
    converter.experimental_enable_resource_variables = keeps_state(function)
    try:
        return bytes(converter.convert())
    except MemoryError:
        raise
    except Exception as error:  # ConverterError, and whatever the MLIR passes raise
        raise _convert_error(loaded, function, str(error), error) from error


def _convert_error(loaded: Loaded, function: Any, text: str, error: Exception) -> ConvertError:
    types = [*_listed("Custom ops", text), *_listed("TF Select ops", text)]
    if types:
        ops = list(all_ops(function.graph))
        return Unsupported(str(loaded.path), findings=unsupported(types, ops, layers_in(loaded)))
    return ConvertError(
        str(loaded.path),
        found=f"the converter fails ({_summary(error)})",
        remedy="run it again with -v, and look for the first error in the converter's log",
    )


def _listed(title: str, text: str) -> list[str]:
    """Returns the ops that the converter lists after `title`, each once."""
    found = re.findall(rf"^{title}: (.+)$", text, flags=re.MULTILINE)
    return sorted({op.strip() for line in found for op in line.split(",")})


def _summary(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    lines = [line for line in lines if not line.startswith("Exception encountered")] or lines
    telling = [line for line in lines if "error:" in line] or lines
    return f"{type(error).__name__}: {telling[0][:300]}"


def held(owner: Any, more: Sequence[Any], function: Any) -> list[Any]:
    """Returns the variables and tables, of those that `owner` tracks and `more`, that the function reads.

    A table that a remedy replaced would bring the ops that fill it, which may have no builtin kernel.
    """
    root = tf.Module()
    # Besides, its own: Keras does not track the states of a stateful RNN.
    root.owner, root.more = owner, [*more, *function.variables]
    captured = {id(external) for external, _ in function.graph.captures}
    tracked, _ = ObjectGraphView(root).breadth_first_traversal()
    return [one for one in tracked if _handle_ids(one) & captured]


def _handle_ids(trackable: Any) -> set[int]:
    handles = (getattr(trackable, name, None) for name in ("handle", "resource_handle"))
    return {id(handle) for handle in handles if handle is not None}


def with_outputs(layers: Layers, function: Any) -> Layers:
    """Returns the layers with those that a traced function's outputs come from."""
    outputs = {}
    for name, tensor in outputs_of(function).items():
        op = tensor.op
        while op.type == "Identity":
            op = op.inputs[0].op
        outputs[name] = layers.of_op(op.name)
    return replace(layers, outputs=outputs)
