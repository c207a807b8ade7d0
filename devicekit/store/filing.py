"""Writing: runs, their cells as planned, each cell's outcome in one transaction once it is known."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from devicekit.device.seam import DeviceFacts
from devicekit.errors import DevicekitError, StoreError
from devicekit.fit.candidate import Candidate
from devicekit.measurement import Measurement, percentile
from devicekit.store import schema as t
from devicekit.store.open import Store
from devicekit.words import VERSION

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

Kind = Literal["deploy", "fleet"]
QUANTILES = (5, 25, 50, 75, 95)
# Kits that begin a run at the same moment, each taking another number.
MOST_TRIES = 100


@dataclass(frozen=True)
class ModelRef:
    """A source model as the store knows it."""

    name: str
    sha256: str
    kind: str | None = None


@dataclass(frozen=True)
class PlannedCell:
    """One model on one device: `device` is the alias in the fleet file, or the address."""

    model: ModelRef
    profile: "Profile"
    device: str
    address: str


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. `verdict` is None where nothing was measured; `facts` are the device's.

    Of the candidates those with a measurement and those with findings are filed.
    """

    error: DevicekitError | None
    candidates: Sequence[Candidate] = ()
    facts: DeviceFacts | None = None
    attempts: int = 1
    versions: Mapping[str, str] | None = None

    @property
    def state(self) -> str:
        return "failed" if self.error else "done"

    @property
    def verdict(self) -> str | None:
        if any(one.status == "chosen" and not one.findings for one in self.candidates):
            return "fits"
        return "does not fit" if self.candidates else None


def new_run(
    store: Store,
    kind: Kind,
    plan: Mapping[str, Any],
    cells: Sequence[PlannedCell],
    *,
    label: str | None = None,
) -> str:
    """Files a run with all its cells as planned; returns its id. Raises StoreError."""
    for attempt in itertools.count(1):
        started_at = _now()
        try:
            with store.writing() as connection:
                run_id = next_id(connection, started_at)
                connection.execute(
                    insert(t.runs).values(
                        id=run_id,
                        kind=kind,
                        started_at=started_at,
                        label=label,
                        kit_version=VERSION,
                        plan=dict(plan),
                    )
                )
                _plan(connection, run_id, cells)
            return run_id
        except StoreError as error:  # another kit took the number meanwhile: take the next
            if not isinstance(error.__cause__, IntegrityError) or attempt == MOST_TRIES:
                raise
    raise AssertionError("unreachable")


def file_cell(store: Store, run_id: str, cell: PlannedCell, outcome: Outcome) -> None:
    """Files how a planned cell ended, in place of an earlier failure. Raises StoreError, StoreFull."""
    with store.writing() as connection:
        ids = _cell_keys(connection, cell)
        where = [t.cells.c.run_id == run_id, *(t.cells.c[key] == value for key, value in ids.items())]
        cell_id = connection.execute(select(t.cells.c.id).where(*where)).scalar_one()
        connection.execute(delete(t.findings).where(t.findings.c.cell_id == cell_id))
        facts = outcome.facts.to_json() if outcome.facts else None
        connection.execute(
            update(t.cells)
            .where(t.cells.c.id == cell_id)
            .values(
                state=outcome.state,
                verdict=outcome.verdict,
                error=None if outcome.error is None else outcome.error.to_json(),
                attempts=t.cells.c.attempts + outcome.attempts,
                facts=facts,
                ended_at=_now(),
            )
        )
        if facts:
            connection.execute(
                update(t.devices)
                .where(t.devices.c.id == ids["device_id"])
                .values(facts=facts, address=cell.address)
            )
        _file_candidates(connection, cell_id, ids, outcome)


def end_run(store: Store, run_id: str) -> None:
    """Notes that a run came to its end; one without that was interrupted, and resumes."""
    with store.writing() as connection:
        connection.execute(update(t.runs).where(t.runs.c.id == run_id).values(ended_at=_now()))


def add_measurements(
    connection: Connection, rows: Sequence[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]]
) -> None:
    """Inserts measurements (rows of the table without `id`), and each one's document beside it."""
    if not rows:
        return
    returning = insert(t.measurements).returning(t.measurements.c.id, sort_by_parameter_order=True)
    ids = connection.execute(returning, [dict(row) for row in rows]).scalars().all()
    pairs = zip(ids, documents, strict=True)
    connection.execute(insert(t.samples), [{"measurement_id": i, "document": dict(one)} for i, one in pairs])


