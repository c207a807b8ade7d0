import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devicekit.errors import Lost, NewerStore, StoreError, StoreFull, UsageError
from devicekit.finding import Finding
from devicekit.measurement import from_json
from devicekit.store import schema
from devicekit.store.filing import end_run, file_cell, new_run
from devicekit.store.open import Store, open_store
from devicekit.store.reading import (
    baseline_runs,
    cells_of,
    conditions_of,
    document_of,
    find_run,
    findings_of,
    history_of,
    last_runs,
    names,
)
from devicekit.store.transfer import export, import_, vacuum
from tests.store.samples import file_run, measured, outcome, planned


def test_a_run_reads_as_it_was_filed(store: Store) -> None:
    slow = Finding("latency", "median 30 ms, limits.latency_ms is 20", "try --threads")
    taken = measured(model="net")
    lost = Lost("fake:shelf", during="push")
    cells = [planned(device="desk"), planned(device="rack"), planned(device="shelf"), planned(device="late")]
    run = file_run(
        store,
        [
            (cells[0], outcome(taken, os="Android 15")),
            (cells[1], outcome(measured(), findings=[slow])),
            (cells[2], outcome(None, error=lost)),
            (cells[3], None),
        ],
        label="main",
    )
    with store.reading() as connection:
        found = find_run(connection)
        desk, rack, shelf, late = cells_of(connection, run)
        assert findings_of(connection, [rack.id])[rack.id][0]["detail"] == slow.detail
        assert desk.taken is not None and rack.taken is not None
        assert from_json(document_of(connection, desk.taken.id)) == taken
        assert conditions_of(connection, [desk.taken.id])[desk.taken.id] == taken.conditions
        assert names(connection) == (["net"], ["desk", "late", "rack", "shelf"])
    assert (found.id, found.label, found.kind) == (run, "main", "fleet")
    assert found.started_at.tzinfo and found.ended_at and found.ended_at >= found.started_at
    assert [one.state for one in (desk, rack, shelf, late)] == ["done", "done", "failed", "planned"]
    assert [one.verdict for one in (desk, rack, shelf, late)] == ["fits", "does not fit", None, None]
    assert desk.taken.median_us == taken.latency.median_us and len(desk.taken.rounds_us or ()) == 5
    assert desk.taken.versions["os"] == "Android 15" and desk.taken.versions["runtime"] == "2.3.0"
    assert desk.taken.fidelity and desk.taken.fidelity["cosine"] == 0.9996
    assert shelf.reason == lost.message and late.reason == "not run yet"
    assert desk.limits["latency_ms"] == 20


def test_an_earlier_failure_is_replaced_and_attempts_add_up(store: Store) -> None:
    cell = planned()
    run = new_run(store, "fleet", {}, [cell])
    file_cell(store, run, cell, outcome(None, error=Lost("fake:desk", during="push")))
    file_cell(store, run, cell, outcome(measured()))
    with store.reading() as connection:
        [found] = cells_of(connection, run)
    assert (found.state, found.attempts, found.error) == ("done", 2, None)


def test_runs_are_found_by_id_label_and_position(store: Store) -> None:
    runs = [
        file_run(store, [(planned(), outcome(measured()))], label=label) for label in ("main", None, None)
    ]
    with store.reading() as connection:
        assert [one.id for one in last_runs(connection, limit=9)] == runs[::-1]
        assert find_run(connection, "main").id == runs[0]
        last = find_run(connection)
        assert [one.id for one in baseline_runs(connection, "last", last)] == [runs[1]]
        assert [one.id for one in baseline_runs(connection, "2-last", last)] == [runs[1], runs[0]]
        assert [one.id for one in baseline_runs(connection, "main", last)] == [runs[0]]
        with pytest.raises(UsageError, match="is the run itself"):
            baseline_runs(connection, runs[2], last)
        with pytest.raises(UsageError, match="did you mean main"):
            find_run(connection, "mian")
        with pytest.raises(UsageError, match="no run before"):
            baseline_runs(connection, "last", find_run(connection, runs[0]))


def test_an_empty_store_says_what_to_do(store: Store) -> None:
    with store.reading() as connection:
        with pytest.raises(UsageError, match="holds no run yet"):
            find_run(connection)
        with pytest.raises(UsageError, match='knows no model "net"'):
            history_of(connection, "net")


def test_a_history_is_in_order_and_of_one_device(store: Store) -> None:
    for number in range(4):
        cells = [(planned(device=name), outcome(measured(1000.0 + number))) for name in ("desk", "rack")]
        file_run(store, cells)
    with store.reading() as connection:
        points = history_of(connection, "net", device="desk")
        assert [one.taken.count for one in points if one.taken] == [100] * 4
        assert [one.run_id for one in points] == sorted(one.run_id for one in points)
        assert len(history_of(connection, "net")) == 8
        assert [one.run_id for one in history_of(connection, "net", device="desk", limit=1)] == [
            points[-1].run_id
        ]
        with pytest.raises(UsageError, match="did you mean desk"):
            history_of(connection, "net", device="dekc")


