"""How a comparison reads on a terminal: a legend, one column per model, verdicts, and who is best at what."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.measure import Measurement as Width

from devicekit import words as fmt
from devicekit.compare.comparison import Comparison, Entry, ops_that_differ
from devicekit.compare.fidelity import tensors_in_words
from devicekit.measurement import Measurement
from devicekit.quantize.fidelity import Fidelity
from devicekit.report.text import columns, escape, labelled

Row = tuple[str, list[str]]


def lines(comparison: Comparison) -> Iterator[Any]:
    """Yields the parts of a comparison, in reading order."""
    yield labelled([*_legend(comparison), *_circumstances(comparison)])
    yield ""
    header = [entry.subject.label for entry in comparison.entries]
    yield _SideBySide(header, [row for row in _rows(comparison) if any(c != fmt.UNKNOWN for c in row[1])])
    if ops := list(_ops_that_differ(comparison)):
        yield ""
        yield _SideBySide(header, ops, title="ops that differ")
    for rows in (_tensors(comparison), _verdicts(comparison), _best(comparison), _notes(comparison)):
        if rows:
            yield ""
            yield labelled([(label, escape(text)) for label, text in rows])


def _legend(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for entry in comparison.entries:
        subject = entry.subject
        made = f"  [dim](recipe {escape(subject.recipe)})[/]" if subject.recipe else ""
        yield subject.label, f"{escape(str(subject.path))}{made}"


def _circumstances(comparison: Comparison) -> Iterator[tuple[str, str]]:
    here = [e for e in comparison.entries if e.measurement and not e.is_recorded]
    if here:
        [*_, last] = here
        assert last.measurement
        limits = ", ".join(last.measurement.limits)
        labels = "" if len(here) == len(comparison.entries) else f"{_names(here)} "
        yield (
            "measured",
            escape(f"{labels}on this machine ({last.measurement.evidence}): {limits}; {_turns(comparison)}"),
        )
    for entry in comparison.entries:
        if entry.is_recorded and entry.measurement and entry.subject.recorded:
            where = f"{entry.measurement.evidence} on {entry.subject.recorded.machine}"
            yield "recorded", escape(f"{entry.subject.label} {where}, by `devicekit deploy`")
    fed = dict.fromkeys(e.likeness.inputs for e in comparison.entries if e.likeness and e.likeness.inputs)
    if fed:
        yield "fidelity", escape(f"to {comparison.first.subject.label}, on {', '.join(map(str, fed))}")


def _turns(comparison: Comparison) -> str:
    return f"{comparison.rounds} rounds in turns"


def _rows(comparison: Comparison) -> Iterator[Row]:
    """Yields what the table says of each model, all rows as wide as there are models."""
    entries = comparison.entries

    def row(title: str, cell: Callable[[Entry], str]) -> Row:
        return title, [cell(entry) for entry in entries]

    yield row("size", lambda e: fmt.size(e.subject.graph.size_bytes))
    yield row("parameters", lambda e: fmt.count(e.subject.parameters))
    yield row("MACs", lambda e: fmt.count(e.subject.macs))
    yield row("ops", lambda e: str(e.subject.ops.total()))
    yield row("arena", lambda e: fmt.size(e.subject.arena.arena_bytes))
    yield row("must-have", _measured(lambda m: fmt.mib(m.memory.must_have_bytes)))
    yield row("peak RSS", _measured(lambda m: fmt.mib(m.memory.peak_rss_bytes)))
    yield row("median ms", _measured(lambda m: fmt.ms(m.latency.median_us)))
    yield row("p95 ms", _measured(lambda m: fmt.ms(m.latency.p95_us)))
    yield row("ratio to A", _ratio)
    yield row("cosine", _fidelity(lambda f: fmt.cosine(f.cosine)))
    yield row("SNR dB", _fidelity(lambda f: f"{f.snr_db:.1f}"))
    yield row("max error", _fidelity(lambda f: fmt.number(f.max_abs_error)))
    yield row("same class", _fidelity(lambda f: fmt.percent(f.top1_agreement)))
    yield row("accuracy", lambda e: fmt.percent(comparison.accuracies[e.subject.label]))


def _measured(text: Callable[[Measurement], str]) -> Callable[[Entry], str]:
    return lambda entry: text(entry.measurement) if entry.measurement else fmt.UNKNOWN


def _fidelity(text: Callable[[Fidelity], str]) -> Callable[[Entry], str]:
    def cell(entry: Entry) -> str:
        fidelity = entry.likeness.fidelity if entry.likeness else None
        return fmt.UNKNOWN if fidelity is None else text(fidelity)

    return cell


def _ratio(entry: Entry) -> str:
    ratio = entry.latency.ratio if entry.latency else None
    return fmt.UNKNOWN if ratio is None else f"{ratio.ratio:.2f}"


def _ops_that_differ(comparison: Comparison) -> Iterator[Row]:
    """Yields the counts of each operator that is not in all models as often."""
    first, *others = (entry.subject for entry in comparison.entries)
    for name in dict.fromkeys(name for other in others for name in ops_that_differ(first, other)):
        yield name, [str(entry.subject.ops[name]) for entry in comparison.entries]


def _tensors(comparison: Comparison) -> list[tuple[str, str]]:
    """Returns the inputs and outputs, once for all models where they are the same."""
    rows = []
    for side in ("input", "output"):
        texts: dict[str, list[Entry]] = {}
        for entry in comparison.entries:
            text = tensors_in_words(getattr(entry.subject.graph, f"{side}_tensors"))
            texts.setdefault(text, []).append(entry)
        is_same = len(texts) == 1
        rows += [(side, text if is_same else f"{_names(e)}: {text}") for text, e in texts.items()]
    first, *others = comparison.entries
    same = [one for one in others if one.subject.graph.sha256 == first.subject.graph.sha256]
    if same:
        rows.append(("same file", _names([first, *same])))
    return rows


def _verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """Returns what latency and fidelity come to, or why there is nothing to say."""
    first = comparison.first.subject.label
    rows = [
        ("latency", f"{e.subject.label} against {first}: {e.latency.verdict}")
        for e in comparison.entries
        if e.latency
    ]
    reasons: dict[str, list[Entry]] = {}
    for entry in comparison.entries:
        if entry.reason:
            reasons.setdefault(entry.reason, []).append(entry)
    rows += [("latency", f"{_names(entries)}: {reason}") for reason, entries in reasons.items()]
    rows += [
        ("fidelity", f"{e.subject.label} is not comparable: {e.likeness.reason}")
        for e in comparison.entries
        if e.likeness and e.likeness.reason
    ]
    return rows


# What `Comparison.best` is about -> how it reads.
_BEST = {
    "size": "smallest",
    "must-have": "least memory",
    "latency": "fastest",
    "accuracy": "most accurate",
    "fidelity": "closest to A",
}


def _best(comparison: Comparison) -> list[tuple[str, str]]:
    texts = [f"{_BEST[what]} {' and '.join(labels)}" for what, labels in comparison.best.items()]
    return [("best", " · ".join(texts))] if texts else []


def _notes(comparison: Comparison) -> list[tuple[str, str]]:
    rows = [("note", note) for note in comparison.notes]
    for entry in comparison.entries:
        if entry.measurement and not entry.measurement.stability.startswith("stable"):
            rows.append(("note", f"{entry.subject.label}: {entry.measurement.stability}"))
    return rows


def _names(entries: Sequence[Entry]) -> str:
    return ", ".join(entry.subject.label for entry in entries)


@dataclass(frozen=True)
class _SideBySide:
    """A table with a column per model, folded where the terminal is too narrow: the first in every part."""

    header: list[str]
    rows: list[Row]
    title: str = ""

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        others = range(1, len(self.header))
        for size in range(len(others), 0, -1):
            parts = [self._part(others[i : i + size]) for i in range(0, len(others), size)]
            wide = options.update(width=1000)
            if size == 1 or all(
                Width.get(console, wide, part).maximum <= options.max_width for part in parts
            ):
                break
        for number, part in enumerate(parts):
            if number:
                yield ""
            yield part

    def _part(self, others: Sequence[int]) -> Any:
        shown = [0, *others]
        header = [self.title, *(self.header[i] for i in shown)]
        return columns(header, [[escape(title), *(cells[i] for i in shown)] for title, cells in self.rows])
