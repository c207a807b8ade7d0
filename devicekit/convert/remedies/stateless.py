"""--stateless: stateful RNNs (`stateful=True`) start from zeros in every inference.

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
    name="stateless",
    does="stateful RNNs start from zeros in every inference: their state is not kept (--stateless)",
    layer_call=_from_zeros,
    max_difference=float("inf"),
    is_automatic=False,
)