def test_run_numbers_go_on_after_9999(store: Store) -> None:
    from sqlalchemy import update

    first = new_run(store, "fleet", {}, [])
    with store.writing() as connection:
        connection.execute(update(schema.runs).values(id=f"{first[:-4]}9999"))
    tenth = new_run(store, "fleet", {}, [])
    assert (tenth, new_run(store, "fleet", {}, [])) == (f"{first[:-4]}10000", f"{first[:-4]}10001")


def test_two_kits_make_and_fill_one_store_at_once(where: str) -> None:
    barrier = threading.Barrier(4)

    def work(number: int) -> list[str]:
        barrier.wait(timeout=60)
        with open_store(where) as store:
            cells = [(planned(device=f"d{number}"), outcome(measured(count=3)))]
            return [file_run(store, cells) for _ in range(8)]

    with ThreadPoolExecutor(4) as pool:
        runs = [run for found in pool.map(work, range(4)) for run in found]
    assert len(set(runs)) == 32
    with open_store(where) as store, store.reading() as connection:
        assert all(one.state == "done" for run in runs for one in cells_of(connection, run))


def test_what_was_filed_before_a_kill_is_there(where: str) -> None:
    code = (
        "import sys\n"
        "from devicekit.store.open import open_store\n"
        "from devicekit.store.filing import new_run, file_cell\n"
        "from tests.store.samples import *\n"
        "with open_store(sys.argv[1]) as store:\n"
        "    cells = [planned(device=f'd{i}') for i in range(500)]\n"
        "    run = new_run(store, 'fleet', {}, cells)\n"
        "    for cell in cells:\n"
        "        file_cell(store, run, cell, outcome(measured(count=3)))\n"
        "        print(cell.device, flush=True)\n"
    )
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, where], stdout=subprocess.PIPE, text=True, cwd=root, env=environment
    )
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.read().split()
    process.wait()
    process.stdout.close()
    with open_store(where) as store, store.reading() as connection:
        run = find_run(connection)
        cells = cells_of(connection, run.id)
    done = {one.device for one in cells if one.state == "done"}
    assert set(told) <= done and len(done) <= len(told) + 1  # one may have been filed, and not yet told
    assert all(one.taken for one in cells if one.state == "done") and len(cells) == 500
    assert run.ended_at is None


def test_an_export_makes_the_same_store_elsewhere(store: Store, tmp_path: Path) -> None:
    broken = Finding("latency", "slow", "try --threads")
    for number in range(3):
        cells = [
            (planned(device="desk"), outcome(measured(seed=number), findings=[broken])),
            (planned(device="rack"), outcome(None, error=Lost("x", during="push"))),
        ]
        file_run(store, cells, label=f"r{number}")
    lines = list(export(store))
    with open_store(tmp_path / "other.db") as other:
        file_run(other, [(planned(device="mine", model="own"), outcome(measured()))])  # its ids are taken
        before = len(list(export(other)))
        assert import_(other, lines, name="x") == (6, 0)
        assert import_(other, lines, name="x") == (0, 6)
        with store.reading() as left, other.reading() as right:
            for run in last_runs(left, limit=3):
                # The other store's own run has the number of the first: numbers move up.
                theirs, ours = cells_of(left, run.id), cells_of(right, find_run(right, str(run.label)).id)
                assert [one.key for one in theirs] == [one.key for one in ours]
                for one, two in zip(theirs, ours, strict=True):
                    if one.taken and two.taken:
                        assert document_of(left, one.taken.id) == document_of(right, two.taken.id)
                        assert findings_of(left, [one.id])[one.id] == findings_of(right, [two.id])[two.id]
        assert len(list(export(other))) > before
    vacuum(store)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "the file is empty"),
        (["no json\n"], "line 1"),
        (["[1]\n"], "no JSON object"),
        (['{"devicekit_store": 9}\n'], "expected"),
        (['{"devicekit_store": 1}\n', '{"table": "users", "row": {}}\n'], "no table 'users'"),
        (['{"devicekit_store": 1}\n', '{"table": "models", "row": {"id": 1}}\n'], "KeyError: 'name'"),
        (['{"devicekit_store": 1}\n', '{"table": "cells", "row": {}}\n'], "line 2: KeyError"),
        (['{"devicekit_store": 1}\n', "[" * 100_000], "line 2"),
    ],
)
def test_an_import_of_something_else_names_the_line(lines: list[str], words: str, tmp_path: Path) -> None:
    with open_store(tmp_path / "r.db") as store, pytest.raises(UsageError, match=r"x\.jsonl") as caught:
        import_(store, lines, name="x.jsonl")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("row", "state"), "[/]"),
        (("row", "verdict"), "perfect"),
        (("row", "attempts"), "many"),
        (("row", "facts"), [1]),
        (("row", "ended_at"), "yesterday"),
        (("measurements", 0, "evidence"), "true"),
        (("measurements", 0, "median_us"), "fast"),
        (("measurements", 0, "quantiles_us"), [1.0]),
        (("measurements", 0, "rounds_us"), [-1.0]),
        (("measurements", 0, "model_id"), 77),
        (("measurements", 0, "document"), {"schema": 1}),
        (("measurements", 0, "document", "latency", "samples_us"), []),
        (("findings",), 5),
    ],
)
def test_an_import_of_what_no_kit_wrote_is_refused_whole(
    path: tuple[str | int, ...], value: object, tmp_path: Path
) -> None:
    with open_store(tmp_path / "one.db") as store:
        file_run(store, [(planned(), outcome(measured()))])
        lines = list(export(store))
    changed = json.loads(lines[-1])
    place = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with open_store(tmp_path / "two.db") as store:
        with pytest.raises(UsageError, match=r"x\.jsonl, line 7"):
            import_(store, [*lines[:-1], json.dumps(changed)], name="x.jsonl")
        with store.reading() as connection:
            assert cells_of(connection, find_run(connection).id) == []
        assert import_(store, lines, name="x.jsonl") == (1, 0)  # mended: taken up where it stopped


