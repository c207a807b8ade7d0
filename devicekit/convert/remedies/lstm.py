"""LSTM layers as plain operators: nothing in the .tflite remembers one sequence when the next one comes.

LiteRT's fused LSTM keeps its state in variables from one inference to the next, which no Keras model without
state means; its C API does not even open such a file. So the steps are written out, or run in a loop of some
at a time where they are many, and the inputs of those are multiplied with the kernel at once.

What the kit made before (fused, int8 by TensorFlow's quantizer; Keras's loop where there is a mask or a
state) and makes now, in one run on x86-64 by LiteRT 2.3, one thread (November 2026). By steps, inputs, units
and output: milliseconds of float32, dynamic_int8 and int8; KiB of the float32 file; KiB of TFLM's arena for
float32 and int8 (it lacks an operator of Keras's Masking).

                            before                                  now
    1, 16, 24, last          0.0016 0.0017 0.0069   17    3    3   0.0007 0.0008 0.0007    9    3    4
    20, 8, 32, sequence      0.0159 0.0163  0.155   22    5    3   0.0089 0.0085 0.0083   59   57   81
    100, 16, 64, last         0.164  0.166   1.57   83   34   10    0.092  0.068  0.069   96   41   33
    100, 16, 64, sequence     0.166  0.167   1.58   82   34   10    0.109  0.084  0.079   98  133   63
    500, 16, 64, last         0.836  0.839   7.76   83  159   42    0.417  0.313  0.310   96  116   71
    500, 16, 64, sequence     0.819  0.848   7.94   82  159   41    0.648  0.548  0.413   98  608  213
    60, stacked               0.073  0.202  0.587   29   13    6    0.078  0.081  0.079   60   61   56
    60, bidirectional, two    0.134  0.347  0.963   51   31   13    0.156  0.165  0.162  124  100  112
    61, masked, stacked       0.349  0.355      -   43    -    -    0.149  0.152  0.173  103    -    -
    60, states as inputs      0.233  0.244      -   30   30    -    0.044  0.048  0.046   34   49   33

Tried besides, of 500 steps that give a sequence, float32: all steps written out 1.8 ms and 886 KiB, Keras 3's
loop 4.5 ms, one step in a turn of the loop 1.7 ms. All inputs by the kernel before the loop took as long, and
1523 KiB of TFLM's arena where the loop takes 116 (500 steps, last). TFLM hangs in Keras 3's loop where that
gives a sequence, and its CONCATENATION takes 10 inputs at most.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from devicekit.convert.remedies.emit import Emitter, called_function
from devicekit.convert.remedies.loops import KEPT, MAX_STEPS
from devicekit.convert.remedies.remedy import OwnCall, Remedy

# So many steps in one turn of a loop: the first that leaves none over, else the first.
PARTS = (8, 7, 6, 5, 4)
# What acts on each number alone, so that three gates can share one operator.
_GATE_ACTIVATIONS = ("sigmoid", "hard_sigmoid")


@dataclass(frozen=True)
class Weights:
    """Of one LSTM, with the gates in the order i, f, o, c: kernel [inputs, 4 units], recurrent kernel
    [units, 4 units], bias [4 units] or None; `gate` and `activation` are functions of tensors.
    """

    kernel: Any
    recurrent: Any
    bias: Any
    gate: Callable[[Any], Any] = tf.sigmoid
    activation: Callable[[Any], Any] = tf.tanh

    @classmethod
    def of_keras(cls, kernel: Any, recurrent: Any, bias: Any, **functions: Any) -> "Weights":
        """Takes weights as Keras has them, in the order i, f, c, o."""
        ordered = None if bias is None else _in_our_order(bias)
        return cls(_in_our_order(kernel), _in_our_order(recurrent), ordered, **functions)

    @property
    def units(self) -> int:
        return int(self.recurrent.shape[0])


def _in_our_order(weights: Any) -> Any:
    i, f, c, o = tf.split(weights, 4, axis=-1)
    return tf.concat([i, f, o, c], axis=-1)


@dataclass(frozen=True)
class State:
    """Of one LSTM between two steps: hidden and carry, float32 [1, units]; `output` is the last output where
    a mask may keep it, else the same as hidden.
    """

    hidden: Any
    carry: Any
    output: Any


@dataclass(frozen=True)
class Run:
    """What an LSTM gives: float32 [1, units], [1, steps, units] or None, and its state."""

    last: Any
    sequence: Any
    hidden: Any
    carry: Any


def run_lstm(
    weights: Weights,
    inputs: Any,
    *,
    hidden: Any,
    carry: Any,
    mask: Any = None,
    backwards: bool = False,
    wants_sequence: bool = True,
    zero_output_for_mask: bool = False,
    writes_out: bool = False,
) -> Run:
    """Returns what an LSTM makes of `inputs`, float32 [1, steps, inputs], from a state of [1, units] each.

    `mask` is bool [1, steps], None for none: where False, the state stays, and the last output is given
    again, or zeros for `zero_output_for_mask`. `backwards` takes the last step first, and gives the sequence
    in that order. `writes_out` forbids a loop.
    """
    steps = int(inputs.shape[1])
    if backwards:
        inputs = tf.reverse(inputs, [1])
        mask = None if mask is None else tf.reverse(mask, [1])
    rows = tf.reshape(inputs, (steps, inputs.shape[2]))
    kept = None if mask is None else tf.reshape(mask, (steps, 1))
    begin = State(hidden, carry, hidden if mask is None else tf.zeros_like(hidden))
    cell = _Cell(weights, zero_output_for_mask)
    if writes_out or steps <= MAX_STEPS:
        outputs, state = cell.steps(rows, kept, begin)
        # PACK: TFLM's CONCATENATION takes 10 inputs at most.
        sequence = tf.stack(outputs) if wants_sequence else None
    else:
        sequence, state = _looped(cell, rows, kept, begin, wants_sequence=wants_sequence)
    if sequence is not None:
        sequence = tf.reshape(sequence, (1, steps, weights.units))
    return Run(state.output, sequence, state.hidden, state.carry)


@dataclass(frozen=True)
class _Cell:
    weights: Weights
    zero_output_for_mask: bool

    def steps(self, rows: Any, kept: Any, state: State) -> tuple[list[Any], State]:
        """Returns the output of each step, [1, units], and the state behind them: `rows` [steps, inputs] go
        in, `kept` [steps, 1] says which count, None: all.
        """
        rows = tf.matmul(rows, self.weights.kernel)
        rows = rows if self.weights.bias is None else rows + self.weights.bias
        outputs = []
        for number, row in enumerate(_rows_of(rows)):
            state, output = self.step(row, None if kept is None else kept[number : number + 1], state)
            outputs.append(output)
        return outputs, state

    def step(self, row: Any, is_kept: Any, state: State) -> tuple[State, Any]:
        units = self.weights.units
        gates = row + tf.matmul(state.hidden, self.weights.recurrent)
        i, f, o = tf.split(self.weights.gate(gates[:, : 3 * units]), 3, axis=1)
        carry = f * state.carry + i * self.weights.activation(gates[:, 3 * units :])
        hidden = o * self.weights.activation(carry)
        if is_kept is None:
            return State(hidden, carry, hidden), hidden
        output = tf.where(is_kept, hidden, state.output)
        given = tf.where(is_kept, hidden, tf.zeros_like(hidden)) if self.zero_output_for_mask else output
        hidden, carry = tf.where(is_kept, hidden, state.hidden), tf.where(is_kept, carry, state.carry)
        return State(hidden, carry, output), given


def _rows_of(rows: Any) -> Sequence[Any]:
    count = int(rows.shape[0])
    return tf.split(rows, count, axis=0) if count > 1 else [rows]


def _looped(cell: _Cell, rows: Any, kept: Any, begin: State, *, wants_sequence: bool) -> tuple[Any, State]:
    """Returns the sequence [steps, units] (None where nobody wants it) and the state, by a loop over some
    steps at a time; those that are left over are written out behind it.
    """
    steps, units = int(rows.shape[0]), cell.weights.units
    count = next((one for one in PARTS if steps % one == 0), PARTS[0])
    looped = steps - steps % count
    values = {"at": tf.constant(0), "hidden": begin.hidden, "carry": begin.carry}
    if kept is not None:
        values["output"] = begin.output
    if wants_sequence:  # every row is written before anyone reads it; constant zeros would lie in the file
        values["sequence"] = _wide(rows[:looped], units)

    def is_going(now: Mapping[str, Any]) -> Any:
        return now["at"] < looped

    def body(now: Mapping[str, Any]) -> list[dict[str, Any]]:
        at = now["at"]
        part = tf.slice(rows, [at, 0], [count, rows.shape[1]])
        kept_part = None if kept is None else tf.slice(kept, [at, 0], [count, 1])
        outputs, state = cell.steps(part, kept_part, _state_in(now))
        then = {"at": at + count, "hidden": state.hidden, "carry": state.carry}
        if kept is not None:
            then["output"] = state.output
        if wants_sequence:
            written = xla.dynamic_update_slice(now["sequence"], tf.concat(outputs, 0), tf.stack([at, 0]))
            then["sequence"] = written
        return [then]

    [behind] = tf.while_loop(is_going, body, [values], name=KEPT)
    state = _state_in(behind)
    outputs: list[Any] = []
    if steps > looped:
        outputs, state = cell.steps(rows[looped:], None if kept is None else kept[looped:], state)
    return (tf.concat([behind["sequence"], *outputs], 0) if wants_sequence else None), state


def _wide(rows: Any, width: int) -> Any:
    """Returns `rows` [n, m] cut off or filled up to [n, width]."""
    missing = width - int(rows.shape[1])
    return tf.pad(rows, [[0, 0], [0, missing]]) if missing > 0 else rows[:, :width]


def _state_in(values: Mapping[str, Any]) -> State:
    return State(values["hidden"], values["carry"], values.get("output", values["hidden"]))


def _written(layer: Any, own: OwnCall) -> Callable[..., Any] | None:
    kind = type(layer)
    if kind.__name__ != "LSTM" or not kind.__module__.startswith(("keras.", "tf_keras.")) or not layer.built:
        return None
    config = layer.get_config()
    if config["recurrent_activation"] not in _GATE_ACTIVATIONS or config.get("time_major"):
        return None
    is_legacy = kind.__module__.startswith("tf_keras.")
    kernel, recurrent, *bias = (
        tf.constant(one.numpy().astype("float32")) for one in layer.weights[: 3 if layer.use_bias else 2]
    )
    weights = Weights.of_keras(
        kernel,
        recurrent,
        bias[0] if bias else None,
        gate=layer.recurrent_activation,
        activation=layer.activation,
    )

    def call(
        sequences: Any, initial_state: Any = None, mask: Any = None, training: bool | None = None
    ) -> Any:
        given = sequences[0] if isinstance(sequences, list) else sequences
        drops = training and (config["dropout"] or config["recurrent_dropout"])
        if drops or not isinstance(given, tf.Tensor) or given.shape[0] != 1 or given.shape[1] is None:
            return own(sequences, initial_state=initial_state, mask=mask, training=training)
        if is_legacy:
            sequences, initial_state, _ = layer._process_inputs(sequences, initial_state, None)
        elif initial_state is None:
            initial_state = layer.states if layer.stateful else layer.get_initial_state(1)
        dtype = sequences.dtype
        hidden, carry = (tf.cast(tf.convert_to_tensor(one), tf.float32) for one in initial_state)
        done = run_lstm(
            weights,
            tf.cast(sequences, tf.float32),
            hidden=hidden,
            carry=carry,
            mask=mask[0] if isinstance(mask, list) else mask,
            backwards=layer.go_backwards,
            wants_sequence=layer.return_sequences,
            zero_output_for_mask=bool(getattr(layer, "zero_output_for_mask", False)),
            writes_out=layer.unroll,
        )
        states = [tf.cast(done.hidden, dtype), tf.cast(done.carry, dtype)]
        if layer.stateful:
            for variable, value in zip(layer.states, states, strict=True):
                variable.assign(tf.cast(value, variable.dtype))
        output = tf.cast(done.sequence if layer.return_sequences else done.last, dtype)
        if not layer.return_state:
            return output
        return [output, *states] if is_legacy else (output, *states)

    return call


REMEDY = Remedy(
    name="lstm",
    does="LSTM as plain operators: the fused one would keep its state from one inference to the next",
    layer_call=_written,
)


def _called(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """Puts plain operators in place of the function by which a Keras 2 LSTM is fused.

    Its arguments are input, two states, kernel, recurrent kernel and bias, and a mask where there is one; it
    gives the last output, the sequence, two states and where it ran.
    """
    function = called_function(op)
    if function is None or not is_lstm(function):
        return None
    settings = function.cached_definition.attr
    is_plain = len(inputs) == 6 and inputs[0].dtype == tf.float32 and not settings["time_major"].b
    if not is_plain or inputs[0].shape[0] != 1 or None in inputs[0].shape[1:]:
        return emitter.run(function.graph, inputs)
    sequences, hidden, carry, kernel, recurrent, bias = inputs
    done = run_lstm(
        Weights.of_keras(kernel, recurrent, bias),
        sequences,
        hidden=hidden,
        carry=carry,
        backwards=settings["go_backwards"].b,
        wants_sequence=bool(op.outputs[1].consumers())
        or any(op.outputs[1] is one for one in op.graph.outputs),
    )
    runtime = tf.zeros(op.outputs[4].shape, op.outputs[4].dtype)
    return [done.last, done.sequence, done.hidden, done.carry, runtime]


def is_lstm(function: Any) -> bool:
    """Returns whether a function is one that the converter fuses, whatever its initial state: it knows it by
    `api_implements`.
    """
    return bool(function.cached_definition.attr["api_implements"].s.startswith(b"lstm_"))


def _has_lstm(ops: Sequence[Any]) -> bool:
    return any((function := called_function(op)) is not None and is_lstm(function) for op in ops)


CALLS = Remedy(
    name="lstm_calls",
    does=REMEDY.does,
    rules={"PartitionedCall": _called, "StatefulPartitionedCall": _called},
    recognises=_has_lstm,
)
