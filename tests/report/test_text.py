"""Tables fit the terminal: what decides stays, what merely informs goes."""

import pytest

from devicekit.report.text import Terminal, columns, draw, labelled

HEADER = ("", "recipe", "size", "host ms", "p95 ms", "top-1", "")
ROW = ("▸", "int8_float_io", "52.6 KiB", "0.019", "0.033", "99.9 %", "chosen")


def drawn(width: int) -> str:
    table = columns(HEADER, [ROW], left=2, optional=("p95 ms", "top-1"))
    return draw([table], Terminal(width=width))


@pytest.mark.parametrize(
    ("width", "shown", "gone"),
    [(100, ("p95 ms", "top-1"), ()), (58, ("top-1",), ("p95 ms",)), (50, (), ("p95 ms", "top-1"))],
)
def test_a_narrow_terminal_loses_columns_in_order_and_cuts_nothing(
    width: int, shown: tuple[str, ...], gone: tuple[str, ...]
) -> None:
    text = drawn(width)
    text, _, left_out = text.partition("a wider terminal shows ")
    assert left_out.strip() == (f"{', '.join(gone)} too" if gone else "")
    assert all(title in text for title in (*shown, "▸", "int8_float_io", "0.019", "chosen"))
    assert not any(title in text for title in gone)
    assert "…" not in text and max(map(len, text.splitlines())) <= width


def test_tables_take_the_width_of_the_terminal_and_prose_does_not() -> None:
    table = columns(HEADER, [ROW], left=2, optional=("p95 ms", "top-1"))
    prose = labelled([("note", "word " * 30)])
    text = draw([prose, table], Terminal(width=50, table_width=100))
    assert "p95 ms" in text and max(map(len, text.splitlines()[:4])) <= 50


def test_text_beside_a_label_wraps_beside_it() -> None:
    lines = draw([labelled([("note", "word " * 30)])], Terminal(width=60)).splitlines()
    assert lines[0].startswith("note") and lines[1].startswith(" " * 14 + "word")


def test_brackets_and_control_characters_of_a_file_are_shown_not_obeyed() -> None:
    from devicekit.report.text import escape

    assert draw([escape("m[red].h5\x1b[2J")], Terminal()).startswith("m[red].h5\N{REPLACEMENT CHARACTER}[2J")


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (0.0, "the same outputs as"),
        (7e-7, "within 7e-07 of the outputs of"),
        (1.0, "at most 1 step from the outputs of"),
    ],
)
def test_how_near_outputs_are_is_said_in_the_unit_that_they_have(difference: float, words: str) -> None:
    from devicekit.report.layouts.measurement import verified_words

    verified = {"outputs": 1, "max_difference": difference}
    assert verified_words(verified) == f"where it was measured, {words} the reference"
