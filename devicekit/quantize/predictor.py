"""Predictor: runs a .tflite on this host by the names of its signature, in float whatever its borders are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = Mapping[str, "NDArray[Any]"]


class Predictor:
    """One loaded model. Creating it prepares every op: a RuntimeError or ValueError says what refuses.

    Must run in a child process: the runtime may crash on a bad file.
    """

    def __init__(self, model: bytes, *, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=model, num_threads=threads)
        self._interpreter.allocate_tensors()
        self.signature: str = next(iter(self._interpreter.get_signature_list()))
        self._runner = self._interpreter.get_signature_runner(self.signature)
        self._inputs: dict[str, Any] = self._runner.get_input_details()
        self._outputs: dict[str, Any] = self._runner.get_output_details()

    def feed(self, sample: Arrays) -> dict[str, "NDArray[Any]"]:
        """Returns `sample` (float arrays by input) as the model takes it: quantized where it is."""
        return {name: _quantized(sample[name], details) for name, details in self._inputs.items()}

    def invoke(self, fed: Arrays) -> dict[str, "NDArray[Any]"]:
        """Returns the outputs for `fed`, both in the model's own dtypes."""
        self._interpreter.reset_all_variables()
        outputs: dict[str, NDArray[Any]] = self._runner(**fed)
        return outputs

    def predict(self, sample: Arrays) -> dict[str, "NDArray[Any]"]:
        """Returns the outputs for `sample`, dequantized."""
        outputs = self.invoke(self.feed(sample))
        return {name: _dequantized(values, self._outputs[name]) for name, values in outputs.items()}


def _quantized(values: "NDArray[Any]", details: Mapping[str, Any]) -> "NDArray[Any]":
    import numpy as np

    parameters, dtype = details["quantization_parameters"], np.dtype(details["dtype"])
    scales = parameters["scales"]
    if not len(scales) or not np.issubdtype(values.dtype, np.floating):
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    steps = np.round(values / scales[0]) + parameters["zero_points"][0]
    fed: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(dtype)
    return fed


def _dequantized(values: "NDArray[Any]", details: Mapping[str, Any]) -> "NDArray[Any]":
    import numpy as np

    parameters = details["quantization_parameters"]
    scales = parameters["scales"]
    if not len(scales) or not np.issubdtype(values.dtype, np.integer):
        return values
    steps = values.astype(np.float32) - parameters["zero_points"][0]
    floats: NDArray[Any] = steps * np.float32(scales[0])
    return floats
