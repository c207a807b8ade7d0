"""Reading: runs, a run's cells with what was chosen and measured, and a model's history."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select

from devicekit.errors import UsageError
from devicekit.store import schema as t
from devicekit.words import nearest

LAST = "last"
_N_LAST = re.compile(r"(\d{1,4})-last")


@dataclass(frozen=True)
class Run:
    """One run. `ended_at` is None while it runs, and where it was interrupted."""

    id: str
    kind: str
    started_at: datetime
    ended_at: datetime | None
    label: str | None
    kit_version: str
    plan: Mapping[str, Any]


@dataclass(frozen=True)
class Taken:
    """The measurement of the artifact that was chosen for a cell: its summary.

    `quantiles_us` are 5, 25, 50, 75, 95 %; None, as `rounds_us`, where no samples were kept. `versions` are
    of kit, converter, quantizer, runtime and the device's system.
    """

    id: int
    recipe: str
    sha256: str
    size_bytes: int | None
    fidelity: Mapping[str, float | None] | None
    is_chosen: bool
    taken_at: datetime
    evidence: str
    runner: str
    runtime_version: str | None
    threads: int
    median_us: float | None
    p95_us: float | None
    mean_us: float
    count: int
    quantiles_us: Sequence[float] | None
    rounds_us: Sequence[float] | None
    must_have_bytes: int | None
    peak_rss_bytes: int | None
    stability: str
    versions: Mapping[str, str]

    @property
    def typical_us(self) -> float:
        """The median, or where nobody knows that the mean."""
        return self.mean_us if self.median_us is None else self.median_us


@dataclass(frozen=True)
class Cell:
    """One model on one device in one run. `state` is planned, done or failed; `taken` is None unless done."""

    id: int
    run_id: str
    model: str
    model_sha256: str
    profile: str
    limits: Mapping[str, Any]
    device: str
    address: str
    state: str
    verdict: str | None
    error: Mapping[str, Any] | None
    attempts: int
    facts: Mapping[str, Any] | None
    ended_at: datetime | None
    taken: Taken | None

    @property
    def key(self) -> tuple[str, str]:
        """What this cell is compared by with other runs: model and device, by name."""
        return self.model, self.device

    @property
    def hardware(self) -> tuple[Any, ...] | None:
        """What the device is, whatever serial it has: None where it does not say."""
        facts = self.facts or {}
        said = tuple(facts.get(key) for key in ("model", "soc", "abi", "ram_mib"))
        return said if any(said) else None

    @property
    def reason(self) -> str | None:
        """Why there is no number; None where there is one."""
        if self.error:
            return str(self.error.get("message"))
        return None if self.taken else "not run yet"


def last_runs(connection: Connection, *, limit: int, kind: str | None = None) -> list[Run]:
    """Returns runs, the newest first."""
    wanted = _runs().limit(limit)
    return [_run(row) for row in connection.execute(wanted.where(t.runs.c.kind == kind) if kind else wanted)]


def find_run(connection: Connection, name: str = LAST, *, kind: str | None = None) -> Run:
    """Returns the run of that id, the newest with that label, or for "last" the newest of all, or of `kind`.

    Raises UsageError where there is none.
    """
    wanted = _runs().limit(1)
    if name == LAST:
        wanted = wanted.where(t.runs.c.kind == kind) if kind else wanted
    else:
        wanted = wanted.where((t.runs.c.id == name) | (t.runs.c.label == name))
    row = connection.execute(wanted).first()
    if row is not None:
        return _run(row)
    known = last_runs(connection, limit=1000)
    if not known or name == LAST:
        raise UsageError(
            f"the store holds no {kind or ''} run yet".replace("  ", " "),
            remedy="measure first: `devicekit fleet run MODEL` or `devicekit deploy MODEL`",
        )
    guess = nearest(name, [one.id for one in known] + [one.label for one in known if one.label])
    raise UsageError(
        f'no run "{name}"' + (f"; did you mean {guess}?" if guess else ""),
        remedy="`devicekit results list` shows the runs",
    )


def runs_before(connection: Connection, run: Run, *, count: int) -> list[Run]:
    """Returns the runs of the same kind before `run`, the newest first."""
    older = (t.runs.c.started_at < run.started_at) | (
        (t.runs.c.started_at == run.started_at) & (t.runs.c.id < run.id)
    )
    wanted = _runs().where(older, t.runs.c.kind == run.kind).limit(count)
    return [_run(row) for row in connection.execute(wanted)]


def baseline_runs(connection: Connection, name: str, run: Run) -> list[Run]:
    """Returns the runs that `name` means as a baseline of `run`: an id, a label, "last", or "N-last".

    A label means its newest run but `run` itself. Raises UsageError where there is none.
    """
    count = 1 if name == LAST else int(match[1]) if (match := _N_LAST.fullmatch(name)) else None
    if count is not None:
        found = runs_before(connection, run, count=max(count, 1))
        if not found:
            raise UsageError(
                f"there is no run before {run.id} to compare it with",
                remedy="run the fleet once more, or name a run: `devicekit results list`",
            )
        return found
    labelled = _runs().where(t.runs.c.label == name, t.runs.c.id != run.id).limit(1)
    if (row := connection.execute(labelled).first()) is not None:
        return [_run(row)]
    found_run = find_run(connection, name)
    if found_run.id == run.id:
        raise UsageError(f"{name} is the run itself", remedy="name an earlier run as --baseline")
    return [found_run]


def cells_of(connection: Connection, run_id: str) -> list[Cell]:
    """Returns a run's cells, in the order they were planned."""
    rows = connection.execute(_cells().where(t.cells.c.run_id == run_id).order_by(t.cells.c.id))
    # A cell whose candidates were all rejected has measurements, and none that was chosen.
    return [_cell(row) for row in rows]


