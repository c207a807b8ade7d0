"""Fits the latency model to measured rows, and says by cross-validation how far off it is."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devicekit.predict.roofline import MIB, MMAC, Coefficients
from devicekit.predict.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The least number of rows, and from where on quantiles of residuals stand for themselves.
LEAST_ROWS, MANY_ROWS = 3, 10

# Ratios between the coefficients by instruction set: where few rows leave them open, the fit keeps to these;
# the speed itself is free. Depthwise convolutions take 3 to 7 times as long per multiply-accumulate as
# products, and a MiB as long as 1 to 5 million of them, on Pixel 1 to 3a and Raspberry Pi 2 to 4.
PRIORS: dict[str, Coefficients] = dict.fromkeys(
    ("arm64", "arm32", "x86_64"), Coefficients(35.0, 42.0, 175.0, 105.0, 3.5)
)
_PRIOR_WEIGHT = 0.03  # of a coefficient's logarithm, against a row's
_SOFT = 0.05  # residuals beyond 5 % count less and less (soft L1)
# Where the fit starts from, as logarithms on top of the prior: depthwise or traffic dearer or cheaper.
_STARTS = ((0, 0, 0, 0, 0), (0, 0, 0, 1, 0), (0, 0, 0, -1, 0), (0, 0, 1, 0, 0), (0, 0, -1, 0, 0))
# Half widths of intervals that few rows cannot tell.
_LEAST_WITHIN, _LEAST_FAMILY_WITHIN = 0.03, 0.25


@dataclass(frozen=True)
class MeasuredRow:
    """A model's work and its measured latency."""

    model: str
    latency_ms: float
    source: str
    family: str
    work: tuple[Work, ...]
    ops: frozenset[str]


@dataclass(frozen=True)
class CrossValidation:
    """log(predicted / measured) of each row, fitted on all others, or on all other families; None where there
    is only one family. `within` is the half width that the other rows' residuals give at 80 and 90 %."""

    left_out: tuple[float, ...]
    family_left_out: tuple[float | None, ...]
    covered_80: float
    covered_90: float

    def mean_error(self) -> float:
        """Returns the mean absolute error, as a part of the measured latency."""
        return _mean(abs(math.exp(r) - 1) for r in self.left_out)

    def family_error(self) -> float | None:
        known = [r for r in self.family_left_out if r is not None]
        return _mean(abs(math.exp(r) - 1) for r in known) if known else None

    def hit_rate(self, tolerance: float) -> float:
        """Returns the part of the rows that are predicted within ± `tolerance`."""
        return _mean(float(abs(math.exp(r) - 1) <= tolerance) for r in self.left_out)


def fit(rows: Sequence[MeasuredRow], prior: Coefficients) -> Coefficients:
    """Returns the coefficients that fit the logarithms of the rows' latencies best, with soft-L1 loss."""
    import numpy as np
    from scipy.optimize import least_squares

    table = np.concatenate([_table(row.work) for row in rows])
    begins = np.cumsum([0, *(len(row.work) for row in rows)])[:-1]
    measured = np.log([row.latency_ms * 1000 for row in rows])
    expected = np.log(prior.values())

    def residuals(logs: "NDArray[Any]") -> "NDArray[Any]":
        found = np.log(np.add.reduceat(_times_us(table, logs), begins))
        ratios = logs - expected
        return np.concatenate([found - measured, _PRIOR_WEIGHT * (ratios - ratios[:3].mean())])

    def started(shift: "NDArray[Any]") -> Any:
        logs = expected + shift
        level = measured - np.log(np.add.reduceat(_times_us(table, logs), begins))
        return least_squares(residuals, logs + np.median(level), loss="soft_l1", f_scale=_SOFT)

    # What bounds an operator, arithmetic or traffic, changes along the way: the best of several starts.
    solution = min((started(np.array(shift)) for shift in _STARTS), key=lambda found: float(found.cost))
    return Coefficients(*(float(value) for value in np.exp(solution.x)))


def cross_validate(rows: Sequence[MeasuredRow], prior: Coefficients) -> CrossValidation:
    """Returns the residuals of every row by fits that have not seen it, and how often intervals hold."""
    left_out = _residuals(rows, prior, key=lambda row: row.model)
    families = {row.family for row in rows}
    by_family: Sequence[float | None] = [None] * len(rows)
    if len(families) > 1:
        by_family = _residuals(rows, prior, key=lambda row: row.family)
    covered = [
        _mean(
            float(abs(r) <= within([*left_out[:i], *left_out[i + 1 :]], level))
            for i, r in enumerate(left_out)
        )
        for level in (0.8, 0.9)
    ]
    return CrossValidation(tuple(left_out), tuple(by_family), *covered)