def summary(measurement: Measurement) -> dict[str, Any]:
    """Returns the columns of a measurement that come from it alone."""
    latency, memory = measurement.latency, measurement.memory
    samples = sorted(latency.samples_us)
    return {
        "evidence": measurement.evidence,
        "runner": measurement.runner,
        "runtime_version": measurement.runtime_version,
        "threads": measurement.threads,
        **{key: getattr(latency, key) for key in _LATENCY},
        "quantiles_us": [percentile(samples, one) for one in QUANTILES] if samples else None,
        "rounds_us": rounds_us(measurement),
        "must_have_bytes": memory.must_have_bytes,
        "peak_rss_bytes": memory.peak_rss_bytes,
        "stability": measurement.stability,
    }


_LATENCY = ("median_us", "p95_us", "mean_us", "stdev_us", "first_us", "init_us", "count")


def rounds_us(measurement: Measurement) -> list[float] | None:
    """Returns the median of each round; None where no samples were kept."""
    samples, start, medians = measurement.latency.samples_us, 0, []
    for count in measurement.round_counts or (len(samples),):
        if samples:
            medians.append(statistics.median(samples[start : start + count]))
        start += count
    return medians or None


def id_of(
    connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any] | None = None
) -> int:
    """Returns the id of the row with that unique key; inserts it, with `values`, where there is none."""
    wanted = select(table.c.id).where(*(table.c[name] == value for name, value in key.items()))
    found = connection.execute(wanted).scalar()
    if found is None:
        dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
        # Another kit may insert it between the two statements.
        connection.execute(dialect.insert(table).values(**key, **(values or {})).on_conflict_do_nothing())
        found = connection.execute(wanted).scalar_one()
    return int(found)


def _plan(connection: Connection, run_id: str, cells: Sequence[PlannedCell]) -> None:
    rows = [
        {"run_id": run_id, **_cell_keys(connection, cell), **_profile(connection, cell)} for cell in cells
    ]
    if rows:
        connection.execute(insert(t.cells), [{**row, "state": "planned", "attempts": 0} for row in rows])


def _cell_keys(connection: Connection, cell: PlannedCell) -> dict[str, int]:
    model = {"name": cell.model.name, "sha256": cell.model.sha256}
    return {
        "model_id": id_of(connection, t.models, model, {"kind": cell.model.kind}),
        "device_id": id_of(connection, t.devices, {"name": cell.device}, {"address": cell.address}),
    }


def _profile(connection: Connection, cell: PlannedCell) -> dict[str, int]:
    key = {"name": cell.profile.name, "sha256": cell.profile.sha256}
    document = cell.profile.to_json()
    document.pop("path", None)  # of this machine
    return {"profile_id": id_of(connection, t.profiles, key, {"document": document})}


def _file_candidates(connection: Connection, cell_id: int, ids: Mapping[str, int], outcome: Outcome) -> None:
    rows, documents, broken = [], [], []
    for candidate in outcome.candidates:
        broken += [
            {
                "cell_id": cell_id,
                "recipe": candidate.recipe,
                "rule": one.rule,
                "detail": one.detail,
                "remedy": one.remedy,
            }
            for one in candidate.findings
        ]
        if candidate.measurement is None:
            continue
        key = {"model_id": ids["model_id"], "sha256": candidate.sha256, "recipe": candidate.recipe}
        values = {
            "size_bytes": candidate.size_bytes,
            "fidelity": None if candidate.fidelity is None else candidate.fidelity.to_json(),
            "versions": {"devicekit": VERSION, **(outcome.versions or {})},
        }
        rows.append(
            {
                "cell_id": cell_id,
                "artifact_id": id_of(connection, t.artifacts, key, values),
                **ids,
                "is_chosen": int(candidate.status == "chosen"),
                "taken_at": _now(),
                **summary(candidate.measurement),
            }
        )
        documents.append(candidate.measurement.to_json())
    add_measurements(connection, rows, documents)
    if broken:
        connection.execute(insert(t.findings), broken)


def next_id(connection: Connection, day: datetime) -> str:
    """Returns the next free number of a run that begins on that day."""
    prefix = f"{day:%Y-%m-%d}-"
    # By length first: 10000 comes after 9999.
    last = connection.execute(
        select(t.runs.c.id)
        .where(t.runs.c.id.startswith(prefix))
        .order_by(func.length(t.runs.c.id).desc(), t.runs.c.id.desc())
        .limit(1)
    ).scalar()
    number = int(last.rpartition("-")[2]) + 1 if last else 1
    return f"{prefix}{number:04}"


def _now() -> datetime:
    return datetime.now(UTC)
