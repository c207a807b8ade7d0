"""The one progress protocol: steps report here, the command line draws it."""

from contextvars import ContextVar
from typing import Protocol


class Progress(Protocol):
    """What a step tells about long work. `total` is None while it is unknown."""

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None: ...


class _Silent:
    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        pass


SILENT = _Silent()
current: ContextVar[Progress] = ContextVar("devicekit_progress", default=SILENT)


def report(step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
    """Tells whoever watches this run how far `step` ("convert", "quantize", "measure") has come."""
    current.get().update(step, detail=detail, done=done, total=total)
