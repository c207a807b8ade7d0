"""Cases for probe.py: elementwise functions, counts, linear algebra and what only moves elements."""

import keras
import numpy as np
import tensorflow as tf

VALUES = (1, 64)
INTEGERS = tf.TensorSpec((1, 6), tf.int32)
erf, ROOT = tf.math.erf, np.float32(np.sqrt(2))
EXTREMES = np.array([0, 1, -1, 2**31 - 1, -(2**31), 0x12345678, -0x12345678, 0x7FFF0000], np.int32)


def counts(**options):
    options = {"minlength": 8, "maxlength": 8, "axis": -1, **options}
    return (lambda x: tf.math.bincount(x, **options), INTEGERS)


def with_extremes(function):
    """A case of int32 whose sums overflow: each of EXTREMES with each."""
    return (lambda x: function(x[:, :1] * 0 + EXTREMES[:, None], x[:, :1] * 0 + EXTREMES), INTEGERS)


def on_edges(bins):
    """A histogram of numbers beside the edges of its bins, and on them, by the last bit of float32."""
    edges = (np.arange(bins) / np.float32(bins)).astype(np.float32)
    values = np.concatenate([edges, np.nextafter(edges, np.float32(2)), np.nextafter(edges, np.float32(-1))])
    return lambda x: tf.histogram_fixed_width(tf.concat([x, 0 * x[:, :1] + values], 1), [0.0, 1.0], bins)


def patches(size, stride, rate, padding):
    sizes = [[1, *one, 1] for one in (size, stride, rate)]
    return lambda x: tf.image.extract_patches(x, *sizes, padding)


def positive(x):
    return tf.matmul(x, x, transpose_a=True) + tf.eye(x.shape[-1])


def triangular(*, lower, adjoint):
    return (
        lambda x, y: tf.linalg.triangular_solve(x + 500 * tf.eye(4), y, lower=lower, adjoint=adjoint),
        (1, 4, 4),
        (1, 4, 2),
    )


