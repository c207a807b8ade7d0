"""The independent check of what the kit made: LiteRT against the outputs that Keras recorded while saving."""

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from devicekit.graph.arena import plan_arena
from devicekit.graph.model import Graph
from devicekit.graph.randomness import random_outputs
from devicekit.graph.read import read_graph
from tests.graph.addresses import misplaced, spans

MAX_DIFFERENCE = 1e-3
# The kit scores 64 samples, this check 8 others: a cosine may be that much worse before it counts as wrong,
# and by as much as is lost already: a lossy recipe loses more on some samples than on others.
COSINE_TOLERANCE = 0.05
SOUND = 0.98  # the profiles' own quality
# Constants of fewer elements may stay as they are: of computing operators, of tables, of all others.
# So many inferences in a row must not depend on each other.
FIVE = 5
SMALL, SMALL_TABLE, LARGE = 16, 64, 4096
COMPUTING = (
    *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE"),
    *("BATCH_MATMUL", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"),
)

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
Part = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Outside:
    """What the kit wrote to be run around the .tflite: arrays of one sample by name in, the same out."""

    before: Part | None = None
    after: Part | None = None


NOTHING = Outside()


def outside(folder: Path) -> Outside:
    """Returns the parts that lie in a folder of the kit's: *preprocess.py and *postprocess.py."""
    return Outside(part(folder, "preprocess"), part(folder, "postprocess"))


def part(folder: Path, role: str) -> Part | None:
    for path in sorted(folder.glob(f"*{role}.py")):
        spec = importlib.util.spec_from_file_location(f"zoo_{role}", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found: Part = getattr(module, role)
        return found
    return None


def recorded(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Returns inputs, Keras' outputs, and those in half precision, by the names that a .tflite can have.

    From an .npz of build.py.
    """
    with np.load(path) as file:
        arrays = {re.sub(r"[^\w/]", "_", key): file[key] for key in file.files}
    inputs, outputs, halves = (
        {key.removeprefix(side): values for key, values in arrays.items() if key.startswith(side)}
        for side in ("in/", "out/", "half/")
    )
    return inputs, outputs, halves


def examine(
    tflite: Path,
    inputs: Arrays,
    expected: Arrays,
    *,
    recipe: str,
    cosine: float | None = None,
    limit: float = MAX_DIFFERENCE,
    outside: Outside = NOTHING,
    is_stateful: bool = False,
) -> dict[str, Any]:
    """Returns {"problems", "difference", "cosine"} of a file that the kit calls good.

    `difference` is max|actual - expected| / max|expected|, the worst of the outputs, and may be `limit` for
    float32. `cosine` in the arguments is the kit's own. What the kit left outside the file runs with it.
    The samples go in in a row, as in Keras; only a model that `is_stateful` may remember one in the next.
    """
    graph = read_graph(tflite)
    problems = [*foreign(graph), *unquantized(graph, recipe)]
    if plan_arena(graph).exact:
        problems += [f"arena planned wrongly: {problem}" for problem in misplaced(tflite, found_by=spans)]
    try:
        actual = run(tflite, inputs, outside)
    except Exception as error:  # LiteRT's, or that of what the kit wrote around the file
        return unmeasured([*problems, f"does not run: {type(error).__name__}: {error}"])
    if not is_stateful:
        problems += [
            f"output {name} depends on the samples before" for name in remembers(graph, inputs, outside)
        ]
    pairs = paired(expected, actual)
    broken = [f"output {name} is missing" for name in expected if name not in pairs]
    broken += [f"output {name} {found}" for name, found in misshapen(pairs)]
    if broken:
        return unmeasured([*problems, *broken])
    difference = max((apart(*pair) for pair in pairs.values()), default=0.0)
    own = min((alike(*pair) for pair in pairs.values()), default=1.0)
    if recipe == "float32" and not difference <= limit:
        problems.append(f"differs from Keras by {difference:.2g}")
    # What follows the model outside (the choice of boxes) may turn a small difference into a large one.
    if cosine is not None and not outside.after and not own >= cosine - COSINE_TOLERANCE - (1 - cosine):
        problems.append(f"cosine {own:.3f}, the kit says {cosine:.3f}")
    return {"problems": problems, "difference": difference, "cosine": own}


def is_sound(wanted: Any, found: Any) -> bool:
    """Returns whether nobody would call an output bad, by numbers that the kit does not use.

    Alike as a whole; of probabilities the same best class, else in every channel of the last axis an error
    of less than half of how much it varies.
    """
    wanted, found = np.asarray(wanted, np.float64), np.asarray(found, np.float64)
    if alike(wanted, found) < SOUND:
        return False
    if wanted.ndim < 2 or not wanted.size:
        return True
    if wanted.shape[-1] > 1 and np.allclose(wanted.sum(-1), 1, atol=1e-3):
        return bool((wanted.argmax(-1) == found.argmax(-1)).mean() >= SOUND)
    channels, errors = (values.reshape(-1, wanted.shape[-1]) for values in (wanted, found - wanted))
    spreads = channels.std(0)
    return not np.any((spreads > 0) & (np.sqrt((errors**2).mean(0)) > spreads / 2))


def unmeasured(problems: list[str]) -> dict[str, Any]:
    return {"problems": problems, "difference": None, "cosine": None}


def foreign(graph: Graph) -> Iterator[str]:
    """Yields the operators that are no builtins of LiteRT."""
    for op in graph.ops:
        if op.custom_code or op.name == "CUSTOM":
            yield f"{op.label} is no builtin operator"


def unquantized(graph: Graph, recipe: str) -> Iterator[str]:
    """Yields what is not as the recipe promises, by the dtypes of constants and of computing operators."""
    if recipe == "float32":
        return
    if recipe in ("int8", "int16x8"):
        wanted = {"int8": "int8", "int16x8": "int16"}[recipe]
        outputs = [
            (op.name, sub.tensors[op.outputs[0]].dtype)
            for sub in graph.subgraphs
            for op in sub.ops
            if op.outputs
        ]
        in_float = sorted({name for name, dtype in outputs if name in COMPUTING and dtype == "float32"})
        if in_float:
            yield f"not quantized: {', '.join(in_float)} in float32"
        if not any(dtype == wanted for _, dtype in outputs):
            yield f"not quantized: no {wanted} operator"
        return
    constants = {t.buffer: t for sub in graph.subgraphs for t in sub.tensors if t.is_constant}
    if not any(t.dtype in ("float16", "int8") for t in constants.values()):
        yield "not quantized: no constant is int8 or float16"
    weights = [constants[buffer] for buffer in weight_buffers(graph)]
    left = sum(t.element_count for t in weights if t.dtype == "float32")
    total = sum(t.element_count for t in weights if t.dtype.startswith(("float", "int8")))
    if left * 2 > total:
        yield f"not quantized: {left} of {total} weights in float32"


def weight_buffers(graph: Graph) -> set[int]:
    """Returns the buffers of what a recipe for weights is about.

    Constants that operators multiply with, tables of some size, and whatever is large; the window of a
    spectrogram or five steps of a scale are none.
    """
    found = set()
    for sub in graph.subgraphs:
        dequantized = {op.outputs[0]: op.inputs[0] for op in sub.ops if op.name == "DEQUANTIZE"}
        for op in sub.ops:
            least = SMALL if op.name in COMPUTING else SMALL_TABLE if op.name == "GATHER" else LARGE
            read = (sub.tensors[dequantized.get(i, i)] for i in op.inputs if i >= 0)
            found |= {t.buffer for t in read if t.is_constant and t.element_count >= least}
    return found


def run(tflite: Path, inputs: Arrays, outside: Outside) -> dict[str, Any]:
    """Returns the outputs for samples [n, …], in a row in one interpreter as in an app, as real numbers."""
    batches = in_a_row(tflite, inputs, outside, range(len(next(iter(inputs.values())))))
    return {
        name: np.concatenate([np.atleast_1d(batch[name]) for batch in batches]).astype(np.float64)
        for name in batches[0]
    }


def remembers(graph: Graph, inputs: Arrays, outside: Outside) -> Iterator[str]:
    """Yields the outputs that depend on the samples before, of each the first time.

    In a row in one interpreter they must be, to the bit, what a fresh interpreter gives.
    """
    bare, random = Outside(outside.before), random_outputs(graph)
    samples = range(min(FIVE, len(next(iter(inputs.values())))))
    changed: dict[str, None] = {}
    for number, values in zip(samples, in_a_row(graph.path, inputs, bare, samples), strict=True):
        [alone] = in_a_row(graph.path, inputs, bare, [number])
        differing = [name for name, one in alone.items() if one.tobytes() != values[name].tobytes()]
        changed |= dict.fromkeys(name for name in differing if name not in random)
    yield from changed


def in_a_row(tflite: Path, inputs: Arrays, outside: Outside, samples: Iterable[int]) -> list[dict[str, Any]]:
    interpreter = Interpreter(model_path=str(tflite), num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    ports, results = runner.get_input_details(), runner.get_output_details()
    batches = []
    for i in samples:
        sample = {name: as_fed(values[i : i + 1]) for name, values in inputs.items()}
        sample = outside.before(sample) if outside.before else sample
        if len(ports) == len(sample) == 1:  # an only input may have any name
            sample = dict(zip(ports, sample.values(), strict=True))
        if set(ports) != set(sample):
            raise ValueError(f"its inputs are {sorted(ports)}, the model's {sorted(sample)}")
        given = runner(**{name: encoded(sample[name], port) for name, port in ports.items()})
        outputs = {name: decoded(values, results[name]) for name, values in given.items()}
        batches.append(outside.after(outputs) if outside.after else outputs)
    return batches


def as_fed(values: Any) -> Any:
    """Returns text as TensorFlow has it, bytes in an array of objects; numbers as they are."""
    if values.dtype.kind != "U":
        return values
    return np.array([str(text).encode() for text in values.ravel()], object).reshape(values.shape)


def encoded(values: Any, port: Mapping[str, Any]) -> Any:
    """Returns real numbers as the input takes them: quantized where it is."""
    scale, zero = port["quantization"]
    dtype = np.dtype(port["dtype"])
    if scale and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.round(values / scale + zero), limits.min, limits.max)
    return np.asarray(values).astype(dtype).reshape(port["shape"])


def decoded(values: Any, port: Mapping[str, Any]) -> Any:
    scale, zero = port["quantization"]
    values = np.array(values)
    return ((values.astype(np.float64) - zero) * scale).astype(np.float32) if scale else values


def paired(expected: Arrays, actual: Arrays) -> dict[str, tuple[Any, Any]]:
    """Returns (expected, actual) by output name; an only output may have any name."""
    if len(expected) == len(actual) == 1:
        [(name, wanted)], [found] = expected.items(), actual.values()
        return {name: (wanted, found)}
    return {name: (wanted, actual[name]) for name, wanted in expected.items() if name in actual}


def misshapen(pairs: Mapping[str, tuple[Any, Any]]) -> Iterator[tuple[str, str]]:
    for name, (wanted, found) in pairs.items():
        if wanted.shape != found.shape:
            yield name, f"has the shape {list(found.shape)}, in Keras {list(wanted.shape)}"
        elif (~np.isfinite(found) & np.isfinite(wanted)).any():
            yield name, "is not finite where Keras is"


def apart(wanted: Any, found: Any) -> float:
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-12))


def alike(wanted: Any, found: Any) -> float:
    size = np.linalg.norm(wanted) * np.linalg.norm(found)
    return float((wanted * found).sum() / size) if size else float((wanted == found).all())
