"""Shows what is in a model: tensors, operators, parameters, MACs, memory."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from devicekit.convert.source import Loading, convert_source
from devicekit.graph.arena import plan_arena
from devicekit.graph.macs import macs, parameters
from devicekit.graph.model import Graph, Tensor, tensors_json
from devicekit.graph.read import read_graph
from devicekit.graph.state import state_json
from devicekit.words import attributes

# JSON schema history: 1, the first version.
SCHEMA = 1


@dataclass(frozen=True)
class OpCount:
    """`count` operators of one name and version."""

    name: str
    count: int
    version: int


@dataclass(frozen=True)
class Inspection:
    """What a model is. A Keras model is shown as its float .tflite: all but `model`, `kind` and `sha256`.

    `state` says which ops keep a state from one inference to the next, and how to begin anew; None: none do.
    `arena_bytes` is planned for LiteRT's built-in kernels on one thread, what persists between inferences
    included; `arena_reason` says why it is not
    exact. None: `macs` where the file does not say enough, `min_runtime_version` where it has no stamp.
    """

    model: str
    kind: str
    sha256: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    ops: tuple[OpCount, ...]
    parameters: int
    macs: int | None
    size_bytes: int
    min_runtime_version: str | None
    arena_bytes: int
    arena_exact: bool
    arena_reason: str | None
    state: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            **attributes(self),
            "inputs": tensors_json(self.inputs),
            "outputs": tensors_json(self.outputs),
            "ops": [asdict(op) for op in self.ops],
        }


def inspect_model(
    model: str | Path,
    *,
    timeout_s: float = 1800,
    **loading: Unpack[Loading],
) -> Inspection:
    """Returns what is in a .h5, .keras, SavedModel or .tflite; `loading` is of convert_source.

    Raises LoadError, ConvertError and UntrustedModel.
    """
    source = convert_source(Path(model), timeout_s=timeout_s, **loading)
    graph = read_graph(source.float_path)
    plan = plan_arena(graph)
    return Inspection(
        model=str(model),
        kind=source.kind,
        sha256=source.sha256,
        inputs=graph.input_tensors,
        outputs=graph.output_tensors,
        ops=_counts(graph),
        parameters=parameters(graph) if source.parameters is None else source.parameters,
        macs=macs(graph),
        size_bytes=graph.size_bytes,
        min_runtime_version=graph.min_runtime_version,
        arena_bytes=plan.arena_bytes + plan.persistent_bytes,
        arena_exact=plan.exact,
        arena_reason=plan.reason,
        state=state_json(graph),
    )


def _counts(graph: Graph) -> tuple[OpCount, ...]:
    """Returns the operators of all subgraphs, the most frequent first."""
    counts = Counter((op.label, op.version) for op in graph.ops)
    return tuple(OpCount(name, count, version) for (name, version), count in counts.most_common())
