"""How a deployment and a conversion read on a terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from devicekit import words as fmt
from devicekit.fit.choose import reason
from devicekit.fit.pareto import SAME_COSINE
from devicekit.graph.state import begin_anew, keeping_state
from devicekit.report.layouts.measurement import trace_table, verified_words
from devicekit.report.layouts.prediction import latency_words
from devicekit.report.text import columns, escape, labelled

if TYPE_CHECKING:
    from devicekit.convert.source import Rewrite
    from devicekit.fit.candidate import Candidate
    from devicekit.graph.model import Graph, Tensor
    from devicekit.measurement import Measurement
    from devicekit.pipeline.deployment import Conversion, Deployment
    from devicekit.profile.schema import Profile
    from devicekit.quantize.change import Change

MARK = "▸"


def lines(deployment: "Deployment") -> Iterator[Any]:
    """Yields the parts of a deployment's report, in reading order."""
    profile = deployment.profile
    rows = [*_model_rows(deployment), (profile.name, escape(profile_line(profile)))]
    rows += [*_budget_rows(deployment)]
    rows += _step_rows(deployment, deployment.seconds)
    rows.append(("device", escape(device_line(deployment))))
    rows += _warnings(deployment)
    yield labelled(rows)
    yield ""
    yield _table(deployment, has_measurements=any(c.measurement for c in deployment.candidates))
    yield from _choice(deployment)
    yield from _notes(deployment)
    yield ""
    known = latency_words(deployment.latency) if deployment.latency else deployment.latency_reason
    if known and deployment.chosen:
        yield f"latency on {escape(profile.title or profile.name)}: {escape(known)}"
    if deployment.sustained is not None:
        yield from _sustained(deployment.sustained)
    if deployment.folder is not None:
        yield labelled([("written", escape(_written(deployment)))])
    if deployment.run is not None:
        yield labelled([("filed", f"run {deployment.run}: devicekit results show {deployment.run}")])


def _sustained(run: "Measurement") -> Iterator[Any]:
    yield ""
    yield labelled([("sustained", escape(f"{run.pace}: {run.stability}"))])
    yield trace_table(run)
    yield ""


def conversion_lines(conversion: "Conversion") -> Iterator[Any]:
    """Yields the parts of a conversion's report."""
    rows = _model_rows(conversion)
    if conversion.profile is not None:
        rows.append((conversion.profile.name, escape(profile_line(conversion.profile))))
    yield labelled([*rows, *_budget_rows(conversion), *_step_rows(conversion, {}), *_warnings(conversion)])
    yield ""
    yield _table(conversion, has_measurements=False)
    yield from _choice(conversion)
    yield from _notes(conversion)
    if conversion.chosen is not None:
        yield ""
        names = [str(conversion.chosen.path), *_outside(conversion)]
        yield labelled([("written", escape(", ".join(names)))])


def _warnings(conversion: "Conversion") -> list[tuple[str, str]]:
    """Returns a row for each thing to know before any number is read."""
    warnings = list(conversion.data.warnings)
    made_up = [c.recipe for c in conversion.candidates if c.made_up_ranges and not c.findings]
    others = [c.recipe for c in conversion.candidates if not c.made_up_ranges and not c.findings]
    if made_up and others:
        warnings.append(f"{', '.join(made_up)}: not chosen over recipes that need no data")
    return [("warning", f"[yellow]{escape(text)}[/]") for text in warnings]


def profile_line(profile: "Profile") -> str:
    """Returns what the profile is and what it limits, on one line."""
    limits = profile.limits
    bounds = [
        f"file {limits.model_mib:g} MiB" if limits.model_mib is not None else "",
        f"memory {limits.memory_mib:g} MiB" if limits.memory_mib is not None else "",
        f"file {limits.model_kib:g} KiB" if limits.model_kib is not None else "",
        f"arena {limits.arena_kib:g} KiB" if limits.arena_kib is not None else "",
        f"{limits.latency_ms:g} ms" if limits.latency_ms is not None else "",
    ]
    stated = ", ".join(bound for bound in bounds if bound) or "none"
    return f"{profile.title or profile.name}, {profile.runtime.label} · limits: {stated}"


