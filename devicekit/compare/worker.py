"""The child that runs two models on the same inputs: what crashes here is a finding there."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devicekit.errors import DevicekitError
from devicekit.graph.model import Graph
from devicekit.graph.randomness import random_outputs
from devicekit.graph.read import read_graph
from devicekit.quantize import fidelity
from devicekit.quantize.predictor import Predictor
from devicekit.quantize.samples import load_data, rows
from devicekit.quantize.scores import NO_SCORES, find_scores
from devicekit.quantize.signatures import with_signature
from devicekit.quantize.words import worded

RANDOM_COUNT = 64
THREADS = 2


def handle(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields {"running": label} before a model runs, then {"fidelity", "inputs", "notes"} or {"refused"}.

    Of the two models, the second is compared with the first. Raises UsageError for the data that was given.
    """
    graphs = {label: read_graph(Path(path)) for label, path in request["models"].items()}
    first, other = graphs
    random = {name for graph in graphs.values() for name in random_outputs(graph)}
    if random.issuperset(graphs[first].output_tensors):
        yield {"refused": f"the outputs are random numbers: {', '.join(sorted(random))}"}
        return
    try:
        data = load_data(request["data"], graphs[first], random_count=RANDOM_COUNT)
    except DevicekitError as error:
        if request["data"] is not None:
            raise
        yield {"refused": f"{error.message.removeprefix(f'{graphs[first].path.name}: ')}; {error.remedy}"}
        return
    real = {name: _real(values, graphs[first], name) for name, values in data.evaluation.items()}
    outputs: dict[str, dict[str, NDArray[Any]]] = {}
    count = len(next(iter(real.values())))
    for label, graph in graphs.items():
        yield {"running": label}
        try:
            samples = rows(real, graph)[:count]
            predictor = Predictor(with_signature(graph.path.read_bytes()), threads=THREADS)
            outputs[label] = predictor.predict_all(samples, seconds=request["evaluation_s"] / len(graphs))
        except (RuntimeError, ValueError) as error:
            yield {"refused": f"{label} does not run here: {worded('loads', error).detail}"}
            return
        count = len(next(iter(outputs[label].values())))
    yield {"running": None}
    reference = {name: values[:count] for name, values in outputs[first].items() if name not in random}
    scores = (
        NO_SCORES
        if data.is_random
        else find_scores(reference, _first(data.labels, count), source=data.source)
    )
    found = fidelity.compare(reference, outputs[other], scores, is_random=data.is_random)
    yield {
        "fidelity": asdict(found),
        "inputs": f"{count} samples of {data.source}" if not data.is_random else f"{count} {data.source}",
        "notes": [
            *_notes(reference),
            *([f"{other}: its cosine is that of {found.worst}, by its own spread"] if found.channel else []),
            *(f"output {name} is random: not compared" for name in sorted(random)),
        ],
    }


def _real(values: NDArray[Any], graph: Graph, name: str) -> NDArray[Any]:
    """Returns the real numbers that quantized ones stand for; others as they are."""
    tensor = graph.input_tensors[name]
    if not tensor.scale or values.dtype.kind not in "iu":
        return values
    steps = values.astype(np.float32) - (tensor.zero_point[0] if tensor.zero_point else 0)
    real: NDArray[Any] = steps * np.float32(tensor.scale[0])
    return real


def _first(labels: NDArray[Any] | None, count: int) -> NDArray[Any] | None:
    return None if labels is None else labels[:count]


def _notes(reference: fidelity.Outputs) -> list[str]:
    if fidelity.all_finite(reference):
        return []
    return ["the first model's own outputs are not finite on these inputs: fidelity says nothing"]
