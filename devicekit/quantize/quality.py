"""Quality: what a candidate must keep of the float model, and by how much it misses that."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from devicekit.quantize.change import Change
from devicekit.quantize.fidelity import Closeness, Fidelity

# Cosines are computed in float64 of float32 outputs: equal ones come out within this of 1. So do metrics.
ERROR = 1e-9
MIN_COSINE = "quality.min_cosine"
MIN_TOP1 = "quality.min_top1_agreement"
MAX_STEP = "quality.max_step"
MAX_METRIC_DROP = "quality.max_metric_drop"
RULES = (MIN_COSINE, MIN_TOP1, MAX_STEP, MAX_METRIC_DROP)


# Labels decide alone where the drop that they leave open is at most this many times what it may be: 54
# samples of which none is lost for 1 %.
LEFT_OPEN = 5.0


@dataclass(frozen=True)
class Miss:
    """A broken rule: what was found, the limit, and which output or channel it was found in, if any."""

    rule: str
    found: float
    limit: float
    where: str | None = None
    of_probabilities: bool = False

    @property
    def by(self) -> float:
        return abs(self.found - self.limit)


@dataclass(frozen=True)
class Thresholds:
    """What a candidate must keep; None: anything does. Keys of a profile's [quality], or the user's flags.

    A task metric decides in place of how close the outputs are that it is about, unless it rests on so few
    samples that they leave open too much. Rules in `asked`, the user's own flags, hold in any case.
    `max_metric_drop` is a share of the float model's metric; a drop that chance may have made is none.
    """

    min_cosine: float | None = None
    min_top1_agreement: float | None = None
    max_step: float | None = None
    max_metric_drop: float | None = None
    asked: tuple[str, ...] = ()

    def misses(self, fidelity: Fidelity) -> Iterator[Miss]:
        """Yields the rules that `fidelity` breaks."""
        judged = fidelity.beside if self.metric_decides(fidelity) else fidelity
        for rule, miss in _LIMITS.items():
            closeness = fidelity if rule in self.asked else judged
            if closeness is not None:
                yield from miss(self, closeness)
        allowed, change = self.allowed_drop(fidelity), fidelity.change
        if allowed is not None and change is not None and _is_sure(change, allowed):
            yield Miss(MAX_METRIC_DROP, -change.value, allowed)

    def shortfall(self, fidelity: Fidelity) -> float:
        """Returns by how much `fidelity` misses the thresholds, all misses added; 0 where it meets them."""
        return sum(miss.by for miss in self.misses(fidelity))

    def allowed_drop(self, fidelity: Fidelity) -> float | None:
        """Returns how far the task metric may drop, in its own unit; None where nothing limits it."""
        metric = fidelity.float_task_metric
        if self.max_metric_drop is None or metric is None:
            return None
        return self.max_metric_drop * abs(metric)

    def metric_decides(self, fidelity: Fidelity) -> bool:
        """Returns whether there is a task metric, on enough samples to decide by it."""
        allowed, change = self.allowed_drop(fidelity), fidelity.change
        if change is None:
            return False
        if allowed is None or change.low is None or _is_sure(change, allowed):
            return True
        return -change.value <= allowed + ERROR and -change.low <= LEFT_OPEN * allowed + ERROR

    def is_undecided(self, fidelity: Fidelity) -> bool:
        """Returns whether the samples are too few to tell whether the task metric drops too far."""
        allowed, change = self.allowed_drop(fidelity), fidelity.change
        if allowed is None or change is None or change.low is None:
            return False
        return -change.low > allowed + ERROR and not _is_sure(change, allowed)

    def _cosine(self, closeness: Closeness | Fidelity) -> Iterator[Miss]:
        if self.min_cosine is not None and closeness.cosine < self.min_cosine - ERROR:
            yield Miss(MIN_COSINE, closeness.cosine, self.min_cosine, closeness.worst)

    def _top1(self, closeness: Closeness | Fidelity) -> Iterator[Miss]:
        found, limit = closeness.top1_agreement, self.min_top1_agreement
        if found is not None and limit is not None and found < limit - ERROR:
            yield Miss(MIN_TOP1, found, limit)

    def _step(self, closeness: Closeness | Fidelity) -> Iterator[Miss]:
        found, limit = closeness.step, self.max_step
        if found is not None and limit is not None and found > limit + ERROR:
            yield Miss(MAX_STEP, found, limit, closeness.step_of, closeness.of_probabilities)


_LIMITS: Mapping[str, Callable[[Thresholds, Closeness | Fidelity], Iterator[Miss]]] = {
    MIN_COSINE: Thresholds._cosine,
    MIN_TOP1: Thresholds._top1,
    MAX_STEP: Thresholds._step,
}


def _is_sure(change: Change, allowed: float) -> bool:
    """Returns whether a metric drops by more than it may, and not by chance."""
    return -change.value > allowed + ERROR and (change.high is None or change.high < 0)
