"""Linear algebra of small matrices: LiteRT has no kernels for it. Elimination is unrolled, column by column.

Each column costs about a dozen ops, so that larger matrices are left alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from devicekit.convert.remedies.emit import Emitter, Rule
from devicekit.convert.remedies.remedy import Remedy

MAX_SIZE = 8


def _of_small(function: Callable[..., Sequence[Any]]) -> Rule:
    """A rule for float matrices [..., n, n] with n up to MAX_SIZE: `function` takes the op and its inputs."""

    def rule(op: Any, inputs: Sequence[Any], emitter: Emitter) -> Sequence[Any] | None:
        is_static = all(value.shape.is_fully_defined() for value in inputs)
        if not is_static or inputs[0].shape[-1] > MAX_SIZE or not inputs[0].dtype.is_floating:
            return None
        return function(op, *inputs)

    return rule


def _inverse(op: Any, matrix: Any) -> list[Any]:
    unit = tf.eye(matrix.shape[-1], batch_shape=matrix.shape[:-2], dtype=matrix.dtype)
    return [_solved(_adjoint(op, matrix), unit)]


def _solve(op: Any, matrix: Any, right: Any) -> list[Any]:
    return [_solved(_adjoint(op, matrix), right)]


def _adjoint(op: Any, matrix: Any) -> Any:
    return tf.linalg.matrix_transpose(matrix) if op.get_attr("adjoint") else matrix


def _solved(matrix: Any, right: Any) -> Any:
    """Returns x of matrix·x = right by Gauss and Jordan with partial pivoting; not finite where singular."""
    size = matrix.shape[-1]
    rows = tf.concat([matrix, right], -1)
    for column in range(size):
        rows, _ = _pivoted(rows, column)
        pivot = rows[..., column : column + 1, :] / rows[..., column : column + 1, column : column + 1]
        others = rows - rows[..., column : column + 1] * pivot
        rows = tf.concat([others[..., :column, :], pivot, others[..., column + 1 :, :]], -2)
    return rows[..., size:]


def _pivoted(rows: Any, column: int) -> tuple[Any, Any]:
    """Returns the rows with a column's largest element on the diagonal, and the sign of the exchange."""
    size = rows.shape[-2]
    best = tf.argmax(tf.abs(rows[..., column:, column]), -1, tf.int32) + column
    is_best = tf.one_hot(best, size, on_value=True, off_value=False, dtype=tf.bool)
    zeros = tf.zeros_like(rows)
    chosen = tf.reduce_sum(tf.where(is_best[..., None], rows, zeros), -2, keepdims=True)
    rest = tf.where(is_best[..., None], rows[..., column : column + 1, :], rows)
    swapped = tf.concat([rest[..., :column, :], chosen, rest[..., column + 1 :, :]], -2)
    return swapped, 1 - 2 * tf.cast(tf.not_equal(best, column), rows.dtype)


def _pivots(matrix: Any) -> tuple[Any, list[Any]]:
    """Returns the sign of the row exchanges and the pivots of an elimination, with 0 where it is singular."""
    size = matrix.shape[-1]
    sign, rows = tf.ones(matrix.shape[:-2], matrix.dtype), matrix
    pivots: list[Any] = []
    for column in range(size):
        rows, exchange = _pivoted(rows, column)
        pivot = rows[..., column : column + 1, column : column + 1]
        sign, pivots = sign * exchange, [*pivots, pivot[..., 0, 0]]
        divisor = tf.where(tf.equal(pivot, 0), tf.ones_like(pivot), pivot)
        below = rows - (rows[..., column : column + 1] / divisor) * rows[..., column : column + 1, :]
        rows = tf.concat([rows[..., : column + 1, :], below[..., column + 1 :, :]], -2)
    return sign, pivots


def _determinant(op: Any, matrix: Any) -> list[Any]:
    result, pivots = _pivots(matrix)
    for pivot in pivots:
        result *= pivot
    return [result]


def _log_determinant(op: Any, matrix: Any) -> list[Any]:
    sign, pivots = _pivots(matrix)
    for pivot in pivots:
        sign *= tf.sign(pivot)
    return [sign, tf.add_n([tf.math.log(tf.abs(pivot)) for pivot in pivots])]


def _cholesky(op: Any, matrix: Any) -> list[Any]:
    size, columns, rest = matrix.shape[-1], [], matrix
    for column in range(size):
        is_below = tf.constant(np.arange(size) >= column, matrix.dtype)
        found = rest[..., column] * is_below / tf.sqrt(rest[..., column, column, None])
        columns.append(found)
        rest -= found[..., :, None] * found[..., None, :]
    return [tf.stack(columns, -1)]


def _triangular_solve(op: Any, matrix: Any, right: Any) -> list[Any]:
    is_lower = op.get_attr("lower") != op.get_attr("adjoint")
    matrix = _adjoint(op, matrix)
    size = matrix.shape[-1]
    solved: dict[int, Any] = {}
    for row in range(size) if is_lower else reversed(range(size)):
        rest = right[..., row, :]
        for column, known in solved.items():
            rest -= matrix[..., row, column, None] * known
        solved[row] = rest / matrix[..., row, row, None]
    return [tf.stack([solved[row] for row in range(size)], -2)]


def _cross(op: Any, left: Any, right: Any) -> list[Any]:
    def turned(values: Any, first: int) -> Any:
        return tf.gather(values, [first, (first + 1) % 3, (first + 2) % 3], axis=-1)

    return [turned(left, 1) * turned(right, 2) - turned(left, 2) * turned(right, 1)]


REMEDY = Remedy(
    name="small_matrices",
    does=f"linear algebra of matrices up to {MAX_SIZE}x{MAX_SIZE} by unrolled elimination",
    rules={
        "Cholesky": _of_small(_cholesky),
        "Cross": _of_small(_cross),
        "LogMatrixDeterminant": _of_small(_log_determinant),
        "MatrixDeterminant": _of_small(_determinant),
        "MatrixInverse": _of_small(_inverse),
        "MatrixSolve": _of_small(_solve),
        "MatrixTriangularSolve": _of_small(_triangular_solve),
    },
)
