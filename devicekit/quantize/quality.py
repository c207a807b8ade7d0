"""Quality: what a candidate must keep of the float model, and by how much it misses that."""

from collections.abc import Iterator
from dataclasses import dataclass

from devicekit.quantize.fidelity import Fidelity

# Cosines are computed in float64 of float32 outputs: equal ones come out within this of 1. So do metrics.
ERROR = 1e-9
MIN_COSINE = "quality.min_cosine"
MIN_TOP1 = "quality.min_top1_agreement"
MAX_STEP = "quality.max_step"
MAX_METRIC_DROP = "quality.max_metric_drop"
RULES = (MIN_COSINE, MIN_TOP1, MAX_STEP, MAX_METRIC_DROP)


@dataclass(frozen=True)
class Miss:
    """A broken rule: what was found, the limit, and how far beyond it that is."""

    rule: str
    found: float
    limit: float

    @property
    def by(self) -> float:
        return abs(self.found - self.limit)


@dataclass(frozen=True)
class Thresholds:
    """What a candidate must keep; None: anything does. Keys of a profile's [quality], or the user's flags.

    With a task metric that decides alone: of the others those in `asked`, the user's own flags, still hold.
    `max_metric_drop` is a share of the float model's metric; a drop that chance may have made is none.
    """

    min_cosine: float | None = None
    min_top1_agreement: float | None = None
    max_step: float | None = None
    max_metric_drop: float | None = None
    asked: tuple[str, ...] = ()

    def misses(self, fidelity: Fidelity) -> Iterator[Miss]:
        """Yields the rules that `fidelity` breaks."""
        labels_decide = fidelity.change is not None
        lowest = {
            MIN_COSINE: (fidelity.cosine, self.min_cosine),
            MIN_TOP1: (fidelity.top1_agreement, self.min_top1_agreement),
        }
        for rule, (found, limit) in lowest.items():
            holds = rule in self.asked or not labels_decide
            if holds and found is not None and limit is not None and found < limit - ERROR:
                yield Miss(rule, found, limit)
        step = self.max_step
        holds = MAX_STEP in self.asked or not labels_decide
        if holds and step is not None and fidelity.step is not None and fidelity.step > step:
            yield Miss(MAX_STEP, fidelity.step, step)
        allowed = self.allowed_drop(fidelity)
        if allowed is not None and fidelity.change is not None:
            change = fidelity.change
            is_sure = change.high is None or change.high < 0
            if -change.value > allowed + ERROR and is_sure:
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

    def is_undecided(self, fidelity: Fidelity) -> bool:
        """Returns whether the samples are too few to tell whether the task metric drops too far."""
        allowed, change = self.allowed_drop(fidelity), fidelity.change
        if allowed is None or change is None or change.low is None:
            return False
        return -change.low > allowed + ERROR and not any(
            miss.rule == MAX_METRIC_DROP for miss in self.misses(fidelity)
        )


NO_THRESHOLDS = Thresholds()
