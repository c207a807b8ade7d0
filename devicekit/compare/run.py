"""Compares models: reads them, runs them on the same inputs, measures them in turns, judges."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from devicekit.compare import significance
from devicekit.compare.comparison import Comparison, Entry, Versus
from devicekit.compare.fidelity import likeness
from devicekit.compare.subject import Subject, read_subject
from devicekit.device.connect import connect
from devicekit.errors import UsageError
from devicekit.measurement import Measurement, Plan, pooled
from devicekit.profile.lookup import load_profile
from devicekit.profile.schema import Profile
from devicekit.runner.limits import plan_for
from devicekit.runner.measure import RunnableModel
from devicekit.runner.rounds import Rounds, measure_in_rounds

# A round's median needs few samples: what counts is how many rounds there are.
MIN_RUNS_PER_ROUND = 15
SECONDS_PER_ROUND = 0.2
MAX_SECONDS_PER_ROUND = 5.0
FIDELITY_TIMEOUT_S = 600.0
HERE = "simulated"  # the evidence of measurements on this host


def compare(
    *models: str | Path,
    data: str | None = None,
    profile: str | Path | Profile | None = None,
    threads: int | None = None,
    measure: bool = True,
    timeout_s: float | None = None,
) -> Comparison:
    """Returns `models` side by side, against the first: .tflite files and output folders of `deploy`.

    `data` names the inputs that fidelity is computed on, None for random ones. Files are measured here, in
    turns, under the limits of `profile` where one is given; so are folders whose numbers come from a host.
    A folder whose numbers come from a device keeps them. Without `measure`, folders keep theirs and files
    have none. `timeout_s` bounds the silence of every step.
    Raises UsageError, ProfileError, LoadError and DeviceError. What does not run is an entry with its reason.
    """
    if len(models) < 2:
        raise UsageError(
            f"compare takes two models or more; found {len(models)}",
            remedy="name the others too: devicekit compare A.tflite B.tflite",
        )
    if len(models) > len(string.ascii_uppercase):
        raise UsageError(f"compare takes 26 models at most; found {len(models)}", remedy="name fewer")
    target = load_profile(profile) if isinstance(profile, str | Path) else profile
    plan = plan_for(target, threads=threads, timeout_s=timeout_s)
    subjects = [read_subject(*one) for one in zip(string.ascii_uppercase, models, strict=False)]
    first, *others = subjects
    seconds = timeout_s or FIDELITY_TIMEOUT_S
    likenesses = {one.label: likeness(first, one, data=data, timeout_s=seconds) for one in others}
    rounds = _measured(subjects, target, plan) if measure else None
    entries = [replace(_entry(one, rounds), likeness=likenesses.get(one.label)) for one in subjects]
    judged = [replace(one, latency=versus(entries[0], one, rounds)) for one in entries[1:]]
    return Comparison(
        entries=(entries[0], *judged),
        profile=target,
        rounds=significance.ROUNDS if rounds is not None and any(rounds.taken.values()) else 0,
        fastest=_fastest(entries, rounds),
        notes=_notes(entries),
    )


def _notes(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Returns what to know about the numbers, each once."""
    notes: list[str] = []
    for entry in entries:
        notes += entry.likeness.notes if entry.likeness else ()
        notes += entry.measurement.notes if entry.measurement and not entry.is_recorded else ()
    return tuple(dict.fromkeys(notes))


def _is_measured_here(subject: Subject) -> bool:
    return subject.recorded is None or subject.recorded.measurement.evidence == HERE


def _measured(subjects: Sequence[Subject], profile: Profile | None, plan: Plan) -> Rounds:
    """Returns the rounds of all that have no numbers of a device. Raises DeviceError."""
    count = significance.ROUNDS
    plan = replace(
        plan,
        min_runs=MIN_RUNS_PER_ROUND,
        min_s=SECONDS_PER_ROUND * count,  # each round takes a `count`th
        max_s=MAX_SECONDS_PER_ROUND,
    )
    models = {
        one.label: RunnableModel(one.path, one.graph.sha256) for one in subjects if _is_measured_here(one)
    }
    if not models:
        return Rounds({}, {}, None)
    with connect("host") as board:
        rounds = measure_in_rounds(board, models, plan, count=count)
    if rounds.lost is not None:
        raise rounds.lost
    return rounds


