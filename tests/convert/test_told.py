"""The range of an input that a model's own first steps tell, of every kind of file."""

from pathlib import Path

import numpy as np
import pytest

from devicekit.convert.source import convert_source
from devicekit.graph.read import read_graph
from devicekit.graph.told import told_ranges
from devicekit.quantize.samples import load_data


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("told_rescaling.h5", "rescaling (Rescaling)"),
        ("told_ops.h5", "tf.math.truediv (TFOpLambda)"),
        ("told_nested.keras", "rescaling (Rescaling)"),
        ("told_saved", None),
    ],
)
def test_bytes_are_told_by_a_layer_by_ops_and_inside_another_model(
    name: str, by: str | None, made: Path
) -> None:
    source = convert_source(made / name)
    told = source.told["image"]
    assert (told.low, told.high, told.is_exact) == ((0.0,), (255.0,), True)
    assert told.by and by in (None, told.by)
    again = convert_source(made / name)
    assert again.cached and again.told == source.told
    data = load_data(None, read_graph(source.float_path), told=source.told)
    assert 200 < data.evaluation["image"].max() <= 255
    assert data.source == "random inputs in 0..255"


@pytest.mark.parametrize("name", ["told_spread.h5", "told_spread.keras"])
def test_a_mean_and_a_spread_are_told_by_column(name: str, made: Path) -> None:
    told = convert_source(made / name).told["row"]
    np.testing.assert_allclose(told.low, [40 - 3**0.5 * 10, 50000 - 3**0.5 * 20000], rtol=1e-4)
    np.testing.assert_allclose(told.high, [40 + 3**0.5 * 10, 50000 + 3**0.5 * 20000], rtol=1e-4)


@pytest.mark.parametrize(("name", "inside"), [("told_ops.h5", "image"), ("told_spread.keras", "row")])
def test_a_tflite_tells_it_by_its_own_first_ops(name: str, inside: str, made: Path) -> None:
    source = convert_source(made / name)
    told = told_ranges(read_graph(source.float_path))[inside]
    np.testing.assert_allclose((told.low, told.high), (source.told[inside].low, source.told[inside].high))
    assert convert_source(source.float_path).told[inside] == told


def test_a_model_that_begins_otherwise_tells_nothing(made: Path) -> None:
    assert convert_source(made / "modern.h5").told == {}
