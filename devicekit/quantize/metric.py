"""Metric: the user's own score of a model, from --eval file.py:function."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devicekit.errors import UsageError
from devicekit.quantize.predictor import Predictor, stacked
from devicekit.quantize.sources import call_user, load_function

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Score:
    """`value` is the metric; `samples` (float [N]) are what it is the mean of, None for a single number."""

    value: float
    samples: NDArray[Any] | None = None


Metric = Callable[[Predictor], Score]


def load_metric(spec: str, inputs: tuple[str, ...]) -> Metric:
    """Returns what scores a model with the input names `inputs` by the function that `spec` names.

    Runs the user's file: call this in a child process. Raises UsageError, and so does the metric, where the
    function raises or gives no finite number.
    """
    function, name = load_function(spec), Path(spec).name

    def score(predictor: Predictor) -> Score:
        def predict(arrays: Arrays) -> Arrays:
            count = len(next(iter(arrays.values())))
            one_by_one = [{key: values[i : i + 1] for key, values in arrays.items()} for i in range(count)]
            return stacked([predictor.predict(row) for row in one_by_one])

        predictor.begin_anew()
        value = call_user(name, lambda: function(predict_function(predict, inputs)))
        return _score(name, value)

    return score


def _score(name: str, value: Any) -> Score:
    """Returns what the function gave: a number, or one for each sample [N], whose mean is the metric."""
    try:
        samples = np.asarray(value, np.float64)
        number = float(samples.mean()) if samples.ndim == 1 and samples.size else float(value)
    except (TypeError, ValueError) as error:
        raise _no_number(name, type(value).__name__) from error
    if not math.isfinite(number):
        raise _no_number(name, str(number))
    return Score(number, samples if samples.ndim == 1 and samples.size > 1 else None)


def predict_function(
    predict: Callable[[Arrays], Arrays], inputs: tuple[str, ...]
) -> Callable[[NDArray[Any] | Arrays], NDArray[Any] | Arrays]:
    """Returns what `--eval` functions are given: predict(inputs) -> outputs for [N, ...] arrays.

    A model with one input takes the bare array as well; a model with one output returns the bare array.
    """

    def run(samples: NDArray[Any] | Arrays) -> NDArray[Any] | Arrays:
        named = samples if isinstance(samples, Mapping) else {inputs[0]: samples}
        arrays = {name: np.asarray(named[name]) for name in inputs}
        outputs = predict(arrays)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    return run


def _no_number(name: str, found: str) -> UsageError:
    return UsageError(
        f"{name}: returned {found}, expected a finite number",
        remedy=f"return one finite float from {name}, or one for each sample [N]",
    )
