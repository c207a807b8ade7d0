"""Bench: the float model, its data and its outputs, against which every candidate is built and scored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devicekit.errors import UsageError
from devicekit.finding import Finding
from devicekit.graph.model import Graph
from devicekit.graph.randomness import random_outputs
from devicekit.graph.read import read_graph_bytes
from devicekit.graph.state import LATER, keeping_state
from devicekit.quantize import fidelity, proof, recipes
from devicekit.quantize.build import ORIGINAL, Built
from devicekit.quantize.metric import Metric
from devicekit.quantize.predictor import Predictor, stacked
from devicekit.quantize.samples import Data, rows
from devicekit.quantize.scores import Scores
from devicekit.quantize.signatures import with_signature
from devicekit.quantize.words import worded

Row = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Bench:
    """What all recipes share: the float model, the data, and what the float model makes of it.

    `reference` holds its outputs but the random ones, which differ from run to run: maybe none at all.
    `is_finite` says whether all were finite, those too.
    `wanted` are the thresholds that a candidate should meet, None where there are none. `dense_version` is
    the highest version of FULLY_CONNECTED that the runtime knows, None for any. `second_source` is the module
    of the child that makes int8 where litert-quantizer cannot, None for none. `timeout_s` is what the
    parent waits for one step.
    """

    model: bytes
    graph: Graph
    data: Data
    samples: Sequence[Row]
    predictor: Predictor
    reference: Mapping[str, NDArray[Any]]
    is_finite: bool
    scores: Scores
    metric: Metric | None
    out_dir: Path
    threads: int
    evaluation_s: float
    timeout_s: float
    wanted: fidelity.Thresholds | None
    dense_version: int | None
    second_source: str | None
    float_metric: float | None = None

    @property
    def count(self) -> int:
        return len(self.samples)

    @cached_property
    def calibration_rows(self) -> list[dict[str, NDArray[Any]]]:
        return rows(self.data.calibration, self.graph)

    @cached_property
    def calibration(self) -> recipes.Ranges:
        return recipes.calibrate(
            self.model,
            self.calibration_rows,
            signature=self.predictor.signature,
            threads=self.threads,
        )

    def in_words(self, name: str, rule: str, error: Exception) -> Finding:
        """Returns what stopped the recipe `name`."""
        is_static = recipes.base_of(name) in recipes.CALIBRATED
        has_branch = any(op.name == "IF" for op in self.graph.ops)
        return worded(rule, error, has_branch=is_static and has_branch)

    def quantized(
        self, name: str, recipe: recipes.Recipe, variant: recipes.Variant = recipes.AS_IT_SAYS
    ) -> bytes:
        """Returns what a recipe, varied, makes of the float model. Raises whatever the recipe does."""
        calibration = self.calibration if recipes.base_of(name) in recipes.CALIBRATED else None
        if variant == recipes.AS_IT_SAYS:
            return recipe(self.model, calibration)
        return recipe(self.model, calibration, variant=variant)

    def compared(self, model: bytes, count: int) -> fidelity.Fidelity:
        """Returns the fidelity on the first `count` samples. Raises RuntimeError or ValueError."""
        predictor = Predictor(with_signature(model), threads=self.threads)
        outputs = stacked([predictor.predict(sample) for sample in self.samples[:count]])
        return self.score(outputs, count)

    def score(self, outputs: Mapping[str, NDArray[Any]], count: int) -> fidelity.Fidelity:
        """Returns the fidelity of `outputs` on the first `count` samples."""
        reference = {key: values[:count] for key, values in self.reference.items()}
        return fidelity.compare(reference, outputs, self.scores.first(count))


def judged(
    bench: Bench,
    name: str,
    model: bytes,
    *,
    notes: Sequence[str] = (),
    keep_float: frozenset[str] = frozenset(),
) -> Built:
    """Returns a built model with its proof and its fidelity, filed; whatever is wrong is a finding.

    `keep_float` are the scopes of ops that stay float on purpose.
    """
    try:
        graph = read_graph_bytes(model, bench.out_dir / f"{name}.tflite")
    except Exception as error:
        return failed(name, worded("build", error))
    base = recipes.base_of(name)
    narrow = list(proof.narrow(graph))
    if narrow:  # running it may end this process
        return failed(name, *narrow)
    findings = list(proof.unquantized(base, graph, keep_float=keep_float))
    told = list(notes)
    if not findings:
        told += proof.float_parts(base, graph, keep_float=keep_float)
    if base in recipes.CALIBRATED and bench.data.is_random:
        told.append("calibrated on random data")
    try:
        predictor = Predictor(with_signature(model), threads=bench.threads)
        outputs, golden = run(predictor, bench.samples, bench.evaluation_s)
        golden = without_random(golden, graph)
    except (RuntimeError, ValueError) as error:
        return failed(name, *findings, bench.in_words(name, "loads", error))
    findings += _state(bench, graph, remembered(predictor, golden))
    count = len(next(iter(outputs.values())))
    if count < bench.count:
        told.append(f"scored on {count} of {bench.count} samples, what {bench.evaluation_s:g} s allow")
    if not fidelity.all_finite(outputs) and bench.is_finite:
        findings.append(_not_finite(base, bench.data))
    score = bench.score(outputs, count) if bench.reference else None
    if bench.metric is not None and score is not None:
        score, findings = _scored(bench, predictor, score, findings=findings)
    return _file(bench.out_dir, name, model, golden=golden, score=score, findings=findings, notes=told)


def _state(bench: Bench, graph: Graph, outputs: Sequence[str]) -> Iterator[Finding]:
    """Yields a finding where the file keeps a state though the float model does not."""
    ops = keeping_state(graph)
    if keeping_state(bench.graph) or not (ops or outputs):
        return
    by = f" ({', '.join(ops)})" if ops else ""
    changed = f": {', '.join(outputs)} changed on the same input" if outputs else ""
    yield Finding(
        "state",
        f"it keeps a state between inferences, the float model does not{by}{changed}",
        "choose another recipe",
        op=next(iter(ops), None),
    )


def original(bench: Bench) -> Built:
    """Returns the source itself, as it is quantized already: there is no float model to compare with."""
    dtypes = {tensor.dtype for tensor in bench.graph.main.tensors if tensor.is_constant and tensor.scale}
    what = " and ".join(sorted(dtypes)) or "float16"
    _, golden = run(bench.predictor, bench.samples[:1], bench.evaluation_s)
    golden = without_random(golden, bench.graph)
    note = f"quantized already ({what}): taken as it is, nothing to compare with"
    model = Path(bench.graph.path).read_bytes()
    return _file(bench.out_dir, ORIGINAL, model, golden=golden, score=None, findings=[], notes=[note])


def failed(name: str, *findings: Finding) -> Built:
    return Built(name, None, None, None, None, findings=findings)


def run(
    predictor: Predictor, samples: Sequence[Row], evaluation_s: float
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Returns the outputs for as many samples as `evaluation_s` allows, one at least; the golden arrays.

    These are of the first sample: what goes in, and what comes out in the first inference, and in a later
    one.
    """
    fed = predictor.feed(samples[0])
    predictor.begin_anew()
    raw = [predictor.invoke(fed) for _ in range(LATER)]
    golden = {f"in/{name}": values for name, values in fed.items()}
    golden |= {f"out/{name}": values for name, values in raw[0].items()}
    golden |= {f"later/{name}": values for name, values in raw[-1].items()}
    return predictor.predict_all(samples, seconds=evaluation_s), golden


