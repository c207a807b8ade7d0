"""Builds and saves the whole zoo with one Keras: `python -m tests.zoo.build tf_keras|keras FOLDER [NAME …]`.

tf_keras writes NAME.h5, Keras 3 NAME.keras; NAME.SUFFIX.npz beside it holds COUNT inputs "in/INPUT" and what
Keras itself gives for them, "out/OUTPUT" (of a half precision model: with the same weights in float32, and
"half/OUTPUT" its own). The last line on stdout is {name: {…}} as JSON: layers, parameters, variation of the
outputs, or the error.
"""

import contextlib
import importlib
import json
import os
import re
import sys
import time
import traceback
import zlib
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"
legacy = sys.argv[1] == "tf_keras"
if legacy:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

keras = importlib.import_module(sys.argv[1])
sys.modules["keras"] = keras  # custom.py means this one

from tests.zoo.table import ZOO, Entry  # noqa: E402

COUNT = 8
CALIBRATION = 64
# How strongly layers amplify: the first that lets the outputs depend on the inputs.
GAINS = (1.6, 2.2, 1.2, 3.0, 0.9)
ENOUGH_VARIATION = 0.03
SUFFIX = ".h5" if legacy else ".keras"


def save(name: str, entry: Entry, folder: Path) -> dict:
    """Saves one architecture; returns what is known about it."""
    keras.backend.clear_session()
    seed = zlib.crc32(name.encode())
    keras.utils.set_random_seed(seed % 2**31)
    model = built(entry.build)
    rng = np.random.default_rng(seed)
    inputs = {name: draw(entry, name, shape, dtype, rng) for name, shape, dtype in ports(model, entry)}
    fed = {name: values[:COUNT] for name, values in inputs.items()}
    batch = 1 if entry.one_by_one else COUNT
    outputs = liveliest(model, seed, fed, batch)
    path = folder / f"{name}{SUFFIX}"
    model.save(path)
    recorded = {f"in/{key}": values for key, values in fed.items()}
    if entry.twin:
        twin = built(entry.twin)
        twin.set_weights(model.get_weights())
        recorded |= {f"half/{key}": values for key, values in outputs.items()}
        outputs = run(twin, fed, batch)
    recorded |= {f"out/{key}": values for key, values in outputs.items()}
    np.savez(folder / f"{path.name}.npz", **recorded)
    # What a user would give as --data: other samples of the same kind, by the names that a .tflite can have;
    # a subclassed model's only input has no name.
    data = {re.sub(r"\W", "_", key): values[COUNT:] for key, values in inputs.items()}
    if not getattr(model, "inputs", None):
        data = {"x": next(iter(data.values()))}
    np.savez(folder / f"{path.name}.data.npz", **data)
    return {
        "layers": sorted({layer.name for layer in flat(model)}),
        "parameters": int(model.count_params()),
        "bytes": path.stat().st_size,
        "variation": {key: variation(values) for key, values in outputs.items()},
    }


def liveliest(model, seed: int, fed: dict, batch: int) -> dict:
    """Settles the weights so that outputs depend on inputs; returns the outputs for `fed`."""
    best, best_gain = -1.0, 0.0
    for gain in GAINS:
        settle(model, np.random.default_rng(seed), gain)
        outputs = run(model, fed, batch)
        least = min(variation(values) for values in outputs.values())
        if least > ENOUGH_VARIATION:
            return outputs
        if least > best:
            best, best_gain = least, gain
    settle(model, np.random.default_rng(seed), best_gain)
    return run(model, fed, batch)


def built(build: str):
    module, _, function = build.partition(":")
    return getattr(importlib.import_module(f"tests.zoo.{module}"), function)(keras, keras.layers)


def settle(model, rng, gain: float) -> None:
    """Gives every weight random values that keep signals alive: norms and biases too."""
    for weight in model.weights:
        path = getattr(weight, "path", "") or weight.name
        name = path.rpartition("/")[2].partition(":")[0]
        is_depthwise = "depthwise" in path and "point" not in name
        shape = tuple(int(size) for size in weight.shape)
        if "float" in str(weight.dtype) and name not in ("mean", "variance", "count", "sn_u", "vector_u"):
            weight.assign(drawn(name, shape, rng, gain, is_depthwise=is_depthwise).astype("float32"))


