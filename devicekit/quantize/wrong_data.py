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
from devicekit.quantize.channels import are_probabilities
from devicekit.quantize.samples import Data
from devicekit.quantize.scores import Scores, hits
from devicekit.quantize.statistics import scaled_apart

Outputs = Mapping[str, NDArray[Any]]
# Runs the float model on other evaluation inputs: outputs of as many samples as time allows, {} where it
# takes no such values.
Run = Callable[[Mapping[str, NDArray[Any]]], Outputs]

# At chance: the accuracy is at most so far above that of guessing, as a factor and on the way from there to
# 1, whichever is less. Of 2 classes 62.5 %, of 10 classes 30 %, of 100 classes 7.5 %.
BEYOND_CHANCE = 0.25
TIMES_CHANCE, MORE_THAN_CHANCE = 2.5, 0.05
# The interval of the accuracy begins no higher than this factor above that of guessing.
NEAR_CHANCE = 1.5
SURE = 0.05  # what chance alone gives less often is no chance
# Fewer samples that give the same outputs may do so by chance.
MIN_SAMPLES = 4
# Float sums of the same numbers in another order differ by so much.
SAME = 1e-6
# Values so many times the range that a model tells are not in its unit.
BEYOND = 16.0
# How far 0..1 and -1..1 may be overshot: bicubic resizing does. What reaches below -0.5 was meant for -1..1.
_OVERSHOT = 0.1
_BELOW = -0.5
_BYTE = 255.0


def doubts(
    data: Data, reference: Outputs, scores: Scores, told: Mapping[str, Told], run: Run
) -> Iterator[str]:
    """Yields in words why the data is not what the float model was trained for; nothing of random inputs."""
    if data.is_random:
        return
    labels = _Labels(reference, scores)
    yield from _at_chance(labels)
    if not labels.are_hit:
        yield from _constant(reference)
        yield from _far_beyond(data, told)
    yield from _scaled_apart(data)
    yield from _better_otherwise(data, labels, told, run)


class _Labels:
    """The labels and what of them the float model hits; `classes` is 0 where its output may be no scores.

    It is surely scores where it sums to 1, is one number within 0..1, or where every class is among the
    labels: an embedding, a forecast and an autoencoder are none.
    """

    def __init__(self, reference: Outputs, scores: Scores) -> None:
        self.scores = scores
        self.hit = hits(reference, scores)
        self.values = None if scores.labelled is None else reference[scores.labelled]
        self.classes = 0
        if self.hit is not None and self.values is not None and scores.labels is not None:
            self.classes = max(2, self.values[0].size)
            is_one = self.values[0].size == 1
            has_all = len(np.unique(scores.labels)) == self.classes
            if not (is_one or has_all or are_probabilities(self.values)):
                self.classes = 0

    @property
    def are_hit(self) -> bool:
        """Returns whether the float model hits more than always giving one class would, beyond chance."""
        return self.hit is not None and (
            bool(self.hit.all()) or _beats_one_class(self.hit, self.scores.labels)
        )


def unused_labels(reference: Outputs, scores: Scores) -> str | None:
    """Returns in words why labels are not used: the output that they fit may be no scores of classes."""
    labels = _Labels(reference, scores)
    if labels.hit is None or labels.classes or labels.are_hit:
        return None
    share = f"{labels.hit.mean():.1%}"
    return f"labels unused: they hit {share} of {scores.labelled}, which may be no scores of classes"


def _beats_one_class(hit: NDArray[Any], labels: NDArray[Any] | None) -> bool:
    from scipy.stats import binomtest

    assert labels is not None
    share = float(np.unique(labels, return_counts=True)[1].max()) / len(labels)
    return share < 1 and bool(binomtest(int(hit.sum()), len(hit), share, "greater").pvalue < SURE)


def as_told(data: Data, told: Mapping[str, Told]) -> Data | None:
    """Returns the data in the range that the model itself tells, where it was prepared for 0..1 or -1..1.

    None where no input was.
    """
    changed = {}
    for name in data.strays:
        if not (told[name].is_exact and told[name].high[0] >= _BYTE):
            continue
        sets = (data.calibration[name], data.evaluation[name])
        low, high = min(float(one.min()) for one in sets), max(float(one.max()) for one in sets)
        if low >= -1 - _OVERSHOT and 0 < high <= 1 + _OVERSHOT:
            changed[name] = -1.0 if low < _BELOW else 0.0
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
        f"{name}: {data.strays[name]}: taken as that, stretched from {low:g}..1; --accept-data takes it as is"
        for name, low in changed.items()
    ]
    others = {name: text for name, text in data.strays.items() if name not in changed}
    return replace(
        data,
        calibration=calibration,
        evaluation=evaluation,
        strays=others,
        warnings=(*data.warnings, *words),
        is_stretched=True,
    )


