"""Keras 2 LSTMs that start from a given state or take a mask: plain ops in place of the function they call.

The converter fuses that function into LiteRT's LSTM, which starts from zeros: the state would be dropped.
"""

from collections.abc import Sequence
from typing import Any

from devicekit.convert.remedies.emit import Emitter, called_graph
from devicekit.convert.remedies.remedy import Remedy


def _inlined(op: Any, inputs: Sequence[Any], emitter: Emitter) -> list[Any] | None:
    graph = called_graph(op, inputs)
    return None if graph is None else emitter.run(graph, inputs)


def _has_lstm(ops: Sequence[Any]) -> bool:
    calls = (op for op in ops if op.type in ("PartitionedCall", "StatefulPartitionedCall"))
    functions = (op.graph._get_function(op.node_def.attr["f"].func.name) for op in calls)
    return any(f.cached_definition.attr["api_implements"].s.startswith(b"lstm_") for f in functions if f)


REMEDY = Remedy(
    name="calls",
    does="LSTM with a state or a mask as plain ops, which keep it",
    rules={"PartitionedCall": _inlined, "StatefulPartitionedCall": _inlined},
    recognises=_has_lstm,
)
