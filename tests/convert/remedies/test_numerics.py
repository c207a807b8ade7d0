"""Functions that LiteRT has no kernel for are made of those that it has."""

from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = "numeric_cases.py"
GELUS = ("gelu", "gelu of keras", "gelu by hand")
IMPOSSIBLE = {"bincount of unknown size": "DenseBincount", "inverse of 9": "MatrixInverse"}


def test_every_function_runs_in_litert_and_equals_tensorflow(probed: dict[str, Any]) -> None:
    unequal = {
        name: case
        for name, case in probed.items()
        if name not in IMPOSSIBLE and not (case["litert"] is not None and case["litert"] <= 1e-5)
    }
    assert unequal == {}
    assert len(probed) > 80


def test_the_proof_holds_on_random_and_edge_inputs(probed: dict[str, Any]) -> None:
    differences = [difference for case in probed.values() for difference in case["rewrites"].values()]
    assert max(differences) < 2e-5


@pytest.mark.parametrize("name", ["erf", "erfc", "erfinv", "ndtri", "digamma"])
def test_special_functions_hold_to_float32(probed: dict[str, Any], name: str) -> None:
    assert list(probed[name]["rewrites"]) == ["special_functions"]
    assert probed[name]["rewrites"]["special_functions"] <= 1e-6


@pytest.mark.parametrize("name", GELUS)
def test_a_gelu_stays_the_converter_s(probed: dict[str, Any], name: str) -> None:
    assert (probed[name]["rewrites"], probed[name]["ops"]) == ({}, ["GELU"])


@pytest.mark.parametrize("name", ["gelu of bert", "gelu halved last", "gelu the other way"])
def test_a_gelu_in_another_order_is_put_in_the_converter_s(probed: dict[str, Any], name: str) -> None:
    assert (list(probed[name]["rewrites"]), probed[name]["ops"]) == (["gelu"], ["GELU"])


def test_what_only_looks_like_a_gelu_is_none(probed: dict[str, Any]) -> None:
    assert list(probed["gelu of another"]["rewrites"]) == ["special_functions"]


def test_what_is_neither_of_known_size_nor_small_is_left_to_the_advice(probed: dict[str, Any]) -> None:
    assert [probed[name]["rewrites"] for name in IMPOSSIBLE] == [{}] * len(IMPOSSIBLE)
    assert {name: probed[name]["missing"] for name in IMPOSSIBLE} == {
        name: [op] for name, op in IMPOSSIBLE.items()
    }


@pytest.mark.parametrize(
    "name", ["and", "or", "invert", "left_shift", "signbit", "multi_hot", "count", "diag_part", "patches"]
)
def test_what_is_no_arithmetic_of_floats_is_equal(probed: dict[str, Any], name: str) -> None:
    assert probed[name]["litert"] == 0
    assert list(probed[name]["rewrites"].values()) == [0]


def test_patches_side_by_side_are_space_to_depth(probed: dict[str, Any]) -> None:
    assert probed["patches side by side"]["ops"] == ["SPACE_TO_DEPTH"]


def test_a_unit_matrix_is_the_converter_s(probed: dict[str, Any]) -> None:
    assert list(probed["cholesky"]["rewrites"]) == ["small_matrices"]
