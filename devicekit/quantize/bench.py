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
from devicekit.graph.ranges import ops_before_lookups
from devicekit.graph.read import read_graph_bytes
from devicekit.graph.state import LATER, keeping_state
from devicekit.quantize import fidelity, proof, recipes
from devicekit.quantize.build import ORIGINAL, Built
from devicekit.quantize.change import Change, of_scores
from devicekit.quantize.metric import Metric, Score
from devicekit.quantize.predictor import Predictor, stacked
from devicekit.quantize.quality import Thresholds
from devicekit.quantize.samples import Data, rows
from devicekit.quantize.scores import Scores, hits
from devicekit.quantize.signatures import with_signature
from devicekit.quantize.words import worded
from devicekit.quantize.worst import worst_samples, write_worst

Row = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Bench:
    """What all recipes share: the float model, the data, and what the float model makes of it.

    `reference` holds its outputs but the random ones, which differ from run to run: maybe none at all.
    `is_finite` says whether all were finite, those too.
    `wanted` are the thresholds that a candidate should meet, None where there are none. `dense_version` is
    the highest version of FULLY_CONNECTED that the runtime knows, None for any. `second_source` is the module
    of the child that makes int8 where litert-quantizer cannot, None for none. `timeout_s` is what the
    parent waits for one step. `keep_worst` is how many of the worst samples of each candidate are kept.
    `usual` are float outputs that show how much each varies, where the evaluation samples are too few to.
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
    wanted: Thresholds | None
    dense_version: int | None
    second_source: str | None
    keep_worst: int = 0
    usual: Mapping[str, NDArray[Any]] | None = None
    float_score: Score | None = None

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

    @cached_property
    def indices_before_lookups(self) -> tuple[str, ...]:
        """Returns the scopes of ops that indices in floats go through: 8 bits would round them."""
        return tuple(recipes.scope_of(op, self.graph.main) for op in ops_before_lookups(self.graph))

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
        if calibration is not None and self.indices_before_lookups:
            kept = (*variant.keep_float, *self.indices_before_lookups)
            variant = replace(variant, keep_float=tuple(dict.fromkeys(kept)))
        if variant == recipes.AS_IT_SAYS:
            return recipe(self.model, calibration)
        return recipe(self.model, calibration, variant=variant)

    @property
    def float_metric(self) -> float | None:
        """Returns the task metric of the float model on all samples; None without labels and function."""
        if self.metric is not None:
            return None if self.float_score is None else self.float_score.value
        found = hits(self.reference, self.scores)
        return None if found is None else float(found.mean())

    def compared(self, model: bytes, count: int, *, by_metric: bool = False) -> fidelity.Fidelity:
        """Returns the fidelity on the first `count` samples, with `by_metric` the user's metric in it.

        Raises RuntimeError, ValueError, or UsageError of the user's function.
        """
        predictor = Predictor(with_signature(model), threads=self.threads)
        outputs = stacked([predictor.predict(sample) for sample in self.samples[:count]])
        score = self.score(outputs, count, steps_of(read_graph_bytes(model, Path("trial.tflite"))))
        if by_metric and self.metric is not None:
            return self.with_metric(score, self.metric(predictor))
        return score

    def score(
        self, outputs: Mapping[str, NDArray[Any]], count: int, steps: Mapping[str, float]
    ) -> fidelity.Fidelity:
        """Returns the fidelity of `outputs` on the first `count` samples; `steps`: see steps_of."""
        score = fidelity.compare(
            {key: values[:count] for key, values in self.reference.items()},
            outputs,
            self.scores.first(count),
            steps=steps,
            is_random=self.data.is_random,
            usual=self.usual,
        )
        if self.metric is not None:
            return replace(score, task_metric=None, float_task_metric=self.float_metric, change=None)
        return score

    def with_metric(self, score: fidelity.Fidelity, found: Score) -> fidelity.Fidelity:
        """Returns `score` with the user's metric, and how far it lies from the float model's."""
        before = self.float_score
        assert before
        change = Change(found.value - before.value)
        samples = found.samples, before.samples
        if samples[0] is not None and samples[1] is not None and len(samples[0]) == len(samples[1]):
            change = of_scores(samples[1], samples[0])
        return replace(score, task_metric=found.value, float_task_metric=before.value, change=change)


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
    if not fidelity.all_finite(outputs) and bench.is_finite:
        findings.append(_not_finite(base, bench.data))
    score = bench.score(outputs, count, steps_of(graph)) if bench.reference else None
    if bench.metric is not None and score is not None:
        score, findings = _scored(bench, predictor, score, findings=findings)
    elif count < bench.count:
        score, note = _apart(bench, score, count)
        told.append(note)
    built = _file(bench.out_dir, name, model, golden=golden, score=score, findings=findings, notes=told)
    is_made_up = bench.data.is_random or bench.data.is_stretched
    built = replace(built, made_up_ranges=base in recipes.CALIBRATED and is_made_up)
    return built if score is None else _with_worst(bench, built, outputs, count)


def _apart(bench: Bench, score: fidelity.Fidelity | None, count: int) -> tuple[fidelity.Fidelity | None, str]:
    """Returns a score of fewer samples than the others have, without a metric to read beside theirs; a note.

    How far it lies from the float model's on the same samples stays, and decides.
    """
    note = f"scored on {count} of {bench.count} samples, what {bench.evaluation_s:g} s allow"
    if score is None or score.task_metric is None or score.float_task_metric is None:
        return score, note
    note += f": there {score.task_metric:.1%} accuracy for {score.float_task_metric:.1%} of the float model"
    return replace(score, task_metric=None, float_task_metric=bench.float_metric), note


def _with_worst(bench: Bench, built: Built, outputs: Mapping[str, NDArray[Any]], count: int) -> Built:
    """Returns a built model with its worst sample named, and as many kept as are wanted."""
    if bench.data.is_random or built.fidelity is None or keeping_state(bench.graph):
        return built
    reference = {name: values[:count] for name, values in bench.reference.items()}
    scores = bench.scores.first(count)
    indices = worst_samples(reference, outputs, scores)
    if not indices:
        return built
    built = replace(built, fidelity=replace(built.fidelity, worst_sample=bench.data.name(indices[0])))
    if not bench.keep_worst:
        return built
    path = bench.out_dir / f"{built.recipe}.worst.npz"
    write_worst(
        path,
        indices[: bench.keep_worst],
        samples=bench.samples,
        reference=reference,
        candidate=outputs,
        labels=scores.labels,
    )
    return replace(built, worst=path)


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


def steps_of(graph: Graph) -> dict[str, float]:
    """Returns the step of each output, by name, that is quantized or was until it left."""
    makers = {index: op for op in graph.main.ops for index in op.outputs}
    steps = {}
    for name, tensor in graph.output_tensors.items():
        op = makers.get(tensor.index)
        while not tensor.scale and op is not None and op.name in ("DEQUANTIZE", "RESHAPE", "SQUEEZE"):
            tensor = graph.main.tensors[op.inputs[0]]
            op = makers.get(tensor.index)
        if tensor.scale and not tensor.is_constant:
            steps[name] = tensor.scale[0]
    return steps


def without_random(golden: Mapping[str, Any], graph: Graph) -> dict[str, Any]:
    """Returns the golden arrays without outputs that no other run gives."""
    random = {f"{side}/{name}" for name in random_outputs(graph) for side in ("out", "later")}
    return {name: values for name, values in golden.items() if name not in random}


def _scored(
    bench: Bench, predictor: Predictor, score: fidelity.Fidelity, *, findings: Sequence[Finding]
) -> tuple[fidelity.Fidelity, list[Finding]]:
    """Returns `score` with the user's metric, and `findings` with one more where that cannot be computed."""
    assert bench.metric
    try:
        return bench.with_metric(score, bench.metric(predictor)), list(findings)
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
