"""Moving a store: one JSON line per row, streamed, so that a million rows need no memory to speak of.

Format history (`devicekit_store` on the first line)
    1   a line per model, profile, device, artifact and run, then one per cell with all that belongs to it
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, DateTime, Float, Integer, String, insert, select

from devicekit import progress
from devicekit.errors import UsageError
from devicekit.measurement import from_json
from devicekit.store import schema as t
from devicekit.store.filing import add_measurements, id_of, next_id
from devicekit.store.open import Store
from devicekit.store.reading import utc

FORMAT = 1
BATCH = 500
# No line of ours is longer: a measurement keeps 10,000 samples at most in each of its rounds.
MAX_LINE_BYTES = 64 * 2**20


def export(store: Store) -> Iterator[str]:
    """Yields the lines of the whole store, each with its newline. Raises StoreError."""
    yield _line({"devicekit_store": FORMAT, "schema": t.HEAD})
    with store.reading() as connection:
        streamed = connection.execution_options(yield_per=BATCH)
        for table in (t.models, t.profiles, t.devices, t.artifacts, t.runs):
            for row in streamed.execute(select(table).order_by(table.c.id)).mappings():
                yield _line({"table": table.name, "row": _plain(row)})
    yield from _cells(store)


def _cells(store: Store) -> Iterator[str]:
    last, done = 0, 0
    while True:
        with store.reading() as connection:  # a transaction per batch: a long export keeps nobody waiting
            wanted = select(t.cells).where(t.cells.c.id > last).order_by(t.cells.c.id).limit(BATCH)
            cells = [dict(row) for row in connection.execute(wanted).mappings()]
            if not cells:
                return
            first, last = cells[0]["id"], cells[-1]["id"]
            taken = _grouped(
                connection.execute(
                    select(t.measurements, t.samples.c.document)
                    .join(t.samples, t.samples.c.measurement_id == t.measurements.c.id)
                    .where(t.measurements.c.cell_id.between(first, last))
                    .order_by(t.measurements.c.id)
                ).mappings()
            )
            broken = _grouped(
                connection.execute(
                    select(t.findings)
                    .where(t.findings.c.cell_id.between(first, last))
                    .order_by(t.findings.c.id)
                ).mappings()
            )
        for cell in cells:
            number = cell.pop("id")
            yield _line(
                {
                    "table": "cells",
                    "row": _plain(cell),
                    "measurements": taken.get(number, []),
                    "findings": broken.get(number, []),
                }
            )
        done += len(cells)
        progress.report("export", detail=f"{done:,} cells", done=done)


def import_(store: Store, lines: Iterable[str], *, name: str) -> tuple[int, int]:
    """Adds the runs of an export to a store; returns how many cells were added, and how many were there.

    A cell that the store has already is left as it is: the same file twice changes nothing. A run is the same
    where kind and start are; another one with its number gets a new number. Lines are taken in transactions
    of BATCH. `name` is what messages call the file. Raises UsageError for another file.
    """
    reader = _Reader(name)
    added = read = 0
    batch: list[dict[str, Any]] = []
    for document in reader.documents(lines):
        if document.get("table") != "cells":
            with store.writing() as connection:
                reader.take(connection, document)
            continue
        batch.append(reader.cell(document))
        read += 1
        if len(batch) == BATCH:
            added += _add(store, batch)
            batch = []
            progress.report("import", detail=f"{added:,} cells", done=added)
    added += _add(store, batch)
    return added, read - added


def add_cells(connection: Connection, batch: Iterable[Mapping[str, Any]]) -> None:
    """Inserts whole cells: {"row", "measurements": [{…, "document"}], "findings"}, without ids."""
    batch = list(batch)
    returning = insert(t.cells).returning(t.cells.c.id, sort_by_parameter_order=True)
    ids = connection.execute(returning, [dict(one["row"]) for one in batch]).scalars().all()
    rows, documents, broken = [], [], []
    for number, one in zip(ids, batch, strict=True):
        for taken in one["measurements"]:
            rows.append({**{key: v for key, v in taken.items() if key != "document"}, "cell_id": number})
            documents.append(taken["document"])
        broken += [{**finding, "cell_id": number} for finding in one["findings"]]
    add_measurements(connection, rows, documents)
    if broken:
        connection.execute(insert(t.findings), broken)


def vacuum(store: Store) -> None:
    """Gives back what deleted rows took, and refreshes what the planner knows."""
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in ("VACUUM", "ANALYZE"):
            connection.exec_driver_sql(statement)
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _add(store: Store, batch: Sequence[Mapping[str, Any]]) -> int:
    """Adds the cells that the store has not; returns how many."""
    key = ("run_id", "model_id", "device_id")
    with store.writing() as connection:
        runs = {one["row"]["run_id"] for one in batch}
        there = select(*(t.cells.c[name] for name in key)).where(t.cells.c.run_id.in_(runs))
        known = {tuple(row) for row in connection.execute(there)}
        fresh = {tuple(one["row"][name] for name in key): one for one in batch}
        cells = [one for found, one in fresh.items() if found not in known]
        if cells:
            add_cells(connection, cells)
    return len(cells)


class _Reader:
    """Follows the ids of a file to those of the store. A line that is none of ours is a UsageError."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0
        self._ids: dict[str, dict[Any, int]] = {
            name: {} for name in ("models", "profiles", "devices", "artifacts")
        }
        self._runs: dict[str, str] = {}  # the file's id -> the store's

    def documents(self, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        for self._number, line in enumerate(lines, start=1):
            document = self._checked(lambda line=line: json.loads(line, parse_constant=_refuse))  # type: ignore[misc]
            if not isinstance(document, dict):
                raise self._wrong("no JSON object")
            if self._number == 1:
                if document.get("devicekit_store") != FORMAT:
                    raise self._wrong(f'expected {{"devicekit_store": {FORMAT}}} first')
                continue
            yield document
        if not self._number:
            raise self._wrong("the file is empty")

    def take(self, connection: Connection, document: Mapping[str, Any]) -> None:
        table, row = document.get("table"), document.get("row")
        keys = {"models": ("name", "sha256"), "profiles": ("name", "sha256"), "devices": ("name",)}
        if table == "runs" and isinstance(row, dict):
            self._checked(lambda: self._take_run(connection, row))
            return
        if not isinstance(row, dict) or table not in self._ids:
            raise self._wrong(f"no table {table!r}")

        def taken() -> None:
            values = _columns(t.metadata.tables[table], row)
            number = values.pop("id")
            if table == "artifacts":
                values["model_id"] = self._ids["models"][values["model_id"]]
            unique = keys.get(table, ("model_id", "sha256", "recipe"))
            key = {name: values.pop(name) for name in unique}
            self._ids[table][number] = id_of(connection, t.metadata.tables[table], key, values)

        self._checked(taken)

    def cell(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a cell with the store's ids."""

        def mapped(table: Any, values: Mapping[str, Any], **columns: str) -> dict[str, Any]:
            row = _columns(table, values)
            row.pop("id", None)
            row.pop("cell_id", None)
            for column, of in columns.items():
                row[column] = self._ids[of][row[column]]
            return row

        def made() -> dict[str, Any]:
            ids = {"model_id": "models", "device_id": "devices"}
            row = mapped(t.cells, document["row"], **ids, profile_id="profiles")
            return {
                "row": {**row, "run_id": self._runs[row["run_id"]]},
                "measurements": [
                    {
                        **mapped(t.measurements, one, **ids, artifact_id="artifacts"),
                        "document": from_json(one["document"]).to_json(),
                    }
                    for one in document["measurements"]
                ],
                "findings": [mapped(t.findings, one) for one in document["findings"]],
            }

        cell: dict[str, Any] = self._checked(made)
        return cell

    def _take_run(self, connection: Connection, row: Mapping[str, Any]) -> None:
        values = _columns(t.runs, row)
        number, began = values["id"], values["started_at"]
        same = select(t.runs.c.id).where(t.runs.c.started_at == began, t.runs.c.kind == values["kind"])
        found = connection.execute(same).scalar()
        if found is None:
            if connection.execute(select(t.runs.c.id).where(t.runs.c.id == number)).scalar() is not None:
                values["id"] = next_id(connection, began)  # another kit's, that began on the same day
            connection.execute(insert(t.runs).values(**values))
            found = values["id"]
        self._runs[number] = found

    def _checked(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise self._wrong(f"{type(error).__name__}: {error}") from error

    def _wrong(self, found: str) -> UsageError:
        return UsageError(
            f"{self._name}, line {self._number}: {found[:200]}",
            remedy="give a file that `devicekit store export` wrote",
        )


def _columns(table: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row's columns that the table has, with times as times. Raises KeyError for missing ones."""
    values = {}
    for column in table.columns:
        if column.name not in row and column.name in ("id", "cell_id"):
            continue
        value = row[column.name]
        if isinstance(column.type, DateTime) and value is not None:
            value = _utc(datetime.fromisoformat(value))
        values[column.name] = _judged(f"{table.name}.{column.name}", column, value)
    return values


# What a column may say, and how a JSON column looks: a report relies on it.
_WORDS = {
    "runs.kind": ("deploy", "fleet"),
    "cells.state": ("planned", "done", "failed"),
    "cells.verdict": (None, "fits", "does not fit"),
    "measurements.evidence": ("measured", "simulated", "emulated"),
    "measurements.is_chosen": (0, 1),
}
_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "profiles.document": lambda value: isinstance(value, dict),
    "devices.facts": lambda value: value is None or isinstance(value, dict),
    "artifacts.fidelity": lambda value: value is None or _is_dict_of(value, (int, float, type(None))),
    "artifacts.versions": lambda value: _is_dict_of(value, (str,)),
    "runs.plan": lambda value: isinstance(value, dict),
    "cells.error": lambda value: value is None or _is_error(value),
    "cells.facts": lambda value: value is None or isinstance(value, dict),
    "measurements.quantiles_us": lambda value: value is None or (_is_numbers(value) and len(value) == 5),
    "measurements.rounds_us": lambda value: value is None or _is_numbers(value),
}


def _judged(name: str, column: Any, value: Any) -> Any:
    """Returns the value. Raises ValueError where the column cannot be that."""
    if name in _WORDS and value not in _WORDS[name]:
        raise ValueError(f"{name} is {value!r}")
    if name in _SHAPES:
        is_right = _SHAPES[name](value)
    elif value is None:
        is_right = bool(column.nullable)
    elif isinstance(column.type, String):
        is_right = isinstance(value, str)
    elif isinstance(column.type, Integer | BigInteger | Float):
        is_number = isinstance(value, int if not isinstance(column.type, Float) else int | float)
        is_right = is_number and not isinstance(value, bool)
    else:
        is_right = True
    if not is_right:
        raise ValueError(f"{name} is {value!r}"[:120])
    return value


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, int | float) and one >= 0 for one in value)


def _is_dict_of(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, dict) and all(isinstance(one, kinds) for one in value.values())


def _is_error(value: Any) -> bool:
    words = ("kind", "message", "remedy")
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(word), str) for word in words)
        and isinstance(value.get("exit_code"), int)
    )


def _utc(when: datetime) -> datetime:
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _grouped(rows: Iterable[Any]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        values = _plain(row)
        values.pop("id")
        found.setdefault(values.pop("cell_id"), []).append(values)
    return found


def _plain(row: Any) -> dict[str, Any]:
    def text(value: Any) -> Any:
        when = utc(value) if isinstance(value, datetime) else None
        return when.isoformat() if when else value

    return {key: text(value) for key, value in row.items()}


def _line(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"