def device_line(deployment: "Deployment") -> str:
    """Returns which device the numbers come from, and under what."""
    facts = deployment.device
    if facts.address == "host":
        name = facts.model or facts.soc or "host"
        return f"this machine ({name}), under {deployment.profile.name}'s limits"
    said = [facts.model, facts.os]
    said += [] if facts.temperature_c is None else [f"{facts.temperature_c:.0f} °C"]
    if facts.battery_percent is not None:
        said.append(f"{facts.battery_percent} % {'charging' if facts.is_charging else 'battery'}")
    words = f"{facts.address}  {', '.join(filter(None, said))}".rstrip()
    return f"{words} · emulated: {facts.virtual}" if facts.virtual else words


def _model_rows(conversion: "Conversion") -> list[tuple[str, str]]:
    source, graph = conversion.source, conversion.graph
    parts = [
        source.kind,
        f"{fmt.count(source.parameters)} parameters" if source.parameters is not None else "",
        _tensors("input", graph.input_tensors),
        _tensors("output", graph.output_tensors),
    ]
    return [(conversion.model.name, escape(", ".join(part for part in parts if part)))]


def _tensors(side: str, tensors: dict[str, "Tensor"]) -> str:
    shown = [f"{name} {t.dtype} {fmt.shape(t.shape_signature)}" for name, t in tensors.items()]
    more = f" and {len(shown) - 2} more" if len(shown) > 2 else ""
    return f"{fmt.plural(len(shown), side)} {', '.join(shown[:2])}{more}"


def _budget_rows(conversion: "Conversion") -> Iterator[tuple[str, str]]:
    """Yields what the caller allows in place of the profile, where that is anything."""
    if words := conversion.budgets.in_words():
        yield "budgets", escape(words)


def _step_rows(conversion: "Conversion", seconds: Any) -> list[tuple[str, str]]:
    source, data = conversion.source, conversion.data
    rows = []
    if source.max_difference is not None:
        difference = (
            f"max difference {source.max_difference:.0e}" if source.max_difference else "no difference"
        )
        size = fmt.size(conversion.graph.size_bytes)
        what = "Keras" if source.kind.startswith("Keras") else "the SavedModel"
        origin = ", cached" if source.cached else ""
        how = "as one sequence" if keeping_state(conversion.graph) else "in a row, no reset"
        took = _took(seconds, "convert")
        rows.append(
            ("convert", f"float32 .tflite, {size}, equal to {what} ({difference}; {how}){origin}{took}")
        )
    elif source.unverified:
        size = fmt.size(conversion.graph.size_bytes)
        rows.append(
            ("convert", f"float32 .tflite, {size}, not compared with Keras{_took(seconds, 'convert')}")
        )
    rows += rewrite_rows(source.rewrites)
    rows += state_rows(conversion.graph)
    built = fmt.plural(len(conversion.candidates), "recipe")
    rows.append(("quantize", f"{built} on {escape(_data(data))}{_took(seconds, 'quantize')}"))
    return rows


def state_rows(graph: "Graph") -> list[tuple[str, str]]:
    """Returns a row for a file that keeps a state from one inference to the next: an app must know."""
    ops = keeping_state(graph)
    if not ops:
        return []
    return [("state", escape(f"kept between inferences ({', '.join(ops)}); begin anew {begin_anew(graph)}"))]


def rewrite_rows(rewrites: Sequence["Rewrite"]) -> list[tuple[str, str]]:
    """Returns a row per remedy that was applied: what, where, and how far outputs moved."""
    return [("rewrite", escape(f"{one.does}{_where(one)} ({_moved(one)})")) for one in rewrites]


def _where(rewrite: "Rewrite") -> str:
    shown = ", ".join(rewrite.layers[:3])
    more = f" and {len(rewrite.layers) - 3} more" if len(rewrite.layers) > 3 else ""
    return f": {shown}{more}" if shown else ""


