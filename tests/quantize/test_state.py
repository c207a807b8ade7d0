"""The checks of candidates run them as an app does: what remembers, though the float model does not, is
found."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from devicekit.quantize.bench import Bench, judged, remembered, run
from devicekit.quantize.predictor import Predictor
from tests.quantize.building import build

MODELS = Path(__file__).parent.parent / "data" / "tflite"


def predictor(name: str) -> Predictor:
    return Predictor((MODELS / f"{name}.tflite").read_bytes(), threads=1)


def test_a_predictor_resets_nothing_between_two_samples() -> None:
    x = {"x": np.ones((1, 4), np.float32)}
    one = predictor("remembering")
    assert [float(one.predict(x)["y"][0, 0]) for _ in range(3)] == [1, 2, 3]


def test_every_sequence_begins_anew() -> None:
    samples = [{"x": np.full((1, 4), value, np.float32)} for value in (1, 10, 100)]
    one = predictor("remembering")
    for _ in range(2):
        assert one.predict_all(samples, seconds=9)["y"][:, 0].tolist() == [1, 11, 111]


@pytest.mark.parametrize("name", ["lstm", "lstm_stacked", "remembering"])
def test_the_golden_sample_holds_a_first_and_a_later_inference(name: str) -> None:
    one = predictor(name)
    shapes = {key: detail["shape"] for key, detail in one._inputs.items()}
    samples = [
        {key: np.full(shape, value, np.float32) for key, shape in shapes.items()} for value in (0.5, 1)
    ]
    _, golden = run(one, samples, 9)
    fed = {key.removeprefix("in/"): values for key, values in golden.items() if key.startswith("in/")}
    fresh = predictor(name)
    first, _, later = (fresh.invoke(fed)["y"].tobytes() for _ in range(3))
    assert (golden["out/y"].tobytes(), golden["later/y"].tobytes()) == (first, later)
    assert first != later
    assert remembered(one, golden) == ("y",)


def test_a_recipe_that_brings_a_state_in_is_rejected(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(MODELS / "lstm_unrolled.tflite")
    built = judged(bench, "float32", (MODELS / "lstm_stacked.tflite").read_bytes())
    [finding] = [one for one in built.findings if one.rule == "state"]
    assert finding.detail == (
        "it keeps a state between inferences, the float model does not (UNIDIRECTIONAL_SEQUENCE_LSTM): "
        "y changed on the same input"
    )
    assert finding.op == "UNIDIRECTIONAL_SEQUENCE_LSTM"


def test_a_model_that_keeps_a_state_is_compared_as_a_sequence(tmp_path: Path) -> None:
    (one,) = build(MODELS / "lstm.tflite", ["dynamic_int8"], data=None, out_dir=tmp_path).candidates
    assert [finding for finding in one.findings if finding.rule == "state"] == []
    assert one.fidelity and one.fidelity.cosine > 0.999
