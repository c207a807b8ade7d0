"""Draws progress on stderr: a live line on a terminal, one plain line per step elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from devicekit.progress import Progress


@contextmanager
def drawn(*, quiet: bool) -> Iterator[Progress]:
    """Yields what draws progress reports while the block runs."""
    if quiet:
        yield _Nothing()
    elif sys.stderr.isatty():
        with _live() as progress:
            yield progress
    else:
        yield _Lines()


class _Nothing:
    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        pass


class _Lines:
    """One line whenever the step or its detail changes."""

    def __init__(self) -> None:
        self._last = ""

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        line = f"{step}: {detail}" if detail else step
        if line != self._last:
            self._last = line
            print(line, file=sys.stderr, flush=True)


@contextmanager
def _live() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._step = ""
        self._task: Any = None
        self._since = time.monotonic()

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        if step != self._step:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(step, total=total, detail=detail)
            self._step = step
        self._bars.update(self._task, completed=done, total=total, detail=detail)