def _moved(rewrite: "Rewrite") -> str:
    if rewrite.difference is None:
        return "meant to change the outputs"
    return f"difference {rewrite.difference:.0e}" if rewrite.difference else "no difference"


def _data(data: Any) -> str:
    text = f"{fmt.plural(data.calibration_count, 'sample')} from {data.source}"
    if data.evaluation_count:
        text += f", evaluated on {data.evaluation_count}"
    return text


def _took(seconds: Any, step: str) -> str:
    return f"   [dim]{seconds[step]:.1f} s[/]" if step in seconds else ""


def _table(conversion: "Conversion", *, has_measurements: bool) -> Any:
    is_measured = has_measurements
    header = ["", "recipe", "size"]
    if is_measured:
        where = "host" if getattr(conversion, "evidence", None) == "simulated" else "median"
        header += ["must-have", f"{where} ms", "p95 ms"]
    metric = [conversion.metric, "to float"] if conversion.metric else []
    header += ["cosine", "same class", *metric, ""]
    rows = [_row(c, is_measured=is_measured, metric=conversion.metric) for c in conversion.candidates]
    optional = ["p95 ms", "same class", "must-have", "cosine", *metric]
    return columns([escape(title) for title in header], rows, left=2, optional=optional)


def _row(candidate: "Candidate", *, is_measured: bool, metric: str | None) -> list[str]:
    measurement, fidelity = candidate.measurement, candidate.fidelity
    is_chosen = candidate.status == "chosen"
    cells = [MARK if is_chosen else "", candidate.recipe, fmt.size(candidate.size_bytes)]
    if is_measured:
        # An arena is exact, and small.
        memory = fmt.size if measurement and measurement.runner == "micro" else fmt.mib
        cells += [
            memory(measurement.memory.must_have_bytes if measurement else None),
            fmt.ms(measurement.latency.median_us if measurement else None),
            fmt.ms(measurement.latency.p95_us if measurement else None),
        ]
    cells += [
        fmt.cosine(fidelity.cosine if fidelity else None),
        fmt.percent(fidelity.top1_agreement if fidelity else None),
    ]
    if metric:
        value = fidelity.task_metric if fidelity else None
        cells.append(fmt.percent(value) if metric == "accuracy" else fmt.number(value))
        cells.append(change_words(fidelity.change if fidelity else None, is_share=metric == "accuracy"))
    cells.append(_status(candidate))
    style = "green" if is_chosen else "dim" if candidate.findings or candidate.dominated_by else ""
    return [f"[{style}]{cell}[/]" if style and cell else cell for cell in cells]


def change_words(change: "Change | None", *, is_share: bool) -> str:
    """Returns how far a task metric is from the float model's: "-0.3 ±0.6", of a share in points."""
    if change is None:
        return fmt.UNKNOWN
    factor = 100 if is_share else 1
    digits = ".1f" if is_share else ".3g"
    words = f"{change.value * factor + 0.0:+{digits}}"
    if change.low is None or change.high is None:
        return words
    beyond = max(change.high - change.value, change.value - change.low) * factor
    return f"{words} ±{beyond:{digits}}" if beyond else words.lstrip("+")


def _status(candidate: "Candidate") -> str:
    if candidate.dominated_by is not None:
        return "dominated"
    return "" if candidate.status == "fits" else candidate.status


def _choice(conversion: "Conversion") -> Iterator[Any]:
    """Yields why the chosen one was chosen, and why each rejected one was not, with what to do about it."""
    rows = []
    chosen = conversion.chosen
    if chosen and conversion.profile and len(conversion.candidates) > 1:
        why = reason(conversion.candidates, conversion.profile.recipes.prefer)
        rows.append(("chosen", f"{chosen.recipe}: {why}"))
    if chosen and chosen.measurement and (verified := chosen.measurement.conditions.get("verified")):
        rows.append(("verified", f"{chosen.recipe}: {verified_words(verified)}"))
    rows += _worst(conversion.candidates)
    rows += _dominated(conversion.candidates)
    rows += _rejected(conversion.candidates)
    if rows:
        yield ""
        yield labelled([(label, escape(text)) for label, text in rows])


def _worst(candidates: Sequence["Candidate"]) -> Iterator[tuple[str, str]]:
    """Yields one row: the sample on which each recipe is furthest from the float model, and where it is."""
    recipes: dict[str, list[str]] = {}
    for candidate in candidates:
        if candidate.fidelity is not None and candidate.fidelity.worst_sample is not None:
            recipes.setdefault(candidate.fidelity.worst_sample, []).append(candidate.recipe)
    if recipes:
        listed = "; ".join(f"{sample} of {', '.join(names)}" for sample, names in recipes.items())
        kept = [c.worst for c in candidates if c.worst is not None]
        where = (
            f" (kept in {kept[0].parent.name}/)"
            if len(kept) > 1
            else f" (kept: {kept[0].name})"
            if kept
            else ""
        )
        yield "worst sample", f"{listed}{where}"


def _dominated(candidates: Sequence["Candidate"]) -> Iterator[tuple[str, str]]:
    """Yields one row: which recipes another one makes pointless, and by what."""
    pairs: dict[str, list[str]] = {}
    for candidate in candidates:
        if candidate.dominated_by is not None:
            pairs.setdefault(candidate.dominated_by, []).append(candidate.recipe)
    if pairs:
        listed = "; ".join(f"{', '.join(recipes)} by {by}" for by, recipes in pairs.items())
        yield "dominated", f"{listed}: worse in something, better in nothing that is shown here"


def _rejected(candidates: Sequence["Candidate"]) -> list[tuple[str, str]]:
    """Returns a row per reason, with the recipes that share it."""
    recipes: dict[tuple[str, str, str], list[str]] = {}
    for candidate in candidates:
        for finding in candidate.findings:
            key = (candidate.status, finding.detail, finding.remedy)
            recipes.setdefault(key, []).append(candidate.recipe)
    return [
        (status, f"{', '.join(names)}: {detail}\n→ {remedy}")
        for (status, detail, remedy), names in recipes.items()
    ]


def _notes(conversion: "Conversion") -> Iterator[Any]:
    """Yields what to know about the numbers, each once, with the recipes that it is about."""
    about: dict[str, list[str]] = {note: [] for note in (*conversion.source.notes, *conversion.data.notes)}
    for candidate in conversion.candidates:
        for note in (*candidate.notes, *_of_channel(candidate)):
            about.setdefault(note, []).append(candidate.recipe)
        if candidate.status == "chosen" and candidate.measurement:
            about.update({note: [] for note in candidate.measurement.notes})
            if not candidate.measurement.stability.startswith("stable"):
                about[f"{candidate.measurement.stability}: measure on a quieter machine"] = [candidate.recipe]
    if about:
        yield ""
        yield labelled(
            ("note", escape(f"{', '.join(recipes)}: {note}" if recipes else note))
            for note, recipes in about.items()
        )


def _of_channel(candidate: "Candidate") -> Iterator[str]:
    """Yields which channel the cosine is of, where one is shown that nothing else names."""
    fidelity = candidate.fidelity
    if fidelity and fidelity.channel and not candidate.findings and fidelity.cosine < 1 - SAME_COSINE:
        yield f"the cosine is that of {fidelity.channel}, by its own spread"


def _written(deployment: "Deployment") -> str:
    chosen = deployment.chosen
    names = [chosen.path.name, *_outside(deployment)] if chosen and chosen.path else []
    return f"{deployment.folder}/  ({', '.join([*names, 'manifest.json', 'report.json'])})"


def _outside(conversion: "Conversion") -> list[str]:
    """Returns the names of the files that run outside the model, as filed."""
    return [file.name for part in conversion.source.outside for file in part.files]
