"""Lowers a loaded model to a float .tflite. Runs in the conversion child only: it imports TensorFlow."""

import re
from typing import Any

from devicekit.convert.load import Loaded
from devicekit.errors import ConvertError

# Ordinary ops that lack a builtin kernel only in half or double precision (measured, November 2026).
_DENSE_OPS = frozenset({"BiasAdd", "Conv2D", "MatMul", "Relu", "DepthwiseConv2dNative", "FusedBatchNormV3"})


def trace(loaded: Loaded) -> Any:
    """Returns the model as one concrete tf.function of batch 1."""
    import tensorflow as tf

    function = tf.function(loaded.call, input_signature=loaded.inputs, autograph=False)
    try:
        return function.get_concrete_function()
    except MemoryError:
        raise
    except Exception as error:  # whatever the layers raise
        raise ConvertError(
            str(loaded.path),
            found=f"it does not run on a batch of 1 ({_summary(error)})",
            remedy="re-save it with a batch size of None, and without state across batches",
        ) from error


def to_tflite(loaded: Loaded, function: Any) -> bytes:
    """Returns the float .tflite of a concrete function, with builtin ops alone and its signature kept.

    A plain tf.Module holds the variables: with a Keras 3 model in its place the converter writes a model
    without weights, and with nothing no signature (measured, November 2026).
    """
    import tensorflow as tf

    module = tf.Module()
    module.holds = loaded.holds
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    try:
        return bytes(converter.convert())
    except MemoryError:
        raise
    except Exception as error:  # ConverterError, and whatever the MLIR passes raise
        raise _convert_error(loaded, str(error), error) from error


def _convert_error(loaded: Loaded, text: str, error: Exception) -> ConvertError:
    custom = _listed("Custom ops", text)
    if custom:
        return ConvertError(
            str(loaded.path),
            found=f"{_tf_names(custom)} {_have(custom)} no kernel in LiteRT, not even through Flex",
            remedy="replace the layer that uses it; Python functions cannot run on a device",
        )
    flex = _listed("TF Select ops", text)
    if _DENSE_OPS & set(flex):
        return ConvertError(
            str(loaded.path),
            found=f"{_tf_names(flex)} {_have(flex)} no kernel for float16, bfloat16 or float64",
            remedy='re-save it with the dtype policy "float32" and the same weights',
        )
    if flex:
        return ConvertError(
            str(loaded.path),
            found=f"{_tf_names(flex)} {_have(flex)} no builtin kernel in LiteRT",
            remedy="replace the layer that uses it, or move that step out of the model",
        )
    return ConvertError(
        str(loaded.path),
        found=f"the converter fails ({_summary(error)})",
        remedy="run it again with -v, and look for the first error in the converter's log",
    )


def _listed(title: str, text: str) -> list[str]:
    """Returns the ops that the converter lists after `title`, each once."""
    found = re.findall(rf"^{title}: (.+)$", text, flags=re.MULTILINE)
    return sorted({op.strip() for line in found for op in line.split(",")})


def _tf_names(ops: list[str]) -> str:
    return ", ".join(f"tf.{op}" for op in ops)


def _have(ops: list[str]) -> str:
    return "has" if len(ops) == 1 else "have"


def _summary(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    lines = [line for line in lines if not line.startswith("Exception encountered")] or lines
    telling = [line for line in lines if "error:" in line] or lines
    return f"{type(error).__name__}: {telling[0][:300]}"
