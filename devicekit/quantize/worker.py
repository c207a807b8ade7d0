"""The child that builds recipes: one process for all, so libraries load and the float model runs once."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from devicekit.errors import LoadError, UsageError
from devicekit.finding import Finding
from devicekit.graph.macs import macs
from devicekit.graph.model import Graph
from devicekit.graph.randomness import random_outputs
from devicekit.graph.ranges import index_inputs
from devicekit.graph.read import read_graph, read_graph_bytes
from devicekit.graph.told import Told
from devicekit.plugins import resolve
from devicekit.quantize import fidelity, mixed, proof, recipes, second_source
from devicekit.quantize.bench import Bench, failed, judged, original, run
from devicekit.quantize.build import ORIGINAL, Built
from devicekit.quantize.change import of_hits
from devicekit.quantize.metric import Metric, load_metric
from devicekit.quantize.predictor import Predictor
from devicekit.quantize.quality import Thresholds
from devicekit.quantize.samples import Data, load_data, rows
from devicekit.quantize.scores import NO_SCORES, Scores, find_scores, hits
from devicekit.quantize.signatures import with_signature
from devicekit.quantize.statistics import mismatches
from devicekit.quantize.words import worded
from devicekit.quantize.wrong_data import as_told, doubts, unused_labels
from devicekit.words import attributes

# As many samples show how much outputs vary; of fewer, calibration inputs help, so many at most.
MANY, MOST_USUAL = 32, 64
# How long the float model is run on the data scaled otherwise, each way.
DOUBTS_S = 5.0


def handle(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields {"data": …}, then {"started": recipe}, {"running": recipe} and {"built": Built} for each recipe.

    A recipe may be followed by one with ops kept in float, and be "built" once more, with more notes.
    {"reading": file} before it runs the user's data or code, {"reading": None} behind.
    """
    graph = read_graph(Path(request["float_path"]))
    yield {"reading": request["eval_function"]}
    metric = _metric(request["eval_function"], graph)
    yield {"reading": request["data"]}
    told = {name: Told.read(one) for name, one in request["told"].items()}
    data = load_data(request["data"], graph, random_count=_random_count(graph), told=told)
    yield {"reading": None}
    bench = _settled(request, prepare(request, graph, data=data, metric=metric), told)
    yield {"data": _summary(bench)}
    if not proof.is_plain_float(graph):
        yield {"started": ORIGINAL}
        yield {"built": attributes(original(bench))}
        return
    yield {"reading": request["eval_function"]}
    if metric is not None:
        bench = replace(bench, float_score=metric(bench.predictor))
    yield {"reading": None}
    for name in request["recipes"]:
        yield from _events(bench, name, resolve(request["table"][name]))


