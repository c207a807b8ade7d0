"""Finds the Keras layer behind an operator: TensorFlow names ops and tensors after their layers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from devicekit.graph.model import Graph, Op, Subgraph

# Keras numbers the scopes of a second call of the same layer: "dense" becomes "dense_1".
_NUMBER = re.compile(r"_\d+$")
_CALL = ("PartitionedCall", "StatefulPartitionedCall")
_MOST_NAMED = 3


@dataclass(frozen=True)
class Layers:
    """The layers of a model: name -> class, as in {"conv1": "Conv2D"}; none for a SavedModel.

    `numbered` says that each layer's scope bears a number behind its name, as Keras 3 gives it. `outputs`
    maps the model's outputs to their layers: the converter renames those tensors.
    """

    classes: Mapping[str, str] = field(default_factory=dict)
    numbered: bool = False
    outputs: Mapping[str, str] = field(default_factory=dict)

    def of_op(self, name: str) -> str:
        """Returns the innermost layer in an op's or tensor's name, "" where it names none.

        A SavedModel has no layers to compare with: there it is the scope inside the model's. Names read
        model/block/conv1/Conv2D; a tensor fused of several ops lists theirs, split by ";".
        """
        for part in reversed(name.split(";")[0].split("/")):
            exact, base = part, _NUMBER.sub("", part)
            for candidate in (base, exact) if self.numbered else (exact, base):
                if candidate in self.classes:
                    return candidate
        scopes = [part for part in name.split(";")[0].split("/")[:-1] if not part.startswith(_CALL)]
        return scopes[:2][-1] if scopes and not self.classes else ""

    def of_ops(self, names: Iterable[str]) -> tuple[str, ...]:
        """Returns the layers of ops, each once, in order; without those of no layer."""
        return tuple(dict.fromkeys(layer for name in names if (layer := self.of_op(name))))

    def label(self, name: str) -> str:
        """Returns a layer as the user knows it: "spectrum (Spectrum)"."""
        return f"{name} ({self.classes[name]})" if name in self.classes else name


NO_LAYERS = Layers()


def with_layers(graph: Graph, layers: Layers) -> Graph:
    """Returns the graph of a .tflite whose operators name the Keras layer that they come from."""
    ends = {tensor.index: layers.outputs.get(name, "") for name, tensor in graph.output_tensors.items()}
    main, *others = graph.subgraphs
    labelled = [_labelled(main, layers, ends), *(_labelled(subgraph, layers, {}) for subgraph in others)]
    return replace(graph, subgraphs=tuple(labelled))


def _labelled(subgraph: Subgraph, layers: Layers, ends: Mapping[int, str]) -> Subgraph:
    """`ends` maps the indices of the model's outputs to their layers."""

    def layer(op: Op) -> str | None:
        names = [layers.of_op(subgraph.tensors[index].name) or ends.get(index, "") for index in op.outputs]
        return layers.label(next(filter(None, names), "")) or None

    return replace(subgraph, ops=tuple(replace(op, layer=layer(op)) for op in subgraph.ops))


def layers_of(ops: Iterable[Op]) -> str | None:
    """Returns the Keras layers of operators in words, the first few of many; None where none is known."""
    names = list(dict.fromkeys(op.layer for op in ops if op.layer))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}" if names else None
