"""Applies the catalogue's remedies to a loaded model: each one that is concerned, proven, or else left out.

Runs in the conversion child only: it imports TensorFlow.
"""

import logging
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from devicekit.convert.inside.blame import summary
from devicekit.convert.inside.load import Loaded, layers_in
from devicekit.convert.remedies import REMEDIES
from devicekit.convert.remedies.emit import all_ops, emitted
from devicekit.convert.remedies.proof import difference
from devicekit.convert.remedies.remedy import (
    HALF_STEPS,
    MAX_DIFFERENCE,
    NotApplicable,
    OwnCall,
    Remedy,
)
from devicekit.convert.source import Rewrite
from devicekit.graph.layers import Layers
from devicekit.plugins import resolve

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rewritten:
    """The model after its remedies: the concrete `function` to convert, and what was done to it.

    `reference` is the function to compare the .tflite with: the given one, unless a remedy changed its
    rounding.
    `holds` are variables that remedies made. `notes` say which remedies were tried and found unequal.
    """

    function: Any
    reference: Any
    rewrites: tuple[Rewrite, ...] = ()
    notes: tuple[str, ...] = ()
    holds: tuple[Any, ...] = ()


def rewritten(
    loaded: Loaded,
    function: Any,
    trace: Callable[[Loaded], Any],
    *,
    table: Mapping[str, str] = REMEDIES,
    asked_for: Collection[str] = (),
) -> Rewritten:
    """Returns the traced `function` of `loaded` with every remedy that it needs and that proves equal.

    Remedies of layers come first, as they trace the model anew (`trace`); remedies of ops follow. `asked_for`
    are those that the user wants, of the ones that nobody gets unasked.
    """
    every: list[Remedy] = [resolve(target) for target in table.values()]
    remedies = [one for one in every if one.is_automatic or one.name in asked_for]
    layers = layers_in(loaded)
    done = Rewritten(function, function)
    for remedy in (one for one in remedies if one.layer_call):
        done = _on_layers(done, remedy, loaded, trace)
    for remedy in (one for one in remedies if one.rules):
        done = _on_ops(done, remedy, layers)
    return done


def _on_layers(done: Rewritten, remedy: Remedy, loaded: Loaded, trace: Callable[[Loaded], Any]) -> Rewritten:
    assert remedy.layer_call
    before = {layer: OwnCall(layer.call) for layer in loaded.layers}
    calls = {layer: call for layer, own in before.items() if (call := remedy.layer_call(layer, own))}
    if not calls:
        return done
    for layer, call in calls.items():
        layer.call = call

    def make() -> tuple[Any, tuple[str, ...]]:
        function = trace(loaded)
        names = tuple(layer.name for layer in calls if not before[layer].was_called)
        return (function, names) if names else (done.function, ())

    step = max(HALF_STEPS.get(str(layer.compute_dtype), 0.0) for layer in calls)
    new = _judged(done, replace(remedy, step=step), make)
    if new.function is done.function:
        for layer in calls:
            layer.call = before[layer].call
    return new


def _on_ops(done: Rewritten, remedy: Remedy, layers: Layers) -> Rewritten:
    ops = list(all_ops(done.function.graph))
    is_concerned = "*" in remedy.rules or any(op.type in remedy.rules for op in ops)
    if not is_concerned or not remedy.recognises(ops):
        return done

    def make() -> tuple[Any, tuple[str, ...]]:
        function, concerned = emitted(done.function, remedy.rules, remedy.input_spec)
        return (function, layers.of_ops(concerned)) if concerned else (done.function, ())

    return _judged(done, remedy, make)


def _judged(done: Rewritten, remedy: Remedy, make: Callable[[], tuple[Any, tuple[str, ...]]]) -> Rewritten:
    """Returns `done` with the remedy where it proves equal, else with a note that it was tried.

    `make` returns the function under the remedy, or the same one, and the layers concerned.
    """
    try:
        function, layers = make()
        if function is done.function:
            return done
        found = difference(done.function, function, remedy.keys(done.function), step=remedy.step)
    except NotApplicable as error:
        return _left_out(done, remedy, f"{error}")
    except MemoryError:
        raise
    except Exception as error:  # what TensorFlow raises where a rewrite does not suit the model
        _log.info("%s failed", remedy.name, exc_info=True)
        return _left_out(done, remedy, summary(error))
    if found > remedy.bound:
        return _left_out(done, remedy, f"outputs would differ by {found:.1g}, more than {remedy.bound:g}")
    rewrite = Rewrite(remedy.name, remedy.does, layers, None if math.isinf(remedy.bound) else found)
    variables = tuple(getattr(function.graph, "variables", ()))
    return replace(
        done,
        function=function,
        reference=function if remedy.bound > MAX_DIFFERENCE else done.reference,
        rewrites=(*done.rewrites, rewrite),
        holds=(*done.holds, *variables),
    )


def _left_out(done: Rewritten, remedy: Remedy, why: str) -> Rewritten:
    return replace(done, notes=(*done.notes, f"rewrite {remedy.name} not applied: {why}"))