def test_the_tables_are_what_the_migrations_make(where: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with open_store(where) as store, store.reading() as connection:
        found = compare_metadata(MigrationContext.configure(connection), schema.metadata)
    # PostgreSQL would keep comments; ours are for `devicekit store schema`.
    assert [one for one in found if isinstance(one, tuple) and "comment" not in one[0]] == []
    assert all(isinstance(one, tuple) or "comment" in one[0][0] for one in found)


def test_a_store_of_a_newer_kit_is_refused(where: str) -> None:
    with open_store(where) as store, store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(NewerStore, match=r"a newer devicekit wrote it \(schema 0999\)"), open_store(where):
        pass


def test_a_full_disk_keeps_what_was_filed(tmp_path: Path) -> None:
    with open_store(tmp_path / "r.db") as store:
        cells = [planned(device=f"d{i}") for i in range(200)]
        run = new_run(store, "fleet", {}, cells)

        def pages(connection: sqlite3.Connection, *_: object) -> None:  # a disk that holds no more than this
            [[count]] = connection.execute("PRAGMA page_count").fetchall()
            connection.execute(f"PRAGMA max_page_count = {count + 60}")

        with store.reading() as connection:
            pages(connection.connection.dbapi_connection)  # type: ignore[arg-type]
        done = 0
        with pytest.raises(StoreFull) as caught:
            for cell in cells:
                file_cell(store, run, cell, outcome(measured(count=50)))
                done += 1
        assert "disk is full" in caught.value.message and "--resume" in caught.value.remedy
    with open_store(tmp_path / "r.db") as store, store.reading() as connection:
        assert sum(one.state == "done" for one in cells_of(connection, run)) == done > 0


def test_what_is_no_store_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and is long enough to be read as one" * 100)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE shopping (item TEXT)")
    other.commit()
    other.close()
    for where, words in (
        (tmp_path / "text.db", "not a database"),
        (tmp_path / "other.db", "has a table shopping"),
        (tmp_path / "text.db" / "deeper.db", "--store"),
        ("mysql://x/y", "no URL"),
        ("postgresql+psycopg://kit:secret@127.0.0.1:1/x", "postgresql"),
        ("nonsense://", "no URL"),
    ):
        with pytest.raises(StoreError) as caught, open_store(where):
            pass
        assert words in caught.value.message + caught.value.remedy, caught.value.message
        assert "secret" not in caught.value.message
        assert caught.value.exit_code == 7


def test_reading_waits_for_no_writer(tmp_path: Path) -> None:
    with open_store(tmp_path / "r.db") as store:
        run = file_run(store, [(planned(), outcome(measured()))])
        with store.writing(), store.reading() as connection:
            assert len(cells_of(connection, run)) == 1


def test_an_export_is_json_lines(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured()))])
    documents = [json.loads(line) for line in export(store)]
    assert documents[0] == {"devicekit_store": 1, "schema": schema.HEAD}
    assert [one["table"] for one in documents[1:]] == [
        *("models", "profiles", "devices", "artifacts", "runs", "cells")
    ]
    assert "path" not in documents[2]["row"]["document"]


def test_the_end_of_a_run_is_noted(store: Store) -> None:
    run = file_run(store, [(planned(), None)], ends=False)
    end_run(store, run)
    with store.reading() as connection:
        assert find_run(connection, run).ended_at
