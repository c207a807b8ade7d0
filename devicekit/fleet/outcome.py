"""What a run found: model × device, against the run before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

from devicekit.fleet.changes import Change, change_between, version_changes
from devicekit.store.open import Store
from devicekit.store.reading import (
    LAST,
    Cell,
    Run,
    baseline_runs,
    cells_of,
    conditions_of,
    find_run,
    findings_of,
    runs_before,
)
from devicekit.words import attributes, plain

SCHEMA = 1
# How far back the run before is looked for: the last one that has a cell in common.
MOST_RUNS_BACK = 20
# A timeline of more points tells nobody more, and makes a page large.
MOST_POINTS = 4000

CellsIn = Callable[[str], Sequence[Cell]]


@dataclass(frozen=True)
class Row:
    """A cell of the report. `change` is against the run before, None where that has no such number."""

    cell: Cell
    change: Change | None = None
    findings: tuple[Mapping[str, str], ...] = ()
    conditions: Mapping[str, Any] | None = None

    @property
    def status(self) -> str:
        """Returns "fits", "does not fit", "failed", or "not run"."""
        if self.cell.taken is not None:
            return self.cell.verdict or "fits"
        return "failed" if self.cell.state == "failed" else "not run"

    @property
    def why(self) -> str:
        """Returns why this is no row to be glad of: the error, or the broken rules; "" where it is."""
        return self.cell.reason or "; ".join(one["detail"] for one in self.findings)

    @property
    def remedy(self) -> str:
        if self.cell.error:
            return str(self.cell.error.get("remedy") or "")
        return self.findings[0]["remedy"] if self.findings else ""

    def to_json(self) -> dict[str, Any]:
        cell, taken = self.cell, self.cell.taken
        names = (
            "model",
            "model_sha256",
            "device",
            "address",
            "profile",
            "state",
            "verdict",
            "attempts",
            "error",
        )
        return {
            **attributes(cell, *names),
            "findings": [dict(one) for one in self.findings],
            "measurement": None
            if taken is None
            else {
                **{key: value for key, value in asdict(taken).items() if key not in ("id", "is_chosen")},
                "taken_at": taken.taken_at.isoformat(),
                "conditions": self.conditions,
            },
            "change": plain(self.change),
        }


@dataclass(frozen=True)
class TimelinePoint:
    """An earlier cell of the report's models and devices; `changed` says in words what else changed there."""

    cell: Cell
    changed: str


@dataclass(frozen=True)
class RunReport:
    """One run. `previous` is the run it is compared with, None for the first; `missing` are its cells that
    this run should have and has not. `timeline` are earlier points and its own, the oldest first; () unless
    asked for."""

    run: Run
    rows: tuple[Row, ...]
    previous: Run | None = None
    missing: tuple[Cell, ...] = ()
    timeline: tuple[TimelinePoint, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.cell.model for row in self.rows))

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.cell.device for row in self.rows))

    @property
    def counts(self) -> dict[str, int]:
        """Returns how many rows have each status, and how many are missing; those with none left out."""
        statuses = [row.status for row in self.rows] + ["missing"] * len(self.missing)
        order = ("fits", "does not fit", "failed", "not run", "missing")
        return {one: statuses.count(one) for one in order if one in statuses}

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "run": run_json(self.run),
            "previous_run": self.previous and self.previous.id,
            "counts": self.counts,
            "rows": [row.to_json() for row in self.rows],
            "missing": [
                {"model": one.model, "device": one.device, "was_in": one.run_id} for one in self.missing
            ],
        }


def run_json(run: Run) -> dict[str, Any]:
    return {
        **attributes(run, "id", "kind", "label"),
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at and run.ended_at.isoformat(),
        "kit_version": run.kit_version,
    }


def run_report(
    store: Store,
    run: str = LAST,
    *,
    baseline: str | None = None,
    kind: str | None = "fleet",
    has_timeline: bool = False,
) -> RunReport:
    """Returns the report of a run, against `baseline` or the last run before it with a cell in common.

    Raises UsageError where there is no such run.
    """
    with store.reading() as connection:
        cells_in = cache(partial(cells_of, connection))  # a run may be asked for twice below
        found = find_run(connection, run, kind=kind)
        cells = cells_in(found.id)
        earlier = runs_before(connection, found, count=MOST_RUNS_BACK)
        if baseline is not None:
            previous = baseline_runs(connection, baseline, found)
        else:
            previous = _before(earlier, cells, cells_in)
        older = [cell for one in previous for cell in cells_in(one.id)]
        broken = findings_of(connection, [cell.id for cell in cells if cell.verdict == "does not fit"])
        timeline = _timeline([found, *earlier], cells_in) if has_timeline else ()
        conditions = conditions_of(connection, [cell.taken.id for cell in cells if cell.taken])
    by_key: dict[tuple[str, str], list[Cell]] = {}
    for cell in older:
        by_key.setdefault(cell.key, []).append(cell)
    return RunReport(
        run=found,
        rows=tuple(
            Row(
                cell,
                change_between(by_key.get(cell.key, ()), cell),
                tuple(broken.get(cell.id, ())),
                conditions.get(cell.taken.id) if cell.taken else None,
            )
            for cell in cells
        ),
        previous=previous[0] if previous else None,
        missing=() if found.plan.get("where") else _missing(cells, older),
        timeline=timeline,
    )


def _timeline(runs: Sequence[Run], cells_in: CellsIn) -> tuple[TimelinePoint, ...]:
    """Returns the points of the first of `runs` and of those before it, as many as MOST_POINTS allows."""
    wanted = {cell.key for cell in cells_in(runs[0].id) if cell.taken}
    runs = runs[: max(MOST_POINTS // max(len(wanted), 1), 2)]
    points: list[TimelinePoint] = []
    before: dict[tuple[str, str], Cell] = {}
    for one in reversed(runs):
        for cell in cells_in(one.id):
            if cell.taken is None or cell.key not in wanted:
                continue
            notes = version_changes(before[cell.key], cell) if cell.key in before else ()
            points.append(TimelinePoint(cell, "; ".join(notes)))
            before[cell.key] = cell
    return tuple(points)


def _before(earlier: Sequence[Run], cells: Sequence[Cell], cells_in: CellsIn) -> list[Run]:
    """Returns the newest of `earlier` that has a cell in common with `cells`; [] where none has."""
    keys = {cell.key for cell in cells}
    for one in earlier:
        if any(cell.key in keys and cell.taken for cell in cells_in(one.id)):
            return [one]
    return []


def _missing(cells: Sequence[Cell], older: Sequence[Cell]) -> tuple[Cell, ...]:
    """Returns what was measured before of these models, on devices that this run does not have."""
    keys, models = {cell.key for cell in cells}, {cell.model for cell in cells}
    found = {cell.key: cell for cell in older if cell.taken and cell.model in models and cell.key not in keys}
    return tuple(found.values())
