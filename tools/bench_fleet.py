"""The fleet's numbers: time and memory of large fleets, a store of a million results, the gate, the page.

Fake devices, whose runs take a fixed time, and computed results: what is measured is the kit.
"""

import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MIB = 2**20
Say = Callable[..., None]

# What runs in a process of its own, so that its peak memory is the kit's alone.
RUN = """
import resource, sys, time
from devicekit.fleet.run import fleet_run
from devicekit.store.open import open_store
from devicekit.store.reading import cells_of
model, fleet, store, jobs = sys.argv[1:]
fleet_run([model], fleet=fleet, where="name=warm", store=store)  # builds the artifact, imports what is used
start = time.perf_counter()
run = fleet_run([model], fleet=fleet, where="not name=warm", store=store, jobs=int(jobs))
took = time.perf_counter() - start
with open_store(store) as opened, opened.reading() as connection:
    done = sum(cell.state == "done" for cell in cells_of(connection, run))
print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, done)
"""

# VmHWM, as ru_maxrss would be the larger process's that this one was forked from.
EXPORT = """
import sys
from devicekit.store.open import open_store
from devicekit.store.transfer import export
with open_store(sys.argv[1]) as store:
    for line in export(store):
        sys.stdout.write(line)
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(peak, file=sys.stderr)
"""


def _fleet(folder: Path, count: int, run_s: float) -> Path:
    tables = ['[[device]]\nname = "warm"\nprofile = "pixel7"\naddress = "fake:warm"\n']
    tables += [
        f'[[device]]\nname = "d{i:03}"\nprofile = "pixel7"\naddress = "fake:d{i}?run_s={run_s}"\n'
        for i in range(count)
    ]
    path = folder / "fleet.toml"
    path.write_text("schema = 1\n" + "".join(tables))
    return path


