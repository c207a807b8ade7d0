"""What a model's first steps tell of its input's range, and which data do not suit that."""

import numpy as np
import pytest

from devicekit.graph.told import Step, Told, draw, strays, told_by

BYTES = Told((0.0,), (255.0,), "scale", is_exact=True)


def steps(*pairs: tuple[str, object]) -> list[Step]:
    return [Step(kind, np.asarray(constant, np.float32)) for kind, constant in pairs]


@pytest.mark.parametrize(
    ("begins", "low", "high"),
    [
        (steps(("mul", 1 / 255), ("add", 0.0)), 0, 255),
        (steps(("div", 255.0)), 0, 255),
        (steps(("mul", 1 / 127.5), ("add", -1.0)), 0, 255),
        (steps(("sub", 127.5), ("div", 127.5)), 0, 255),
        (steps(("div", 255.0), ("sub", 0.5), ("mul", 2.0)), 0, 255),
        (steps(("mul", 2.0), ("sub", 1.0)), 0, 1),
        (steps(("mul", 255.0)), 0, 1),
        (steps(("mul", 1 / 32768)), -32768, 32767),
        (steps(("div", 255.0), ("sub", [0.485, 0.456, 0.406]), ("div", [0.229, 0.224, 0.225])), 0, 255),
        (steps(("sub", [103.9, 116.8, 123.7])), 0, 255),
    ],
)
def test_known_beginnings(begins: list[Step], low: float, high: float) -> None:
    told = told_by(begins, "scale")
    assert told == Told((float(low),), (float(high),), "scale", is_exact=True)


def test_a_mean_and_a_spread_tell_a_range_by_channel() -> None:
    told = told_by(steps(("sub", [[40.0, 50000.0]]), ("div", [[10.0, 20000.0]])), "norm")
    assert told and not told.is_exact
    np.testing.assert_allclose(told.low, [40 - 3**0.5 * 10, 50000 - 3**0.5 * 20000], rtol=1e-6)
    drawn = draw(told, (4000, 2), np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=0), [40, 50000], rtol=0.03)
    np.testing.assert_allclose(drawn.std(axis=0), [10, 20000], rtol=0.03)


@pytest.mark.parametrize(
    "begins",
    [
        steps(("mul", 0.4), ("add", 36.8)),
        steps(("mul", 320.0)),
        steps(("add", 0.3)),
        steps(("mul", [0.1, 0.2])),
        steps(("mul", -1 / 255)),
        steps(("sub", [0.5, 0.6])),
        steps(("div", 0.0)),
    ],
)
def test_other_beginnings_tell_nothing(begins: list[Step]) -> None:
    assert told_by(begins, "scale") is None


def test_a_spread_that_is_by_chance_that_of_bytes_tells_no_bytes() -> None:
    """Of one column the steps are by one number: a series around 5000 with a spread of 128."""
    told = told_by(steps(("sub", 5000.0), ("div", 128.1)), "norm")
    assert told and not told.is_exact
    np.testing.assert_allclose(told.low, [5000 - 3**0.5 * 128.1], rtol=1e-4)


def test_quiet_sound_and_one_sample_are_no_strays() -> None:
    sound = Told((-32768.0,), (32767.0,), "scale", is_exact=True)
    quiet = np.random.default_rng(3).uniform(-1500, 1500, (10, 100))
    assert strays(sound, quiet) is None and strays(sound, quiet / 32768)
    assert strays(Told((-1.7,), (1.7,), "norm", is_exact=False), np.ones((1, 4))) is None


def test_data_that_do_not_suit_are_said() -> None:
    rng = np.random.default_rng(1)
    assert strays(BYTES, rng.uniform(0, 255, (10, 8, 8, 3))) is None
    assert strays(BYTES, rng.uniform(100, 140, (10, 8, 8, 3))) is None, "photographs of fog"
    words = strays(BYTES, rng.uniform(0, 1, (10, 8, 8, 3)))
    assert words and words.endswith("the model itself (scale) takes 0..255")
    assert strays(BYTES, rng.uniform(-255, 255, (10, 8, 8, 3)))
    norm = Told((-1.7,), (1.7,), "norm", is_exact=False)
    assert strays(norm, rng.normal(size=(100, 4))) is None
    assert strays(norm, 255 * rng.random(size=(100, 4)))
    assert strays(norm, rng.normal(size=(100, 4)) / 255)