def _entry(subject: Subject, rounds: Rounds | None) -> Entry:
    """Returns the subject with its measurement: of now, or recorded, or the reason why there is none."""
    measurement, reason, is_recorded = None, None, False
    if rounds is not None and _is_measured_here(subject):
        failed = rounds.failed.get(subject.label)
        reason = None if failed is None else failed.message
        taken = rounds.taken.get(subject.label) or ()
        measurement = pooled(taken) if taken and failed is None else None
    elif subject.recorded is not None:
        measurement, is_recorded = subject.recorded.measurement, True
    else:
        reason = "not measured"
    return Entry(subject, measurement, is_recorded, reason, likeness=None, latency=None)


def versus(first: Entry, other: Entry, rounds: Rounds | None) -> Versus | None:
    """Returns the latency of `other` against `first`'s; None where one of them has none."""
    mine, theirs = first.measurement, other.measurement
    if mine is None or theirs is None:
        return None
    reason = _apart(first, other)
    if reason is not None:
        return Versus(None, f"not comparable: {reason}")
    medians = significance.round_medians(mine), significance.round_medians(theirs)
    in_turns = rounds is not None and not (first.is_recorded or other.is_recorded)
    ratio = (significance.ratio_in_turns if in_turns else significance.ratio_apart)(*medians)
    if ratio is None:
        counts = " and ".join(str(len(one)) for one in medians)
        return Versus(None, f"not comparable: {counts} rounds are too few, or too short for the clock")
    return Versus(ratio, ratio.verdict if in_turns else f"{ratio.verdict}, measured apart")


def _apart(first: Entry, other: Entry) -> str | None:
    """Returns in what the circumstances of two measurements differ; None where they are the same."""
    texts = []
    for what in (_where, _how, _runner):
        mine, theirs = what(first), what(other)
        if mine != theirs:
            texts.append(f"{first.subject.label} {mine}, {other.subject.label} {theirs}")
    return "; ".join(texts) or None


def _where(entry: Entry) -> str:
    """Returns "simulated on this host", "measured on adb:1, Pixel 7", …"""
    assert entry.measurement
    recorded = entry.subject.recorded
    if not entry.is_recorded or recorded is None:
        return f"{entry.measurement.evidence} on this host"
    return f"{entry.measurement.evidence} on {recorded.machine}"


def _how(entry: Entry) -> str:
    """Returns "on 2 threads with runtime 2.3.0"."""
    assert entry.measurement
    threads = entry.measurement.threads
    return f"on {threads} thread{'s' if threads > 1 else ''} with runtime {entry.measurement.runtime_version}"


def _runner(entry: Entry) -> str:
    """Returns what ran it: the Python Interpreter takes longer than the library itself."""
    assert entry.measurement
    return f"run by the {entry.measurement.runner} runner"


def _fastest(entries: Sequence[Entry], rounds: Rounds | None) -> tuple[str, ...]:
    """Returns the labels of those that the fastest one is not faster than; () where not all compare."""
    medians: Mapping[str, Measurement] = {e.subject.label: e.measurement for e in entries if e.measurement}
    if len(medians) < 2:
        return ()
    timed = [entry for entry in entries if entry.measurement]
    best = min(timed, key=lambda e: medians[e.subject.label].latency.typical_us)
    labels = []
    for entry in timed:
        against = versus(best, entry, rounds)
        if against is None or against.ratio is None:
            return ()
        if entry is best or not against.ratio.is_different:
            labels.append(entry.subject.label)
    return tuple(labels)
