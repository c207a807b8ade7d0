"""Remedy: a rewrite of a model that the converter, a runtime or a recipe cannot take, into one that it can.

A remedy works on what it needs: on Keras layers (`layer_call`), on the ops of the traced graph (`rules`), or
on its borders (`split`). Whatever it does, the rewritten model must compute the same: see `proof`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devicekit.convert.remedies.emit import Rule

# Rewritten and given model agree within this share of the largest output, on random and edge inputs.
MAX_DIFFERENCE = 1e-4
# Where a remedy computes in float32 what was half precision: rounding adds up over the layers. Seen on small
# models: 1 to 8 steps of the half type, 18 for an LSTM of 40 steps that is fed plain pixels (November 2026).
ROUNDING_STEPS = 16
HALF_STEPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}  # so many bits behind the point


class OwnCall:
    """A Keras layer's own call, for a remedy that falls back on it: then the layer is not concerned.

    `call` is the same without taking note.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.was_called = False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.was_called = True
        return self.call(*arguments, **named)


class NotApplicable(Exception):
    """A remedy does not suit this model: why, in words for the user."""


def _no_keys(function: Any) -> Sequence[int]:
    return ()


def _any_op(ops: Sequence[Any]) -> bool:
    return True


@dataclass(frozen=True)
class Remedy:
    """One entry of the catalogue.

    `name` is what reports call it, `does` says in words what becomes of what. `rules` maps TensorFlow op
    types to rules; "*" stands for every op. They are tried where the graph has an op of theirs and
    `recognises(ops)` holds. `layer_call` takes a Keras layer and its own `call`, and returns the function to
    call in its place, None where it is not concerned. `split` takes the loaded model, its traced function and
    what traces it anew, and returns an outside.Split, None where it is not concerned. `max_difference` is
    larger only where the remedy is meant to change outputs: its module says why. `step` is that of the half
    type which it no longer rounds to. `keys` gives integers to feed in the proof, for the traced function.
    `input_spec` gives an input's tf.TensorSpec in place of its own. One that is not `is_automatic` is applied
    where the user asks for it.
    """

    name: str
    does: str
    rules: Mapping[str, Rule] = field(default_factory=dict)
    recognises: Callable[[Sequence[Any]], bool] = _any_op
    layer_call: Callable[[Any, OwnCall], Callable[..., Any] | None] | None = None
    split: Callable[..., Any] | None = None
    max_difference: float = MAX_DIFFERENCE
    step: float = 0.0
    keys: Callable[[Any], Sequence[int]] = _no_keys
    input_spec: Callable[[Any], Any] | None = None
    is_automatic: bool = True

    @property
    def bound(self) -> float:
        """Returns what the outputs may differ by."""
        return max(self.max_difference, ROUNDING_STEPS * self.step)
