"""Pages: what a run, a model, a device and the list of runs look like, as files and as served."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from devicekit import words as fmt
from devicekit.fleet.history import History
from devicekit.fleet.outcome import RunReport
from devicekit.report.html import charts
from devicekit.report.html.table import FILE, Column, Place, Shown, device_link, model_link, run_link
from devicekit.report.html.vega import bundle
from devicekit.report.rows import flat
from devicekit.store.reading import Cell, Run
from devicekit.words import VERSION

_HERE = Path(__file__).parent
# The order of a page's rows: what needs looking at comes first.
_ORDER = ("failed", "missing", "not run", "does not fit", "fits")


def run_page(report: RunReport, place: Place = FILE) -> str:
    """Returns the page of a run."""
    rows = flat(report)
    measured = [row for row in rows if row["median_us"] is not None]
    models = list(dict.fromkeys(row["model"] for row in measured))
    devices = list(dict.fromkeys(row["device"] for row in measured))
    points = [_point(one.cell, one.changed) for one in report.timeline]
    drawn = {}
    if measured:
        drawn["distribution"] = charts.distribution(models)
        drawn["pareto"] = charts.pareto(devices)
    if len({point["run"] for point in points}) > 1:
        drawn["timeline"] = charts.timeline([one for one in models if any(p["model"] == one for p in points)])
    cells = {row.cell.key: row.cell for row in report.rows}
    by_key = {(row["model"], row["device"]): row for row in rows}
    return _page(
        "run.html",
        place,
        title=f"Fleet run {report.run.id}" if report.run.kind == "fleet" else f"Run {report.run.id}",
        run=report.run,
        previous=report.previous,
        counts=report.counts,
        tiles=_tiles(report, measured),
        troubles=[row for row in rows if row["status"] != "fits"],
        matrix_models=list(dict.fromkeys(row["model"] for row in rows)),
        matrix_devices=list(dict.fromkeys(row["device"] for row in rows)),
        by_key=by_key,
        changes=_changes(report),
        header=_HEADER,
        rows=[_cells(row, place) for row in sorted(rows, key=lambda row: _ORDER.index(row["status"]))],
        conditions=_conditions(measured),
        charts=drawn,
        data={
            "rows": [_row_data(row, cells[row["model"], row["device"]]) for row in measured],
            "points": points,
        },
    )


def model_page(history: History, place: Place = FILE) -> str:
    """Returns the page of a model: its latency and memory over runs, by device."""
    points = [(device, point) for device, found in history.points.items() for point in found]
    data = [_point(point.cell, _notes(point.change)) for _, point in points]
    header = (
        *(Column("device"), Column("run"), Column("taken (UTC)"), Column("recipe")),
        *(Column("median ms", is_number=True), Column("p95 ms", is_number=True)),
        *(Column("must-have", is_number=True), Column("change"), Column("what else changed")),
    )
    rows = []
    for device, point in reversed(points):
        taken = point.cell.taken
        assert taken is not None
        change = point.change.words if point.change else ""
        rows.append(
            (
                Shown(device, link=device_link(device, place)),
                Shown(point.cell.run_id, link=run_link(point.cell.run_id, place)),
                Shown(f"{taken.taken_at:%Y-%m-%d %H:%M}"),
                Shown(taken.recipe),
                Shown(fmt.ms(taken.typical_us), taken.typical_us),
                Shown(fmt.ms(taken.p95_us), taken.p95_us),
                Shown(fmt.mib(taken.must_have_bytes), taken.must_have_bytes),
                Shown(change, kind=_change_kind(point.change)),
                Shown(_notes(point.change)),
            )
        )
    drawn = {"timeline": charts.timeline([history.model])} if data else {}
    if any(one["must_have_mib"] for one in data):
        drawn["memory"] = charts.memory([history.model])
    return _page(
        "model.html",
        place,
        title=history.model,
        model=history.model,
        header=header,
        rows=rows,
        charts=drawn,
        data={"points": data, "rows": []},
    )


def device_page(device: str, facts: Mapping[str, Any] | None, cells: Sequence[Cell], place: Place) -> str:
    """Returns the page of a device: what it says it is, and the newest of each model on it."""
    header = (
        *(Column("model"), Column("run"), Column("recipe"), Column("median ms", is_number=True)),
        *(
            Column("p95 ms", is_number=True),
            Column("must-have", is_number=True),
            Column("evidence"),
        ),
    )
    rows = []
    for cell in cells:
        taken = cell.taken
        assert taken is not None
        rows.append(
            (
                Shown(cell.model, link=model_link(cell.model, place)),
                Shown(cell.run_id, link=run_link(cell.run_id, place)),
                Shown(taken.recipe),
                Shown(fmt.ms(taken.typical_us), taken.typical_us),
                Shown(fmt.ms(taken.p95_us), taken.p95_us),
                Shown(fmt.mib(taken.must_have_bytes), taken.must_have_bytes),
                Shown(taken.evidence, kind=taken.evidence),
            )
        )
    said = [(name.replace("_", " "), facts.get(name)) for name in _FACTS] if facts else []
    return _page(
        "device.html",
        place,
        title=device,
        device=device,
        facts=[(name, str(value)) for name, value in said if value is not None],
        header=header,
        rows=rows,
        charts={},
        data={},
    )


def index_page(
    runs: Sequence[tuple[Run, Mapping[str, int]]],
    models: Sequence[str],
    devices: Sequence[str],
    place: Place,
) -> str:
    """Returns the first page: runs, models and devices."""
    header = (Column("run"), Column("kind"), Column("label"), Column("started (UTC)"), Column("cells"))
    rows = [
        (
            Shown(run.id, link=run_link(run.id, place)),
            Shown(run.kind),
            Shown(run.label or ""),
            Shown(f"{run.started_at:%Y-%m-%d %H:%M}"),
            Shown(
                ", ".join(f"{count} {state}" for state, count in counts.items())
                + ("" if run.ended_at else " · not complete")
            ),
        )
        for run, counts in runs
    ]
    return _page(
        "index.html",
        place,
        title="devicekit results",
        header=header,
        rows=rows,
        models=[(name, model_link(name, place)) for name in models],
        devices=[(name, device_link(name, place)) for name in devices],
        charts={},
        data={},
    )


def error_page(message: str, remedy: str, place: Place) -> str:
    return _page("error.html", place, title="Not found", message=message, remedy=remedy, charts={}, data={})


_FACTS = (
    "address",
    "model",
    "soc",
    "abi",
    "cores",
    "ram_mib",
    "os",
    "runtime_version",
    "virtual",
    "evidence",
)
_HEADER = (
    *(
        Column("model"),
        Column("device"),
        Column("verdict"),
        Column("recipe"),
        Column("median ms", is_number=True),
    ),
    *(Column("p95 ms", is_number=True), Column("must-have", is_number=True), Column("peak", is_number=True)),
    *(
        Column("cosine", is_number=True),
        Column("change"),
        Column("evidence"),
        Column("stability"),
    ),
)


def _cells(row: Mapping[str, Any], place: Place) -> tuple[Shown, ...]:
    ratio = row["ratio"]
    return (
        Shown(row["model"], link=model_link(row["model"], place)),
        Shown(row["device"], link=device_link(row["device"], place)),
        Shown(row["status"], kind=row["status"].replace(" ", "-")),
        Shown(row["recipe"] or fmt.UNKNOWN),
        Shown(fmt.ms(row["median_us"]), row["median_us"]),
        Shown(fmt.ms(row["p95_us"]), row["p95_us"]),
        Shown(fmt.mib(row["must_have_bytes"]), row["must_have_bytes"]),
        Shown(fmt.mib(row["peak_rss_bytes"]), row["peak_rss_bytes"]),
        Shown(fmt.cosine(row["cosine"]), row["cosine"]),
        Shown(_ratio_words(row), ratio, kind=_ratio_kind(row)),
        Shown(row["evidence"] or fmt.UNKNOWN, kind=row["evidence"] or ""),
        Shown(row["stability"] or fmt.UNKNOWN),
    )


def _tiles(report: RunReport, measured: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Returns the numbers on top: (value, what it is, its kind)."""
    tiles = [(str(number), status, status.replace(" ", "-")) for status, number in report.counts.items()]
    evidences = sorted({row["evidence"] for row in measured})
    tiles += [(str(sum(row["evidence"] == one for row in measured)), one, one) for one in evidences]
    shaky = sum(not str(row["stability"]).startswith("stable") for row in measured)
    return [*tiles, (str(shaky), "not stable", "does-not-fit" if shaky else "")]