def drawn(name: str, shape: tuple[int, ...], rng, gain: float, *, is_depthwise: bool) -> np.ndarray:
    if "variance" in name or name in ("gamma", "scale"):
        return rng.uniform(0.5, 1.5, shape)
    if len(shape) < 2:
        return rng.normal(0, 0.3, shape)
    if "embedding" in name or name in ("table", "token"):
        return rng.normal(0, 1, shape)
    fan_in = np.prod(shape[:-2] if is_depthwise else shape[:-1])
    return rng.normal(0, (1.0 if "recurrent" in name else gain) / np.sqrt(fan_in), shape)


def ports(model, entry: Entry) -> list[tuple[str, tuple[int, ...], str]]:
    """Returns name, shape of one sample and dtype of each input, in the model's order."""
    if not getattr(model, "inputs", None):
        return [(name, shape[1:], "float32") for name, shape in entry.shapes.items()]
    names = model.input_names if legacy else [tensor.name for tensor in model.inputs]
    found = []
    for name, tensor in zip(names, model.inputs, strict=True):
        shape = entry.shapes.get(name, tuple(tensor.shape))[1:]
        dtype = tensor.dtype.name if hasattr(tensor.dtype, "name") else str(tensor.dtype)
        found.append((name, shape, dtype))
    return found


def draw(entry: Entry, name: str, shape: tuple[int, ...], dtype: str, rng) -> np.ndarray:
    """Returns COUNT + CALIBRATION samples."""
    shape = (COUNT + CALIBRATION, *shape)
    choice = entry.ranges.get(name, (0, 1))
    if dtype == "string":
        words = [word for word in choice if word != " "]
        length = 5 if " " in choice else 1
        texts = [" ".join(rng.choice(words, length)) for _ in range(int(np.prod(shape)))]
        return np.array(texts).reshape(shape)
    low, high = choice
    if "int" in dtype:
        return padded(entry, rng.integers(low, high, shape, endpoint=True).astype(dtype), rng)
    # Dark and bright, flat and contrasting samples: each within a part of the range.
    part = np.sort(rng.uniform(0, 1, (2, shape[0], *[1] * (len(shape) - 1))), axis=0)
    values = low + (high - low) * (part[0] + (part[1] - part[0]) * rng.uniform(0, 1, shape))
    return padded(entry, values.astype("float32" if "bfloat" in dtype else dtype), rng)


def padded(entry: Entry, values: np.ndarray, rng) -> np.ndarray:
    if entry.padded:
        for sample in values:
            sample[rng.integers(2, len(sample), endpoint=True) :] = 0
    return values


def run(model, inputs: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    """Returns Keras' own outputs, `batch` samples at a time, by name; in the model's order.

    A stateful model begins anew, and is left as it began: its samples are one sequence.
    """
    batches = []
    begin_anew(model)
    for i in range(0, COUNT, batch):
        tensors = {
            key: tf.constant(list(v[i : i + batch]) if v.dtype.kind == "U" else v[i : i + batch])
            for key, v in inputs.items()
        }
        is_dict = isinstance(getattr(model, "_nested_inputs", getattr(model, "_inputs_struct", None)), dict)
        fed = tensors if is_dict else list(tensors.values())
        result = model(fed if len(tensors) > 1 or is_dict else fed[0], training=False)
        names = list(getattr(model, "output_names", None) or ["output_0"])
        batches.append({n: np.array(v) for n, v in zip(names, tf.nest.flatten(result), strict=True)})
    begin_anew(model)
    return {name: np.concatenate([b[name] for b in batches]).astype("float64") for name in batches[0]}


def begin_anew(model) -> None:
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            getattr(layer, "reset_states", getattr(layer, "reset_state", lambda: None))()


def variation(values: np.ndarray) -> float:
    """Returns how far outputs move with the inputs: their standard deviation over their largest value."""
    return float(values.std(axis=0).max() / max(np.abs(values).max(), 1e-12))


def flat(model):
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from flat(layer)


def main() -> None:
    folder = Path(sys.argv[2])
    chosen = sys.argv[3:] or list(ZOO)
    results = {}
    for name in chosen:
        entry = ZOO[name]
        if entry.no_h5 if legacy else entry.no_keras:
            continue
        start = time.perf_counter()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                results[name] = save(name, entry, folder)
        except Exception as error:
            traceback.print_exc()
            results[name] = {"error": f"{type(error).__name__}: {error}"}
        results[name]["seconds"] = round(time.perf_counter() - start, 2)
    print(json.dumps(results))


main()
