"""A model over runs: latency and memory per device, with what changed in between."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devicekit.fleet.changes import Change, change_between
from devicekit.store.open import Store
from devicekit.store.reading import Cell, history_of

SCHEMA = 1


@dataclass(frozen=True)
class Point:
    """A measured cell, and how it differs from the one before on the same device; None for the first."""

    cell: Cell
    change: Change | None


@dataclass(frozen=True)
class History:
    """The points of one model, the oldest first, by device."""

    model: str
    points: dict[str, tuple[Point, ...]]

    def flat(self) -> Iterator[dict[str, Any]]:
        """Yields a row per point: the columns of CSV."""
        for device, points in self.points.items():
            for point in points:
                taken = point.cell.taken
                assert taken is not None
                ratio = point.change.ratio if point.change else None
                yield {
                    "model": self.model,
                    "device": device,
                    "run": point.cell.run_id,
                    "taken_at": taken.taken_at.isoformat(timespec="seconds"),
                    "evidence": taken.evidence,
                    "recipe": taken.recipe,
                    "median_us": taken.median_us,
                    "p95_us": taken.p95_us,
                    "must_have_bytes": taken.must_have_bytes,
                    "peak_rss_bytes": taken.peak_rss_bytes,
                    "ratio": ratio and round(ratio.ratio, 5),
                    "ratio_low": ratio and round(ratio.low, 5),
                    "ratio_high": ratio and round(ratio.high, 5),
                    "changed": "; ".join(point.change.notes) if point.change else "",
                }

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "model": self.model, "points": list(self.flat())}


def history(store: Store, model: str, *, device: str | None = None, limit: int = 1000) -> History:
    """Returns the newest `limit` points of a model. Raises UsageError for an unknown model or device."""
    with store.reading() as connection:
        cells = history_of(connection, model, device=device, limit=limit)
    points: dict[str, list[Point]] = {}
    for cell in cells:
        earlier = points.setdefault(cell.device, [])
        change = change_between([earlier[-1].cell], cell) if earlier else None
        earlier.append(Point(cell, change))
    return History(model, {name: tuple(found) for name, found in sorted(points.items())})