def remembered(predictor: Predictor, golden: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the outputs that are not, to the bit, what they were in the first inference on the same input.

    `predictor` has run other samples since, in a row and without a reset, as an app would.
    """
    fed = {name.removeprefix("in/"): values for name, values in golden.items() if name.startswith("in/")}
    now = predictor.invoke(fed)
    first = {name.removeprefix("out/"): values for name, values in golden.items() if name.startswith("out/")}
    return tuple(
        name
        for name, values in first.items()
        if any(values.tobytes() != one.tobytes() for one in (golden[f"later/{name}"], now[name]))
    )


def without_random(golden: Mapping[str, Any], graph: Graph) -> dict[str, Any]:
    """Returns the golden arrays without outputs that no other run gives."""
    random = {f"{side}/{name}" for name in random_outputs(graph) for side in ("out", "later")}
    return {name: values for name, values in golden.items() if name not in random}


def _scored(
    bench: Bench, predictor: Predictor, score: fidelity.Fidelity, *, findings: Sequence[Finding]
) -> tuple[fidelity.Fidelity, list[Finding]]:
    """Returns `score` with the user's metric, and `findings` with one more where that cannot be computed."""
    assert bench.metric
    score = replace(score, task_metric=None, float_task_metric=bench.float_metric)
    try:
        return replace(score, task_metric=bench.metric(predictor)), list(findings)
    except UsageError as error:
        return score, [*findings, Finding("eval", error.message, f"{error.remedy}, or choose another recipe")]


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


def _not_finite(base: str, data: Data) -> Finding:
    remedy = "choose another recipe"
    if base in recipes.CALIBRATED:
        remedy = "give real samples with --data" if data.is_random else "give more samples with --data"
    return Finding("finite", "its outputs are NaN or infinite where the float model's are not", remedy)
