"""A run's rows as flat values: what CSV, Markdown and HTML show, a column each."""

from typing import Any

from devicekit.fleet.outcome import Row, RunReport

COLUMNS = (
    *(
        "run",
        "model",
        "device",
        "profile",
        "address",
        "status",
        "evidence",
        "recipe",
        "size_bytes",
        "median_us",
    ),
    *(
        "p95_us",
        "count",
        "must_have_bytes",
        "peak_rss_bytes",
        "cosine",
        "top1_agreement",
        "stability",
        "runner",
    ),
    *("runtime_version", "threads", "os", "before_us", "ratio", "ratio_low", "ratio_high", "changed"),
    *(
        "hottest_c_before",
        "hottest_c_after",
        "battery_percent",
        "attempts",
        "why",
        "remedy",
        "sha256",
        "taken_at",
    ),
)


def flat(report: RunReport) -> list[dict[str, Any]]:
    """Returns a dict of COLUMNS per row, the missing ones last; None for what is unknown."""
    rows = [_flat(report.run.id, row) for row in report.rows]
    for cell in report.missing:
        values = dict.fromkeys(COLUMNS)
        why = f"not in this run, was in {cell.run_id}"
        values |= {"run": report.run.id, "model": cell.model, "device": cell.device, "profile": cell.profile}
        rows.append({**values, "address": cell.address, "status": "missing", "why": why})
    return rows


def _flat(run: str, row: Row) -> dict[str, Any]:
    cell, taken, change = row.cell, row.cell.taken, row.change
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    values |= {
        "run": run,
        "model": cell.model,
        "device": cell.device,
        "profile": cell.profile,
        "address": cell.address,
        "status": row.status,
        "attempts": cell.attempts,
        "why": row.why or None,
        "remedy": row.remedy or None,
        "os": (cell.facts or {}).get("os"),
    }
    if taken is None:
        return values
    fidelity = taken.fidelity or {}
    before, after = ((row.conditions or {}).get(when) or {} for when in ("before", "after"))
    names = (
        *("evidence", "recipe", "size_bytes", "median_us", "p95_us", "count", "must_have_bytes"),
        *("peak_rss_bytes", "stability", "runner", "runtime_version", "threads", "sha256"),
    )
    values |= {name: getattr(taken, name) for name in names}
    values |= {
        "cosine": fidelity.get("cosine"),
        "top1_agreement": fidelity.get("top1_agreement"),
        "hottest_c_before": before.get("hottest_c"),
        "hottest_c_after": after.get("hottest_c"),
        "battery_percent": before.get("battery_percent"),
        "taken_at": taken.taken_at.isoformat(timespec="seconds"),
    }
    if change is not None:
        values |= {
            "before_us": change.before.taken and change.before.taken.typical_us,
            "changed": "; ".join(filter(None, (change.obstacle, *change.notes))) or None,
        }
        if change.ratio is not None:
            values |= {
                "ratio": round(change.ratio.ratio, 5),
                "ratio_low": round(change.ratio.low, 5),
                "ratio_high": round(change.ratio.high, 5),
            }
    return values