def _settled(request: Mapping[str, Any], bench: Bench, told: Mapping[str, Told]) -> Bench:
    """Returns the bench on data that suits the float model, with what is doubtful of it as warnings.

    Where labels say nothing else, images prepared for 0..1 are taken as the model itself tells. Raises
    UsageError where the data is wrong and was not accepted.
    """
    bench = bench if request["accept_data"] else _as_told(request, bench, told)

    def run(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        if index_inputs(bench.graph):
            return {}
        try:
            return bench.predictor.predict_all(rows(inputs, bench.graph)[: bench.count], seconds=DOUBTS_S)
        except (RuntimeError, ValueError):  # the model takes no such values
            return {}

    unused = unused_labels(bench.reference, bench.scores)
    if unused is not None:
        ranked = tuple(name for name in bench.scores.ranked if name != bench.scores.labelled)
        bench = replace(bench, scores=Scores(ranked))
    found = list(doubts(bench.data, bench.reference, bench.scores, told, run))
    if found and not request["accept_data"]:
        raise UsageError(
            f"{bench.data.source}: {'; '.join(found)}",
            remedy="give inputs as for training, with labels that are theirs, or go on: --accept-data",
        )
    strays = [f"{name}: {words}" for name, words in bench.data.strays.items()]
    new = [*found, *strays, *([unused] if unused else [])]
    warnings = tuple(dict.fromkeys((*bench.data.warnings, *new)))
    return replace(bench, data=replace(bench.data, warnings=warnings))


def _as_told(request: Mapping[str, Any], bench: Bench, told: Mapping[str, Told]) -> Bench:
    """Returns the bench on images prepared for 0..1 as the model itself tells, unless labels say otherwise.

    Where there are labels, they must be hit more often by that than chance explains.
    """
    other = as_told(bench.data, told)
    if other is None:
        return bench
    again = prepare(request, bench.graph, data=other, metric=bench.metric)
    given, taken = hits(bench.reference, bench.scores), hits(again.reference, again.scores)
    if given is None or taken is None:
        return again
    count = min(len(given), len(taken))
    change = of_hits(given[:count], taken[:count])
    if change.low is None or change.low <= 0:
        return bench
    return replace(again, data=replace(again.data, is_stretched=False))


def _events(bench: Bench, name: str, recipe: recipes.Recipe) -> Iterator[dict[str, Any]]:
    yield {"started": name}
    start = time.monotonic()
    made = _made(bench, name, recipe)
    yield {"running": name}
    built = made if isinstance(made, Built) else judged(bench, name, made[0], notes=made[1])
    if bench.second_source and name in recipes.STATIC_INT8 and second_source.is_needed(built, bench.graph):
        built = second_source.build(bench, built)
        yield {"built": attributes(replace(built, seconds=time.monotonic() - start))}
        return
    yield {"built": attributes(replace(built, seconds=time.monotonic() - start))}
    if name in recipes.STATIC_INT8 and mixed.is_needed(bench, built):
        yield {"started": name + recipes.MIXED}
        start = time.monotonic()
        better = mixed.build(bench, built, recipe)
        if isinstance(better, str):
            yield {"built": attributes(replace(built, notes=(*built.notes, better)))}
        else:
            yield {"built": attributes(replace(better, seconds=time.monotonic() - start))}


def _made(bench: Bench, name: str, recipe: recipes.Recipe) -> tuple[bytes, tuple[str, ...]] | Built:
    """Returns the file that one recipe gives, with notes; whatever goes wrong in it becomes a finding."""
    if name == "float32":
        return Path(bench.graph.path).read_bytes(), ()
    if impossible := list(_impossible(name, bench.graph)):
        return failed(name, *impossible)
    notes: tuple[str, ...] = ()
    try:
        model = bench.quantized(name, recipe)
        version = _dense_version(model, bench.graph.path)
        if bench.dense_version is not None and version > bench.dense_version:
            model = bench.quantized(name, recipe, recipes.Variant(per_tensor_dense=True))
            notes = (
                "dense weights have one scale each: with one per channel they need FULLY_CONNECTED "
                f"version {version}, the profile's runtime knows {bench.dense_version}",
            )
    except MemoryError:
        raise
    except Exception as error:  # litert-quantizer raises whatever its Python meets
        return failed(name, bench.in_words(name, "build", error))
    return model, notes


def _impossible(name: str, graph: Graph) -> Iterator[Finding]:
    """Yields what a recipe cannot do to a model whatever it tries."""
    if name not in recipes.CALIBRATED or name.endswith(recipes.FLOAT_IO):
        return
    for input_name, count in index_inputs(graph).items():
        yield Finding(
            "index",
            f"the input {input_name} holds indices into a table of {count}: {name} would round them",
            f"use {name}{recipes.FLOAT_IO} (--io float) or dynamic_int8, or declare the input as int32",
        )


def _dense_version(model: bytes, path: Path) -> int:
    """Returns the version of FULLY_CONNECTED that a file needs, 0 where it has none."""
    ops = read_graph_bytes(model, path).ops
    return max((op.version for op in ops if op.name == "FULLY_CONNECTED"), default=0)


def prepare(request: Mapping[str, Any], graph: Graph, *, data: Data, metric: Metric | None) -> Bench:
    """Runs the float model on the evaluation inputs. Raises LoadError, or UsageError for the labels."""
    path, threads, evaluation_s = graph.path, request["threads"], request["evaluation_s"]
    model = with_signature(path.read_bytes())
    samples = rows(data.evaluation, graph)
    try:
        predictor = Predictor(model, threads=threads)
        reference, _ = run(predictor, samples, evaluation_s)
    except (RuntimeError, ValueError) as error:
        finding = worded("loads", error)
        raise LoadError(
            path.name, found=f"LiteRT cannot run it: {finding.detail}", remedy=finding.remedy
        ) from error
    count = len(next(iter(reference.values())))
    is_finite = fidelity.all_finite(reference)
    random = [name for name in random_outputs(graph) if name in reference]
    reference = {name: values for name, values in reference.items() if name not in random}
    # On noise the best class is a matter of chance.
    scores = NO_SCORES if data.is_random else find_scores(reference, data.labels, source=data.source)
    notes = [*data.notes, *_of_random(random, reference)]
    warnings = (*data.warnings, *mismatches(data.calibration, data.evaluation))
    if count < len(samples):
        notes.append(f"scored on {count} of {len(samples)} samples, what {evaluation_s:g} s allow")
    if not is_finite:
        notes.append("the float model's own outputs are not finite on these inputs: fidelity says nothing")
    if data.labels is not None and scores.labelled is None:
        notes.append("labels unused: no output holds one score per class")
    return Bench(
        model=model,
        graph=graph,
        data=replace(data, notes=tuple(notes), warnings=warnings),
        samples=samples[:count],
        predictor=predictor,
        reference=reference,
        is_finite=is_finite,
        scores=scores.first(count),
        metric=metric,
        out_dir=Path(request["out_dir"]),
        threads=threads,
        evaluation_s=evaluation_s,
        timeout_s=request["timeout_s"],
        wanted=None if request["wanted"] is None else Thresholds(**request["wanted"]),
        dense_version=request["dense_version"],
        second_source=request["second_source"],
        keep_worst=request["keep_worst"],
        usual=_usual(predictor, data, graph, reference, evaluation_s),
    )


def _usual(
    predictor: Predictor, data: Data, graph: Graph, reference: Mapping[str, Any], seconds: float
) -> Mapping[str, Any] | None:
    """Returns float outputs of the calibration inputs too, where the evaluation inputs are few."""
    count = len(next(iter(reference.values()), ()))
    if count >= MANY or data.calibration is data.evaluation or not reference:
        return None
    more = predictor.predict_all(rows(data.calibration, graph)[:MOST_USUAL], seconds=seconds)
    if any(more[name].shape[1:] != values.shape[1:] for name, values in reference.items()):
        return None  # outputs whose size depends on what goes in
    return {name: np.concatenate([values, more[name]]) for name, values in reference.items()}


def _of_random(random: Sequence[str], others: Collection[str]) -> Iterator[str]:
    """Yields what random outputs change; `others` are the outputs that are not."""
    if random:
        subject = f"outputs {', '.join(random)} are" if len(random) > 1 else f"output {random[0]} is"
        left = "left out of fidelity and verification" if others else "no fidelity, and nothing to verify"
        yield f"{subject} random: {left}"


def _metric(spec: str | None, graph: Graph) -> Metric | None:
    return None if spec is None else load_metric(spec, tuple(graph.input_tensors))


def _random_count(graph: Graph) -> int:
    """Returns how many random samples cost little: 8 for a MobileNetV2 (300 M MACs), 64 for small models."""
    count = macs(graph)
    return min(64, max(8, 2_000_000_000 // count)) if count else 16


def _summary(bench: Bench) -> dict[str, Any]:
    data = bench.data
    return {
        "source": data.source,
        "calibration_count": len(next(iter(data.calibration.values()))),
        "evaluation_count": bench.count,
        "is_random": data.is_random,
        "has_labels": bench.scores.labelled is not None,
        "notes": data.notes,
        "warnings": data.warnings,
    }
