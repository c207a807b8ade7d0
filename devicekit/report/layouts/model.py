"""How `inspect` and `check` read on a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from devicekit import words as fmt
from devicekit.report.layouts.deployment import rewrite_rows
from devicekit.report.text import columns, escape, labelled

if TYPE_CHECKING:
    from devicekit.pipeline.check import CheckResult
    from devicekit.pipeline.inspect import Inspection


def inspection_lines(inspection: "Inspection") -> Iterator[Any]:
    """Yields what is in a model."""
    document = inspection.to_json()
    is_tflite = document["kind"] == ".tflite"
    arena = fmt.size(document["arena_bytes"])
    rows = [
        (str(document["model"]).rstrip("/").rsplit("/", 1)[-1], escape(str(document.get("kind") or ""))),
        ("size", fmt.size(document["size_bytes"]) + ("" if is_tflite else ", as a float32 .tflite")),
        ("parameters", fmt.count(document["parameters"])),
        ("MACs", fmt.count(document["macs"])),
        ("arena", arena if document["arena_exact"] or arena == fmt.UNKNOWN else f"about {arena} (estimate)"),
        (
            "runtime",
            f"≥ {document['min_runtime_version']}" if document["min_runtime_version"] else fmt.UNKNOWN,
        ),
    ]
    if state := document["state"]:
        told = f"kept between inferences ({', '.join(state['ops'])}); begin anew {state['begin_anew']}"
        rows.append(("state", escape(told)))
    yield labelled(rows)
    yield ""
    tensors = [(side, t) for side in ("inputs", "outputs") for t in document[side]]
    yield columns(
        ("", "name", "dtype", "shape", "scale", "zero point"),
        [
            (
                side.removesuffix("s"),
                escape(str(t["name"])),
                str(t["dtype"]),
                escape(fmt.shape(t.get("shape_signature") or t["shape"])),
                _number(t["scale"]),
                _number(t["zero_point"]),
            )
            for side, t in tensors
        ],
        left=4,
    )
    yield ""
    yield columns(
        ("op", "count", "version"),
        [(escape(op["name"]), str(op["count"]), str(op["version"])) for op in document["ops"]],
    )


def check_lines(result: "CheckResult") -> Iterator[Any]:
    """Yields the verdict, and every finding with its remedy."""
    if result.ok:
        yield f"[green]{escape(result.model)} fits {escape(result.profile)}[/]"
        if result.memory_verdict == "tight" and result.memory and result.memory.must_have_bytes:
            needed, error = result.memory.must_have_bytes, result.memory.error_bytes
            yield labelled([("  memory", f"tight: needs {fmt.mib(needed)} ± {fmt.mib(error)}")])
            yield "    → `devicekit predict --confirm` runs it under the limit, which decides"
        yield from _delegation(result)
        yield from _rewrites(result)
        return
    problems = fmt.plural(len(result.findings), "problem")
    yield f"[red]{escape(result.model)} does not fit {escape(result.profile)}: {problems}[/]"
    for finding in result.findings:
        where = f"   Keras layer: {finding.layer}" if finding.layer else ""
        op = f"   {finding.op}" if finding.op and finding.op not in finding.detail else ""
        yield labelled([(f"  {finding.rule}", escape(f"{finding.detail}{op}{where}"))])
        yield f"    → {escape(finding.remedy)}"
    yield from _delegation(result)
    yield from _rewrites(result)


# Reasons why operators stay on the CPU, of a model that no delegate suits.
_MOST_REASONS = 6


def _delegation(result: "CheckResult") -> Iterator[Any]:
    """Yields how much of the model the delegate takes, and what stays on the CPU."""
    found = result.delegation
    if found is None:
        return
    of = f" of {found.possible} possible" if found.possible > found.partitions else ""
    words = f"takes {found.taken} of {fmt.plural(found.nodes, 'operator')}, estimated"
    if found.taken:
        words += f"; {fmt.plural(found.partitions, 'partition')}{of}"
    yield labelled([(f"  {found.title}", escape(words))])
    rows = []
    for one in found.beside[:_MOST_REASONS]:
        layers = [op.layer for op in one.ops if op.layer]
        layer = f"   Keras layer: {layers[0]}" if layers else ""
        times = f" (×{len(one.ops)})" if len(one.ops) > 1 else ""
        rows.append(("    CPU", escape(f"{one.name} (op {one.ops[0].index}){times} {one.why}{layer}")))
    if len(found.beside) > _MOST_REASONS:
        rows.append(("", f"and {len(found.beside) - _MOST_REASONS} more reasons: --format json has them all"))
    if rows:
        yield labelled(rows)


def _rewrites(result: "CheckResult") -> Iterator[Any]:
    rows = rewrite_rows(result.rewrites)
    if result.unverified:
        rows.append(("note", escape(f"not verified: {result.unverified}")))
    if rows:
        yield labelled((f"  {label}", text) for label, text in rows)


def _number(value: Any) -> str:
    if value is None or value == []:
        return fmt.UNKNOWN
    if isinstance(value, list):
        return _number(value[0]) if len(value) == 1 else f"{len(value)} values"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
