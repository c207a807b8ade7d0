"""Draws progress on stderr: a live line on a terminal, one plain line per step elsewhere."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from devicekit.progress import SILENT, Progress


@contextmanager
def drawn(*, quiet: bool, rows: bool = False) -> Iterator[Progress]:
    """Yields what draws progress reports while the block runs; with `rows`, many steps at the same time."""
    if quiet:
        yield SILENT
    elif sys.stderr.isatty():
        with _live(_Rows if rows else _Bars) as progress:
            yield progress
    else:
        yield _Ends() if rows else _Lines()


class _Lines:
    """One line whenever the step or its detail changes."""

    def __init__(self) -> None:
        self._last = ""

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        line = f"{step}: {detail}" if detail else step
        if line != self._last:
            self._last = line
            print(line, file=sys.stderr, flush=True)


class _Ends:
    """One line for each of many steps, once it has ended, and for what begins."""

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        if (total is not None and done >= total) or (step == "run" and not done):
            # In one piece: several threads report.
            sys.stderr.write(f"{step}: {detail}\n")
            sys.stderr.flush()


@contextmanager
def _live(draw: Callable[[Any], Progress]) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        yield draw(bars)


class _Bars:
    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._step = ""
        self._task: Any = None

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        if step != self._step:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(step, total=total, detail=detail)
            self._step = step
        self._bars.update(self._task, completed=done, total=total, detail=detail)


class _Rows:
    """A bar for each of many steps at the same time; what has ended becomes a line above them."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}
        self._lock = threading.Lock()

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        with self._lock:
            if total is not None and done >= total and step != "run":
                if step in self._tasks:
                    self._bars.remove_task(self._tasks.pop(step))
                self._bars.console.print(f"{step:<20} {detail}", markup=False, highlight=False)
                return
            if step not in self._tasks:
                self._tasks[step] = self._bars.add_task(step, total=total, detail=detail)
            self._bars.update(self._tasks[step], completed=done, total=total, detail=detail)
