"""Limits that follow from the hardware: a share of its memory, where a profile does not give its own.

The share is a rule for a class of devices and stands once, in the base; a device's own file gives the memory.
"""

from dataclasses import dataclass
from typing import Any

Table = dict[str, Any]


@dataclass(frozen=True)
class Share:
    """`limit` is `share` times `of`, all dotted keys; `whole` where the limit is a whole number."""

    limit: str
    share: str
    of: str
    whole: bool = False


SHARES = (
    Share("limits.memory_mib", "limits.memory_of_ram", "device.ram_mib"),
    Share("limits.model_mib", "limits.model_of_ram", "device.ram_mib"),
    Share("limits.arena_kib", "limits.arena_of_ram", "device.ram_kib", whole=True),
    Share("limits.model_kib", "limits.model_of_flash", "device.flash_kib", whole=True),
)


def derived(values: Table) -> dict[str, tuple[float, Share]]:
    """Returns dotted key -> (value, the share it follows from), of each limit that `values` does not give."""
    found: dict[str, tuple[float, Share]] = {}
    for rule in SHARES:
        share, of = _number(at(values, rule.share)), _number(at(values, rule.of))
        if share is None or of is None or share > 1 or at(values, rule.limit) is not None:
            continue
        value = of * share
        found[rule.limit] = (int(value) if rule.whole or float(value).is_integer() else value, rule)
    return found


def with_derived(values: Table) -> Table:
    """Returns the tables with the limits that follow."""
    limits = values.get("limits")
    if not isinstance(limits, dict):
        return values
    more = {key.removeprefix("limits."): value for key, (value, _) in derived(values).items()}
    return {**values, "limits": {**limits, **more}}


def of_other_hardware(base: Table, own: Table) -> frozenset[str]:
    """Returns the limits of `base`, as dotted keys, that a file which gives the memory does not inherit."""
    return frozenset(
        rule.limit
        for rule in SHARES
        if at(own, rule.of) is not None
        and (at(base, rule.share) is not None or at(own, rule.share) is not None)
    )


def awaits(values: Table, limit: str) -> bool:
    """Returns whether a limit would follow from memory that is given, and wrong."""
    rules = (rule for rule in SHARES if rule.limit == limit)
    return any(at(values, rule.share) is not None and at(values, rule.of) is not None for rule in rules)


def at(table: Any, key: str) -> Any:
    """Returns what a dotted key has in nested tables, None where there is nothing."""
    for part in key.split("."):
        table = table.get(part) if isinstance(table, dict) else None
    return table


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
