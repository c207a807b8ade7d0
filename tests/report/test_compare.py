"""A comparison of many models folds on a narrow terminal: nothing is cut, the first is in every part."""

import pytest

from devicekit.report.layouts.compare import _SideBySide
from devicekit.report.text import Terminal, draw

TABLE = _SideBySide(list("ABCDEF"), [("size", [f"{n}00.5 KiB" for n in range(6)])])


@pytest.mark.parametrize(("width", "parts"), [(100, 1), (60, 2), (40, 3)])
def test_a_narrow_terminal_folds_the_columns(width: int, parts: int) -> None:
    lines = draw([TABLE], Terminal(width=width)).splitlines()
    assert max(map(len, lines)) <= width
    headers = [line.split() for line in lines[::3]]
    assert len(headers) == parts
    assert all(header[0] == "A" for header in headers)
    assert sorted({label for header in headers for label in header}) == list("ABCDEF")
    assert "…" not in "".join(lines)
