"""Finds the Keras layer behind an op: TensorFlow names an op after the layers that it was made in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from devicekit.convert.load import Loaded

# Keras 3 numbers the scopes of a second call of the same layer: "dense" becomes "dense_1".
_CALL = ("PartitionedCall", "StatefulPartitionedCall")
_NUMBER = re.compile(r"_\d+$")


@dataclass(frozen=True)
class Layers:
    """The layers of a model: name -> class, as in {"conv1": "Conv2D"}."""

    classes: Mapping[str, str]

    @classmethod
    def of(cls, loaded: Loaded) -> "Layers":
        return cls({layer.name: type(layer).__name__ for layer in loaded.layers})

    def of_op(self, name: str) -> str:
        """Returns the innermost layer in an op's or tensor's name, "" where it names none.

        A SavedModel has no layers to compare with: there it is the scope inside the model's.

        Op names read model/block/conv1/Conv2D; a tensor fused of several ops lists theirs, split by ";".
        """
        for part in reversed(name.split(";")[0].split("/")):
            for candidate in (part, _NUMBER.sub("", part)):
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
