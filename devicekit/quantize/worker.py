"""The child that builds recipes: one process for all, so libraries load and the float model runs once."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.check.finding import Finding
from devicekit.child import serve
from devicekit.errors import LoadError, UsageError
from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph, read_graph_bytes
from devicekit.plugins import resolve
from devicekit.quantize import fidelity, proof, recipes
from devicekit.quantize.build import ORIGINAL, Built
from devicekit.quantize.calibration import Data, load_data, rows
from devicekit.quantize.metric import Metric, load_metric
from devicekit.quantize.predictor import Predictor, stacked
from devicekit.quantize.scores import NO_SCORES, Scores, find_scores
from devicekit.quantize.signatures import with_signature

if TYPE_CHECKING:
    from numpy.typing import NDArray

Row = Mapping[str, "NDArray[Any]"]


def handle(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields {"data": …}, then {"started": recipe} and {"built": Built} for each recipe.

    {"reading": file} before it runs the user's data or code, {"reading": None} behind.
    """
    graph = read_graph(Path(request["float_path"]))
    yield {"reading": request["eval_function"]}
    metric = _metric(request["eval_function"], graph)
    yield {"reading": request["data"]}
    data = load_data(request["data"], graph, random_count=_random_count(graph))
    yield {"reading": None}
    bench = _prepare(request, graph, data=data, metric=metric)
    yield {"data": _summary(bench)}
    if not proof.is_plain_float(graph):
        yield {"started": ORIGINAL}
        yield {"built": _to_json(_original(bench))}
        return
    yield {"reading": request["eval_function"]}
    if metric is not None:
        bench = replace(bench, float_metric=metric(bench.predictor))
    yield {"reading": None}
    for name in request["recipes"]:
        yield {"started": name}
        start = time.monotonic()
        built = _build(bench, name, resolve(request["table"][name]))
        yield {"built": _to_json(replace(built, seconds=time.monotonic() - start))}


@dataclass(frozen=True)
class _Bench:
    """What all recipes share: the float model, the data, and what the float model makes of it."""

    model: bytes
    graph: Graph
    data: Data
    samples: Sequence[Row]
    predictor: Predictor
    reference: Mapping[str, "NDArray[Any]"]
    scores: Scores
    metric: Metric | None
    out_dir: Path
    threads: int
    evaluation_s: float
    float_metric: float | None = None

    @property
    def count(self) -> int:
        return len(next(iter(self.reference.values())))

    @cached_property
    def calibration(self) -> recipes.Calibration:
        return recipes.calibrate(
            self.model,
            rows(self.data.calibration, self.graph),
            signature=self.predictor.signature,
            threads=self.threads,
        )


def _prepare(request: Mapping[str, Any], graph: Graph, *, data: Data, metric: Metric | None) -> _Bench:
    """Runs the float model on the evaluation inputs. Raises LoadError, or UsageError for the labels."""
    path, threads, evaluation_s = graph.path, request["threads"], request["evaluation_s"]
    model = with_signature(path.read_bytes())
    samples = rows(data.evaluation, graph)
    try:
        predictor = Predictor(model, threads=threads)
        reference, _ = _run(predictor, samples, evaluation_s)
    except (RuntimeError, ValueError) as error:
        finding = worded("loads", error)
        raise LoadError(
            path.name, found=f"LiteRT cannot run it: {finding.detail}", remedy=finding.remedy
        ) from error
    count = len(next(iter(reference.values())))
    # On noise the best class is a matter of chance.
    scores = NO_SCORES if data.is_random else find_scores(reference, data.labels, source=data.source)
    notes = list(data.notes)
    if count < len(samples):
        notes.append(f"scored on {count} of {len(samples)} samples, what {evaluation_s:g} s allow")
    if not fidelity.all_finite(reference):
        notes.append("the float model's own outputs are not finite on these inputs: fidelity says nothing")
    if data.labels is not None and scores.labelled is None:
        notes.append("labels unused: no output holds one score per class")
    return _Bench(
        model=model,
        graph=graph,
        data=replace(data, notes=tuple(notes)),
        samples=samples[:count],
        predictor=predictor,
        reference=reference,
        scores=scores.first(count),
        metric=metric,
        out_dir=Path(request["out_dir"]),
        threads=threads,
        evaluation_s=evaluation_s,
    )


