"""Amounts as people type them."""

import pytest

from devicekit.errors import UsageError
from devicekit.units import parse_ms, parse_share, parse_size


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
