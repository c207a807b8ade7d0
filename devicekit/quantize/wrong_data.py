"""Wrong data: what no sound model gives on data that it was trained for. Said before any number is.

Found in the outputs of the float model: the candidates would be compared with nonsense.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devicekit.graph.told import Told
from devicekit.quantize.change import CONFIDENCE, of_hits
from devicekit.quantize.samples import Data
from devicekit.quantize.scores import Scores, hits
from devicekit.quantize.statistics import scaled_apart

Outputs = Mapping[str, NDArray[Any]]
# Runs the float model on other evaluation inputs: outputs of as many samples as time allows.
Run = Callable[[Mapping[str, NDArray[Any]]], Outputs]

# Data at chance: the accuracy may be that of guessing, and is at most this far on the way from there to 1.
BEYOND_CHANCE = 0.25
# Fewer samples that give the same outputs may do so by chance.
MIN_SAMPLES = 4
# Float sums of the same numbers in another order differ by so much.
SAME = 1e-6
# Values so many times the range that a model tells are not in its unit.
BEYOND = 16.0
_UNIT = 1.001  # the end of 0..1, as float32 sums reach it
_BYTE = 255.0


def doubts(
    data: Data, reference: Outputs, scores: Scores, told: Mapping[str, Told], run: Run
) -> Iterator[str]:
    """Yields in words why the data is not what the float model was trained for; nothing of random inputs."""
    if data.is_random:
        return
    yield from _at_chance(data, reference, scores)
    yield from _constant(reference)
    yield from _scaled_apart(data)
    yield from _far_beyond(data, told)
    yield from _better_otherwise(data, reference, scores, told, run)


def as_told(data: Data, told: Mapping[str, Told]) -> Data | None:
    """Returns the data in the range that the model itself tells, where it was prepared for 0..1 or -1..1.

    None where no input was.
    """
    changed = {}
    for name in data.strays:
        if not (told[name].is_exact and told[name].high[0] >= _BYTE):
            continue
        sets = (data.calibration[name], data.evaluation[name])
        low, high = (float(end(one.min() if end is min else one.max() for one in sets)) for end in (min, max))
        if low >= -_UNIT and high <= _UNIT and high > 0:
            changed[name] = -1.0 if low < 0 else 0.0
    if not changed:
        return None

    def taken(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {
            name: _from_unit(values, changed[name], told[name]) if name in changed else values
            for name, values in arrays.items()
        }

    calibration = taken(data.calibration)
    evaluation = calibration if data.evaluation is data.calibration else taken(data.evaluation)
    words = [
        f"{name}: {data.strays[name]}: taken as that, stretched from {low:g}..1"
        for name, low in changed.items()
    ]
    others = {name: text for name, text in data.strays.items() if name not in changed}
    return replace(
        data,
        calibration=calibration,
        evaluation=evaluation,
        strays=others,
        warnings=(*data.warnings, *words),
    )


def _from_unit(values: NDArray[Any], low: float, told: Told) -> NDArray[Any]:
    """Returns values of low..1 stretched over the told range; around 0 where that is (sound)."""
    if told.low[0] < 0:
        return (values * told.high[0]).astype(values.dtype)
    span = told.high[0] - told.low[0]
    stretched: NDArray[Any] = ((values - low) / (1 - low) * span + told.low[0]).astype(values.dtype)
    return stretched


def _at_chance(data: Data, reference: Outputs, scores: Scores) -> Iterator[str]:
    """Labels are hit no more often than by guessing, and there are enough of them to tell."""
    from scipy.stats import binomtest

    hit = hits(reference, scores)
    if hit is None or scores.labelled is None:
        return
    classes = max(2, reference[scores.labelled][0].size)
    chance = 1 / classes
    test = binomtest(int(hit.sum()), len(hit), chance)
    interval = test.proportion_ci(CONFIDENCE, method="exact")
    if interval.low <= chance and interval.high <= chance + BEYOND_CHANCE * (1 - chance):
        yield (
            f"the float model hits {hit.mean():.1%} of {len(hit)} labels, as guessing among {classes} "
            f"classes would ({chance:.1%})"
        )


def _constant(reference: Outputs) -> Iterator[str]:
    floats = {name: values for name, values in reference.items() if values.dtype.kind == "f"}
    if not floats or any(len(values) < MIN_SAMPLES for values in floats.values()):
        return
    if all(_is_constant(values) for values in floats.values()):
        count = len(next(iter(floats.values())))
        yield f"the float model gives the same outputs for all {count} samples: {', '.join(floats)}"


def _is_constant(values: NDArray[Any]) -> bool:
    difference = np.abs(values.astype(np.float64) - values[:1]).max(initial=0.0)
    return bool(difference <= SAME * np.abs(values).max(initial=0.0))


def _scaled_apart(data: Data) -> Iterator[str]:
    for name, values in data.calibration.items():
        if words := scaled_apart(name, values, data.evaluation[name]):
            yield words


def _far_beyond(data: Data, told: Mapping[str, Told]) -> Iterator[str]:
    """Values are many times what the model itself tells: bytes where it takes 0..1."""
    for name, words in data.strays.items():
        ends = np.abs([*told[name].low, *told[name].high]).max()
        if float(np.abs(data.evaluation[name]).max()) > BEYOND * ends:
            yield f"{name}: {words}"


def _better_otherwise(
    data: Data, reference: Outputs, scores: Scores, told: Mapping[str, Told], run: Run
) -> Iterator[str]:
    """The float model hits more labels, by more than chance, with the inputs scaled as images often are."""
    given = hits(reference, scores)
    if given is None or len(data.evaluation) != 1:
        return
    [(name, values)] = data.evaluation.items()
    if values.dtype.kind != "f" or name in told:
        return
    low, high = float(values.min()), float(values.max())
    if low >= 0 and 2 < high <= _BYTE:
        ways = {"/ 255": values / _BYTE, "/ 127.5 - 1": values / (_BYTE / 2) - 1}
    elif low >= -_UNIT and high <= _UNIT:
        ways = {"* 255": (values if low >= 0 else (values + 1) / 2) * _BYTE}
    else:
        return
    for way, other in ways.items():
        outputs = run({name: other.astype(values.dtype)})
        count = len(next(iter(outputs.values())))
        found = hits(outputs, scores.first(count))
        assert found is not None
        change = of_hits(given[:count], found)
        if change.low is not None and change.low > 0:
            yield (
                f"the float model hits {given[:count].mean():.1%} of {count} labels with {name} as given, "
                f"and {found.mean():.1%} with {name} {way}: it is not scaled as for training"
            )
            return
