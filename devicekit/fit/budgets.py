"""Budgets: limits that the caller sets for one run, in place of the profile's, and what breaks them."""

import math
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from devicekit import words as fmt
from devicekit.errors import OutOfMemory, UsageError
from devicekit.finding import Finding
from devicekit.measurement import Measurement
from devicekit.quantize import quality
from devicekit.quantize.build import BuildResult
from devicekit.quantize.fidelity import Fidelity

# Task metrics of the same samples differ by no less than one sample in a million; less is rounding.
METRIC_ERROR = 1e-9
# The rules that a budget can break, as findings name them.
RULES = frozenset(("size", "memory", "latency", "accuracy_drop", *quality.RULES))


@dataclass(frozen=True)
class Budgets:
    """What one run may cost. None: the profile's own limit stands, or there is none.

    `max_accuracy_drop` is how far the task metric may lie below the float model's, as their difference: for
    accuracy 0.01 is one percentage point (99.4 % -> 98.4 %), for an own metric 0.01 in its own unit.
    `max_latency_ms` is judged on what was measured, wherever that was; the profile's limits.latency_ms on a
    device only. Raises UsageError for an amount that is no budget.
    """

    max_size_bytes: int | None = None
    max_memory_bytes: int | None = None
    max_latency_ms: float | None = None
    max_accuracy_drop: float | None = None
    min_cosine: float | None = None
    min_top1_agreement: float | None = None
    max_step: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_size_bytes", "max_memory_bytes", "max_latency_ms"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value:g}, must be above 0", remedy=f"leave {name} out")
        drop = self.max_accuracy_drop
        if drop is not None and not (math.isfinite(drop) and drop >= 0):
            raise UsageError(
                f"max_accuracy_drop is {drop:g}, must be 0 or above", remedy="give a share: 0.01 is 1 %"
            )

    def to_json(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def overridden(self) -> frozenset[str]:
        """Returns the rules of the profile that these budgets replace."""
        given = {"size": self.max_size_bytes, "memory": self.max_memory_bytes}
        return frozenset(rule for rule, value in given.items() if value is not None)

    def in_words(self) -> str:
        """Returns the budgets as flags with their values, "" where there are none."""
        drop = self.max_accuracy_drop
        words = {
            "--max-size": self.max_size_bytes and fmt.size(self.max_size_bytes),
            "--max-memory": self.max_memory_bytes and fmt.size(self.max_memory_bytes),
            "--max-latency": self.max_latency_ms and f"{self.max_latency_ms:g} ms",
            "--max-accuracy-drop": None if drop is None else f"{drop:g}",
            "--min-cosine": None if self.min_cosine is None else f"{self.min_cosine:g}",
            "--min-top1": None if self.min_top1_agreement is None else f"{self.min_top1_agreement:g}",
            "--max-step": None if self.max_step is None else f"{self.max_step:g}",
        }
        return ", ".join(f"{flag} {value}" for flag, value in words.items() if value is not None)


NO_BUDGETS = Budgets()


def check_before(budgets: Budgets, *, data: str | None, eval_function: str | None, measures: bool) -> None:
    """Raises UsageError for a budget that nothing of this run could judge, as far as that is known early."""
    if budgets.max_latency_ms is not None and not measures:
        raise UsageError(
            "--max-latency cannot be judged: convert measures nothing",
            remedy="use `devicekit deploy`, which measures, or leave --max-latency out",
        )
    drop = budgets.max_accuracy_drop
    if drop is None or eval_function is not None:
        return
    if not _may_have_labels(data):
        raise _no_metric("there are no labels" if data is None else f"{Path(data).name} has no labels (y)")
    if drop >= 1:
        raise UsageError(
            f"--max-accuracy-drop {drop:g} allows any accuracy, which is a share of 0..1",
            remedy="write one percentage point as 1% or 0.01",
        )


def check_built(budgets: Budgets, built: BuildResult) -> None:
    """Raises UsageError where --max-accuracy-drop was given, and no candidate has a metric to judge."""
    if budgets.max_accuracy_drop is None:
        return
    scored = [one.fidelity for one in built.candidates if one.path is not None]
    if scored and all(one is None or one.float_task_metric is None for one in scored):
        if all(one is None for one in scored):
            raise _no_metric("there is no float model to compare with")
        raise _no_metric(f"{built.data.source} gives no labels that an output's scores could be about")


def size_findings(budgets: Budgets, size_bytes: int) -> Iterator[Finding]:
    """The file is within --max-size."""
    limit = budgets.max_size_bytes
    if limit is not None and size_bytes > limit:
        found, allowed = _sizes(size_bytes, limit)
        yield Finding(
            "size",
            f"is {found}, --max-size is {allowed}",
            remedy="use a smaller recipe or model, or raise --max-size",
            excess=size_bytes / limit,
        )


def quality_findings(budgets: Budgets, fidelity: Fidelity | None) -> Iterator[Finding]:
    """The task metric is at most --max-accuracy-drop below the float model's."""
    allowed = budgets.max_accuracy_drop
    if allowed is None or fidelity is None:
        return
    float_metric, change = fidelity.float_task_metric, fidelity.change
    if change is None or float_metric is None:
        return
    drop = -change.value
    if drop > allowed + METRIC_ERROR:
        yield Finding(
            "accuracy_drop",
            f"task metric {float_metric - drop:.4g}, {drop:.3g} below the float model's {float_metric:.4g}, "
            f"--max-accuracy-drop is {allowed:g}",
            remedy="use a closer recipe, or raise --max-accuracy-drop",
            excess=1 + (drop - allowed) / max(abs(float_metric), 1e-6),
        )


def measured_findings(budgets: Budgets, measurement: Measurement) -> Iterator[Finding]:
    """A measured artifact stays within --max-memory and --max-latency, wherever it was measured."""
    must_have = measurement.memory.must_have_bytes
    if must_have is not None:
        yield from memory_findings(budgets, must_have, needs="needs")
    limit_ms, median_ms = budgets.max_latency_ms, measurement.latency.typical_us / 1000
    if limit_ms is not None and median_ms > limit_ms:
        where = "this host" if measurement.device == "host" else measurement.device
        found = fmt.ms(measurement.latency.typical_us)
        found = f"{median_ms:.6g}" if float(found) <= limit_ms else found
        yield Finding(
            "latency",
            f"median {found} ms on {where} ({measurement.evidence}), --max-latency is {limit_ms:g} ms",
            remedy="try --threads, an int8 recipe or a smaller model, or raise --max-latency",
            excess=median_ms / limit_ms,
        )


def out_of_memory(budgets: Budgets, error: OutOfMemory) -> Finding:
    """Returns the finding of a run that its memory limit ended: it names whose limit that was."""
    limit = budgets.max_memory_bytes
    if limit is None:
        return Finding("memory", error.message, error.remedy)
    needed = error.needed_bytes
    known: Iterable[Finding] = memory_findings(budgets, needed, needs="needs") if needed else ()
    more = Finding(
        "memory",
        f"needs more than {fmt.size(limit)}, which --max-memory is",
        remedy=_LESS_MEMORY,
    )
    return next(iter(known), more)


_LESS_MEMORY = "use a smaller input, a smaller model or an int8 recipe, or raise --max-memory"


def memory_findings(budgets: Budgets, needed_bytes: int, *, needs: str) -> Iterator[Finding]:
    """What it needs is within --max-memory; `needs` are the words for how sure that is."""
    limit = budgets.max_memory_bytes
    if limit is not None and needed_bytes > limit:
        found, allowed = _sizes(needed_bytes, limit)
        yield Finding(
            "memory",
            f"{needs} {found}, --max-memory is {allowed}",
            remedy=_LESS_MEMORY,
            excess=needed_bytes / limit,
        )


def _sizes(found_bytes: int, limit_bytes: int) -> tuple[str, str]:
    """Returns two sizes as people read them; in bytes where they would read the same."""
    found, limit = fmt.size(found_bytes), fmt.size(limit_bytes)
    return (found, limit) if found != limit else (f"{found_bytes:,} B", f"{limit_bytes:,} B")


def _no_metric(why: str) -> UsageError:
    return UsageError(
        f"--max-accuracy-drop needs a task metric: {why}",
        remedy="give labelled samples (y in --data samples.npz), or --eval FILE.py:FUNCTION",
    )


def _may_have_labels(data: str | None) -> bool:
    """Returns whether `data` may hold labels; True for what only reading it would tell."""
    if data is None:
        return False
    path = Path(data)
    if path.is_dir() or path.suffix == ".npy":
        return False
    if path.suffix != ".npz":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return "y.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return True
