"""Random* layers (augmentation) that a Keras 2 model calls with training=True: called for inference instead.

Everywhere else the model is traced for inference, where these layers do nothing. The given model is random
here, so the difference that is reported is what its augmentation does, and there is no bound on it; the
.tflite is compared with the model at inference. A SavedModel holds no layers to call otherwise: there the
random ops stay, and are reported.
"""

from collections.abc import Callable
from typing import Any

from devicekit.convert.remedies.remedy import OwnCall, Remedy


def _at_inference(layer: Any, own: OwnCall) -> Callable[..., Any] | None:
    kind = type(layer)
    if not kind.__name__.startswith("Random") or not kind.__module__.startswith(("keras.", "tf_keras.")):
        return None

    def call(inputs: Any, training: Any = None) -> Any:
        return own.call(inputs, training=False) if training else own(inputs, training=False)

    return call


REMEDY = Remedy(
    name="random_layers",
    does="augmentation (Random* layers) called for inference, where it does nothing",
    layer_call=_at_inference,
    max_difference=float("inf"),
)
