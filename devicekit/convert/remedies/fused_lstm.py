"""LSTM layers of Keras 3: the same weights in Keras 2's layer, which the converter fuses into one op.

Keras 3's own becomes a loop (WHILE) of many ops, which nothing can quantize statically. Both layers keep
their weights in the same order (gates i, f, c, o), so they are equal (difference 0 in November 2026).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.remedy import OwnCall, Remedy

# What the fused kernel computes: other settings stay a loop.
_FUSED = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "recurrent_dropout": 0.0,
    "unroll": False,
    "use_bias": True,
}
_KEPT = ("units", "return_sequences", "return_state", "go_backwards")


def _fused(layer: Any, own: OwnCall) -> Callable[..., Any] | None:
    if type(layer).__name__ != "LSTM" or not type(layer).__module__.startswith("keras.") or not layer.built:
        return None
    config = layer.get_config()
    if any(config[name] != value for name, value in _FUSED.items()):
        return None
    import tf_keras

    kernel, recurrent, bias = (weight.numpy().astype("float32") for weight in layer.weights)
    twin = tf_keras.layers.LSTM(**{name: config[name] for name in _KEPT}, name=layer.name, dtype="float32")
    twin.build((1, None, kernel.shape[0]))
    twin.set_weights([kernel, recurrent, bias])

    def call(sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        # The fused op starts from zeros, and knows no masks.
        if initial_state is not None or mask is not None:
            return own(sequences, initial_state=initial_state, mask=mask, training=training)
        outputs = twin(tf.cast(sequences, tf.float32))
        return tf.nest.map_structure(lambda output: tf.cast(output, sequences.dtype), outputs)

    return call


REMEDY = Remedy(
    name="fused_lstm",
    does="LSTM of Keras 3 as LiteRT's fused LSTM, which can be quantized statically",
    layer_call=_fused,
)
