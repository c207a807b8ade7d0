"""How a fleet, its runs, gates and histories read on a terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from devicekit import words as fmt
from devicekit.report.text import columns, escape, labelled

if TYPE_CHECKING:
    from devicekit.fleet.gate import Check, GateResult
    from devicekit.fleet.history import History, Point
    from devicekit.fleet.outcome import Row, RunReport
    from devicekit.fleet.state import FleetRow, FleetState
    from devicekit.store.reading import Run

_BARS = "▁▂▃▄▅▆▇█"
_COLOURS = {"fits": "green", "does not fit": "yellow", "failed": "red", "not run": "dim"}
# A history in text shows so many points of a device; --format csv has all.
MOST_POINTS = 12
# Nobody reads more rows of a run there; nor more troubles.
MOST_ROWS = 100
# Names of people's files and devices may be of any length, a line is not.
MOST_NAME = 28


def run_lines(report: "RunReport") -> Iterator[Any]:
    """Yields a run's matrix, then what failed and what to do."""
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items())
    yield f"run {report.run.id}{_label(report.run)}   {_shape(report)}: {counts or 'no cells'}"
    if report.previous:
        yield f"against {report.previous.id}{_label(report.previous)}"
    if report.run.ended_at is None:
        yield f"  → it is not complete: devicekit fleet run --resume {report.run.id}"
    yield ""
    measured = [row for row in report.rows if row.cell.taken]
    shown = _worth_a_line(measured)
    if shown:
        several = len(report.models) > 1
        header = [
            "device",
            "model",
            "recipe",
            "median ms",
            "p95",
            "must-have",
            "peak",
            "cosine",
            "evidence",
            "",
        ]
        header += ["change"] if report.previous else []
        rows = [_run_row(row, has_change=report.previous is not None) for row in shown]
        if not several:
            del header[1]
            rows = [row[:1] + row[2:] for row in rows]
        yield columns(
            header,
            rows,
            left=3 if several else 2,
            optional=("cosine", "peak", "p95", "evidence", "must-have"),
        )
        yield ""
    if len(shown) < len(measured):
        more = f"{len(measured) - len(shown)} more fit, and differ from the run before by no more than noise"
        yield f"{more}: --format csv or html has all"
        yield ""
    yield from _troubles(report)
    yield from _shaky(shown)
    if report.rows:
        yield f"charts: devicekit fleet report {report.run.id} --format html -o report.html"


def _worth_a_line(measured: Sequence["Row"]) -> Sequence["Row"]:
    """Returns the rows that a terminal shows: all, or of many those that somebody would look for."""
    if len(measured) <= MOST_ROWS:
        return measured
    special = [
        row
        for row in measured
        if row.status != "fits" or (row.change and row.change.ratio and row.change.ratio.is_different)
    ]
    return special[:MOST_ROWS]


def gate_lines(result: "GateResult") -> Iterator[Any]:
    """Yields every check, the failed ones last, where they are read."""
    baselines = ", ".join(f"{one.id}{_label(one)}" for one in result.baselines)
    limit = f"at most +{result.max_regression * 100:g} %"
    yield f"run {result.run.id}{_label(result.run)} against {baselines}, {limit}"
    yield ""
    several = len({one.model for one in result.checks}) > 1
    order = sorted(result.checks, key=lambda one: one.verdict == "FAIL")
    if len(order) > MOST_ROWS:
        special = [one for one in order if one.verdict != "ok"][-MOST_ROWS:]
        yield f"{len(order) - len(special)} more checks: --format json has all"
        order = special
    yield labelled([(*_check(one, several=several),) for one in order])
    yield ""
    if result.failures:
        yield f"[red]the gate fails[/]: {len(result.failures)} of {fmt.plural(len(result.checks), 'check')}"
    else:
        yield f"the gate passes: {fmt.plural(len(result.checks), 'check')}"


def history_lines(history: "History") -> Iterator[Any]:
    """Yields a table per device, the newest last, with a line of bars over all points."""
    for number, (device, points) in enumerate(history.points.items()):
        if number:
            yield ""
        yield f"{escape(history.model)} on {escape(device)}   {_bars(points)}"
        shown = points[-MOST_POINTS:]
        if len(points) > len(shown):
            yield f"[dim]the last {len(shown)} of {len(points)}; all: --format csv[/]"
        yield columns(
            ("run", "taken (UTC)", "recipe", "median ms", "p95", "must-have", "change", ""),
            [_point(one) for one in shown],
            left=3,
            optional=("p95", "recipe"),
        )
        changed = [(one.cell.run_id, one.change.notes) for one in shown if one.change and one.change.notes]
        if changed:
            yield labelled([(f"◆ {run}  ", escape("; ".join(notes))) for run, notes in changed])


def state_lines(state: "FleetState") -> Iterator[Any]:
    """Yields a line per device of the fleet, then what to do for each that does not answer."""
    yield columns(
        ("device", "state", "profile", "address", "model", "battery", "temp", "tags", ""),
        [_state(row) for row in state.rows],
        left=9,
        optional=("temp", "battery", "tags"),
    )
    errors = [(row.entry.name, row.found.error) for row in state.rows if row.found.error]
    if errors:
        yield ""
        yield labelled([(f"{_short(name)}  ", escape(f"{e.message} → {e.remedy}")) for name, e in errors])
    ready = sum(row.found.state == "ready" for row in state.rows)
    yield ""
    yield f"{ready} of {fmt.plural(len(state.rows), 'device')} ready"


