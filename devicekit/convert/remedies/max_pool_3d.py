"""MaxPool3D: LiteRT has no kernel for it. Maxima are taken over height and width, then over depth."""

from collections.abc import Sequence
from typing import Any

from devicekit.convert.remedies.emit import Emitter
from devicekit.convert.remedies.remedy import Remedy


def _max_pool_3d(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """[batch, depth, height, width, channels] pooled as [batch·depth, h, w, c], then as [b, d, h·w, c].

    Padding with -inf, as both ops do under SAME, commutes with the maximum.
    """
    import tensorflow as tf

    batch, depth, height, width, channels = inputs[0].shape
    if op.get_attr("data_format") != b"NDHWC" or None in inputs[0].shape:
        return None
    (_, size_d, size_h, size_w, _), (_, step_d, step_h, step_w, _) = (
        op.get_attr("ksize"),
        op.get_attr("strides"),
    )
    padding = op.get_attr("padding").decode()
    planes = tf.reshape(inputs[0], (batch * depth, height, width, channels))
    planes = tf.nn.max_pool2d(planes, (size_h, size_w), (step_h, step_w), padding)
    _, height, width, _ = planes.shape
    columns = tf.reshape(planes, (batch, depth, height * width, channels))
    columns = tf.nn.max_pool2d(columns, (size_d, 1), (step_d, 1), padding)
    return [tf.reshape(columns, (batch, columns.shape[1], height, width, channels))]


REMEDY = Remedy(
    name="max_pool_3d",
    does="MaxPooling3D as two 2-D poolings",
    rules={"MaxPool3D": _max_pool_3d},
)
