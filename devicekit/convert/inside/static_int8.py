"""The child of the second source: a float .tflite -> int8 by TensorFlow's calibrator and MLIR quantizer.

These are the steps that TFLiteConverter takes behind its own float file (tensorflow/lite/python/lite.py 2.21,
`_quantize`): add the intermediate tensors of fused LSTMs, calibrate, quantize.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
from ai_edge_litert.tools import flatbuffer_utils
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.optimize.calibrator import Calibrator, add_intermediate_tensors
from tensorflow.python.framework import dtypes

from devicekit.errors import ConvertError
from devicekit.quantize.spans import widened

# Inputs of the kernel (tensorflow/lite/kernels/lstm_shared.h): the state that holds the last output.
OUTPUT_STATE = 18
# The intermediate tensor that scales the output (unidirectional_sequence_lstm.cc, integer evaluation).
HIDDEN = 4


def handle(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Writes the files and yields {"done": dtype} for each. Raises ConvertError.

    The request: float_path (a .tflite), samples_path (.npz: each input by name, samples on a leading axis),
    out_paths (dtype of the inputs and outputs, "int8" or "float32" -> file).
    """
    float_path = Path(request["float_path"])
    try:
        calibrated = _calibrated(float_path, Path(request["samples_path"]))
        for dtype, path in request["out_paths"].items():
            Path(path).write_bytes(with_one_lstm_scale(_quantized(calibrated, dtype)))
            yield {"done": dtype}
    except MemoryError:
        raise
    except Exception as error:  # whatever the calibrator and the MLIR passes raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ConvertError(
            float_path.name, found=(lines or [type(error).__name__])[0][:150], remedy="use dynamic_int8"
        ) from error


def _calibrated(float_path: Path, samples_path: Path) -> bytes:
    """Returns the model with the range of every tensor in it.

    Samples are fed by input name, which the calibrator sorts by tensor: the file may order inputs otherwise.
    """
    with np.load(samples_path) as samples:
        arrays = dict(samples)
    rows = [
        {name: values[i] for name, values in arrays.items()} for i in range(len(next(iter(arrays.values()))))
    ]
    calibrator = Calibrator(add_intermediate_tensors(float_path.read_bytes()))
    return with_wide_ranges(bytes(calibrator.calibrate(lambda: iter(rows))))


def with_wide_ranges(calibrated: bytes) -> bytes:
    """Returns the calibrated model without ranges too narrow to compute with (quantize.spans)."""
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(calibrated))
    for tensor in (tensor for graph in tree.subgraphs for tensor in graph.tensors):
        limits = tensor.quantization
        if limits is not None and limits.min is not None and len(limits.min) == 1:
            low, high = widened(float(limits.min[0]), float(limits.max[0]))
            limits.min, limits.max = [low], [high]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _quantized(calibrated: bytes, border: str) -> bytes:
    dtype = dtypes.as_dtype(border)
    return bytes(mlir_quantize(calibrated, input_data_type=dtype, output_data_type=dtype))


def with_one_lstm_scale(model: bytes) -> bytes:
    """Returns the model with the scale of each int8 LSTM's output on its state and its hidden tensor too.

    Where a CONCATENATION behind two LSTMs wants one scale for both, the quantizer gives it to the output
    alone; the kernel writes the output in the hidden tensor's scale and copies it into the state. A
    bidirectional LSTM came to a cosine of 0.9605 against float, with this to 0.9999 (November 2026).
    """
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    for graph in tree.subgraphs:
        for op in graph.operators:
            code = tree.operatorCodes[op.opcodeIndex]
            output = graph.tensors[int(op.outputs[0])] if len(op.outputs) else None
            is_lstm = code.builtinCode == BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
            if is_lstm and output is not None and output.type == TensorType.INT8:
                for index in (op.inputs[OUTPUT_STATE], op.intermediates[HIDDEN]):
                    graph.tensors[int(index)].quantization = output.quantization
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))
