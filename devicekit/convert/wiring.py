"""Finds a model whose layers wait for their own outputs, without loading it.

Both Kerases build a functional model by going over its layers until all have their inputs: over a cycle, for
ever (tf_keras 2.21, November 2026).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from devicekit.convert.trust import nodes_in


def find_cycle(config: Any) -> tuple[str, ...]:
    """Returns the layers of the first cycle in a Keras config: each takes what the next one gives.

    The last takes what the first gives. () where there is no cycle.
    """
    models = (node["layers"] for node in nodes_in(config) if isinstance(node.get("layers"), list))
    return next((cycle for layers in models if (cycle := _cycle_in(layers))), ())


def _cycle_in(layers: list[Any]) -> tuple[str, ...]:
    """Returns the first cycle among the layers of one functional model, () where all can be called."""
    calls = {
        str(layer["name"]): list(layer["inbound_nodes"])
        for layer in layers
        if isinstance(layer, Mapping) and "name" in layer and isinstance(layer.get("inbound_nodes"), list)
    }
    models = {str(layer.get("name")) for layer in layers if isinstance(layer, Mapping) and _is_model(layer)}
    pending = {
        name: [[*_needs(call, calls, models)] for call in of_layer] for name, of_layer in calls.items()
    }
    done = dict.fromkeys(calls, 0)
    is_moving = True
    while is_moving:
        is_moving = False
        for name, needs in pending.items():
            while done[name] < len(needs) and not _missing(needs[done[name]], calls, done):
                done[name] += 1
                is_moving = True
    waiting = {
        name: missing[0]
        for name, needs in pending.items()
        if done[name] < len(needs) and (missing := _missing(needs[done[name]], calls, done))
    }
    path = list(waiting)[:1]
    while path and path[-1] in waiting:
        following = waiting[path[-1]]
        if following in path:
            return tuple(path[path.index(following) :])
        path.append(following)
    return ()


def _missing(
    needs: list[tuple[str, int]], calls: Mapping[str, list[Any]], done: Mapping[str, int]
) -> list[str]:
    """Returns the layers that have not been called often enough yet."""
    return [name for name, count in needs if done[name] < min(count, len(calls[name]))]


def _is_model(layer: Mapping[str, Any]) -> bool:
    return isinstance(layer.get("config"), Mapping) and "layers" in layer["config"]


def _needs(call: Any, calls: Mapping[str, Any], models: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yields (layer, how often it must have been called) of each tensor that a call takes.

    Both Kerases write [layer, call, output]. They count the calls of a layer from 0; those of a model in a
    model from 1, but not always: there the lower count decides.
    """
    pending = [call]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            pending.extend(node.values())
        elif isinstance(node, list):
            if len(node) >= 3 and isinstance(node[0], str) and node[0] in calls and type(node[1]) is int:
                yield node[0], max(node[1], 1) if node[0] in models else node[1] + 1
            pending.extend(node)
