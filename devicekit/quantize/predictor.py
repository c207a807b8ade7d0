"""Predictor: runs a .tflite on this host by the names of its signature, in float whatever its borders are."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from devicekit.graph.read import read_graph_bytes
from devicekit.graph.state import keeping_state

Arrays = Mapping[str, NDArray[Any]]


class Predictor:
    """One loaded model, run as an app runs it: one inference after another, with no reset between them.

    Creating it prepares every op: a RuntimeError or ValueError says what refuses. Must run in a child
    process: the runtime may crash on a bad file.
    """

    def __init__(self, model: bytes, *, threads: int) -> None:
        self._model, self._threads = model, threads
        self.keeps_state = bool(keeping_state(read_graph_bytes(model, Path("model.tflite"))))
        self._load()

    def _load(self) -> None:
        self._interpreter = Interpreter(model_content=self._model, num_threads=self._threads)
        self._interpreter.allocate_tensors()
        self.signature: str = next(iter(self._interpreter.get_signature_list()))
        self._runner = self._interpreter.get_signature_runner(self.signature)
        self._inputs: dict[str, Any] = self._runner.get_input_details()
        self._outputs: dict[str, Any] = self._runner.get_output_details()

    def begin_anew(self) -> None:
        """Forgets the inferences so far, before another sequence, where the model keeps a state by design.

        By a new interpreter: reset_all_variables() leaves resource variables as they are.
        """
        if self.keeps_state:
            self._load()

    def feed(self, sample: Arrays) -> dict[str, NDArray[Any]]:
        """Returns `sample` (float arrays by input) as the model takes it: quantized where it is."""
        return {name: _quantized(sample[name], details) for name, details in self._inputs.items()}

    def invoke(self, fed: Arrays) -> dict[str, NDArray[Any]]:
        """Returns the outputs for `fed`, both in the model's own dtypes."""
        outputs: dict[str, NDArray[Any]] = self._runner(**fed)
        return outputs

    def predict(self, sample: Arrays) -> dict[str, NDArray[Any]]:
        """Returns the outputs for `sample`, dequantized."""
        outputs = self.invoke(self.feed(sample))
        return {name: _dequantized(values, self._outputs[name]) for name, values in outputs.items()}

    def predict_all(self, samples: Sequence[Arrays], *, seconds: float) -> dict[str, NDArray[Any]]:
        """Returns the stacked outputs for as many samples as `seconds` allow, one at least: one sequence."""
        self.begin_anew()
        deadline = time.monotonic() + seconds
        outputs = []
        for sample in samples:
            outputs.append(self.predict(sample))
            if time.monotonic() > deadline:
                break
        return stacked(outputs)


def stacked(outputs: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    """Returns the outputs of single samples as one array per output, [N, …]; ragged ones zero-padded."""
    arrays = {}
    for name in outputs[0]:
        values = [output[name] for output in outputs]
        if len({value.shape for value in values}) > 1:
            longest = max(value.size for value in values)
            values = [np.pad(value.ravel(), (0, longest - value.size))[None] for value in values]
        has_batch_axis = values[0].ndim > 0 and values[0].shape[0] == 1
        arrays[name] = np.concatenate(values) if has_batch_axis else np.stack(values)
    return arrays


def _quantized(values: NDArray[Any], details: Mapping[str, Any]) -> NDArray[Any]:
    parameters, dtype = details["quantization_parameters"], np.dtype(details["dtype"])
    scales = parameters["scales"]
    if not len(scales) or not np.issubdtype(values.dtype, np.floating):
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    steps = np.round(values / scales[0]) + parameters["zero_points"][0]
    fed: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(dtype)
    return fed


def _dequantized(values: NDArray[Any], details: Mapping[str, Any]) -> NDArray[Any]:
    parameters = details["quantization_parameters"]
    scales = parameters["scales"]
    if not len(scales) or not np.issubdtype(values.dtype, np.integer):
        return values
    steps = values.astype(np.float32) - parameters["zero_points"][0]
    floats: NDArray[Any] = steps * np.float32(scales[0])
    return floats
