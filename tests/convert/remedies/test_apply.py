"""A remedy is applied where its outputs are equal on random and edge inputs, else left out with a note."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import warm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each remedy of judged.py (ten seconds)."""
    path = tmp_path_factory.mktemp("judged") / "result.json"
    script = Path(__file__).with_name("judged.py")
    subprocess.run([warm.python(), str(script), str(path)], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize(
    ("name", "most"),
    [("same", 0.0), ("same_layer", 0.0), ("near", 2.1e-5), ("step_apart", 0.0101)],
    ids=lambda value: str(value),
)
def test_what_is_equal_is_applied_with_its_difference(judged: dict[str, Any], name: str, most: float) -> None:
    [(_, difference)] = judged[name]["rewrites"]
    assert most / 2 <= difference <= most
    assert judged[name]["notes"] == []


def test_a_difference_where_rounding_alone_decides_does_not_count(judged: dict[str, Any]) -> None:
    [(_, difference)] = judged["last_bit"]["rewrites"]
    assert difference < 1e-5
    assert judged["apart_in_log"]["rewrites"] == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("apart", "outputs would differ by 0.001, more than 0.0001"),
        ("apart_layer", "outputs would differ by 0.01, more than 0.0001"),
        ("steps_apart", "outputs would differ by 0.05, more than 0.015625"),
        ("apart_at_zeros", "outputs would differ by 0.01, more than 0.0001"),
        ("not_finite", "outputs would differ by inf, more than 0.0001"),
        ("other_shape", "outputs would differ by inf, more than 0.0001"),
        ("failing", "ValueError: no such thing"),
    ],
)
def test_what_is_not_equal_is_left_out_and_leaves_the_model_as_it_was(
    judged: dict[str, Any], name: str, why: str
) -> None:
    assert judged[name]["rewrites"] == []
    [note] = judged[name]["notes"]
    assert note.endswith(f" not applied: {why}")
    assert judged[name]["moved"] == 0
