"""Which tensors 8 bits spoil most, by one run of the float model: a first guess of where to look."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from devicekit.graph.model import Graph


def coarseness(
    float_model: bytes, sample: Mapping[str, NDArray[Any]], float_graph: Graph, int8_graph: Graph
) -> dict[str, float]:
    """Returns for each quantized activation, by name, what share of its values one step is: 0..1.

    The mean of step / |value|, at most 1 each, over the values that are not 0 on `sample`. A softmax over
    1000 classes, whose step is fixed at 1/256, comes to 1; a tensor with a few huge values nearly so.
    """
    scales = {t.name: t.scale[0] for t in int8_graph.main.tensors if t.scale and not t.is_constant}
    values = _activations(float_model, sample)
    shares = {}
    for tensor in float_graph.main.tensors:
        if tensor.name in scales and tensor.index in values:
            sizes = np.abs(values[tensor.index][values[tensor.index] != 0])
            shares[tensor.name] = (
                float(np.minimum(scales[tensor.name] / sizes, 1).mean()) if sizes.size else 0.0
            )
    return shares


def _activations(model: bytes, sample: Mapping[str, NDArray[Any]]) -> dict[int, NDArray[Any]]:
    """Returns the float tensors by index after one run by the built-in kernels, which keep them all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that keeping all tensors is for debugging
        interpreter = Interpreter(
            model_content=model,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner(next(iter(interpreter.get_signature_list())))
    runner(**sample)
    floats = [one["index"] for one in interpreter.get_tensor_details() if one["dtype"] is np.float32]
    activations = {}
    for index in floats:
        try:
            activations[index] = np.array(interpreter.get_tensor(index))
        except ValueError:  # a tensor that no op of this run filled
            continue
    return activations
