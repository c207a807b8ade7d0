"""Progress of many devices at once: each on a row of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from devicekit import progress

NEVER = threading.Event()


@contextmanager
def on_row(name: str, stop: threading.Event) -> Iterator[None]:
    """Has what the block reports appear on a row of that name; ends the block there once `stop` is set."""
    token = progress.current.set(_Row(name, progress.current.get(), stop))
    try:
        yield
    finally:
        progress.current.reset(token)


class _Row:
    """Progress of one device: each of its steps is the detail of its row. Ends the thread after Ctrl-C."""

    def __init__(self, name: str, whole: progress.Progress, stop: threading.Event) -> None:
        self._name = name
        self._whole = whole
        self._stop = stop

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        words = "measuring" if step == "measure" else f"{step} {detail}".strip()
        if step == "measure" and total:
            words = f"measuring, round {min(int(done) + 1, int(total))} of {int(total)}"
        # A step that ends is not the end of its device.
        self._whole.update(
            self._name, detail=words, done=done, total=total if total and done < total else None
        )
