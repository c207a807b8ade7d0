"""Calibration and evaluation inputs: read from what the user has, checked before anything uses them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devicekit.errors import UsageError
from devicekit.graph.model import Graph, Tensor
from devicekit.graph.ranges import input_range, random_inputs, random_range
from devicekit.graph.told import NOTHING_TOLD, Told, strays
from devicekit.quantize import sources
from devicekit.quantize.sources import first_line, sample_shape
from devicekit.words import nearest

# Calibration looks at no more samples than this, spread evenly. Ranges settle far earlier: 8 samples of the
# digits give the accuracy that 100 give (measured, November 2026).
MAX_CALIBRATION = 500
RANDOM_SEED = 2026
# A float input that spans less than this share of its largest value is constant: float32 rounding of a sum
# gives as much.
MIN_SPAN = 1e-6
FORMS = "a .npy, .npz, a directory of images or .npy files, or file.py:function"


@dataclass(frozen=True)
class Data:
    """Inputs by the model's own input names, sample axis first: [N, *shape[1:]] for an input [1, *shape[1:]].

    `calibration` fixes ranges, `evaluation` scores; `labels` (int [N], or None) belong to `evaluation`, and
    so do `names` of its samples: files, or the array that they lie in. `warnings` are notes to read before
    any number. `strays` says of inputs, by name, how their values do not suit what the model itself tells;
    `is_stretched` that they were brought to that, and nothing showed that it is right.
    """

    calibration: Mapping[str, NDArray[Any]]
    evaluation: Mapping[str, NDArray[Any]]
    labels: NDArray[Any] | None
    source: str
    is_random: bool
    notes: tuple[str, ...]
    names: tuple[str, ...] = ("x",)
    warnings: tuple[str, ...] = ()
    strays: Mapping[str, str] = field(default_factory=dict)
    is_stretched: bool = False

    def name(self, index: int) -> str:
        """Returns what the user calls an evaluation sample: its file, or "x_eval[37]"."""
        return self.names[index] if len(self.names) > 1 else f"{self.names[0]}[{index}]"


def load_data(
    spec: str | None, graph: Graph, *, random_count: int = 8, told: Mapping[str, Told] = NOTHING_TOLD
) -> Data:
    """Returns the inputs that `spec` names, or `random_count` random samples where it is None.

    `told` are the ranges of inputs that the model itself tells.
    `file.py:function` runs the user's code: call this in a child process. Raises UsageError.
    """
    if spec is None:
        return _random(graph, random_count, told)
    source = _short(spec)
    try:
        arrays, notes, files = _read(spec, graph, told)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{source}: cannot be read ({first_line(error)})", remedy=f"give --data {FORMS}"
        ) from error
    checked = _Checked(source, graph, arrays, told)
    calibration = checked.inputs("")
    count = _count(calibration)
    evaluation = checked.inputs("_eval") if checked.has_evaluation else calibration
    labels = checked.labels(_count(evaluation))
    if not checked.has_evaluation:
        notes.append(
            "scored on the calibration inputs: an independent score needs evaluation inputs (x_eval)"
        )
    checked.refuse_unknown()
    if count == 1:
        notes.append("calibrated on 1 sample: ranges are a guess")
    if count > MAX_CALIBRATION:
        calibration = {name: _spread(values, MAX_CALIBRATION) for name, values in calibration.items()}
        notes.append(f"calibrated on {MAX_CALIBRATION} of {count} samples")
    found = {
        name: one and strays(one, calibration[name]) for name, one in told.items() if name in calibration
    }
    return Data(
        calibration,
        evaluation,
        labels,
        source,
        False,
        (*notes, *checked.notes),
        names=files if len(files) > 1 else (checked.evaluation_key,),
        strays={name: words for name, words in found.items() if words},
    )


def rows(arrays: Mapping[str, NDArray[Any]], graph: Graph) -> list[dict[str, NDArray[Any]]]:
    """Returns the samples one by one, each array with the full shape of its input."""
    inputs = graph.input_tensors
    has_batch_axis = {name: sample_shape(t) != (t.shape_signature or t.shape) for name, t in inputs.items()}
    return [
        {name: values[i : i + 1] if has_batch_axis[name] else values[i] for name, values in arrays.items()}
        for i in range(_count(arrays))
    ]


def _random(graph: Graph, count: int, told: Mapping[str, Told]) -> Data:
    tensors = graph.input_tensors
    # A fixed batch above 1 makes one sample of several rows.
    batch = {
        name: tensor.shape[0]
        for name, tensor in tensors.items()
        if tensor.shape and len(sample_shape(tensor)) == len(tensor.shape)
    }
    drawn = random_inputs(graph, count * max(batch.values(), default=1), RANDOM_SEED, told)
    inputs = {name: values[: count * batch.get(name, 1)] for name, values in drawn.items()}
    for name, size in batch.items():
        inputs[name] = inputs[name].reshape(count, size, *inputs[name].shape[1:])
    ranges = {_range_words(graph, name, told.get(name)) for name in tensors}
    where = f" in {next(iter(ranges))}" if len(ranges) == 1 else ""
    by = ", ".join(dict.fromkeys(f"{name} by {one.by}" for name, one in told.items() if name in tensors))
    notes = (f"random inputs in the range that the model itself tells: {by}",) if by else ()
    warning = "random inputs: fidelity and int8 ranges are made up; give real samples with --data"
    return Data(inputs, inputs, None, f"random inputs{where}", True, notes, warnings=(warning,))


def _range_words(graph: Graph, name: str, told: Told | None) -> str:
    if told is not None:
        return told.in_words
    low, high = random_range(graph, name)
    return f"{low:g}..{high:g}"


def _read(
    spec: str, graph: Graph, told: Mapping[str, Told]
) -> tuple[dict[str, NDArray[Any]], list[str], tuple[str, ...]]:
    """Returns the arrays that `spec` holds, by key, notes, and the files that the samples came from, if any.

    A source without keys gives the key "x".
    """
    path = Path(spec)
    if path.is_dir():
        folder = sources.read_directory(path, graph, told)
        return {"x": folder.samples}, folder.notes, folder.files
    if not path.exists() and ".py:" in spec:
        return sources.call_function(spec, graph), [], ()
    if not path.exists():
        raise UsageError(f"{spec}: no such file or directory", remedy=f"give --data {FORMS}")
    if path.suffix in (".npy", ".npz"):
        return sources.read_numpy(path), [], ()
    raise UsageError(f"{spec}: not a kind of data that can be read", remedy=f"give --data {FORMS}")


class _Checked:
    """Takes inputs and labels out of a source's arrays, checking each; remembers what it repaired."""

    def __init__(
        self, source: str, graph: Graph, arrays: Mapping[str, NDArray[Any]], told: Mapping[str, Told]
    ) -> None:
        self.notes: list[str] = []
        self._source = source
        self._graph = graph
        self._tensors = graph.input_tensors
        self._arrays = dict(arrays)
        self._told = told
        self._used: set[str] = set()

    @property
    def evaluation_key(self) -> str:
        """Returns the key of the first input's evaluation samples."""
        name = next(iter(self._tensors))
        return self._key(name, "_eval" if self.has_evaluation else "")

    @property
    def has_evaluation(self) -> bool:
        return any(self._key(name, "_eval") in self._arrays for name in self._tensors)

    def inputs(self, suffix: str) -> dict[str, NDArray[Any]]:
        """Returns every input's array under its key with `suffix` ("" or "_eval")."""
        found = {name: self._input(name, tensor, suffix) for name, tensor in self._tensors.items()}
        counts = {self._key(name, suffix): len(values) for name, values in found.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{key} {count}" for key, count in counts.items())
            raise self._error(f"the inputs differ in their number of samples: {listed}", "give each as many")
        self._check_spans({self._key(name, suffix): values for name, values in found.items()})
        return found

    def _check_spans(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raises where no input shows a range; where some do, notes those that do not."""
        constant = {key: values.flat[0] for key, values in arrays.items() if _is_constant(values)}
        listed = [f"{key}: every value is {value:g}" for key, value in constant.items()]
        if constant and len(constant) == len(arrays):
            raise self._error(f"{', '.join(listed)}, which shows no range", "give real samples")
        self.notes += [f"{one}, its range is a guess" for one in listed]

    def labels(self, count: int) -> NDArray[Any] | None:
        """Returns `y` as int [count], None where there is none. Takes class indices or one-hot rows."""
        labels = self._arrays.get("y") if "y" not in self._tensors else None
        if labels is None:
            return None
        self._used.add("y")
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        elif labels.ndim == 2 and _is_one_hot(labels):
            labels = labels.argmax(axis=1)
        if labels.ndim != 1 or labels.dtype.kind not in "iufb" or not np.all(labels == np.floor(labels)):
            raise self._error(
                f"y: found {_form(labels)}, expected one class index per sample",
                "give y as integers [N], or one-hot [N, classes]; else score with --eval file.py:function",
            )
        if len(labels) != count:
            raise self._error(
                f"y: {len(labels)} labels for {count} evaluation samples",
                "give one label per evaluation sample",
            )
        return labels.astype(np.int64)

    def refuse_unknown(self) -> None:
        unknown = [key for key in self._arrays if key not in self._used and not _is_kept(key)]
        if unknown:
            known = [self._key(name, suffix) for suffix in ("", "_eval") for name in self._tensors] + ["y"]
            near = nearest(unknown[0], known)
            hint = f"; did you mean {near}?" if near else ""
            raise self._error(f'unknown key "{unknown[0]}"{hint}', f"use the keys {', '.join(known)}")

    def _key(self, name: str, suffix: str) -> str:
        """Returns the key that holds input `name`: its own, or "x" for the only input."""
        own = name + suffix
        return own if own in self._arrays or len(self._tensors) > 1 else f"x{suffix}"

    def _input(self, name: str, tensor: Tensor, suffix: str) -> NDArray[Any]:
        key = self._key(name, suffix)
        if key not in self._arrays:
            keys = ", ".join(self._arrays) or "nothing"
            names = " and ".join(f"{n} {_shape_text(t)}" for n, t in self._tensors.items())
            raise self._error(
                f"no samples for the input {name}: found {keys}, expected {names}",
                f"save them with numpy.savez(file, {key}=…)",
            )
        self._used.add(key)
        values = self._with_batch(key, self._arrays[key], tensor)
        is_quantized_later = bool(tensor.scale) and values.dtype.kind == "f"
        told = self._told.get(name)
        if told is not None and told.is_bytes and values.dtype == np.uint8 and tensor.dtype == "float32":
            values = values.astype(np.float32)
        values = self._with_dtype(key, values, "float32" if is_quantized_later else tensor.dtype)
        self._check_values(key, values, name)
        return values

    def _with_batch(self, key: str, values: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
        wanted = sample_shape(tensor)
        if _matches(values.shape[1:], wanted) and values.ndim:
            if not len(values):
                raise self._error(f"{key}: holds no samples", "give at least one, better 100")
            return values
        if _matches(values.shape, wanted):
            self.notes.append(f"{key}: one sample without batch dimension, taken as [1, …]")
            return values[None]
        raise self._error(
            f"{key}: found {_form(values)}, expected {_shape_text(tensor)} with N samples",
            f"reshape {key} to {_shape_text(tensor)}",
        )

    def _with_dtype(self, key: str, values: NDArray[Any], dtype: str) -> NDArray[Any]:
        found = values.dtype
        if found == np.dtype(dtype if dtype != "string" else "object"):
            return values
        if (found.name, dtype) in _SAFE:
            converted = values.astype(dtype)
            if dtype == "float32" or np.array_equal(converted, values):
                self.notes.append(f"{key}: converted from {found.name} to {dtype}")
                return converted
        remedy = f"convert {key} to {dtype}"
        if dtype == "float32" and found.kind in "iu":
            remedy += ", scaled as for training (for images often / 255)"
        raise self._error(f"{key}: found dtype {found.name}, expected {dtype}", remedy)

    def _check_values(self, key: str, values: NDArray[Any], name: str) -> None:
        if values.dtype.kind == "f":
            bad = int((~np.isfinite(values)).sum())
            if bad:
                raise self._error(
                    f"{key}: {bad} of {values.size} values are NaN or infinite", f"remove them from {key}"
                )
        elif values.dtype.kind in "iu":
            low, high = input_range(self._graph, name)
            if values.min() < low or values.max() > high:
                raise self._error(
                    f"{key}: found {values.min()}..{values.max()}, expected {low:g}..{high:g}",
                    f"keep {key} within {low:g}..{high:g}",
                )

    def _error(self, what: str, remedy: str) -> UsageError:
        return UsageError(f"{self._source}: {what}", remedy=remedy)


# Conversions that lose nothing that matters: (found, expected). Integers are compared afterwards.
_SAFE = {
    ("float64", "float32"),
    ("float16", "float32"),
    ("int64", "int32"),
    ("int32", "int64"),
    ("uint8", "int32"),
}


def _is_constant(values: NDArray[Any]) -> bool:
    """Returns whether the floats of an input, of all samples, are one value; a single number may be."""
    if values.dtype.kind != "f" or values.size < 2:
        return False
    low, high = float(values.min()), float(values.max())
    return high - low <= MIN_SPAN * max(abs(low), abs(high))


def _is_kept(key: str) -> bool:
    """Returns whether a key is what worst.py writes beside the inputs: kept samples can be given again."""
    return key == "index" or key.startswith(("float/", "out/"))


def _is_one_hot(labels: NDArray[Any]) -> bool:
    is_bit = labels.dtype.kind in "iufb" and bool(np.isin(labels, (0, 1)).all())
    return is_bit and bool((labels.sum(axis=1) == 1).all())


def _matches(found: Iterable[int], wanted: tuple[int, ...]) -> bool:
    found = tuple(found)
    return len(found) == len(wanted) and all(w in (-1, f) for f, w in zip(found, wanted, strict=True))


def _shape_text(tensor: Tensor) -> str:
    dims = ["N", *("?" if dim < 0 else str(dim) for dim in sample_shape(tensor))]
    return f"{tensor.dtype} [{', '.join(dims)}]"


def _form(values: NDArray[Any]) -> str:
    return f"{values.dtype.name} {list(values.shape)}"


def _count(arrays: Mapping[str, NDArray[Any]]) -> int:
    return len(next(iter(arrays.values())))


def _spread(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Returns `count` samples at even distances, the first and the last among them."""
    chosen: NDArray[Any] = values[np.linspace(0, len(values) - 1, count).round().astype(int)]
    return chosen


def _short(spec: str) -> str:
    """Returns how messages name the source: its last path element."""
    return Path(spec).name