def _metric(spec: str | None, graph: Graph) -> Metric | None:
    return None if spec is None else load_metric(spec, tuple(graph.input_tensors))


def _random_count(graph: Graph) -> int:
    """Returns how many random samples cost little: 8 for a MobileNetV2 (300 M MACs), 64 for small models."""
    from devicekit.graph.macs import macs

    count = macs(graph)
    return min(64, max(8, 2_000_000_000 // count)) if count else 16


def _build(bench: _Bench, name: str, recipe: recipes.Recipe) -> Built:
    """Returns what one recipe gives; whatever goes wrong in it becomes a finding."""
    try:
        calibration = bench.calibration if name in recipes.CALIBRATED else None
        model = recipe(bench.model, calibration)
        graph = read_graph_bytes(model, bench.out_dir / f"{name}.tflite")
    except MemoryError:
        raise
    except Exception as error:  # litert-quantizer raises whatever its Python meets
        return _failed(name, worded("build", error))
    if name == "float32":
        model = Path(bench.graph.path).read_bytes()
    findings = list(proof.unquantized(name, graph))
    notes = [] if findings else list(proof.float_parts(name, graph))
    if name in recipes.CALIBRATED and bench.data.is_random:
        notes.append("calibrated on random data")
    try:
        predictor = Predictor(with_signature(model), threads=bench.threads)
        outputs, golden = _run(predictor, bench.samples, bench.evaluation_s)
    except (RuntimeError, ValueError) as error:
        return _failed(name, *findings, worded("loads", error))
    count = len(next(iter(outputs.values())))
    if count < bench.count:
        notes.append(f"scored on {count} of {bench.count} samples, what {bench.evaluation_s:g} s allow")
    if not fidelity.all_finite(outputs) and fidelity.all_finite(bench.reference):
        findings.append(_not_finite(name, bench.data))
    reference = {key: values[:count] for key, values in bench.reference.items()}
    score = fidelity.compare(reference, outputs, bench.scores.first(count))
    if bench.metric is not None:
        score, findings = _scored(bench, predictor, score, findings=findings)
    return _file(bench.out_dir, name, model, golden=golden, score=score, findings=findings, notes=notes)


def _original(bench: _Bench) -> Built:
    """Returns the source itself, as it is quantized already: there is no float model to compare with."""
    dtypes = {tensor.dtype for tensor in bench.graph.main.tensors if tensor.is_constant and tensor.scale}
    what = " and ".join(sorted(dtypes)) or "float16"
    _, golden = _run(bench.predictor, bench.samples[:1], bench.evaluation_s)
    note = f"quantized already ({what}): taken as it is, nothing to compare with"
    model = Path(bench.graph.path).read_bytes()
    return _file(bench.out_dir, ORIGINAL, model, golden=golden, score=None, findings=[], notes=[note])


def _scored(
    bench: _Bench, predictor: Predictor, score: fidelity.Fidelity, *, findings: Sequence[Finding]
) -> tuple[fidelity.Fidelity, list[Finding]]:
    """Returns `score` with the user's metric, and `findings` with one more where that cannot be computed."""
    assert bench.metric
    score = replace(score, task_metric=None, float_task_metric=bench.float_metric)
    try:
        return replace(score, task_metric=bench.metric(predictor)), list(findings)
    except UsageError as error:
        return score, [*findings, Finding("eval", error.message, f"{error.remedy}, or choose another recipe")]


def _run(
    predictor: Predictor, samples: Sequence[Row], evaluation_s: float
) -> tuple[dict[str, "NDArray[Any]"], dict[str, Any]]:
    """Returns the outputs for as many samples as `evaluation_s` allows, one at least; the golden arrays."""
    fed = predictor.feed(samples[0])
    raw = predictor.invoke(fed)
    golden = {f"in/{name}": values for name, values in fed.items()}
    golden |= {f"out/{name}": values for name, values in raw.items()}
    deadline = time.monotonic() + evaluation_s
    outputs = []
    for sample in samples:
        outputs.append(predictor.predict(sample))
        if time.monotonic() > deadline:
            break
    return stacked(outputs), golden


def _file(
    out_dir: Path,
    name: str,
    model: bytes,
    *,
    golden: Mapping[str, Any],
    score: fidelity.Fidelity | None,
    findings: Sequence[Finding],
    notes: Sequence[str],
) -> Built:
    import numpy as np

    path, golden_path = out_dir / f"{name}.tflite", out_dir / f"{name}.golden.npz"
    path.write_bytes(model)
    np.savez(golden_path, **golden)
    return Built(
        recipe=name,
        path=path,
        size_bytes=len(model),
        sha256=sha256(model).hexdigest(),
        fidelity=score,
        findings=tuple(findings),
        notes=tuple(notes),
        golden=golden_path,
    )


def _failed(name: str, *findings: Finding) -> Built:
    return Built(name, None, None, None, None, findings=findings)


def _not_finite(name: str, data: Data) -> Finding:
    remedy = "choose another recipe"
    if name in recipes.CALIBRATED:
        remedy = "give real samples with --data" if data.is_random else "give more samples with --data"
    return Finding("finite", "its outputs are NaN or infinite where the float model's are not", remedy)


# What litert-quantizer and LiteRT say -> what the user reads, and what to do about it.
_WORDED = (
    (
        r"Tensor data is null|while_|while\.cc|body_input",
        "a loop (WHILE, from an RNN) cannot be quantized statically",
        "use dynamic_int8, or build the RNN with unroll=True",
    ),
    (
        r"no_integer_overflow_from_quantization.*Node number (\d+) \((\w+)\)",
        r"\2 (op \1): its scales overflow the 16-bit kernel",
        "use int8",
    ),
    (
        r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'",
        r"LiteRT has no kernel for \1 version \2",
        "update ai-edge-litert",
    ),
    (
        r"unresolved custom op: (\w+)",
        r"LiteRT has no kernel for the custom op \1",
        "replace the layer behind it by built-in ones",
    ),
    (
        r"Select TensorFlow op|Flex delegate",
        "it needs TensorFlow ops (Flex), which no LiteRT package carries",
        "replace the layer behind them by built-in ones",
    ),
    (
        r"Node number (\d+) \((\w+)\) failed to (prepare|invoke)",
        r"\2 (op \1) failed to \3",
        "choose another recipe",
    ),
)


def worded(rule: str, error: Exception) -> Finding:
    """Returns the error of a library as a finding in few words."""
    text = " ".join(str(error).split())
    for pattern, detail, remedy in _WORDED:
        match = re.search(pattern, text)
        if match:
            return Finding(rule, match.expand(detail), remedy)
    if not isinstance(error, RuntimeError | ValueError):
        text = f"{type(error).__name__}: {text}"  # a bare KeyError says nothing without its name
    short = text if len(text) <= 120 else text[:117] + "…"
    return Finding(rule, short or type(error).__name__, "choose another recipe")


def _summary(bench: _Bench) -> dict[str, Any]:
    data = bench.data
    return {
        "source": data.source,
        "calibration_count": len(next(iter(data.calibration.values()))),
        "evaluation_count": bench.count,
        "is_random": data.is_random,
        "has_labels": data.labels is not None,
        "notes": data.notes,
    }


def _to_json(built: Built) -> dict[str, Any]:
    document = asdict(built)
    for key in ("path", "golden"):
        document[key] = None if document[key] is None else str(document[key])
    return document


if __name__ == "__main__":
    serve(handle)