def _changes(report: RunReport) -> list[dict[str, str]]:
    """Returns the rows that differ from the run before: by more than noise, or in something else."""
    found = []
    for row in report.rows:
        change = row.change
        if change is None or not change.before.taken or not row.cell.taken:
            continue
        is_different = bool(change.ratio and change.ratio.is_different)
        if not (is_different or change.notes or change.obstacle or change.memory_ratio):
            continue
        grown = change.memory_ratio
        found.append(
            {
                "model": row.cell.model,
                "device": row.cell.device,
                "moved": f"{fmt.ms(change.before.taken.typical_us)} → {fmt.ms(row.cell.taken.typical_us)} ms",
                "words": change.words,
                "kind": _change_kind(change),
                "memory": f"must-have {(grown - 1) * 100:+.0f} %" if grown else "",
                "notes": "; ".join(filter(None, (change.obstacle, *change.notes))),
            }
        )
    order = ("slower", "faster", "")  # what the noise cannot explain comes first
    return sorted(found, key=lambda one: order.index(one["kind"]))


def _conditions(measured: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Returns (device, model, heat, battery) for what was measured on devices that say so."""
    found = []
    for row in measured:
        before, after = row["hottest_c_before"], row["hottest_c_after"]
        heat = f"{before:.0f} → {after:.0f} °C" if before is not None and after is not None else ""
        battery = "" if row["battery_percent"] is None else f"{row['battery_percent']} %"
        if heat or battery:
            found.append((row["device"], row["model"], heat, battery))
    return found


_QUANTILES = ("q5", "q25", "q50", "q75", "q95")


def _row_data(row: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Returns what the charts draw of a row."""
    quantiles: Sequence[float | None] = (cell.taken and cell.taken.quantiles_us) or (None,) * len(_QUANTILES)
    return {
        **{
            key: row[key]
            for key in ("model", "device", "recipe", "evidence", "stability", "status", "cosine")
        },
        "median_ms": _rounded(row["median_us"], 1000),
        "size_kib": _rounded(row["size_bytes"], 1024),
        "must_have_mib": _rounded(row["must_have_bytes"], 2**20),
        **{name: _rounded(value, 1000) for name, value in zip(_QUANTILES, quantiles, strict=True)},
    }


def _point(cell: Cell, changed: str) -> dict[str, Any]:
    taken = cell.taken
    assert taken is not None
    return {
        "model": cell.model,
        "device": cell.device,
        "run": cell.run_id,
        "when": taken.taken_at.isoformat(timespec="seconds"),
        "median_ms": _rounded(taken.typical_us, 1000),
        "must_have_mib": _rounded(taken.must_have_bytes, 2**20),
        "changed": changed,
    }


def _rounded(value: float | None, unit: float) -> float | None:
    return None if value is None else float(f"{value / unit:.5g}")


def _notes(change: Any) -> str:
    return "; ".join(filter(None, (change.obstacle, *change.notes))) if change else ""


def _change_kind(change: Any) -> str:
    ratio = change.ratio if change else None
    if ratio is None or not ratio.is_different:
        return ""
    return "slower" if ratio.ratio > 1 else "faster"


def _ratio_kind(row: Mapping[str, Any]) -> str:
    low, high = row["ratio_low"], row["ratio_high"]
    if low is None or low <= 1 <= high or abs(row["ratio"] - 1) < 0.01:
        return ""
    return "slower" if low > 1 else "faster"


def _ratio_words(row: Mapping[str, Any]) -> str:
    if row["ratio"] is None:
        return ""
    if not _ratio_kind(row):
        return "="
    return f"{(row['ratio'] - 1) * 100:+.1f} %".replace("-", "−")


def _page(template: str, place: Place, **values: Any) -> str:
    drawn = values["charts"]
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            place=place,
            version=VERSION,
            fmt=fmt,
            style=(_HERE / "style.css").read_text(encoding="utf-8"),
            script=(_HERE / "page.js").read_text(encoding="utf-8"),
            vega=bundle() if drawn and not place.is_served else "",
            specs=_embedded(drawn),
            datasets=_embedded({name: _columns(rows) for name, rows in values["data"].items()}),
        )
    )


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns rows as columns: no name is written more than once."""
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _embedded(value: Any) -> Any:
    """Returns JSON that may stand in a page's script: nothing in it ends one, or begins a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
