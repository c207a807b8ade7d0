"""The child that builds recipes: one process for all, so libraries load and the float model runs once."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from devicekit.quantize.predictor import Predictor
from devicekit.quantize.signatures import with_signature
from devicekit.quantize.sources import call_user, load_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What scoring one candidate may take: int16x8 needs half a second per sample of a ResNet50, as it has no fast
# kernels on x86 (facts/conversion.md §1b).
EVALUATION_S = 20.0

Row = Mapping[str, "NDArray[Any]"]


def handle(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields {"data": …}, then {"started": recipe} and {"built": Built} for each recipe."""
    bench = _prepare(request)
    yield {"data": _summary(bench)}
    if not proof.is_plain_float(bench.graph):
        yield {"started": ORIGINAL}
        yield {"built": _to_json(_original(bench))}
        return
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
    metric: "Callable[[Predictor], float] | None"
    out_dir: Path
    threads: int

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

    @cached_property
    def float_metric(self) -> float | None:
        return None if self.metric is None else self.metric(self.predictor)


def _prepare(request: Mapping[str, Any]) -> _Bench:
    from devicekit.graph.macs import macs

    path = Path(request["float_path"])
    graph = read_graph(path)
    data = load_data(request["data"], graph, random_count=_random_count(macs(graph)))
    model = with_signature(path.read_bytes())
    samples = rows(data.evaluation, graph)
    try:
        predictor = Predictor(model, threads=request["threads"])
        reference, _ = _run(predictor, samples)
    except (RuntimeError, ValueError) as error:
        finding = worded("loads", error)
        raise LoadError(
            path.name, found=f"LiteRT cannot run it: {finding.detail}", remedy=finding.remedy
        ) from error
    count = len(next(iter(reference.values())))
    notes = list(data.notes)
    if count < len(samples):
        notes.append(f"scored on {count} of {len(samples)} samples, what {EVALUATION_S:g} s allow")
    if not fidelity.all_finite(reference):
        notes.append("the float model's own outputs are not finite on these inputs: fidelity says nothing")
    if data.labels is not None and fidelity.accuracy(reference, data.labels[:count]) is None:
        notes.append("labels unused: no output holds one score per class")
    return _Bench(
        model=model,
        graph=graph,
        data=replace(data, notes=tuple(notes)),
        samples=samples[:count],
        predictor=predictor,
        reference=reference,
        metric=_metric(request["eval_function"], tuple(graph.input_tensors)),
        out_dir=Path(request["out_dir"]),
        threads=request["threads"],
    )


def _random_count(macs: int | None) -> int:
    """Returns how many random samples cost little: 8 for a MobileNetV2 (300 M MACs), 64 for small models."""
    return min(64, max(8, 2_000_000_000 // macs)) if macs else 16


def _metric(spec: str | None, inputs: tuple[str, ...]) -> "Callable[[Predictor], float] | None":
    """Returns the user's score of a model; None where none was asked for. Raises UsageError."""
    if spec is None:
        return None
    function, name = load_function(spec), Path(spec).name

    def score(predictor: Predictor) -> float:
        def predict(arrays: Row) -> Row:
            count = len(next(iter(arrays.values())))
            one_by_one = [{key: values[i : i + 1] for key, values in arrays.items()} for i in range(count)]
            return _stacked([predictor.predict(row) for row in one_by_one])

        value = call_user(name, lambda: function(fidelity.predict_function(predict, inputs)))
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            found = type(value).__name__
            raise UsageError(
                f"{name}: returned {found}, expected a number", remedy=f"return one float from {name}"
            ) from error

    return score


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
        outputs, golden = _run(predictor, bench.samples)
    except (RuntimeError, ValueError) as error:
        return _failed(name, *findings, worded("loads", error))
    count = len(next(iter(outputs.values())))
    if count < bench.count:
        notes.append(f"scored on {count} of {bench.count} samples, what {EVALUATION_S:g} s allow")
    if not fidelity.all_finite(outputs) and fidelity.all_finite(bench.reference):
        findings.append(_not_finite(name, bench.data))
    score = _fidelity(bench, predictor, outputs)
    return _file(bench.out_dir, name, model, golden=golden, score=score, findings=findings, notes=notes)


def _original(bench: _Bench) -> Built:
    """Returns the source itself, as it is quantized already: there is no float model to compare with."""
    dtypes = {tensor.dtype for tensor in bench.graph.main.tensors if tensor.is_constant and tensor.scale}
    what = " and ".join(sorted(dtypes)) or "float16"
    _, golden = _run(bench.predictor, bench.samples[:1])
    note = f"quantized already ({what}): taken as it is, nothing to compare with"
    model = Path(bench.graph.path).read_bytes()
    return _file(bench.out_dir, ORIGINAL, model, golden=golden, score=None, findings=[], notes=[note])


def _fidelity(bench: _Bench, predictor: Predictor, outputs: Row) -> fidelity.Fidelity:
    count = len(next(iter(outputs.values())))
    reference = {name: values[:count] for name, values in bench.reference.items()}
    labels = None if bench.data.labels is None else bench.data.labels[:count]
    score = fidelity.compare(reference, outputs, labels)
    if bench.data.is_random:
        score = replace(score, top1_agreement=None)  # on noise the best class is a matter of chance
    if bench.metric is not None:
        score = replace(score, task_metric=bench.metric(predictor), float_task_metric=bench.float_metric)
    return score


def _run(predictor: Predictor, samples: Sequence[Row]) -> tuple[dict[str, "NDArray[Any]"], dict[str, Any]]:
    """Returns the outputs for as many samples as EVALUATION_S allows, one at least, and the golden arrays."""
    fed = predictor.feed(samples[0])
    raw = predictor.invoke(fed)
    golden = {f"in/{name}": values for name, values in fed.items()}
    golden |= {f"out/{name}": values for name, values in raw.items()}
    deadline = time.monotonic() + EVALUATION_S
    outputs = []
    for sample in samples:
        outputs.append(predictor.predict(sample))
        if time.monotonic() > deadline:
            break
    return _stacked(outputs), golden


def _stacked(outputs: Sequence[Row]) -> dict[str, "NDArray[Any]"]:
    """Returns the outputs of single samples as one array per output, [N, …]; ragged ones zero-padded."""
    import numpy as np

    stacked = {}
    for name in outputs[0]:
        values = [output[name] for output in outputs]
        if len({value.shape for value in values}) > 1:
            longest = max(value.size for value in values)
            values = [np.pad(value.ravel(), (0, longest - value.size))[None] for value in values]
        has_batch_axis = values[0].ndim > 0 and values[0].shape[0] == 1
        stacked[name] = np.concatenate(values) if has_batch_axis else np.stack(values)
    return stacked


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
