"""Colour adjustments of images: LiteRT has no kernels for HSV; the formulas are made of builtin ops."""

from typing import Any

import tensorflow as tf

from devicekit.convert.remedies.emit import of_floats
from devicekit.convert.remedies.remedy import Remedy


def _to_hsv(image: Any) -> Any:
    """[..., RGB] -> [..., hue in turns, saturation, value]; the hue of grey is 0 (Smith, SIGGRAPH 1978)."""
    hue, spread, value = _parts(image)
    is_lit = value > 0
    saturation = tf.where(is_lit, spread / tf.where(is_lit, value, tf.ones_like(value)), tf.zeros_like(value))
    return tf.concat([hue, saturation, value], -1)


def _parts(image: Any) -> tuple[Any, Any, Any]:
    """Returns the hue, what the largest channel is above the smallest, and the largest."""
    red, green, blue = tf.split(image, 3, -1)
    value = tf.reduce_max(image, -1, keepdims=True)
    spread = value - tf.reduce_min(image, -1, keepdims=True)
    is_grey = spread <= 0
    step = 1 / (6 * tf.where(is_grey, tf.ones_like(spread), spread))
    hue = tf.where(
        tf.equal(red, value),
        (green - blue) * step,
        tf.where(tf.equal(green, value), (blue - red) * step + 2 / 6, (red - green) * step + 4 / 6),
    )
    hue = tf.where(is_grey, tf.zeros_like(hue), hue)
    return tf.where(hue < 0, hue + 1, hue), spread, value


def _to_rgb(image: Any) -> Any:
    hue, saturation, value = tf.split(image, 3, -1)
    return (1 - saturation + saturation * _pure(hue)) * value


def _pure(hue: Any) -> Any:
    """[..., 1] -> [..., RGB]: each is 1 within a sixth of a turn of its own hue, and 0 past a third."""
    turned = 6 * hue
    channels = [tf.abs(turned - 3) - 1, 2 - tf.abs(turned - 2), 2 - tf.abs(turned - 4)]
    return tf.clip_by_value(tf.concat(channels, -1), 0, 1)


def _hue(image: Any, delta: Any) -> Any:
    hue, spread, value = _parts(image)
    hue = hue + delta
    return value - spread + spread * _pure(hue - tf.floor(hue))


def _saturation(image: Any, scale: Any) -> Any:
    hue, saturation, value = tf.split(_to_hsv(image), 3, -1)
    return _to_rgb(tf.concat([hue, tf.clip_by_value(saturation * scale, 0, 1), value], -1))


def _contrast(image: Any, factor: Any) -> Any:
    mean = tf.reduce_mean(image, [-3, -2], keepdims=True)
    return (image - mean) * factor + mean


REMEDY = Remedy(
    name="colours",
    does="hue, saturation and contrast of images by their formulas",
    rules={
        "AdjustContrastv2": of_floats(_contrast),
        "AdjustHue": of_floats(_hue),
        "AdjustSaturation": of_floats(_saturation),
        "HSVToRGB": of_floats(_to_rgb),
        "RGBToHSV": of_floats(_to_hsv),
    },
)
