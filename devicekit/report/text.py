"""Results as text for people: aligned, at most 100 columns, coloured on a terminal only."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from rich.console import Console
from rich.markup import escape as rich_escape
from rich.measure import Measurement
from rich.table import Table

from devicekit.plugins import resolve

MAX_WIDTH = 100
LABEL_WIDTH = 14

# The type of the results -> what turns them into lines. A new kind of result is one line here.
LAYOUTS = {
    "Deployment": "devicekit.report.layouts.deployment:lines",
    "Conversion": "devicekit.report.layouts.deployment:conversion_lines",
    "Comparison": "devicekit.report.layouts.compare:lines",
    "CheckResult": "devicekit.report.layouts.model:check_lines",
    "Prediction": "devicekit.report.layouts.prediction:lines",
    "Calibrated": "devicekit.report.layouts.calibration:lines",
    "Inspection": "devicekit.report.layouts.model:inspection_lines",
    "Measurement": "devicekit.report.layouts.measurement:lines",
    "RunReport": "devicekit.report.layouts.fleet:run_lines",
    "GateResult": "devicekit.report.layouts.fleet:gate_lines",
    "History": "devicekit.report.layouts.fleet:history_lines",
    "FleetState": "devicekit.report.layouts.fleet:state_lines",
    "tuple": "devicekit.report.layouts.fleet:runs_lines",
    "Devices": "devicekit.report.layouts.devices:lines",
    "Diagnosis": "devicekit.report.layouts.devices:doctor_lines",
    "Reference": "devicekit.report.layouts.profile:key_lines",
    "Explanation": "devicekit.report.layouts.profile:explain_lines",
    "ProfileDiff": "devicekit.report.layouts.profile:diff_lines",
    "Written": "devicekit.report.layouts.profile:written_lines",
    "Probed": "devicekit.report.layouts.profile:probed_lines",
    "Listing": "devicekit.report.layouts.ops:lines",
    "Profile": "devicekit.report.layouts.profile:lines",
    "list": "devicekit.report.layouts.profile:list_lines",
}


@dataclass(frozen=True)
class Terminal:
    """Where the text goes. `width` in columns; `table_width` that of tables, None for the same."""

    width: int = MAX_WIDTH
    colour: bool = False
    table_width: int | None = None


def terminal() -> Terminal:
    """Returns what stdout is: colour only on a terminal, and never under NO_COLOR."""
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else MAX_WIDTH
    return Terminal(
        width=max(min(width, MAX_WIDTH), 40),
        colour=is_terminal and not os.environ.get("NO_COLOR"),
        table_width=max(width, 40),
    )


def render(results: Any, where: Terminal = Terminal()) -> str:
    """Returns the text of any of the results in LAYOUTS, ending in a newline."""
    layout: Callable[[Any], Iterable[Any]] = resolve(LAYOUTS[type(results).__name__])
    return draw(layout(results), where)


def draw(parts: Iterable[Any], where: Terminal) -> str:
    """Returns rich renderables and strings with rich's markup as text."""
    table_width = where.table_width or where.width
    console = Console(
        file=StringIO(),
        width=max(where.width, table_width),
        force_terminal=where.colour,
        no_color=not where.colour,
        color_system="standard" if where.colour else None,
        highlight=False,
        emoji=False,
    )
    for part in parts:
        console.print(part, width=table_width if isinstance(part, _Columns) else where.width)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def labelled(rows: Iterable[tuple[str, str]]) -> Any:
    """Returns a two-column grid: a label, and text that wraps beside it."""
    grid = Table.grid(padding=(0, 0))
    grid.add_column(min_width=LABEL_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(f"[bold]{escape(label)}[/]  ", text)
    return grid


def columns(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, optional: Sequence[str] = ()
) -> Any:
    """Returns a table without lines; the first `left` columns and the last are aligned to the left.

    Where the terminal is too narrow, the columns titled in `optional` go, the first of them first, and a line
    below says which.
    """
    return _Columns(tuple(header), [tuple(row) for row in rows], left, tuple(optional))


@dataclass(frozen=True)
class _Columns:
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left: int
    optional: tuple[str, ...]

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        return Measurement.get(console, options, self._table(()))

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        dropped: tuple[str, ...] = ()
        for count in range(len(self.optional) + 1):
            dropped = self.optional[:count]
            table = self._table(dropped)
            if Measurement.get(console, options.update(width=1000), table).maximum <= options.max_width:
                break
        yield table
        if dropped:
            yield f"[dim]a wider terminal shows {', '.join(dropped)} too[/]"

    def _table(self, dropped: tuple[str, ...]) -> Any:
        kept = [i for i, title in enumerate(self.header) if title not in dropped]
        header = [self.header[i] for i in kept]
        return _table(header, [[row[i] for i in kept] for row in self.rows], left=self.left)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> Any:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for position, title in enumerate(header):
        is_left = position < left or (position == len(header) - 1 and title == "")
        table.add_column(title, justify="left" if is_left else "right", no_wrap=not is_left or position == 0)
    for row in rows:
        table.add_row(*row)
    return table


def escape(text: str) -> str:
    """Returns text that rich prints as it stands: brackets are no markup, control characters are shown."""
    return rich_escape(
        "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    )