def _run(count: int, *, run_s: float, jobs: int) -> tuple[float, float, int]:
    """Returns seconds, peak MiB and finished cells of a run on `count` fake devices."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        model = ROOT / "tests" / "data" / "digits.float32.tflite"
        command = [
            sys.executable,
            "-c",
            RUN,
            str(model),
            str(_fleet(folder, count, run_s)),
            str(folder / "r.db"),
        ]
        environment = {**os.environ, "DEVICEKIT_CACHE_DIR": str(folder / "cache")}
        done = subprocess.run(
            [*command, str(jobs)], capture_output=True, text=True, check=True, env=environment
        )
    took, peak_kib, cells = done.stdout.split()[-3:]
    return float(took), float(peak_kib) / 1024, int(cells)


def fleet(say: Say) -> None:
    rounds = 5
    took, _, cells = _run(32, run_s=2.0 / rounds, jobs=16)
    text = f"32 fake devices of 2 s, 16 jobs: {took:.2f} s, {took / 4:.2f} × the ideal 4 s (goal ≤ 1.25)"
    say("fleet", text, met=cells == 32 and took <= 5.0)
    took, peak, cells = _run(200, run_s=0.0, jobs=16)
    text = f"200 fake devices: peak {peak:.0f} MiB (goal < 250 MB = 238 MiB), {took:.1f} s"
    say("fleet", text, met=cells == 200 and peak * MIB < 250e6)


def store(say: Say) -> None:
    from devicekit.fleet.history import history
    from devicekit.fleet.outcome import run_report
    from devicekit.report import render_as
    from devicekit.store.open import open_store
    from devicekit.store.transfer import add_cells

    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "r.db") as opened:
        took, count = 0.0, 0
        for batch in _million(opened):
            start = time.perf_counter()
            with opened.writing() as connection:
                add_cells(connection, batch)
            took += time.perf_counter() - start
            count += len(batch)
        say(
            "store",
            f"insert of {count:,} results: {count / took:,.0f}/s (goal ≥ 5,000)",
            met=count / took >= 5000,
        )
        size = (Path(folder) / "r.db").stat().st_size / MIB

        def median_s(work: Callable[[], Any]) -> float:
            times = []
            for _ in range(5):
                start = time.perf_counter()
                work()
                times.append(time.perf_counter() - start)
            return statistics.median(times)

        rows = len(run_report(opened).rows)
        for format_ in ("text", "json", "csv", "md"):
            seconds = median_s(lambda format_=format_: render_as(run_report(opened), format_))
            text = f"{format_} report of the last run, {rows} cells in {size:,.0f} MiB: {seconds:.2f} s"
            say("store", f"{text} (goal < 2)", met=seconds < 2)
        seconds = median_s(lambda: render_as(run_report(opened, has_timeline=True), "html"))
        say("store", f"html report of it, with its timeline: {seconds:.2f} s (goal < 2)", met=seconds < 2)
        seconds = median_s(lambda: history(opened, "m07", device="d07"))
        points = len(history(opened, "m07", device="d07").points["d07"])
        say(
            "store",
            f"history of a model on a device ({points} points): {seconds:.3f} s (goal < 0.3)",
            met=seconds < 0.3,
        )
        plans = _plans(opened)
        # An index that is read in order up to a LIMIT is no scan, nor is a subquery's result.
        scans = [line for line in plans if re.fullmatch(r"SCAN \w+", line) and "anon" not in line]
        for line in plans:
            print(f"        {line}")
        say(
            "store", f"query plans: {len(plans)} steps, {len(scans)} scans of a table (goal 0)", met=not scans
        )
        start = time.perf_counter()
        with open(os.devnull, "w") as nowhere:
            command = [sys.executable, "-c", EXPORT, opened.name]
            done = subprocess.run(command, check=True, stdout=nowhere, stderr=subprocess.PIPE, text=True)
        took = time.perf_counter() - start
        peak = int(done.stderr.split()[-1]) / 1024
        text = f"export of a million cells: {took:.0f} s, {peak:.0f} MiB at most (goal < 100: streamed)"
        say("store", text, met=peak < 100)


MODELS, DEVICES, RUNS = 50, 40, 500


def _million(opened: Any) -> Iterator[list[dict[str, Any]]]:
    """Yields batches of cells, 50 models × 40 devices × 500 runs; what they point at is filed first."""
    from sqlalchemy import insert

    from devicekit.profile.lookup import load_profile
    from devicekit.store import schema as t
    from devicekit.testing import FAKE_FACTS

    document = load_profile("pixel7").to_json()
    facts = FAKE_FACTS.to_json()
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    with opened.writing() as connection:
        models = [
            {"id": i + 1, "name": f"m{i:02}", "sha256": f"{i:064x}", "kind": None} for i in range(MODELS)
        ]
        connection.execute(insert(t.models), models)
        connection.execute(
            insert(t.profiles),
            [{"id": 1, "name": "pixel7", "sha256": "0" * 64, "document": {**document, "path": ""}}],
        )
        connection.execute(
            insert(t.devices),
            [
                {"id": i + 1, "name": f"d{i:02}", "address": f"fake:{i}", "facts": facts}
                for i in range(DEVICES)
            ],
        )
        connection.execute(
            insert(t.artifacts),
            [
                {
                    "id": i + 1,
                    "model_id": i + 1,
                    "sha256": f"{i:064x}",
                    "recipe": "int8",
                    "size_bytes": 50_000,
                    "fidelity": {"cosine": 0.999},
                    "versions": {"devicekit": "0.1.0"},
                }
                for i in range(MODELS)
            ],
        )
        runs = [
            {
                "id": f"{begin + timedelta(hours=i):%Y-%m-%d-%H%M}",
                "kind": "fleet",
                "label": None,
                "started_at": begin + timedelta(hours=i),
                "ended_at": begin + timedelta(hours=i, minutes=30),
                "kit_version": "0.1.0",
                "plan": {},
            }
            for i in range(RUNS)
        ]
        connection.execute(insert(t.runs), runs)
    chance = random.Random(1)
    for run in runs:
        batch = []
        for model in range(1, MODELS + 1):
            for device in range(1, DEVICES + 1):
                batch.append(_cell(run, model, device, chance.gauss(1000, 10), facts))
                if len(batch) == 1000:
                    yield batch
                    batch = []


def _cell(
    run: dict[str, Any], model: int, device: int, median_us: float, facts: dict[str, Any]
) -> dict[str, Any]:
    keys = {"model_id": model, "device_id": device}
    taken_at = run["started_at"]
    samples = [round(median_us * (0.99 + 0.002 * i), 1) for i in range(10)]
    row = {
        "run_id": run["id"],
        **keys,
        "profile_id": 1,
        "state": "done",
        "verdict": "fits",
        "error": None,
        "attempts": 1,
        "facts": facts,
        "ended_at": taken_at,
    }
    measurement = {
        **keys,
        "artifact_id": model,
        "is_chosen": 1,
        "taken_at": taken_at,
        "evidence": "emulated",
        "runner": "script",
        "runtime_version": "2.3.0",
        "threads": 4,
        "median_us": median_us,
        "p95_us": median_us * 1.02,
        "mean_us": median_us,
        "stdev_us": 5.0,
        "first_us": None,
        "init_us": None,
        "count": 10,
        "quantiles_us": samples[::2],
        "rounds_us": samples[:5],
        "must_have_bytes": 2 * MIB,
        "peak_rss_bytes": 3 * MIB,
        "stability": "stable (spread 1.0 %)",
        "document": {
            "latency": {"samples_us": samples},
            "conditions": {"before": {"hottest_c": 31.0}, "after": {}},
        },
    }
    return {"row": row, "measurements": [measurement], "findings": []}


def _plans(opened: Any) -> list[str]:
    """Returns the steps of SQLite's plans for a report's and a history's queries, as they are sent."""
    from sqlalchemy import event

    from devicekit.store.reading import cells_of, find_run, history_of

    sent: list[tuple[str, Any]] = []
    with opened.reading() as connection:

        def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
            sent.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", note)
        cells_of(connection, find_run(connection).id)
        history_of(connection, "m07", device="d07")
        event.remove(connection, "before_cursor_execute", note)
        steps = []
        for statement, parameters in sent:
            found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps += [str(row[3]) for row in found]
    return list(dict.fromkeys(steps))


