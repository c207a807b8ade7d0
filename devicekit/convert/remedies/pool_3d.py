"""MaxPool3D and AvgPool3D: LiteRT has no kernel for them. Pooled over height and width, then over depth."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter
from devicekit.convert.remedies.remedy import Remedy


def _pooled(pool: str, op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    """[batch, depth, height, width, channels] pooled as [batch·depth, h, w, c], then as [b, d, h·w, c].

    Exact under SAME too: padding never is the maximum, and does not count in an average; how many planes
    count is the same for every pixel of a window.
    """
    if op.get_attr("data_format") != b"NDHWC" or not inputs[0].shape.is_fully_defined():
        return None
    pool_2d: Callable[..., Any] = getattr(tf.nn, pool)
    batch, depth, height, width, channels = inputs[0].shape
    _, size_d, size_h, size_w, _ = op.get_attr("ksize")
    _, step_d, step_h, step_w, _ = op.get_attr("strides")
    padding = op.get_attr("padding").decode()
    planes = tf.reshape(inputs[0], (batch * depth, height, width, channels))
    planes = pool_2d(planes, (size_h, size_w), (step_h, step_w), padding)
    _, height, width, _ = planes.shape
    columns = tf.reshape(planes, (batch, depth, height * width, channels))
    columns = pool_2d(columns, (size_d, 1), (step_d, 1), padding)
    return [tf.reshape(columns, (batch, columns.shape[1], height, width, channels))]


REMEDY = Remedy(
    name="pool_3d",
    does="3-D pooling as two 2-D poolings",
    rules={"AvgPool3D": partial(_pooled, "avg_pool2d"), "MaxPool3D": partial(_pooled, "max_pool2d")},
)
