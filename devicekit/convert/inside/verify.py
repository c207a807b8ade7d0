"""Proves that a float .tflite computes what the Keras model computes. Runs in the conversion child only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from devicekit.convert.inside.blame import summary
from devicekit.convert.inside.lower import trace
from devicekit.convert.inside.outside import Apart
from devicekit.convert.remedies.variables import from_the_beginning, keeps_state
from devicekit.errors import ConvertError
from devicekit.graph.model import Graph
from devicekit.graph.randomness import random_ops, random_outputs
from devicekit.graph.ranges import random_inputs
from devicekit.graph.read import read_graph
from devicekit.graph.state import keeping_state
from devicekit.graph.told import NOTHING_TOLD, Told

# Float kernels in another order differ by 1e-7 to 1e-6 (52 models, November 2026); 1e-3 is
# another model.
MAX_DIFFERENCE = 1e-3
# A small channel (a score beside boxes) is also compared with its own largest value, or with a thousandth of
# the output's. The worst channel of Basic Pitch is at 9e-4, of the digits model at 1e-6 (November 2026).
MAX_CHANNEL_DIFFERENCE = 1e-2
CHANNEL_FLOOR = 1e-3
SAMPLES = 5
SEED = 0


@dataclass(frozen=True)
class Verified:
    """The reference: arrays "in/NAME" (the .tflite's inputs) and "out/NAME" with a leading axis of samples.

    `max_difference` is max|tflite - keras| / max|keras|, the worst of the outputs that are not random; None
    where all are. Integers, booleans and strings are equal. The samples went in in a row, without a reset:
    those of a model that keeps a state are one sequence.
    """

    reference: Mapping[str, Any]
    max_difference: float | None
    notes: tuple[str, ...]


def verify(
    path: Path,
    function: Any,
    tflite: Path,
    *,
    unverified: str | None = None,
    apart: Apart | None = None,
    inner: Any = None,
    told: Mapping[str, Told] = NOTHING_TOLD,
) -> Verified:
    """Returns the reference outputs of `function` and how far the file `tflite` is from them.

    With the file runs what `apart` holds of the model outside it (None: nothing). `inner` is the function to
    compare the file alone with, where it is not that of `apart`: then with the same parts around it.

    Raises ConvertError where they differ by more than MAX_DIFFERENCE, where NaN appears, and where the file
    keeps a state that the model does not. `path` is the source model, for messages. `told` are the ranges to
    draw inputs from. `unverified` says why the file cannot be run here: then nothing is compared.
    """

    apart = apart or Apart(function, trace)
    graph = read_graph(tflite)
    given = apart.samples(function, random_inputs(graph, SAMPLES, SEED, told))
    inputs = _joined([apart.before(one) for one in given])
    inner = inner or apart.function
    if inner is apart.function:
        expected = _run_function(path, function, _joined(given))
    else:
        expected = _run_function(path, inner, inputs, apart)
    if unverified:
        notes = check_finite(path, expected, expected)
        return Verified(_reference(inputs, expected), None, (unverified, *notes))
    if not keeps_state(inner):
        _refuse_state(path, graph, inputs)
    actual = _run_tflite(path, tflite, inputs, apart)
    notes = check_finite(path, expected, actual)
    reference = _reference(inputs, expected)
    random = _random_outputs(graph, expected, apart)
    if random:
        notes = (*notes, _note_of_random(graph, random, expected))
    expected = {name: values for name, values in expected.items() if name not in random}
    if not expected:
        return Verified(reference, None, notes)
    difference, found = _compared(expected, actual)
    if found and apart.ends_outside:
        # Scores that are all but equal come out in another order: what goes into the part decides.
        bare = replace(apart, parts=())
        wanted = _run_function(path, inner, inputs)
        difference, found = _compared(wanted, _run_tflite(path, tflite, inputs, bare))
        notes = (*notes, f"compared with Keras before the part outside: {', '.join(wanted)}")
    if found:
        raise ConvertError(
            str(path), found=found, remedy="report this model: the converter changed what it computes"
        )
    return Verified(reference, difference, (*notes, *constant_outputs(expected)))


def _random_outputs(graph: Graph, expected: Mapping[str, Any], apart: Apart) -> tuple[str, ...]:
    """Returns the outputs of the given model that are random: all, where a part outside may mix them."""
    random = random_outputs(graph)
    if random and apart.ends_outside:
        return tuple(expected)
    return tuple(name for name in expected if name in random)


def _note_of_random(graph: Graph, random: Sequence[str], expected: Mapping[str, Any]) -> str:
    ops = ", ".join(random_ops(graph))
    which = "outputs are random" if len(random) == len(expected) else f"random: output {', '.join(random)}"
    return f"{which} ({ops}): not compared with Keras"


def _compared(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[float, str]:
    """Returns the worst difference of any output, and in words which one is too different ("": none)."""
    worst = 0.0
    for name, wanted in expected.items():
        difference, found = compare(wanted, actual[name])
        if found:
            return difference, f'output "{name}" of the .tflite differs from Keras {found}'
        worst = max(worst, difference)
    return worst, ""


def _joined(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns samples of batch 1 as one array per name, with a leading axis of samples."""
    return {
        name: np.stack([one[name] for one in samples])
        if np.ndim(value) == 0
        else np.concatenate([one[name] for one in samples])
        for name, value in samples[0].items()
    }


def _reference(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{f"in/{name}": value for name, value in inputs.items()},
        **{f"out/{name}": value for name, value in outputs.items()},
    }


def _run_function(
    path: Path, function: Any, inputs: Mapping[str, Any], apart: Apart | None = None
) -> dict[str, Any]:
    """Returns the outputs of the traced Keras model, one sample after another from its first state:
    float [samples, ...].

    They go through the parts behind it that `apart` holds. Raises ConvertError where it refuses the inputs.
    """
    specs = function.structured_input_signature[0]
    outputs = []
    with from_the_beginning(function):
        for i in range(SAMPLES):
            feed = [tf.constant(inputs[s.name][i : i + 1].reshape(s.shape), s.dtype) for s in specs]
            try:
                given = {name: value.numpy() for name, value in function(*feed).items()}
            except tf.errors.OpError as error:
                raise ConvertError(
                    str(path),
                    found=f"Keras does not run on random inputs ({summary(error)})",
                    remedy="take out of the model what refuses them, an assertion or an index",
                ) from error
            outputs.append(apart.after(given) if apart else given)
    return _stacked(outputs)


def _run_tflite(path: Path, tflite: Path, inputs: Mapping[str, Any], apart: Apart) -> dict[str, Any]:
    """Returns the outputs of the file for the samples in a row, by one interpreter: as an app runs it."""
    return _stacked([apart.after(one) for one in _in_a_row(path, tflite, inputs, range(SAMPLES))])


def _in_a_row(
    path: Path, tflite: Path, inputs: Mapping[str, Any], samples: Iterable[int]
) -> list[dict[str, Any]]:
    """Returns what a fresh interpreter gives for the samples, one inference after another."""
    try:
        interpreter = Interpreter(model_path=str(tflite), num_threads=1)
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
        shapes = {name: detail["shape"] for name, detail in runner.get_input_details().items()}
        return [
            runner(**{name: value[i : i + 1].reshape(shapes[name]) for name, value in inputs.items()})
            for i in samples
        ]
    except (RuntimeError, ValueError) as error:
        raise ConvertError(
            str(path),
            found=f"LiteRT refuses the .tflite ({summary(error)})",
            remedy="replace the layer behind the op that it names",
        ) from error


def _refuse_state(path: Path, graph: Graph, inputs: Mapping[str, Any]) -> None:
    """Raises ConvertError where what the file gives for a sample depends on those before it.

    In a row, in one interpreter without a reset, it must give to the bit what a fresh interpreter gives.
    """
    random = random_outputs(graph)
    in_a_row = _in_a_row(path, graph.path, inputs, range(SAMPLES))
    for number in range(1, SAMPLES):
        [alone] = _in_a_row(path, graph.path, inputs, [number])
        for name, values in alone.items():
            if name not in random and values.tobytes() != in_a_row[number][name].tobytes():
                ops = ", ".join(keeping_state(graph)) or "an op"
                raise ConvertError(
                    str(path),
                    found=f'the .tflite keeps a state that the model does not have: output "{name}" of '
                    f"inference {number + 1} depends on those before it ({ops})",
                    remedy="leave out --no-rewrite; without it, report this model",
                )


def _stacked(outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the outputs of samples of batch 1 as one array per name, with a leading axis of samples."""
    return {
        name: np.stack([_plain(one[name]) for one in outputs])
        if np.ndim(value) == 0
        else np.concatenate([_plain(one[name]) for one in outputs])
        for name, value in outputs[0].items()
    }


def _plain(value: Any) -> Any:
    """Returns an array that np.save writes without pickle: TensorFlow's strings are objects."""
    array = np.array(value)
    return array.astype(bytes) if array.dtype == object else array


def check_finite(path: Path, expected: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns notes on what is not finite in Keras; raises ConvertError for what is in the .tflite alone.

    `path` is the source model, for messages.
    """
    notes = []
    for name, reference in expected.items():
        if reference.dtype.kind not in "fc" or actual[name].dtype.kind not in "fc":
            continue
        missing = ~np.isfinite(reference)
        if missing.all():
            raise ConvertError(
                str(path),
                found=f'output "{name}" is NaN or infinite in Keras already, on random inputs',
                remedy="check that the file holds trained weights, and which inputs the model expects",
            )
        if (~np.isfinite(actual[name]) & ~missing).any():
            raise ConvertError(
                str(path),
                found=f'output "{name}" of the .tflite is NaN or infinite where Keras is not',
                remedy="report this model: the converter lost its weights",
            )
        if missing.any():
            notes.append(f'output "{name}" is NaN or infinite for some random inputs, in Keras too')
    return tuple(notes)


def constant_outputs(expected: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns a note for each output that random inputs do not change: the comparison hardly tests it."""
    return tuple(
        f'output "{name}" is constant on random inputs: that it equals Keras proves little'
        for name, value in expected.items()
        if value.size and (value == value[:1]).all()
    )


def compare(expected: Any, actual: Any) -> tuple[float, str]:
    """Returns max|actual - expected| / max|expected|, and in words what is too different ("": nothing).

    Where `expected` is not finite nothing is compared. Channels are the last axis.
    """
    if expected.shape != actual.shape:
        return np.inf, f"in shape: {list(actual.shape[1:])}, not {list(expected.shape[1:])}"
    if expected.dtype.kind not in "fc":
        unequal = int((expected != actual).sum())
        return 0.0, f"in {unequal} of {expected.size} values, which must be equal" if unequal else ""
    finite = np.isfinite(expected)
    wanted = np.where(finite, expected, 0).astype(np.complex128)
    axes = tuple(range(max(expected.ndim - 1, 1)))  # all but the last, unless that is the axis of samples
    errors = np.abs(np.where(finite, actual, 0) - wanted).max(axes, initial=0.0)
    sizes = np.abs(wanted).max(axes, initial=0.0)
    error, size = float(errors.max(initial=0.0)), float(sizes.max(initial=0.0))
    difference = error / (size or 1.0)
    in_channel = float((errors / np.maximum(sizes, CHANNEL_FLOOR * size or 1.0)).max(initial=0.0))
    if difference > MAX_DIFFERENCE:
        return difference, f"by {difference:.2g} of its largest value, more than {MAX_DIFFERENCE:g}"
    if in_channel > MAX_CHANNEL_DIFFERENCE:
        limit = f"more than {MAX_CHANNEL_DIFFERENCE:g}"
        return difference, f"by {in_channel:.2g} of the largest value of a channel, {limit}"
    return difference, ""