def gate(say: Say) -> None:
    from devicekit.compare.significance import ratio_apart

    chance = random.Random(20261127)
    trials = 20_000

    def share(slower: float) -> float:
        alarms = 0
        for _ in range(trials):
            before = [1000 * (1 + chance.gauss(0, 0.02)) for _ in range(5)]
            after = [1000 * slower * (1 + chance.gauss(0, 0.02)) for _ in range(5)]
            ratio = ratio_apart(before, after)
            alarms += ratio is not None and ratio.low > 1.05
        return alarms / trials

    for slower, goal in ((1.0, "≤ 0.5 %"), (1.04, "≤ 0.5 %"), (1.12, "≥ 95 %")):
        found = share(slower)
        met = found >= 0.95 if slower > 1.05 else found <= 0.005
        text = f"2 % noise, 5 rounds, {slower * 100 - 100:+.0f} %: alarm in {found * 100:.2f} % (goal {goal})"
        say("gate", text, met=met)


def report(say: Say) -> None:
    from devicekit.fleet.outcome import run_report
    from devicekit.report import render_as
    from devicekit.store.open import open_store
    from devicekit.store.transfer import add_cells

    global RUNS
    RUNS = 3
    with tempfile.TemporaryDirectory() as folder:
        with open_store(Path(folder) / "r.db") as opened:
            for batch in _million(opened):
                with opened.writing() as connection:
                    add_cells(connection, batch)
            start = time.perf_counter()
            text = render_as(run_report(opened, has_timeline=True), "html")
            took = time.perf_counter() - start
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        size = path.stat().st_size / 1e6
        say(
            "report",
            f"HTML of 50 models × 40 devices: {size:.1f} MB (goal < 6), made in {took:.1f} s",
            met=size < 6,
        )
        paints = [_first_paint_ms(path.as_uri()) for _ in range(5)]
        median = statistics.median(paints)
        say(
            "report",
            f"first paint in headless Chromium: {median:.0f} ms, median of 5 (goal < 1500)",
            met=median < 1500,
        )


def _first_paint_ms(url: str) -> float:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        page = browser.new_page()
        page.goto(url)
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        found = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        browser.close()
    return float(found)
