"""Comparison: several models side by side, each against the first, and its JSON.

JSON schema history (`schema` in every document)
    1   first version
"""

import math
from dataclasses import dataclass
from typing import Any

from devicekit.compare.fidelity import Likeness
from devicekit.compare.significance import Ratio
from devicekit.compare.subject import Subject
from devicekit.fit.pareto import SAME_COSINE, SAME_MEMORY_BYTES
from devicekit.graph.model import tensors_json
from devicekit.measurement import Measurement
from devicekit.profile.schema import Profile
from devicekit.words import attributes, plain

SCHEMA = 1


@dataclass(frozen=True)
class Versus:
    """The latency of one model against another's. `ratio` is None where the two are not comparable."""

    ratio: Ratio | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        numbers = None if self.ratio is None else self.ratio.to_json()
        return {"verdict": self.verdict, "is_comparable": self.ratio is not None, "interval": numbers}


@dataclass(frozen=True)
class Entry:
    """One model: its latency and likeness are against the first, and None for that.

    `measurement` is None where there is none, `reason` then says why. `is_recorded` tells what an output
    folder brought from what was measured now.
    """

    subject: Subject
    measurement: Measurement | None
    is_recorded: bool
    reason: str | None
    likeness: Likeness | None
    latency: Versus | None

    def to_json(self, first: "Entry") -> dict[str, Any]:
        subject, measurement = self.subject, self.measurement
        return {
            **attributes(subject, "label", "name", "path"),
            "sha256": subject.graph.sha256,
            "recipe": subject.recipe,
            "size_bytes": subject.graph.size_bytes,
            **attributes(subject, "parameters", "macs"),
            "inputs": tensors_json(subject.graph.input_tensors),
            "outputs": tensors_json(subject.graph.output_tensors),
            "ops": [{"name": name, "count": count} for name, count in subject.ops.most_common()],
            "arena_bytes": subject.arena.arena_bytes,
            "arena_exact": subject.arena.exact,
            "measurement": plain(measurement),
            "is_recorded": self.is_recorded,
            "measurement_reason": self.reason,
            "against_first": None if self is first else self._against(first),
        }

    def _against(self, first: "Entry") -> dict[str, Any]:
        likeness = self.likeness
        fidelity = None if likeness is None else likeness.fidelity
        return {
            "is_same_file": self.subject.graph.sha256 == first.subject.graph.sha256,
            "ops": [
                {"name": name, "first": before, "here": now}
                for name, (before, now) in ops_that_differ(first.subject, self.subject).items()
            ],
            "latency": None if self.latency is None else self.latency.to_json(),
            "fidelity": None if fidelity is None else fidelity.to_json(),
            "fidelity_reason": None if likeness is None else likeness.reason,
            "fidelity_inputs": None if likeness is None else likeness.inputs,
        }


@dataclass(frozen=True)
class Comparison:
    """At least two models. `fastest` are the labels of those that none is faster than, () where unknown.

    `rounds` is how many turns each took here, 0 where nothing was measured.
    """

    entries: tuple[Entry, ...]
    profile: Profile | None
    rounds: int
    fastest: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def first(self) -> Entry:
        return self.entries[0]

    @property
    def best(self) -> dict[str, tuple[str, ...]]:
        """Returns which models are best at what, by their labels; left out where all are the same."""
        found = {
            "size": self._least({e.subject.label: e.subject.graph.size_bytes for e in self.entries}, slack=0),
            "must-have": self._least(self._memory(), slack=SAME_MEMORY_BYTES),
            "latency": self.fastest,
            "accuracy": self._least(self._accuracy(), slack=self._accuracy_error()),
            "fidelity": self._least(self._cosines(), slack=SAME_COSINE),
        }
        return {what: labels for what, labels in found.items() if 0 < len(labels) < len(self.entries)}

    @property
    def accuracies(self) -> dict[str, float | None]:
        """Returns the accuracies of all models on the same samples, the most that any were compared on.

        None of one that was compared on fewer, as it is slow: accuracies on different samples do not compare.
        """
        fidelities = [(e.subject.label, e.likeness.fidelity if e.likeness else None) for e in self.entries]
        count = max((one.count for _, one in fidelities if one), default=0)
        found = {label: one.task_metric if one and one.count == count else None for label, one in fidelities}
        of_first = [one.float_task_metric for _, one in fidelities if one and one.count == count]
        return {**found, self.first.subject.label: next(iter(of_first), None)}

    def _memory(self) -> dict[str, float]:
        """Returns must-have memory of those whose evidence is the first one's."""
        evidence = None if self.first.measurement is None else self.first.measurement.evidence
        taken = [(e.subject.label, e.measurement) for e in self.entries if e.measurement]
        return {
            label: one.memory.must_have_bytes
            for label, one in taken
            if one.evidence == evidence and one.memory.must_have_bytes is not None
        }

    def _accuracy(self) -> dict[str, float]:
        """Returns the accuracies, negated, of all that have one to compare."""
        found = {label: -value for label, value in self.accuracies.items() if value is not None}
        return found

    def _accuracy_error(self) -> float:
        """Returns what chance alone may make of accuracies: two standard errors of the best one's share."""
        counts = [e.likeness.fidelity.count for e in self.entries if e.likeness and e.likeness.fidelity]
        best = -min(self._accuracy().values(), default=0.0)
        return 2 * math.sqrt(best * (1 - best) / min(counts)) if counts else 0.0

    def _cosines(self) -> dict[str, float]:
        likenesses = [(e.subject.label, e.likeness.fidelity) for e in self.entries if e.likeness]
        return {label: -fidelity.cosine for label, fidelity in likenesses if fidelity}

    def _least(self, values: dict[str, float], *, slack: float) -> tuple[str, ...]:
        """Returns whose value is the least, within `slack`; () where there is nothing to compare."""
        if len(values) < 2:
            return ()
        limit = min(values.values()) + slack
        return tuple(label for label, value in values.items() if value <= limit)

    def to_json(self) -> dict[str, Any]:
        profile = self.profile
        return {
            "schema": SCHEMA,
            "profile": None if profile is None else {"name": profile.name, "sha256": profile.sha256},
            "rounds": self.rounds,
            "models": [entry.to_json(self.first) for entry in self.entries],
            "best": {what: list(labels) for what, labels in self.best.items()},
            "notes": list(self.notes),
        }


def ops_that_differ(first: Subject, other: Subject) -> dict[str, tuple[int, int]]:
    """Returns the operators whose counts differ: {name: (in the first, in the other)}."""
    names = dict.fromkeys((*first.ops, *other.ops))
    return {n: (first.ops[n], other.ops[n]) for n in names if first.ops[n] != other.ops[n]}
