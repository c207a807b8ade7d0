"""How `profile calibrate` and `profile accuracy` read on a terminal."""

import math
from collections.abc import Iterator
from typing import Any

from devicekit import words as fmt
from devicekit.pipeline.calibrate import TOLERANCES, Calibrated
from devicekit.report.text import columns, escape, labelled

_MOST_ROWS = 60


def lines(calibrated: Calibrated) -> Iterator[Any]:
    """Yields the errors, the rows with theirs, and what was written."""
    validation, rows = calibrated.validation, calibrated.rows
    yield labelled(
        [(calibrated.profile, escape(f"{calibrated.label}: {fmt.plural(len(rows), 'measured model')}"))]
    )
    hits = ", ".join(f"{validation.hit_rate(t):.0%} within ± {t:.0%}" for t in TOLERANCES)
    family = validation.family_error()
    summary = [
        ("left out", f"{validation.mean_error():.1%} off on average; {hits}"),
        ("a family", "not known: one family" if family is None else f"{family:.1%} off on average"),
        (
            "intervals",
            f"80 %: hold {validation.covered_80:.0%}; 90 %: hold {validation.covered_90:.0%} of the rows",
        ),
    ]
    yield labelled((label, escape(text)) for label, text in summary)
    yield ""
    table = zip(rows, validation.left_out, validation.family_left_out, strict=True)
    yield columns(
        ("  model", "measured ms", "left out", "family left out", ""),
        [
            (
                f"  {escape(row.model)}",
                f"{row.latency_ms:g}",
                _error(left),
                _error(family),
                escape(row.family),
            )
            for row, left, family in list(table)[:_MOST_ROWS]
        ],
    )
    if calibrated.document and calibrated.path is None:
        yield ""
        yield "  would write:"
        yield from (f"  {escape(line)}" for line in _short(calibrated.document))
    elif calibrated.document:
        yield ""
        yield labelled([("written", escape(str(calibrated.path)))])
    yield ""


def _error(residual: float | None) -> str:
    return fmt.UNKNOWN if residual is None else f"{math.exp(residual) - 1:+.1%}"


def _short(document: str) -> Iterator[str]:
    """Yields the table; of the rows, which are long, their beginnings."""
    for line in document.strip().splitlines():
        yield line if len(line) <= 90 else line[:87] + "..."
