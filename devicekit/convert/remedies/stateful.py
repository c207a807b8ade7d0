"""Stateful RNNs: each inference starts from zeros, as the converter takes no variables that a layer writes.

The given model goes on from its last call, so the difference that is reported is what its state does, and
there is no bound on it; the .tflite is compared with the model as it starts.
"""

from collections.abc import Callable
from typing import Any

from devicekit.convert.remedies.remedy import OwnCall, Remedy


def _from_zeros(layer: Any, own: OwnCall) -> Callable[..., Any] | None:
    if not getattr(layer, "stateful", False) or not hasattr(layer, "cell"):
        return None

    def call(*arguments: Any, **named: Any) -> Any:
        layer.stateful = False
        try:
            return own.call(*arguments, **named)
        finally:
            layer.stateful = True

    return call


REMEDY = Remedy(
    name="stateful",
    does="stateful RNNs start from zeros in every inference: their state is not kept",
    layer_call=_from_zeros,
    max_difference=float("inf"),
)