CASES = {
    **{
        name: (getattr(tf.math, name), VALUES)
        for name in ("tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")
    },
    **{name: (getattr(tf.math, name), VALUES) for name in ("erf", "erfc", "erfinv", "ndtri", "digamma")},
    "keras erfinv": (keras.ops.erfinv, VALUES),
    "borders": (
        lambda x: (tf.math.erfinv(tf.round(x)), tf.math.atanh(tf.round(x)), tf.math.asin(tf.round(x))),
        VALUES,
    ),
    "gelu": (tf.nn.gelu, VALUES),
    "gelu of keras": (lambda x: keras.ops.gelu(x, approximate=False), VALUES),
    "gelu by hand": (lambda x: 0.5 * x * (1 + erf(x / ROOT)), VALUES),
    "gelu of bert": (lambda x: x * (0.5 * (1 + erf(x / ROOT))), VALUES),
    "gelu halved last": (lambda x: x * (1 + erf(x / ROOT)) / 2, VALUES),
    "gelu the other way": (lambda x: (erf(x / ROOT) + 1) * (x * 0.5), VALUES),
    "gelu of another": (lambda x: x * (0.5 * (1 + erf((x + 1) / ROOT))), VALUES),
    "cumprod": (lambda x: tf.math.cumprod(x, 1), (2, 7, 3)),
    "cumprod exclusive": (lambda x: tf.math.cumprod(x, 1, exclusive=True), (2, 7, 3)),
    "cumprod reverse": (lambda x: tf.math.cumprod(x, -1, exclusive=True, reverse=True), (2, 7, 3)),
    "cumprod of one": (lambda x: tf.math.cumprod(x, 1, exclusive=True), (2, 1)),
    "bincount": counts(),
    "bincount binary": counts(binary_output=True),
    "bincount few": counts(minlength=3, maxlength=3),
    "bincount weights": (
        lambda x, w: tf.math.bincount(x, weights=w, minlength=8, maxlength=8, axis=-1),
        INTEGERS,
        (1, 6),
    ),
    "bincount of unknown size": counts(minlength=None, maxlength=None),
    "multi_hot": (keras.layers.CategoryEncoding(12, output_mode="multi_hot"), INTEGERS),
    "count": (keras.layers.CategoryEncoding(12, output_mode="count"), INTEGERS),
    "histogram": (lambda x: tf.histogram_fixed_width(x, [0.0, 1.0], 5), VALUES),
    **{f"histogram of {bins} bins": (on_edges(bins), (1, bins)) for bins in (10, 85, 255)},
    "discretization": (keras.layers.Discretization([0.0, 1.0], output_mode="multi_hot"), VALUES),
    "diag": (lambda x: tf.linalg.diag(x, k=(-1, 0), padding_value=7.0), (1, 2, 3)),
    "diag_part": (lambda x: tf.linalg.diag_part(x, k=(-1, 1), padding_value=3.0), (2, 4, 5)),
    "trace": (tf.linalg.trace, (1, 4, 4)),
    "diagonal": (lambda x: keras.ops.diagonal(x, axis1=1, axis2=2), (1, 4, 4)),
    "tensor_diag": (lambda x: tf.linalg.tensor_diag(x[0]), (1, 4)),
    "patches": (patches((3, 2), (1, 2), (2, 1), "SAME"), (2, 7, 8, 3)),
    "patches side by side": (patches((2, 2), (2, 2), (1, 1), "VALID"), (1, 6, 8, 3)),
    "volumes": (
        lambda x: tf.extract_volume_patches(x, [1, 2, 2, 2, 1], [1, 2, 1, 2, 1], "SAME"),
        (1, 5, 4, 4, 2),
    ),
    **{f"inverse of {n}": (tf.linalg.inv, (2, n, n)) for n in (1, 2, 5, 8, 9)},
    **{f"determinant of {n}": (tf.linalg.det, (2, n, n)) for n in (1, 2, 5, 8)},
    "determinant of singular": (lambda x: tf.linalg.det(tf.stack([x, x], 1)), (1, 2)),
    "pivots": (lambda x: tf.linalg.inv(tf.eye(3)[::-1] + tf.eye(3)[1] * x[:, :1]), (1, 3)),
    "slogdet": (tf.linalg.slogdet, (2, 4, 4)),
    "solve": (lambda a, b: tf.linalg.solve(a, b, adjoint=True), (2, 4, 4), (2, 4, 3)),
    "cholesky": (lambda x: tf.linalg.cholesky(positive(x)), (2, 4, 4)),
    "logdet": (lambda x: tf.linalg.logdet(positive(x)), (2, 4, 4)),
    "lstsq": (lambda x, y: tf.linalg.lstsq(x, y, l2_regularizer=0.1), (1, 5, 3), (1, 5, 1)),
    **{
        f"triangular {lower} {adjoint}": triangular(lower=lower, adjoint=adjoint)
        for lower in (False, True)
        for adjoint in (False, True)
    },
    "cross": (keras.ops.cross, (1, 3), (1, 3)),
    "searchsorted": (lambda x: tf.searchsorted(tf.constant([[0.0, 1.0, 2.0]]), tf.round(x)), VALUES),
    "searchsorted right": (
        lambda x: tf.searchsorted(tf.constant([[0.0, 1.0, 2.0]]), tf.round(x), side="right"),
        VALUES,
    ),
    "in_top_k": (lambda x: keras.ops.in_top_k(keras.ops.convert_to_tensor([2]), x, 2), (1, 6)),
    **{
        f"segment_{name}": (
            lambda x, name=name: getattr(tf.math, f"segment_{name}")(x, tf.constant([0, 0, 2, 2, 3, 3])),
            (6, 3),
        )
        for name in ("mean", "max", "min", "prod")
    },
    "contrast": (lambda x: tf.image.adjust_contrast(x, 2.0), (1, 6, 6, 3)),
    "hue": (lambda x: tf.image.adjust_hue(x, -0.3), (1, 6, 6, 3)),
    "saturation": (lambda x: tf.image.adjust_saturation(x, 2.0), (1, 6, 6, 3)),
    "rgb_to_hsv": (keras.ops.image.rgb_to_hsv, (1, 6, 6, 3)),
    "hsv_to_rgb": (tf.image.hsv_to_rgb, (1, 6, 6, 3)),
    "and": with_extremes(tf.bitwise.bitwise_and),
    "or": with_extremes(tf.bitwise.bitwise_or),
    "invert": with_extremes(lambda x, y: tf.bitwise.invert(x + 0 * y)),
    "left_shift": with_extremes(lambda x, y: tf.bitwise.left_shift(x + 0 * y, 3)),
    "signbit": (keras.ops.signbit, VALUES),
    "truncatemod": (tf.truncatemod, VALUES, VALUES),
    "truncatemod of integers": (lambda x: tf.truncatemod(x - 3, 4), INTEGERS),
    "norm": (lambda x: tf.math.reduce_euclidean_norm(x, -1), VALUES),
    "scatter_sub": (
        lambda x, u: tf.tensor_scatter_nd_sub(x[0], [[1], [1], [2]], u[0]),
        (1, 6),
        (1, 3),
    ),
}
