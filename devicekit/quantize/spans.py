"""Spans: ranges of activations wide enough that integer kernels can compute with their scales."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from devicekit.graph.model import Graph, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Limits = Mapping[str, NDArray[Any]]

# An activation whose values stay below this is as good as 0: a ReLU that never fires. litert-quantizer gives
# it the scale 3.9e-12, and both of its neighbours break (measured with LiteRT 2.3, November 2026): XNNPACK
# multiplies by input scale x weight scale / output scale, refuses 256 and more, and may corrupt memory at
# 1e7; biases behind it are int32 in steps of its scale x weight scale, so that 1 exceeds 2**31 below 1e-5.
MIN_SPAN = 1e-6
# What such an activation gets: the range of a bounded one, for the samples do not tell.
WIDENED = 1.0

_LEVELS = {"int8": 2**8 - 1, "uint8": 2**8 - 1, "int16": 2**16 - 1}


def widened(low: float, high: float) -> tuple[float, float]:
    """Returns the range of an activation, or one of WIDENED where it is too narrow; keeps its signs."""
    if max(abs(low), abs(high)) >= MIN_SPAN:
        return low, high
    return (-WIDENED if low < 0 else 0.0), WIDENED


def fitted(
    ranges: Mapping[str, Mapping[str, "NDArray[Any]"]], graph: Graph
) -> dict[str, dict[str, "NDArray[Any]"]]:
    """Returns ranges {tensor name: {"min": [1], "max": [1]}}, widened, in arrays of their tensors' ranks.

    litert-quantizer 0.11 takes a rank of its own choice for the constant class token that a CONCATENATION
    puts in front of a ViT's patches: "Ranks of scales (4) … must be the same as the tensor rank (3)".
    """
    import numpy as np

    ranks = {tensor.name: len(tensor.shape) for subgraph in graph.subgraphs for tensor in subgraph.tensors}
    found = {}
    for name, limits in ranges.items():
        if any(np.size(values) != 1 for values in limits.values()) or not limits:
            found[name] = dict(limits)
            continue
        low, high = widened(float(np.ravel(limits["min"])[0]), float(np.ravel(limits["max"])[0]))
        shape = (1,) * ranks.get(name, 1)
        # float64: in float32 a bias cut off at 2**31 - 1 rounds up to 2**31, and becomes -2**31.
        found[name] = {"min": np.full(shape, low, np.float64), "max": np.full(shape, high, np.float64)}
    return found


def with_loops(ranges: "Mapping[str, Limits]", graph: Graph) -> "dict[str, Limits]":
    """Returns ranges {tensor name: {"min", "max"}} in which all that a loop carries from one turn to the next
    has that of all its values.
    """
    import numpy as np

    found = dict(ranges)
    for places in _carried(graph):
        known = [found[tensor.name] for tensor in places if tensor.name in found]
        if known and places[0].dtype == "float32":
            low = min(float(np.min(limits["min"])) for limits in known)
            high = max(float(np.max(limits["max"])) for limits in known)
            for tensor in places:
                shape = (1,) * len(tensor.shape)
                found[tensor.name] = {"min": np.full(shape, low), "max": np.full(shape, high)}
    return found


def _carried(graph: Graph) -> Iterator[Sequence[Tensor]]:
    """Yields, of each value that a loop carries, the tensors that hold it: outside, in body and condition."""
    for subgraph in graph.subgraphs:
        for op in subgraph.ops:
            if op.name != "WHILE":
                continue
            body, condition = (
                graph.subgraphs[op.options[f"{name}_subgraph_index"]] for name in ("body", "cond")
            )
            for number, (given, result) in enumerate(zip(op.inputs, op.outputs, strict=True)):
                yield (
                    subgraph.tensors[given],
                    subgraph.tensors[result],
                    body.tensors[body.inputs[number]],
                    body.tensors[body.outputs[number]],
                    condition.tensors[condition.inputs[number]],
                )


def is_too_narrow(tensor: Tensor) -> bool:
    """Returns whether a quantized activation spans so little that a kernel may break on its scale."""
    levels = _LEVELS.get(tensor.dtype)
    return bool(levels and tensor.scale and max(tensor.scale) * levels < MIN_SPAN)
