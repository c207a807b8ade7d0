"""The gate of CI: a run against a baseline. It cries only where noise cannot explain what it saw.

A latency counts as a regression where the whole 95 % interval of after / before lies above the limit
(compare.significance.ratio_apart: Welch's interval on the logarithms of the rounds' medians). Memory has no
such noise: must-have memory counts where it grew by more than the limit and by more than 64 KiB.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from devicekit import words as fmt
from devicekit.errors import GateFailed
from devicekit.fleet.changes import Change, change_between
from devicekit.fleet.outcome import run_json
from devicekit.store.open import Store
from devicekit.store.reading import LAST, Cell, Run, baseline_runs, cells_of, find_run, findings_of
from devicekit.words import attributes

SCHEMA = 1
Verdict = Literal["ok", "FAIL", "allowed", "new"]
ANY = "*"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `kind` is latency, memory, budget, or missing; `look_at` what to do."""

    kind: str
    model: str
    device: str
    verdict: Verdict
    words: str
    look_at: str = ""
    change: Change | None = None

    def to_json(self) -> dict[str, Any]:
        return attributes(self)


@dataclass(frozen=True)
class GateResult:
    """All checks of a run against its baselines; `max_regression` is a share: 0.05 is 5 %."""

    run: Run
    baselines: tuple[Run, ...]
    max_regression: float
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(one for one in self.checks if one.verdict == "FAIL")

    @property
    def error(self) -> GateFailed | None:
        if not self.failures:
            return None
        return GateFailed([f"{one.model} on {one.device}: {one.words}" for one in self.failures])

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "run": run_json(self.run),
            "baselines": [one.id for one in self.baselines],
            "max_regression": self.max_regression,
            "ok": not self.failures,
            "checks": [one.to_json() for one in self.checks],
        }


def gate(
    store: Store,
    *,
    baseline: str,
    max_regression: float,
    run: str = LAST,
    allow_missing: Collection[str] = (),
) -> GateResult:
    """Returns every check of `run` against `baseline` (reading.baseline_runs).

    `allow_missing` names devices that may be missing, or ANY. Raises UsageError where there is no such run.
    """
    with store.reading() as connection:
        found = find_run(connection, run, kind="fleet")
        baselines = baseline_runs(connection, baseline, found)
        cells = cells_of(connection, found.id)
        broken = findings_of(connection, [cell.id for cell in cells if cell.taken])
        older: dict[tuple[str, str], list[Cell]] = {}
        for one in baselines:  # the newest first
            for cell in cells_of(connection, one.id):
                if cell.taken:
                    older.setdefault(cell.key, []).append(cell)
    now = {cell.key: cell for cell in cells}
    checks: list[Check] = []
    for key in dict.fromkeys([*now, *older]):
        current = now.get(key)
        if current is None or current.taken is None:
            checks.append(_missing(key, current, older.get(key, []), allow_missing))
            continue
        checks += _judged(current, older.get(key, []), max_regression)
        checks += [
            Check("budget", *key, "FAIL", one["detail"], one["remedy"]) for one in broken.get(current.id, [])
        ]
    return GateResult(found, tuple(baselines), max_regression, tuple(checks))


def _judged(cell: Cell, older: Sequence[Cell], limit: float) -> Iterator[Check]:
    change = change_between(older, cell)
    if change is None or change.before.taken is None or cell.taken is None:
        words = f"{fmt.ms(cell.taken.typical_us)} ms" if cell.taken else ""
        yield Check("latency", *cell.key, "new", f"{words}, no baseline")
        return
    moved = f"{fmt.ms(change.before.taken.typical_us)} → {fmt.ms(cell.taken.typical_us)} ms"
    if change.obstacle:
        advice = "give the new device its own name, or take a new baseline"
        yield Check("latency", *cell.key, "FAIL", change.obstacle, advice, change)
        return
    if change.ratio is None:
        yield Check(
            "latency",
            *cell.key,
            "FAIL",
            f"{moved}, in too few rounds to judge",
            "measure with --rounds 5",
            change,
        )
    else:
        is_slower = change.ratio.low > 1 + limit
        words = f"{cell.taken.recipe}   {moved}   {change.words}"
        yield Check(
            "latency",
            *cell.key,
            "FAIL" if is_slower else "ok",
            words,
            _look_at(change, is_slower=is_slower),
            change,
        )
    grown = change.memory_ratio
    if grown is not None and grown > 1 + limit:
        words = (
            f"must-have {fmt.mib(change.before.taken.must_have_bytes)} → "
            f"{fmt.mib(cell.taken.must_have_bytes)}   +{(grown - 1) * 100:.0f} %"
        )
        yield Check("memory", *cell.key, "FAIL", words, _look_at(change, is_slower=True), change)


def _look_at(change: Change, *, is_slower: bool) -> str:
    if change.notes:
        return f"after {', '.join(change.notes)}"
    taken = change.after.taken
    if is_slower and taken and not taken.stability.startswith("stable"):
        return f"the run was {taken.stability}"
    return "nothing else changed that devicekit knows of" if is_slower else ""


def _missing(
    key: tuple[str, str], current: Cell | None, older: Sequence[Cell], allowed: Collection[str]
) -> Check:
    if current is None:
        reason, advice = f"is not in this run, was in {older[0].run_id}", "add the device to the run"
    else:
        reason = current.reason or "has no number"
        advice = str((current.error or {}).get("remedy") or "`devicekit fleet run --resume` goes on")
    is_allowed = ANY in allowed or key[1] in allowed
    advice += "" if is_allowed else f", or allow it: --allow-missing {key[1]}"
    return Check("missing", *key, "allowed" if is_allowed else "FAIL", reason, advice)
