"""Inputs to feed and outputs to compare: raw little-endian bytes on the device, numpy arrays here."""

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from devicekit.errors import LoadError, WrongOutput
from devicekit.graph.randomness import random_outputs
from devicekit.graph.ranges import random_inputs
from devicekit.graph.read import read_graph
from devicekit.graph.state import LATER

SEED = 0
# Float outputs may differ by this part of the largest golden value: float32 kernels add up in another order
# on another machine (7e-7 seen, x86 against arm64).
FLOAT_TOLERANCE = 1e-4
# Where a model computes in 8 bits on its way to them, one step of that may fall on the other side.
HYBRID_TOLERANCE = 1 / 127
_ROUNDED = ("int8", "uint8", "int4", "int16")
QUANTIZED_STEPS = 1  # requantizing rounds halves differently on x86 and arm64


def read_inputs(model: Path, golden: Path | None) -> dict[str, bytes]:
    """Returns the bytes of each input: the golden sample's, or random ones within the input's range.

    Strings have no raw bytes: theirs are empty, and no random inputs are made for a model that takes them.
    Raises LoadError.
    """
    arrays = _part(golden, "in/") if golden else _random_inputs(model)
    return {
        name: b"" if array.dtype.kind in "OSU" else np.ascontiguousarray(array).tobytes()
        for name, array in arrays.items()
    }


Outputs = Mapping[tuple[str, str], bytes]


def write_golden(model: Path, outputs: Outputs, later: Outputs, path: Path) -> Path | None:
    """Writes the golden sample of the inputs that `read_inputs` gives without one, and returns its path.

    `outputs`, of the first inference, and `later` go by (signature name, tensor name). None where there are
    none that another run would give too, or none that numpy has a type for.
    """
    graph = read_graph(model)
    random = set(random_outputs(graph))
    arrays: dict[str, Any] = {f"in/{name}": array for name, array in _random_inputs(model).items()}
    count = len(arrays)
    for name, tensor in graph.output_tensors.items():
        _, data = _output(name, outputs)
        _, data_later = _output(name, later)
        if data is None or data_later is None or name in random or tensor.dtype not in np.sctypeDict:
            continue
        arrays[f"out/{name}"] = np.frombuffer(data, tensor.dtype)
        arrays[f"later/{name}"] = np.frombuffer(data_later, tensor.dtype)
    if len(arrays) == count:
        return None
    np.savez(path, **arrays)
    return path


def keeps_state(golden: Path) -> bool:
    """Returns whether the golden sample's later outputs are others than the first. Raises LoadError."""
    later = _part(golden, "later/")
    return any(
        later[name].tobytes() != one.tobytes() for name, one in _part(golden, "out/").items() if name in later
    )


def compare(
    model: Path, golden: Path, *, outputs: Outputs, later: Outputs | None = None, where: str
) -> dict[str, Any] | None:
    """Returns the largest difference to the golden outputs; `outputs` go by (signature name, tensor name).

    `outputs` are of the first inference of a process, `later` of its LATERth (graph.state) on the same input;
    None: they were not taken, and no "inferences" are told. None where the golden sample holds no outputs, as
    all are random. Floats may be FLOAT_TOLERANCE apart (HYBRID_TOLERANCE where the model rounds to 8 or 16
    bits on the way), integers with a scale QUANTIZED_STEPS; truth values and integers without one (a class
    index) must be equal. Raises WrongOutput, LoadError.
    """
    expected = _part(golden, "out/")
    if not expected:
        return None
    largest = _largest_difference(model, expected, outputs, where=where)
    if later is None:
        return {"outputs": len(expected), "max_difference": largest}
    # Where the sample is older than that, or Keras's: a model without a state gives the same again.
    wanted = _part(golden, "later/") or expected
    largest = max(largest, _largest_difference(model, wanted, later, where=where, inference=LATER))
    return {"outputs": len(expected), "max_difference": largest, "inferences": [1, LATER]}


def _largest_difference(
    model: Path,
    expected: Mapping[str, np.ndarray[Any, Any]],
    outputs: Outputs,
    *,
    where: str,
    inference: int = 1,
) -> float:
    quantized, tolerance = _quantized_outputs(model), _float_tolerance(model)
    at = "" if inference == 1 else f" in inference {inference}"
    largest = 0.0
    for name, array in expected.items():
        names, data = _output(name, outputs)
        if data is None or len(data) != array.nbytes:
            size = "is missing" if data is None else f"has {len(data)} bytes instead of {array.nbytes}"
            raise WrongOutput(model.name, where=where, difference=f"an output: {name} {size}{at}")
        found = np.frombuffer(data, array.dtype).reshape(array.shape)
        difference = _difference(found, array)
        is_float = array.dtype.kind in "fc"
        steps = 0 if quantized.isdisjoint(names) else QUANTIZED_STEPS
        if difference > (tolerance if is_float else steps):
            unit = "of the largest value" if is_float else "steps" if steps else "(must be equal)"
            words = f"{difference:.3g} {unit} (output {name}){at}"
            raise WrongOutput(model.name, where=where, difference=words)
        largest = max(largest, difference)
    return largest


def _difference(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """Returns the largest difference: in steps for integers, relative to the largest value for floats."""
    if not expected.size:
        return 0.0
    if expected.dtype.kind not in "fc":
        return float(np.max(np.abs(found.astype(np.float64) - expected.astype(np.float64))))
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        return float("inf")
    finite = np.isfinite(expected)
    gap, scale = np.abs(found[finite] - expected[finite]), np.abs(expected[finite])
    return float(np.max(gap, initial=0.0)) / max(float(np.max(scale, initial=0.0)), 1e-12)


def _output(name: str, outputs: Outputs) -> tuple[Collection[str], bytes | None]:
    """Returns the names and bytes of the output that `name` means; an only output goes by any name."""
    for names, data in outputs.items():
        if name in names:
            return names, data
    return next(iter(outputs.items())) if len(outputs) == 1 else ((), None)


def _quantized_outputs(model: Path) -> set[str]:
    """Returns the outputs whose numbers stand for values by a scale, by both their names."""
    named = read_graph(model).output_tensors.items()
    return {either for name, tensor in named if tensor.scale for either in (name, tensor.name)}


def _float_tolerance(model: Path) -> float:
    """Returns HYBRID_TOLERANCE where an op rounds to 8 or 16 bits; weights may only be kept so."""
    for subgraph in read_graph(model).subgraphs:
        for op in subgraph.ops:
            tensors = [subgraph.tensors[index] for index in (*op.inputs, *op.outputs) if index >= 0]
            is_widening = op.name == "DEQUANTIZE" and tensors[0].is_constant
            if not is_widening and any(tensor.scale and tensor.dtype in _ROUNDED for tensor in tensors):
                return HYBRID_TOLERANCE
    return FLOAT_TOLERANCE


def _part(golden: Path, prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    try:
        # Opened here: numpy leaves the file of a broken archive open.
        with golden.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise LoadError(
            str(golden), found=f"no golden sample ({error})", expected="an .npz", remedy="build it again"
        ) from error


def _random_inputs(model: Path) -> dict[str, np.ndarray[Any, Any]]:
    graph = read_graph(model)
    if any(tensor.dtype in ("string", "resource", "variant") for tensor in graph.input_tensors.values()):
        return {}
    batches = {name: max(1, 1, *tensor.shape[:1]) for name, tensor in graph.input_tensors.items()}
    arrays = random_inputs(graph, max(batches.values(), default=1), SEED)
    return {name: array[: batches[name]] for name, array in arrays.items()}