def _from_unit(values: NDArray[Any], low: float, told: Told) -> NDArray[Any]:
    """Returns values of low..1 stretched over the told range; around 0 where that is (sound)."""
    if told.low[0] < 0:
        return (values * told.high[0]).astype(values.dtype)
    span = told.high[0] - told.low[0]
    stretched: NDArray[Any] = ((values - low) / (1 - low) * span + told.low[0]).astype(values.dtype)
    return stretched


def _at_chance(labels: _Labels) -> Iterator[str]:
    """Labels are hit no more often than by guessing, and there are enough of them to tell."""
    from scipy.stats import binomtest

    hit, classes = labels.hit, labels.classes
    if hit is None or not classes:
        return
    chance = 1 / classes
    interval = binomtest(int(hit.sum()), len(hit), chance).proportion_ci(CONFIDENCE, method="exact")
    most = min(chance + BEYOND_CHANCE * (1 - chance), TIMES_CHANCE * chance + MORE_THAN_CHANCE)
    if interval.low > NEAR_CHANCE * chance or interval.high > most or _ranks(labels):
        return
    found = f"the float model hits {hit.mean():.1%} of {len(hit)} labels"
    if interval.high < chance:
        yield f"{found}, less than guessing among {classes} classes would: they may be in another order"
    else:
        yield f"{found}, as guessing among {classes} classes would ({chance:.1%})"


def _ranks(labels: _Labels) -> bool:
    """Returns whether class 1 of two is given a higher score where it is right: only the threshold is off."""
    from scipy.stats import mannwhitneyu

    wanted = labels.scores.labels
    if labels.values is None or wanted is None or labels.classes != 2:
        return False
    scores = labels.values.reshape(len(wanted), -1)[:, -1]
    ones, zeros = scores[wanted == 1], scores[wanted == 0]
    return bool(len(ones) and len(zeros) and mannwhitneyu(ones, zeros, alternative="greater").pvalue < SURE)


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


def _better_otherwise(data: Data, labels: _Labels, told: Mapping[str, Told], run: Run) -> Iterator[str]:
    """The float model hits more labels, by more than chance, with the inputs scaled as images often are.

    More than always giving one class would, too: scaled wrongly, models often do.
    """
    given, wanted = labels.hit, labels.scores.labels
    if given is None or wanted is None or not labels.classes or len(data.evaluation) != 1:
        return
    [(name, values)] = data.evaluation.items()
    if values.dtype.kind != "f" or name in told:
        return
    best, words = float(given.mean()), ""
    for way, other in _ways(values).items():
        outputs = run({name: other.astype(values.dtype)})
        if not outputs:
            continue
        count = len(next(iter(outputs.values())))
        found = hits(outputs, labels.scores.first(count))
        assert found is not None
        change = of_hits(given[:count], found)
        is_better = change.low is not None and change.low > 0 and _beats_one_class(found, wanted[:count])
        if is_better and found.mean() > best:
            best = float(found.mean())
            words = (
                f"the float model hits {given[:count].mean():.1%} of {count} labels with {name} as given, "
                f"and {best:.1%} with {way.format(name)}: it is not scaled as for training"
            )
    if words:
        yield words


def _ways(values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Returns an input as it may have been meant: bytes in 0..1 or -1..1, and the other way round."""
    low, high = float(values.min()), float(values.max())
    if low >= 0 and 2 < high <= _BYTE:
        return {"{} / 255": values / _BYTE, "{} / 127.5 - 1": values / (_BYTE / 2) - 1}
    if low >= -_OVERSHOT and high <= 1 + _OVERSHOT:
        return {"{} * 255": values * _BYTE, "{} * 2 - 1": values * 2 - 1}
    if low >= -1 - _OVERSHOT and high <= 1 + _OVERSHOT:
        return {"({} + 1) * 127.5": (values + 1) * (_BYTE / 2), "({} + 1) / 2": (values + 1) / 2}
    return {}