def within(residuals: Sequence[float], level: float) -> float:
    """Returns the half width that holds `level` of |residuals|, with the margin that their number asks for.

    The quantile is the conformal one, of the (n + 1) · level-th smallest; where there are too few residuals
    for it, the largest one stands in, widened by half.
    """
    sizes = sorted(abs(residual) for residual in residuals)
    place = math.ceil((len(sizes) + 1) * level)
    if not sizes:
        return _LEAST_FAMILY_WITHIN
    found = sizes[place - 1] if place <= len(sizes) else 1.5 * sizes[-1]
    return max(found, _LEAST_WITHIN)


def family_within(validation: CrossValidation, level: float) -> float:
    """Returns the half width for a model unlike the rows."""
    known = [r for r in validation.family_left_out if r is not None]
    own = within(validation.left_out, level)
    return max(within(known, level), own) if known else max(_LEAST_FAMILY_WITHIN, 2 * own)


def _residuals(
    rows: Sequence[MeasuredRow], prior: Coefficients, *, key: Callable[[MeasuredRow], str]
) -> list[float]:
    """Returns log(predicted / measured) of each row by the fit on the rows with another key."""
    import numpy as np

    found: dict[str, Coefficients] = {}
    for name in dict.fromkeys(key(row) for row in rows):
        others = [row for row in rows if key(row) != name]
        found[name] = fit(others, prior) if others else prior
    return [
        math.log(_latency_us(_table(row.work), np.log(found[key(row)].values())) / (row.latency_ms * 1000))
        for row in rows
    ]


def log_gradient(works: Iterable[Work], coefficients: Coefficients) -> "NDArray[Any]":
    """Returns float64 [5]: how the logarithm of the latency moves with that of each coefficient."""
    import numpy as np

    table, logs = _table(works), np.log(coefficients.values())
    step = 1e-4
    base = math.log(_latency_us(table, logs))
    return np.array(
        [(math.log(_latency_us(table, logs + step * e)) - base) / step for e in np.eye(len(logs))]
    )


# Weight of what is known before the first measurement, as of that many rows.
_KNOWN_BEFORE = 0.01


def most_telling(gradients: "Sequence[NDArray[Any]]", count: int) -> list[int]:
    """Returns the numbers of the `count` models that tell most about the coefficients, by D-optimality.

    The next one is that which adds most to the logarithm of the information's determinant.
    """
    import numpy as np

    information = _KNOWN_BEFORE * np.eye(len(gradients[0]))
    picked: list[int] = []
    for _ in range(min(count, len(gradients))):
        gains = [
            -math.inf if i in picked else float(np.linalg.slogdet(information + np.outer(g, g))[1])
            for i, g in enumerate(gradients)
        ]
        picked.append(int(np.argmax(gains)))
        information = information + np.outer(gradients[picked[-1]], gradients[picked[-1]])
    return picked


_KIND_NUMBERS = {"product": 0, "conv": 1, "depthwise": 2, "other": -1}


def _table(works: Iterable[Work]) -> "NDArray[Any]":
    """Returns float64 [n, 4]: kind, MMACs, MiB, operators."""
    import numpy as np

    rows = [(_KIND_NUMBERS[w.kind], w.macs / MMAC, w.bytes / MIB, w.count) for w in works]
    return np.array(rows, dtype="float64").reshape(-1, 4)


def _latency_us(table: "NDArray[Any]", logs: "NDArray[Any]") -> float:
    return float(_times_us(table, logs).sum()) or 1e-9


def _times_us(table: "NDArray[Any]", logs: "NDArray[Any]") -> "NDArray[Any]":
    """Returns float64 [n]: the time of each bin of operators, by the logarithms of the five coefficients."""
    import numpy as np

    values = np.exp(logs)
    kinds = table[:, 0].astype(int)
    arithmetic = np.where(kinds >= 0, table[:, 1] * values[np.maximum(kinds, 0)], 0.0)
    times: NDArray[Any] = np.maximum(arithmetic, table[:, 2] * values[3]) + table[:, 3] * values[4]
    return times


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan
