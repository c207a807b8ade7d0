"""How `predict` reads on a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from devicekit import words as fmt
from devicekit.predict.advice import lower, peak_in_words
from devicekit.report.text import columns, escape, labelled

if TYPE_CHECKING:
    from devicekit.pipeline.predict import Confirmation, Prediction
    from devicekit.predict.latency import LatencyPrediction
    from devicekit.predict.memory import MemoryPrediction

_CHART_WIDTH = 60
_BARS = " ▁▂▃▄▅▆▇█"
_COLOURS = {"fits": "green", "tight": "yellow", "does not fit": "red"}


def lines(prediction: "Prediction") -> Iterator[Any]:
    """Yields memory figure by figure with its rule, the timeline, and the latency."""
    profile, memory = prediction.profile, prediction.memory
    name = prediction.model.rstrip("/").rsplit("/", 1)[-1]
    facts = f"{fmt.count(prediction.parameters)} parameters, {fmt.count(prediction.macs)} MACs"
    yield labelled(
        [
            (name, escape(f"{facts}, {prediction.precision}")),
            (profile.name, escape(f"{profile.title or profile.name}, {profile.runtime.label}")),
        ]
    )
    yield ""
    if memory.delegate == "tflm":
        yield columns(("  memory", "KiB", ""), list(_micro_figures(prediction)))
    else:
        yield columns(("  memory", "MiB", ""), list(_figures(memory)))
    yield ""
    yield from _verdict(prediction)
    if memory.timeline:
        yield from _timeline(prediction)
    yield ""
    yield from _latency(prediction)
    yield from (f"  note          {escape(note)}" for note in prediction.notes)


def _figures(memory: "MemoryPrediction") -> Iterator[tuple[str, str, str]]:
    packed = "XNNPACK's copy of the weights" if memory.packed_bytes else ""
    arena = "LiteRT's arenas" + (" and XNNPACK's workspace" if memory.delegate == "xnnpack" else "")
    arena += ": to the byte" if memory.arena_exact else ": planned"
    rows = [
        ("file", memory.file_bytes, "mapped: can be reclaimed"),
        ("weights", memory.weights_bytes, "constants in the file"),
        ("packed weights", memory.packed_bytes, packed),
        ("input pointers", memory.indirection_bytes, "XNNPACK's indirection buffers"),
        ("activations", memory.arena_bytes, arena),
        ("scratch", memory.scratch_bytes, "the largest matrix product of the built-in kernels"),
        ("tables", memory.overhead_bytes, "nodes, tensors, allocators"),
    ]
    for label, size, rule in rows:
        if size:
            yield f"  {label}", _mib(size), rule
    if memory.must_have_bytes is None:
        yield "▸ must-have", f"≥ {_mib(memory.least_bytes)}", escape(f"a lower bound: {memory.reason}")
        return
    error = f"± {_mib(memory.error_bytes)}"
    if memory.evidence == "simulated":
        why = escape(f"simulated, one run on this host: {memory.reason}")
        yield "▸ must-have", _mib(memory.must_have_bytes), why
        yield (
            "  at least",
            _mib(memory.least_bytes if memory.must_have_bytes is None else memory.planned_bytes),
            ("by the plan alone"),
        )
    else:
        yield (
            "▸ must-have",
            _mib(memory.must_have_bytes),
            f"predicted {error}: all of it but file and weights",
        )
    yield "  peak RSS", _mib(memory.peak_rss_bytes), "must-have, the mapped file and code"
    yield "  base", _mib(memory.base_bytes), "the runtime itself, which comes on top"


def _micro_figures(prediction: "Prediction") -> Iterator[tuple[str, str, str]]:
    memory, micro, limits = prediction.memory, prediction.micro, prediction.profile.limits
    yield (
        "  flash",
        _kib(memory.file_bytes),
        f"the .tflite; limits.model_kib is {limits.model_kib or fmt.UNKNOWN}",
    )
    yield "  weights", _kib(memory.weights_bytes), "constants in the file, read in place"
    yield "  plan", _kib(memory.planned_bytes), "activations in turn, as TFLM's planner places them"
    if micro is None or micro.needed_bytes is None:
        yield "▸ arena", f"≥ {_kib(memory.planned_bytes)}", escape(f"a lower bound: {memory.reason}")
        return
    yield "  reused", _kib(micro.reused_bytes), "the same, and kernels' scratch, as TFLM allocated them"
    yield "  persistent", _kib(micro.persistent_bytes), "tables, variables, kernels' data"
    yield "▸ arena", _kib(micro.needed_bytes), f"simulated by bisection, tflite-micro {micro.version}"


def _verdict(prediction: "Prediction") -> Iterator[Any]:
    memory, limits, verdict = prediction.memory, prediction.profile.limits, prediction.verdict
    is_micro = memory.delegate == "tflm"
    key, limit = ("arena_kib", limits.arena_kib) if is_micro else ("memory_mib", limits.memory_mib)
    if prediction.micro and prediction.micro.missing_ops:
        words = f"[red]does not fit[/]: TFLM has no {', '.join(prediction.micro.missing_ops)}"
    elif prediction.micro and prediction.micro.failed:
        words = f"[red]does not fit[/]: it does not run in TFLM: {escape(prediction.micro.failed)}"
    elif is_micro and limits.model_kib and memory.file_bytes > limits.model_kib * 1024:
        words = f"[red]does not fit[/]: the file is larger than limits.model_kib, {limits.model_kib}"
    elif limit is None:
        words = f"no limits.{key} in the profile"
    elif verdict is None:
        words = f"not known: the lower bound is within limits.{key}, {limit:g}"
    else:
        colour = _COLOURS[verdict]
        words = f"[{colour}]{verdict}[/]: limits.{key} is {limit:g}"
        if verdict == "tight":
            words += ", within the prediction's error"
    rows = [("verdict", words)]
    if prediction.confirmation:
        rows.append(("confirmation", escape(_confirmed(prediction.confirmation))))
    if peak := peak_in_words(memory, prediction.graph):
        rows.append(("peak", escape(peak)))
    yield labelled(rows)
    if verdict != "fits" and (advice := lower(memory, prediction.graph)):
        yield f"  → {escape(advice)}"
    elif advice := lower(memory, prediction.graph):
        yield labelled([("to lower it", escape(advice))])


def _confirmed(confirmation: "Confirmation") -> str:
    """Returns "agrees: it runs here under memory 25 MiB (RLIMIT_DATA), 2 threads; must-have 21.6 MiB"."""
    verdict = {True: "agrees", False: "refutes it", None: "decides"}[confirmation.agrees]
    runs = "it runs here" if confirmation.runs else "it ran out of memory here"
    needed = "" if confirmation.needed_bytes is None else f"; it needs {fmt.mib(confirmation.needed_bytes)}"
    return f"{verdict}: {runs} under {', '.join(confirmation.enforced)}{needed}"


def _timeline(prediction: "Prediction") -> Iterator[Any]:
    """Yields a chart of the activations in use, operator by operator."""
    timeline = prediction.memory.timeline
    most = max(one.alive_bytes for one in timeline) or 1
    width = min(_CHART_WIDTH, len(timeline))
    bars = []
    for column in range(width):
        part = timeline[column * len(timeline) // width : (column + 1) * len(timeline) // width]
        level = max(one.alive_bytes for one in part) / most
        bars.append(_BARS[max(round(level * (len(_BARS) - 1)), 1)])
    yield labelled(
        [("by operator", f"{''.join(bars)}  0 … {fmt.plural(len(timeline), 'op')}, {fmt.size(most)}")]
    )


def _latency(prediction: "Prediction") -> Iterator[Any]:
    latency = prediction.latency
    if latency is None:
        yield labelled([("latency", escape(f"not predicted: {prediction.latency_reason}"))])
        if prediction.relative is not None:
            moved = fmt.size(sum(work.bytes for work in prediction.work))
            words = (
                f"relative cost {prediction.relative:.3g}: {fmt.count(prediction.macs)} MACs, {moved} moved"
            )
            yield labelled([("to rank by", escape(words))])
        if "has no calibration" in (prediction.latency_reason or ""):
            name = prediction.profile.name
            yield f"  → devicekit profile calibrate {escape(name)} --device auto, with one attached"
        return
    low, high = latency.interval_80_ms
    rows = [("latency", escape(latency_words(latency))), ("", f"80 %: {_ms(low)}–{_ms(high)} ms")]
    if latency.far:
        rows.append(("", escape(f"wider, for {latency.far}")))
    elif latency.tier == "sibling":
        rows.append(("", "wider, for it is another device's calibration"))
    limit = prediction.profile.limits.latency_ms
    if limit is not None:
        low, high = latency.interval_90_ms
        met = "met" if high <= limit else "missed" if low > limit else "may be missed"
        rows.append(("budget", f"{limit:g} ms: {met}"))
    yield labelled(rows)


def latency_words(latency: "LatencyPrediction") -> str:
    """Returns "14.2 ms (90 %: 12.8–15.8), predicted: 5 calibration models, LiteRT CPU ×4, float32"."""
    low, high = latency.interval_90_ms
    return f"{_ms(latency.median_ms)} ms (90 %: {_ms(low)}–{_ms(high)}), predicted: {latency.basis}"


def _mib(size_bytes: int | None) -> str:
    return fmt.mib(size_bytes).removesuffix(" MiB")


def _kib(size_bytes: int | None) -> str:
    return fmt.UNKNOWN if size_bytes is None else f"{size_bytes / 1024:.1f}"


def _ms(value: float) -> str:
    return fmt.ms(value * 1000)
