"""Runs a .tflite as an app does, by what its tensors say of themselves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def outputs_of(path: Path, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs [N, ...] for inputs [N, ...], both as real numbers."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    found: list[dict[str, np.ndarray]] = []
    for i in range(len(next(iter(samples.values())))):
        fed = {name: _fed(values[i : i + 1], inputs[name]) for name, values in samples.items()}
        found.append({name: _real(values, outputs[name]) for name, values in runner(**fed).items()})
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _fed(values: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    if not scale:
        return values
    limits = np.iinfo(details["dtype"])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def _real(values: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    return (values.astype(np.float32) - zero) * scale if scale else values
