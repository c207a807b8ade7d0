"""Amounts as people type them: sizes, times and shares with their units."""

import math
import re

from devicekit.errors import UsageError

# A plain number is bytes. KiB is 1024, kB is 1000 (IEC 80000-13); case does not matter.
SIZES = {
    "": 1,
    "b": 1,
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmg", start=1)},
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmg", start=1)},
}
# A plain number is milliseconds.
TIMES_MS = {"": 1.0, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
# A plain number is the share itself: 0.01 is 1 %.
SHARES = {"": 1.0, "%": 1e-2}

_AMOUNT = re.compile(r"(\d+\.?\d*(?:e[-+]?\d+)?|\.\d+)\s*([a-zµ%]*)", re.IGNORECASE)


def parse_size(text: str, option: str) -> int:
    """Returns bytes, above 0: "500KiB", "2 MB", "3.5MiB", "4096". Raises UsageError, naming `option`."""
    value = _parse(text, SIZES)
    if value is None or value < 1:
        raise UsageError(
            f'{option}: found "{text}", expected a size above 0, such as 500KiB, 2MiB or 2MB',
            remedy="use B, KiB, MiB, GiB (1024) or kB, MB, GB (1000); a plain number is bytes",
        )
    return int(value)


def parse_ms(text: str, option: str) -> float:
    """Returns milliseconds, above 0: "5ms", "300us", "0.1 s", "5". Raises UsageError, naming `option`."""
    value = _parse(text, TIMES_MS)
    if value is None or value <= 0:
        raise UsageError(
            f'{option}: found "{text}", expected a time above 0, such as 5ms, 300us or 0.1s',
            remedy="use us, ms or s; a plain number is milliseconds",
        )
    return value


def parse_share(text: str, option: str) -> float:
    """Returns a share, 0 or above: "1%" and "0.01" are both 0.01. Raises UsageError, naming `option`."""
    value = _parse(text, SHARES)
    if value is None:
        raise UsageError(
            f'{option}: found "{text}", expected a share, such as 1% or 0.01',
            remedy="use %, or a plain number: 0.01 is 1%",
        )
    return value


def _parse(text: str, units: dict[str, int] | dict[str, float]) -> float | None:
    """Returns the amount in the base of `units`; None where it is no finite number with one of them."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or found[2].lower() not in units:
        return None
    value = float(found[1]) * units[found[2].lower()]
    return value if math.isfinite(value) else None
