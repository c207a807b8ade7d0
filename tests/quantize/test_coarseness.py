"""coarseness: the tensor with the outliers comes first."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from devicekit.graph.read import read_graph, read_graph_bytes
from devicekit.quantize.bench import Bench
from devicekit.quantize.coarseness import coarseness
from devicekit.quantize.recipes import int8

# litert-quantizer asks the runtime to keep all tensors, which the runtime warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")


def test_values_that_one_step_swallows_are_coarse(two_inputs: Path, make_bench: Callable[..., Bench]) -> None:
    """zeta reaches 1 but for one sample of 1000: its step is 4, larger than all the other values."""
    rng = np.random.default_rng(0)
    data = two_inputs.parent / "samples.npz"
    zeta = rng.random((20, 4), np.float32)
    zeta[-1, 0] = 1000
    np.savez(data, alpha=rng.random((20, 6), np.float32), zeta=zeta)
    bench = make_bench(two_inputs, data=data)
    quantized = read_graph_bytes(bench.quantized("int8", int8), two_inputs)
    shares = coarseness(bench.model, bench.calibration_rows[0], read_graph(two_inputs), quantized)
    assert shares["zeta"] == 1.0 and shares["right"] > 0.9
    assert shares["alpha"] < 0.05