def history_of(
    connection: Connection, model: str, *, device: str | None = None, limit: int = 1000
) -> list[Cell]:
    """Returns the measured cells of a model by name, the oldest first: the `limit` newest of them.

    Raises UsageError where the store knows no such model, or no such device.
    """
    models = _ids(connection, t.models, model, what="model")
    wanted = select(t.measurements.c.cell_id).where(
        t.measurements.c.model_id.in_(models), t.measurements.c.is_chosen == 1
    )
    if device is not None:
        wanted = wanted.where(
            t.measurements.c.device_id.in_(_ids(connection, t.devices, device, what="device"))
        )
    newest = wanted.order_by(t.measurements.c.taken_at.desc()).limit(limit).subquery()
    rows = connection.execute(
        _cells().where(t.cells.c.id.in_(select(newest.c.cell_id))).order_by(t.measurements.c.taken_at)
    )
    return [_cell(row) for row in rows]


def findings_of(connection: Connection, cell_ids: Sequence[int]) -> dict[int, list[Mapping[str, str]]]:
    """Returns the broken rules of each cell: recipe, rule, detail, remedy."""
    found: dict[int, list[Mapping[str, str]]] = {}
    for start in range(0, len(cell_ids), 500):
        part = cell_ids[start : start + 500]
        for row in connection.execute(select(t.findings).where(t.findings.c.cell_id.in_(part))).mappings():
            found.setdefault(row["cell_id"], []).append(
                {key: row[key] for key in ("recipe", "rule", "detail", "remedy")}
            )
    return found


def document_of(connection: Connection, measurement_id: int) -> Mapping[str, Any]:
    """Returns the whole measurement, samples and conditions included."""
    wanted = select(t.samples.c.document).where(t.samples.c.measurement_id == measurement_id)
    document: Mapping[str, Any] = connection.execute(wanted).scalar_one()
    return document


