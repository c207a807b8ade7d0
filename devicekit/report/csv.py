"""Results as CSV (RFC 4180): one row per cell or point, units in the header."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from devicekit.fleet.history import History
from devicekit.fleet.outcome import RunReport
from devicekit.report.rows import COLUMNS, flat

# A spreadsheet takes a cell that begins so for a formula; names come from files and devices.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(report: RunReport) -> str:
    return _written(COLUMNS, flat(report))


def render_history(history: History) -> str:
    rows = list(history.flat())
    return _written(list(rows[0]) if rows else [], rows)


def _written(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
