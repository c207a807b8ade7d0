"""Amounts as people read and type them, and the nearest word to a typo."""

import pytest

from devicekit import words as fmt
from devicekit.errors import UsageError
from devicekit.words import nearest, parse_ms, parse_share, parse_size


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


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("500KiB", 512_000),
        ("3.5 MiB", 3_670_016),
        ("2MB", 2_000_000),
        ("2mib", 2_097_152),
        ("1GiB", 2**30),
        ("4096", 4096),
        ("1e6", 1_000_000),
        (" 12 B ", 12),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text, "--max-size") == size_bytes


@pytest.mark.parametrize(
    ("text", "ms"), [("5ms", 5), ("300us", 0.3), ("300µs", 0.3), ("0.1 s", 100), ("5", 5), (".5", 0.5)]
)
def test_times(text: str, ms: float) -> None:
    assert parse_ms(text, "--max-latency") == pytest.approx(ms)


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.01", 0.01), ("0", 0), ("2.5 %", 0.025)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text, "--max-accuracy-drop") == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "big", "500K", "5ms", "-1KiB", "0", "nan", "inf", "1e999", "5 Ki B"])
def test_what_is_no_size_is_one_clear_error(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_size(text, "--max-size")
    assert raised.value.message == (
        f'--max-size: found "{text}", expected a size above 0, such as 500KiB, 2MiB or 2MB'
    )
    assert raised.value.remedy == (
        "use B, KiB, MiB, GiB (1024) or kB, MB, GB (1000); a plain number is bytes"
    )


@pytest.mark.parametrize("text", ["5KiB", "5 minutes", "0ms", "-5ms", "5%"])
def test_what_is_no_time_is_one_clear_error(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_ms(text, "--max-latency")
    assert raised.value.message == (
        f'--max-latency: found "{text}", expected a time above 0, such as 5ms, 300us or 0.1s'
    )
    assert raised.value.remedy == "use us, ms or s; a plain number is milliseconds"


@pytest.mark.parametrize("text", ["1pp", "-1%", "one percent"])
def test_what_is_no_share_is_one_clear_error(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_share(text, "--max-accuracy-drop")
    assert raised.value.message == (
        f'--max-accuracy-drop: found "{text}", expected a share, such as 1% or 0.01'
    )


def test_nearest_ignores_case_and_keeps_the_known_spelling() -> None:
    assert nearest("conv_2D", ["CONV_2D", "ADD"]) == "CONV_2D"


def test_nothing_near_is_none() -> None:
    assert nearest("zzz", ["float32"]) is None
    assert nearest("", ["float32"]) is None
    assert nearest("x" * 100_000, ["x" * 100_000]) is None