def conditions_of(connection: Connection, measurement_ids: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """Returns the conditions before and after of each measurement, by its id, without its samples."""
    found = {}
    for start in range(0, len(measurement_ids), 500):
        part = measurement_ids[start : start + 500]
        wanted = select(t.samples.c.measurement_id, t.samples.c.document["conditions"])
        for row in connection.execute(wanted.where(t.samples.c.measurement_id.in_(part))):
            found[row[0]] = row[1] or {}
    return found


def states_of(connection: Connection, run_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Returns how many cells of each run have each state: {"done": 5, "failed": 1}."""
    found: dict[str, dict[str, int]] = {}
    for start in range(0, len(run_ids), 500):
        part = run_ids[start : start + 500]
        wanted = select(t.cells.c.run_id, t.cells.c.state, func.count()).where(t.cells.c.run_id.in_(part))
        for run_id, state, count in connection.execute(wanted.group_by(t.cells.c.run_id, t.cells.c.state)):
            found.setdefault(run_id, {})[state] = count
    return found


def device_facts(connection: Connection, device: str) -> Mapping[str, Any] | None:
    """Returns what a device last said about itself, None before it did. Raises UsageError."""
    [number] = _ids(connection, t.devices, device, what="device")
    facts: Mapping[str, Any] | None = connection.execute(
        select(t.devices.c.facts).where(t.devices.c.id == number)
    ).scalar()
    return facts


def newest_on(connection: Connection, device: str) -> list[Cell]:
    """Returns the newest measured cell of each model on a device, by the model's name."""
    [number] = _ids(connection, t.devices, device, what="device")
    m = t.measurements
    newest = (
        select(func.max(m.c.cell_id))
        .where(m.c.model_id.in_(select(t.models.c.id)), m.c.device_id == number, m.c.is_chosen == 1)
        .group_by(m.c.model_id)
    )
    rows = connection.execute(
        _cells().where(t.cells.c.id.in_(newest)).order_by(t.models.c.name, t.cells.c.id)
    )
    return list({cell.model: cell for cell in map(_cell, rows)}.values())


def names(connection: Connection) -> tuple[list[str], list[str]]:
    """Returns the names of all models and of all devices, sorted."""
    models = connection.execute(select(t.models.c.name).distinct().order_by(t.models.c.name)).scalars()
    devices = connection.execute(select(t.devices.c.name).order_by(t.devices.c.name)).scalars()
    return list(models), list(devices)


def _ids(connection: Connection, table: Any, name: str, *, what: str) -> list[int]:
    ids = list(connection.execute(select(table.c.id).where(table.c.name == name)).scalars())
    if ids:
        return ids
    known = list(connection.execute(select(table.c.name).distinct()).scalars())
    guess = nearest(name, known)
    raise UsageError(
        f'the store knows no {what} "{name}"' + (f"; did you mean {guess}?" if guess else ""),
        remedy=f"it knows: {', '.join(sorted(known)[:20])}" if known else "measure something first",
    )


def _runs() -> Select[Any]:
    return select(t.runs).order_by(t.runs.c.started_at.desc(), t.runs.c.id.desc())


def _run(row: Row[Any]) -> Run:
    values = dict(row._mapping)
    for key in ("started_at", "ended_at"):
        values[key] = utc(values[key])
    return Run(**values)


_TAKEN = (
    *(
        "id",
        "is_chosen",
        "taken_at",
        "evidence",
        "runner",
        "runtime_version",
        "threads",
        "median_us",
        "p95_us",
    ),
    *("mean_us", "count", "quantiles_us", "rounds_us", "must_have_bytes", "peak_rss_bytes", "stability"),
)
_CELL = ("id", "run_id", "state", "verdict", "error", "attempts", "facts", "ended_at")


def _cells() -> Select[Any]:
    """Returns the query for cells: each with its chosen measurement, or nulls."""
    chosen = and_(t.measurements.c.cell_id == t.cells.c.id, t.measurements.c.is_chosen == 1)
    return (
        select(
            *(t.cells.c[name].label(f"c_{name}") for name in _CELL),
            t.models.c.name.label("model"),
            t.models.c.sha256.label("model_sha256"),
            t.profiles.c.name.label("profile"),
            t.profiles.c.document["limits"].label("limits"),
            t.devices.c.name.label("device"),
            t.devices.c.address.label("address"),
            *(t.measurements.c[name].label(f"m_{name}") for name in _TAKEN),
            *(
                t.artifacts.c[name].label(f"a_{name}")
                for name in ("recipe", "sha256", "size_bytes", "fidelity")
            ),
            t.artifacts.c.versions.label("a_versions"),
        )
        .select_from(t.cells)
        .join(t.models, t.models.c.id == t.cells.c.model_id)
        .join(t.profiles, t.profiles.c.id == t.cells.c.profile_id)
        .join(t.devices, t.devices.c.id == t.cells.c.device_id)
        .outerjoin(t.measurements, chosen)
        .outerjoin(t.artifacts, t.artifacts.c.id == t.measurements.c.artifact_id)
    )


def _cell(row: Row[Any]) -> Cell:
    found = row._mapping
    values = {name: found[f"c_{name}"] for name in _CELL}
    values["ended_at"] = utc(values["ended_at"])
    facts = values["facts"] or {}
    taken = None
    if found["m_id"] is not None:
        summary = {name: found[f"m_{name}"] for name in _TAKEN}
        summary |= {name: found[f"a_{name}"] for name in ("recipe", "sha256", "size_bytes", "fidelity")}
        summary["taken_at"] = utc(summary["taken_at"])
        summary["is_chosen"] = bool(summary["is_chosen"])
        summary["versions"] = {
            **found["a_versions"],
            **({"runtime": summary["runtime_version"]} if summary["runtime_version"] else {}),
            **({"os": facts["os"]} if facts.get("os") else {}),
        }
        taken = Taken(**summary)
    return Cell(
        **values,
        model=found["model"],
        model_sha256=found["model_sha256"],
        profile=found["profile"],
        limits=found["limits"] or {},
        device=found["device"],
        address=facts.get("address") or found["address"],
        taken=taken,
    )


def utc(when: datetime | None) -> datetime | None:
    """Returns a time of the database with its zone: SQLite keeps none."""
    return when if when is None or when.tzinfo else when.replace(tzinfo=UTC)