def runs_lines(runs: Sequence[tuple["Run", dict[str, int]]]) -> Iterator[Any]:
    """Yields a line per run, the newest first."""
    if not runs:
        yield "the store holds no run yet"
        yield "  → measure first: `devicekit fleet run MODEL` or `devicekit deploy MODEL`"
        return
    yield columns(
        ("run", "kind", "label", "started (UTC)", "state", "cells"),
        [
            (
                run.id,
                run.kind,
                escape(run.label or fmt.UNKNOWN),
                f"{run.started_at:%Y-%m-%d %H:%M}",
                "ended" if run.ended_at else "not complete",
                ", ".join(f"{count} {state}" for state, count in counts.items()),
            )
            for run, counts in runs
        ],
        left=6,
    )


def _run_row(row: "Row", *, has_change: bool) -> tuple[str, ...]:
    taken = row.cell.taken
    assert taken is not None
    colour = _COLOURS[row.status]
    change = (escape(row.change.words) if row.change else "new",) if has_change else ()
    return (
        escape(_short(row.cell.device)),
        escape(_short(row.cell.model)),
        escape(taken.recipe),
        fmt.ms(taken.typical_us),
        fmt.ms(taken.p95_us),
        fmt.mib(taken.must_have_bytes),
        fmt.mib(taken.peak_rss_bytes),
        fmt.cosine((taken.fidelity or {}).get("cosine")),
        taken.evidence,
        f"[{colour}]{row.status}[/]",
        *change,
    )


def _troubles(report: "RunReport") -> Iterator[Any]:
    rows = []
    several = len(report.models) > 1
    for row in report.rows:
        if row.status != "fits":
            advice = f" → {row.remedy}" if row.remedy else ""
            rows.append(
                (_name(row.cell.model, row.cell.device, several), escape(f"{row.status}: {row.why}{advice}"))
            )
    for cell in report.missing:
        words = f"missing: was in {cell.run_id}"
        rows.append((_name(cell.model, cell.device, several), escape(words)))
    if len(rows) > MOST_ROWS:
        rows[MOST_ROWS:] = [("", f"and {len(rows) - MOST_ROWS} more: --format csv or html has all")]
    if rows:
        yield labelled([(f"{name}  ", words) for name, words in rows])
        yield ""


def _shaky(measured: Sequence["Row"]) -> Iterator[Any]:
    rows = [
        (f"{_short(row.cell.device)}  ", escape(row.cell.taken.stability))
        for row in measured
        if row.cell.taken and not row.cell.taken.stability.startswith("stable")
    ]
    if rows:
        yield labelled(rows)
        yield ""


def _check(check: "Check", *, several: bool) -> tuple[str, str]:
    colour = {"ok": "green", "FAIL": "red", "allowed": "yellow", "new": "dim"}[check.verdict]
    advice = f"   [dim]{escape(check.look_at)}[/]" if check.look_at else ""
    name = _name(check.model, check.device, several)
    kind = "" if check.kind == "latency" else f"{check.kind}: "
    return check.verdict, f"[{colour}]{escape(name)}[/]   {kind}{escape(check.words)}{advice}"


def _point(point: "Point") -> tuple[str, ...]:
    taken = point.cell.taken
    assert taken is not None
    change = point.change.words if point.change else ""
    return (
        escape(point.cell.run_id),
        f"{taken.taken_at:%Y-%m-%d %H:%M}",
        escape(taken.recipe),
        fmt.ms(taken.typical_us),
        fmt.ms(taken.p95_us),
        fmt.mib(taken.must_have_bytes),
        escape(change),
        "◆" if point.change and point.change.notes else "",
    )


def _bars(points: Sequence["Point"]) -> str:
    """Returns a bar per point by latency, the last 40; a model that never changes is flat."""
    values = [point.cell.taken.typical_us for point in points[-40:] if point.cell.taken]
    low, high = min(values), max(values)
    if high - low < 0.02 * high:
        return _BARS[0] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def _state(row: "FleetRow") -> tuple[str, ...]:
    facts = row.found.facts
    battery = None if facts is None or facts.battery_percent is None else f"{facts.battery_percent} %"
    heat = None if facts is None or facts.temperature_c is None else f"{facts.temperature_c:.0f} °C"
    values = (
        _short(row.entry.name),
        row.found.state,
        row.profile.name,
        row.entry.address,
        facts.model if facts else None,
        battery,
        heat,
        ", ".join(row.entry.tags) or None,
    )
    return (*(fmt.UNKNOWN if value is None else escape(value) for value in values), escape(row.entry.note))


def _name(model: str, device: str, several: bool) -> str:
    return f"{_short(device)} · {_short(model)}" if several else _short(device)


def _short(name: str) -> str:
    """Returns a name that leaves room for what is said about it."""
    return name if len(name) <= MOST_NAME else f"{name[: MOST_NAME - 1]}…"


def _label(run: "Run") -> str:
    return f" ({escape(run.label)})" if run.label else ""


def _shape(report: "RunReport") -> str:
    return f"{fmt.plural(len(report.models), 'model')} × {fmt.plural(len(report.devices), 'device')}"
