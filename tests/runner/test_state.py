"""Every runner checks a first and a later inference of one process: an app does not run a model but once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from devicekit.cache import sha256_file
from devicekit.device.local import LocalDevice
from devicekit.errors import WrongOutput
from devicekit.graph.state import LATER
from devicekit.measurement import Plan
from devicekit.runner.measure import RunnableModel, measure_prepared
from devicekit.runner.micro import MicroRunner, is_installed
from devicekit.runner.script import ScriptRunner

MODELS = Path(__file__).parent.parent / "data" / "tflite"
QUICK = Plan(warmup_runs=1, warmup_s=0.0, min_runs=20, min_s=0.0)
needs_tflm = pytest.mark.skipif(not is_installed(), reason="pip install tflite-micro (Linux on x86-64)")
# The C API runs resource variables, and does not open a fused LSTM: that goes to the Interpreter.
RUNS = [
    pytest.param(ScriptRunner, "remembering", "script", id="C API"),
    pytest.param(ScriptRunner, "lstm", "interpreter", id="Interpreter"),
    pytest.param(MicroRunner, "lstm", "micro", id="TFLM", marks=needs_tflm),
    pytest.param(MicroRunner, "remembering", "micro", id="TFLM, resource", marks=needs_tflm),
]


def golden(name: str, folder: Path, *, forgets: bool) -> RunnableModel:
    """Returns a model with the golden sample of what it does, or of the model without a state that it stands
    in for: that gives the same again.
    """
    path = MODELS / f"{name}.tflite"
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    [(key, detail)] = runner.get_input_details().items()
    x = np.full(detail["shape"], 0.75, np.float32)
    outputs: list[Any] = [np.copy(next(iter(runner(**{key: x}).values()))) for _ in range(LATER)]
    [name_out] = runner.get_output_details()
    arrays = {
        f"in/{key}": x,
        f"out/{name_out}": outputs[0],
        f"later/{name_out}": outputs[0 if forgets else -1],
    }
    np.savez(folder / "golden.npz", **arrays)
    return RunnableModel(path, sha256_file(path), folder / "golden.npz")


def measured(make: Callable[[], Any], model: RunnableModel) -> Any:
    device, runner = LocalDevice(), make()
    try:
        return measure_prepared(device, runner, runner.prepare(device, model), replace(QUICK))
    finally:
        device.close()


@pytest.mark.parametrize(("make", "name", "runner"), RUNS)
def test_a_state_that_the_model_does_not_have_is_a_wrong_output(
    make: Callable[[], Any], name: str, runner: str, tmp_path: Path
) -> None:
    with pytest.raises(WrongOutput, match="inference 3"):
        measured(make, golden(name, tmp_path, forgets=True))


@pytest.mark.parametrize(("make", "name", "runner"), RUNS)
def test_a_state_that_the_model_has_is_right(
    make: Callable[[], Any], name: str, runner: str, tmp_path: Path
) -> None:
    found = measured(make, golden(name, tmp_path, forgets=False))
    assert found.runner == runner
    assert found.conditions["verified"]["inferences"] == [1, LATER]
