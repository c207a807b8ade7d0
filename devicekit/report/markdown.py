"""Results as Markdown that fits a comment on a pull request."""

import re
from collections.abc import Iterable, Sequence

from devicekit import words as fmt
from devicekit.fleet.gate import Check, GateResult
from devicekit.fleet.outcome import Row, RunReport

# GitHub refuses a comment of more than 65,536 characters.
MAX_CHARACTERS = 60_000
_MARKS = {"fits": "✅", "does not fit": "⚠️", "failed": "❌", "not run": "⏳", "missing": "❓"}
_VERDICTS = {"ok": "✅", "FAIL": "❌", "allowed": "⏭️", "new": "🆕"}


def render(report: RunReport) -> str:
    """Returns a table of the run's cells, failures first where not all fit in a comment."""
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items())
    head = f"### Fleet run {report.run.id}{_label(report.run.label)}\n\n{counts or 'no cells'}"
    if report.previous:
        head += f" · compared with {report.previous.id}{_label(report.previous.label)}"
    header = (
        "",
        "model",
        "device",
        "recipe",
        "median ms",
        "p95 ms",
        "must-have",
        "peak",
        "cosine",
        "change",
        "",
    )
    order = sorted(report.rows, key=lambda row: row.status == "fits")
    missing = [
        ("❓", text(one.model), text(one.device), *("–",) * 7, f"missing: was in {one.run_id}")
        for one in report.missing
    ]
    return _document(head, header, [*missing, *(_row(row) for row in order)], right=range(4, 9))


def render_gate(result: GateResult) -> str:
    """Returns the checks of a gate, failures first."""
    verdict = f"❌ {fmt.plural(len(result.failures), 'failure')}" if result.failures else "✅ passed"
    baselines = ", ".join(one.id for one in result.baselines)
    head = (
        f"### Fleet gate: {verdict}\n\nrun {result.run.id} against {baselines}, "
        f"at most +{result.max_regression * 100:g} %"
    )
    order = sorted(result.checks, key=lambda one: one.verdict != "FAIL")
    header = ("", "model", "device", "what", "found", "look at")
    return _document(head, header, [_check(one) for one in order], right=())


def text(value: object) -> str:
    """Returns text that Markdown and HTML show as it stands, on one line."""
    shown = "".join(c if c.isprintable() else " " for c in str(value))
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&$@-])", lambda match: f"&#{ord(match[1])};", shown)


def _label(label: str | None) -> str:
    return f" ({text(label)})" if label else ""


def _row(row: Row) -> tuple[str, ...]:
    taken = row.cell.taken
    start = (_MARKS[row.status], text(row.cell.model), text(row.cell.device))
    if taken is None:
        return (*start, *("–",) * 7, text(row.why))
    change = row.change.words if row.change else ""
    notes = "; ".join(filter(None, (row.why, *(row.change.notes if row.change else ()))))
    evidence = "" if taken.evidence == "measured" else f"{taken.evidence}. "
    unstable = "" if taken.stability.startswith("stable") else f"{taken.stability}. "
    return (
        *start,
        text(taken.recipe),
        fmt.ms(taken.typical_us),
        fmt.ms(taken.p95_us),
        fmt.mib(taken.must_have_bytes),
        fmt.mib(taken.peak_rss_bytes),
        fmt.cosine((taken.fidelity or {}).get("cosine")),
        text(change),
        text(f"{evidence}{unstable}{notes}"),
    )


def _check(check: Check) -> tuple[str, ...]:
    values = (check.model, check.device, check.kind, check.words, check.look_at)
    return (_VERDICTS[check.verdict], *(text(one) for one in values))


def _document(
    head: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int]
) -> str:
    aligned = set(right)
    lines = [
        head,
        "",
        f"| {' | '.join(header)} |",
        f"|{'|'.join('---:' if i in aligned else '---' for i in range(len(header)))}|",
    ]
    size = sum(map(len, lines))
    written = [f"| {' | '.join(row)} |" for row in rows]
    for number, line in enumerate(written):
        size += len(line) + 1
        if size > MAX_CHARACTERS:
            left = fmt.plural(len(written) - number, "row")
            more = f"\n… and {left} more: `devicekit fleet report --format html`"
            lines.append(more)
            break
        lines.append(line)
    return "\n".join(lines) + "\n"
