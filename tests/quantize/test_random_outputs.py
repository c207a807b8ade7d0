"""Outputs of random numbers: no two runs agree on them, so nothing is compared with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devicekit.compare.worker import handle
from devicekit.device.local import LocalDevice
from devicekit.graph.randomness import random_ops, random_outputs
from devicekit.graph.read import read_graph
from devicekit.measurement import Plan
from devicekit.runner.measure import RunnableModel, measure_model
from tests.quantize.building import build

QUICK = Plan(warmup_runs=1, warmup_s=0, min_runs=20, min_s=0, timeout_s=60)
RECIPES = ["float32", "float16", "dynamic_int8", "int8_float_io"]


def test_an_output_that_depends_on_drawn_numbers_is_found(drawn_noise: Path, digits: Path) -> None:
    graph = read_graph(drawn_noise)
    assert (random_outputs(graph), random_ops(graph)) == (("drawn",), ("RANDOM_STANDARD_NORMAL",))
    assert random_outputs(read_graph(digits)) == ()


def test_a_random_output_is_left_out_and_the_other_counts(drawn_noise: Path, tmp_path: Path) -> None:
    result = build(drawn_noise, RECIPES, data=None, out_dir=tmp_path)
    assert "output drawn is random: left out of fidelity and verification" in result.data.notes
    for one in result.candidates:
        assert one.findings == () and one.fidelity and one.fidelity.cosine > 0.999
        assert one.golden
        with np.load(one.golden) as golden:
            assert set(golden.files) == {"in/x", "out/mean", "later/mean"}


def test_a_model_of_random_outputs_alone_has_no_fidelity(only_noise: Path, tmp_path: Path) -> None:
    result = build(only_noise, RECIPES, data=None, out_dir=tmp_path)
    assert "output drawn is random: no fidelity, and nothing to verify" in result.data.notes
    for one in result.candidates:
        assert one.findings == () and one.path and one.golden and one.fidelity is None
        with np.load(one.golden) as golden:
            assert golden.files == ["in/x"]


@pytest.mark.parametrize(
    ("model", "verified"),
    [
        (
            "drawn_noise",
            {"outputs": 1, "max_difference": pytest.approx(0, abs=1e-5), "inferences": [1, 3]},
        ),
        ("only_noise", None),
    ],
)
def test_a_device_runs_it_and_verifies_what_is_not_random(
    model: str, verified: dict[str, Any] | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (one,) = build(request.getfixturevalue(model), ["float16"], data=None, out_dir=tmp_path).candidates
    assert one.path and one.sha256
    device = LocalDevice()
    found = measure_model(device, RunnableModel(one.path, one.sha256, one.golden), QUICK)
    device.close()
    assert found.latency.count == 20
    assert found.conditions["verified"] == verified


def test_two_files_are_compared_by_what_is_not_random(drawn_noise: Path, only_noise: Path) -> None:
    def compared(path: Path) -> dict[str, object]:
        request = {"models": {"a": str(path), "b": str(path)}, "data": None, "evaluation_s": 5}
        return list(handle(request))[-1]

    found = compared(drawn_noise)
    assert found["notes"] == ["output drawn is random: not compared"]
    assert found["fidelity"]["cosine"] == 1.0  # type: ignore[index]
    assert compared(only_noise) == {"refused": "the outputs are random numbers: drawn"}
