"""Remedy: a rewrite of a model that the converter, a runtime or a recipe cannot take, into one that it can.

A remedy works on what it needs: on Keras layers (`layer_call`), on the ops of the traced graph (`rules`), or
on its borders (`split`). Whatever it does, the rewritten model must compute the same: see `proof`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devicekit.convert.remedies.emit import Emitter

# Rewritten and given model agree within this share of the largest output, on random and edge inputs.
MAX_DIFFERENCE = 1e-4

# Takes an op of the traced graph, its inputs (tensors, or what another rule of the remedy gave in their place)
# and the emitter; returns the values in place of its outputs, None where it is not concerned.
Rule = Callable[[Any, Sequence[Any], "Emitter"], Sequence[Any] | None]


def _any_op(ops: Sequence[Any]) -> bool:
    return True


@dataclass(frozen=True)
class Remedy:
    """One entry of the catalogue.

    `name` is what reports call it, `does` says in words what becomes of what. `rules` maps TensorFlow op
    types to rules; "*" stands for every op. They are tried where the graph has an op of theirs and
    `recognises(ops)` holds. `layer_call` takes a Keras layer and returns the function to call in place of its
    own `call`, None where it is not concerned. `split` takes the loaded model, its traced
    function and what traces it anew, and returns an outside.Split, None where it is not concerned.
    `max_difference` is None where rounding is what the
    remedy changes: its module says what is compared then.
    """

    name: str
    does: str
    rules: Mapping[str, Rule] = field(default_factory=dict)
    recognises: Callable[[Sequence[Any]], bool] = _any_op
    layer_call: Callable[[Any], Callable[..., Any] | None] | None = None
    split: Callable[..., Any] | None = None
    max_difference: float = MAX_DIFFERENCE


@dataclass(frozen=True)
class Rewrite:
    """One remedy as it was applied. `layers` are the Keras layers concerned, "" where none is known.

    `difference` is max|rewritten - given| / max|given| over the outputs, on random and edge inputs.
    """

    remedy: str
    does: str
    layers: tuple[str, ...]
    difference: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
