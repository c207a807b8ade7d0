"""Models with audio front-ends, Fourier layers and linear algebra convert, each with its rewrites told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from devicekit.convert.source import Source, convert_source
from devicekit.errors import ConvertError
from devicekit.graph.read import read_graph

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(written_by: Callable[[Path], Path]) -> Path:
    """The folder of models that make_signal_models.py writes (ten seconds)."""
    return written_by(Path(__file__).with_name("make_signal_models.py"))


def difference(source: Source, recorded: Path) -> float:
    """Returns how far the .tflite is from what Keras computed, against the largest value."""
    interpreter = Interpreter(model_path=str(source.float_path))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    [(name, detail)] = runner.get_input_details().items()
    with np.load(recorded) as arrays:
        samples, wanted = arrays["x"].astype(detail["dtype"]), arrays["y"]
    outputs = [np.copy(next(iter(runner(**{name: sample[None]}).values()))) for sample in samples]
    return float(np.abs(np.concatenate(outputs) - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize(
    ("name", "rewrites", "has"),
    [
        ("mel.keras", [("complex_pairs", ("mel",))], "FULLY_CONNECTED"),
        ("native_mel.keras", [], "RFFT2D"),
        ("fourier_mixing.keras", [("complex_pairs", ("fourier_mixing",))], "FULLY_CONNECTED"),
        ("cepstrum", [("complex_pairs", ("dct", "stft"))], "FULLY_CONNECTED"),
        ("tags.keras", [("histogram", ("encoded",))], "ONE_HOT"),
        (
            "pose.keras",
            [(name, ("pose",)) for name in ("small_matrices", "special_functions", "trigonometry")],
            "ATAN2",
        ),
    ],
)
def test_a_model_converts_to_builtin_ops_and_equals_keras(
    models: Path, name: str, rewrites: list[tuple[str, tuple[str, ...]]], has: str
) -> None:
    source = convert_source(models / name)
    assert [(one.remedy, one.layers) for one in source.rewrites] == rewrites
    assert all(one.difference < 2e-5 for one in source.rewrites)
    assert source.max_difference is not None
    assert source.max_difference < 1e-5
    assert difference(source, (models / name).with_suffix(".npz")) < 1e-5
    labels = {op.label for op in read_graph(source.float_path).ops}
    assert has in labels
    assert not any(label.startswith("Flex") or label == "CUSTOM" for label in labels)


def test_without_rewrites_the_layer_is_named(models: Path) -> None:
    with pytest.raises(ConvertError) as caught:
        convert_source(models / "tags.keras", rewrite=False)
    assert "encoded (CategoryEncoding)" in caught.value.message
    assert "tf.DenseBincount has no builtin kernel in LiteRT" in caught.value.message
