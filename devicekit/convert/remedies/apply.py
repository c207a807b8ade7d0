"""Applies the catalogue's remedies to a loaded model: each one that is concerned, proven, or else left out.

Runs in the conversion child only: it imports TensorFlow.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from devicekit.convert.layers import Layers
from devicekit.convert.load import Loaded
from devicekit.convert.remedies import REMEDIES
from devicekit.convert.remedies.emit import all_ops, emitted
from devicekit.convert.remedies.proof import Incomparable, difference
from devicekit.convert.remedies.remedy import Remedy, Rewrite
from devicekit.plugins import resolve

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rewritten:
    """The model after its remedies: the concrete `function` to convert, and what was done to it.

    `holds` are variables that remedies made. `notes` say which remedies were tried and found unequal.
    """

    function: Any
    rewrites: tuple[Rewrite, ...] = ()
    notes: tuple[str, ...] = ()
    holds: tuple[Any, ...] = ()


def rewritten(
    loaded: Loaded,
    function: Any,
    trace: Callable[[Loaded], Any],
    *,
    table: Mapping[str, str] = REMEDIES,
) -> Rewritten:
    """Returns the traced `function` of `loaded` with every remedy that it needs and that proves equal.

    Remedies of layers come first, as they trace the model anew (`trace`); remedies of ops follow.
    """
    remedies: list[Remedy] = [resolve(target) for target in table.values()]
    layers = Layers.of(loaded)
    done = Rewritten(function)
    for remedy in (one for one in remedies if one.layer_call):
        done = _on_layers(done, remedy, loaded, trace)
    for remedy in (one for one in remedies if one.rules):
        done = _on_ops(done, remedy, layers)
    return done


def _on_layers(done: Rewritten, remedy: Remedy, loaded: Loaded, trace: Callable[[Loaded], Any]) -> Rewritten:
    assert remedy.layer_call
    calls = [(layer, call) for layer in loaded.layers if (call := remedy.layer_call(layer))]
    if not calls:
        return done
    before = [(layer, layer.call) for layer, _ in calls]
    for layer, call in calls:
        layer.call = call
    names = tuple(layer.name for layer, _ in calls)
    new = _judged(done, remedy, names, lambda: trace(loaded))
    if new.function is done.function:
        for layer, call in before:
            layer.call = call
    return new


def _on_ops(done: Rewritten, remedy: Remedy, layers: Layers) -> Rewritten:
    ops = list(all_ops(done.function.graph))
    is_concerned = "*" in remedy.rules or any(op.type in remedy.rules for op in ops)
    if not is_concerned or not remedy.recognises(ops):
        return done
    function, concerned = emitted(done.function, remedy.rules)
    if not concerned:
        return done
    return _judged(done, remedy, layers.of_ops(concerned), lambda: function)


def _judged(done: Rewritten, remedy: Remedy, layers: tuple[str, ...], make: Callable[[], Any]) -> Rewritten:
    """Returns `done` with the remedy where it proves equal, else with a note that it was tried."""
    try:
        function = make()
        found = difference(done.function, function)
    except Incomparable as error:
        return _left_out(done, remedy, f"{error}")
    except MemoryError:
        raise
    except Exception as error:  # what TensorFlow raises where a rewrite does not suit the model
        _log.info("%s failed", remedy.name, exc_info=True)
        return _left_out(done, remedy, f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
    if found > remedy.max_difference:
        return _left_out(
            done, remedy, f"outputs would differ by {found:.1g}, at most {remedy.max_difference:g} is"
        )
    rewrite = Rewrite(remedy.name, remedy.does, layers, found)
    variables = tuple(getattr(function.graph, "variables", ()))
    return replace(
        done,
        function=function,
        rewrites=(*done.rewrites, rewrite),
        holds=(*done.holds, *variables),
    )


def _left_out(done: Rewritten, remedy: Remedy, why: str) -> Rewritten:
    return replace(done, notes=(*done.notes, f"rewrite {remedy.name} not applied: {why}"))
