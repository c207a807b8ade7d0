"""What differs between two measurements of a model on a device: latency, memory, and versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devicekit.compare.significance import Ratio, ratio_apart
from devicekit.store.reading import Cell

# Pages that come and go with the allocator: less growth than this is none.
MEMORY_NOISE_BYTES = 64 * 1024
# What versions are called, where their own name says little.
_NAMES = {"os": "system", "ai-edge-litert": "ai-edge-litert (host)"}
_IGNORED = ("devicekit",)


@dataclass(frozen=True)
class Change:
    """`ratio` is after / before with its interval, None where too few rounds say. `notes`: what else changed.

    `obstacle` says why the two cannot be compared at all, None where they can.
    """

    before: Cell
    after: Cell
    ratio: Ratio | None
    notes: tuple[str, ...]
    obstacle: str | None = None

    @property
    def memory_ratio(self) -> float | None:
        """Returns must-have memory after / before; None where not known, or where the difference is noise."""
        sides = [cell.taken.must_have_bytes if cell.taken else None for cell in (self.before, self.after)]
        if not sides[0] or sides[1] is None or abs(sides[1] - sides[0]) <= MEMORY_NOISE_BYTES:
            return None
        return sides[1] / sides[0]

    @property
    def words(self) -> str:
        """Returns "+15 % (95 %: +12…+18)", "=" for no difference, "" where nothing can be said."""
        if self.obstacle:
            return "not comparable"
        if self.ratio is None:
            return ""
        return interval_words(self.ratio)

    def to_json(self) -> dict[str, Any]:
        return {
            "baseline_run": self.before.run_id,
            "before_us": self.before.taken and self.before.taken.typical_us,
            "ratio": self.ratio and self.ratio.to_json(),
            "memory_ratio": self.memory_ratio,
            "notes": list(self.notes),
            "obstacle": self.obstacle,
        }


def change_between(before: Sequence[Cell], after: Cell) -> Change | None:
    """Returns how `after` differs from earlier cells of the same key, the newest of them first, together.

    None where one side was not measured.
    """
    measured = [cell for cell in before if cell.taken is not None]
    if not measured or after.taken is None:
        return None
    newest = measured[0]
    obstacle = _obstacle(newest, after)
    comparable = [cell for cell in measured if _obstacle(cell, after) is None]
    rounds = [one for cell in comparable if cell.taken for one in cell.taken.rounds_us or ()]
    ratio = None if obstacle else ratio_apart(rounds, after.taken.rounds_us or ())
    return Change(newest, after, ratio, version_changes(newest, after), obstacle)


def version_changes(before: Cell, after: Cell) -> tuple[str, ...]:
    """Returns in words what else is different: "runtime 2.1.0 → 2.3.0", "model file changed"."""
    if before.taken is None or after.taken is None:
        return ()
    old, new = before.taken.versions, after.taken.versions
    found = [
        f"{_NAMES.get(name, name)} {old.get(name, 'none')} → {new.get(name, 'none')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name not in _IGNORED
    ]
    if before.model_sha256 != after.model_sha256:
        found.append("model file changed")
    elif before.taken.sha256 != after.taken.sha256:
        found.append("artifact changed")
    pairs = (
        ("recipe", before.taken.recipe, after.taken.recipe),
        ("profile", before.profile, after.profile),
        ("threads", before.taken.threads, after.taken.threads),
        ("address", before.address, after.address),
    )
    return (*found, *(f"{name} {one} → {two}" for name, one, two in pairs if one != two))


def interval_words(ratio: Ratio) -> str:
    """Returns "+15 % (95 %: +12…+18)", or "no difference (±4 %)"."""
    if not ratio.is_different:
        margin = max(abs(ratio.low - 1), abs(ratio.high - 1)) * 100
        return f"no difference (±{margin:.1f} %)" if margin < 10 else f"no difference (±{margin:.0f} %)"
    middle, low, high = (_signed(one) for one in (ratio.ratio, ratio.low, ratio.high))
    return f"{middle} % (95 %: {low}…{high})"


def _signed(ratio: float) -> str:
    percent = (ratio - 1) * 100
    text = f"{abs(percent):.0f}" if abs(percent) >= 9.95 else f"{abs(percent):.1f}"
    return f"{'+' if percent >= 0 else '−'}{text}"


def _obstacle(before: Cell, after: Cell) -> str | None:
    assert before.taken and after.taken
    if before.taken.evidence != after.taken.evidence:
        return f"{before.taken.evidence} before, {after.taken.evidence} now"
    if before.hardware and after.hardware and before.hardware != after.hardware:
        return f"another device under this name: {_said(before)} before, {_said(after)} now"
    return None


def _said(cell: Cell) -> str:
    return " ".join(str(one) for one in cell.hardware or () if one is not None)
