"""Numbers as people read them."""

import pytest

from devicekit.report import format as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (130604, "128 KiB"),
        (4_600_000, "4.39 MiB"),
        (2**20 - 1, "1.00 MiB"),
    ],
)
def test_size(value: int | None, text: str) -> None:
    assert fmt.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (10.4, "0.010"), (1923.4, "1.92"), (345_678, "346"), (3.2, "0.0032")]
)
def test_ms_has_three_digits_and_no_exponent(value: float | None, text: str) -> None:
    assert fmt.ms(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(32_500, "32.5 k"), (7, "7"), (300_775_272, "301 M"), (2e9, "2 G")]
)
def test_count(value: int, text: str) -> None:
    assert fmt.count(value) == text


def test_a_dynamic_dimension_is_a_question_mark() -> None:
    assert fmt.shape((-1, 224, 224, 3)) == "[?, 224, 224, 3]"


def test_unknown_is_never_zero() -> None:
    assert {fmt.mib(None), fmt.percent(None), fmt.cosine(None), fmt.count(None)} == {"–"}
