"""How the kit puts things: amounts as people read and type them, the nearest word to a typo, JSON."""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import PurePath
from typing import Any

from devicekit.errors import UsageError

VERSION = "0.1.0"
UNKNOWN = "\N{EN DASH}"


def size(size_bytes: float | None) -> str:
    """Returns bytes in the units of the profiles' limits (powers of 1024): 126 KiB, 3.56 MiB."""
    if size_bytes is None:
        return UNKNOWN
    for limit, unit in ((2**10, "B"), (2**20, "KiB"), (2**30, "MiB")):
        if size_bytes < limit * 0.9995:
            return f"{_short(size_bytes / (limit / 2**10))} {unit}"
    return f"{_short(size_bytes / 2**30)} GiB"


def mib(size_bytes: float | None) -> str:
    """Returns memory in MiB: one decimal, two below one, none from 100."""
    if size_bytes is None:
        return UNKNOWN
    value = size_bytes / 2**20
    digits = 0 if value >= 99.95 else 1 if value >= 0.95 else 2
    return f"{value:.{digits}f} MiB"


def ms(us: float | None) -> str:
    """Returns microseconds as milliseconds with three significant digits."""
    return UNKNOWN if us is None else _short(us / 1000)


def percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share * 100:.1f} %"


def number(value: float | None) -> str:
    """Returns a metric of unknown unit with four significant digits."""
    return UNKNOWN if value is None else f"{value:.4g}"


def cosine(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def count(number: float | None) -> str:
    """Returns a count with three significant digits: 32.5 k, 301 M."""
    if number is None:
        return UNKNOWN
    for limit, unit in ((1e3, ""), (1e6, " k"), (1e9, " M")):
        if number < limit * 0.9995:
            return f"{_short(number / (limit / 1e3))}{unit}"
    return f"{_short(number / 1e9)} G"


def shape(dims: Sequence[int]) -> str:
    """Returns [1, 28, 28, 1], with ? for a dynamic dimension."""
    return "[" + ", ".join("?" if dim < 0 else str(dim) for dim in dims) + "]"


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _short(value: float) -> str:
    """Returns three significant digits without an exponent; whole numbers without a point."""
    if value == int(value) and value < 1000:
        return str(int(value))
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    if value >= 0.9995:
        return f"{value:.2f}"
    return f"{value:.3f}" if value >= 0.01 else f"{value:.2g}"


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
    value = amount(text, SIZES)
    if value is None or value < 1:
        raise UsageError(
            f'{option}: found "{text}", expected a size above 0, such as 500KiB, 2MiB or 2MB',
            remedy="use B, KiB, MiB, GiB (1024) or kB, MB, GB (1000); a plain number is bytes",
        )
    return int(value)


def parse_ms(text: str, option: str) -> float:
    """Returns milliseconds, above 0: "5ms", "300us", "0.1 s", "5". Raises UsageError, naming `option`."""
    value = amount(text, TIMES_MS)
    if value is None or value <= 0:
        raise UsageError(
            f'{option}: found "{text}", expected a time above 0, such as 5ms, 300us or 0.1s',
            remedy="use us, ms or s; a plain number is milliseconds",
        )
    return value


def parse_share(text: str, option: str) -> float:
    """Returns a share, 0 or above: "1%" and "0.01" are both 0.01. Raises UsageError, naming `option`."""
    value = amount(text, SHARES)
    if value is None:
        raise UsageError(
            f'{option}: found "{text}", expected a share, such as 1% or 0.01',
            remedy="use %, or a plain number: 0.01 is 1%",
        )
    return value


def amount(text: str, units: dict[str, int] | dict[str, float]) -> float | None:
    """Returns the amount in the base of `units`; None where it is no finite number with one of them."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or found[2].lower() not in units:
        return None
    value = float(found[1]) * units[found[2].lower()]
    return value if math.isfinite(value) else None


# Comparing is quadratic, and words come from untrusted files: no valid word is longer.
MAX_LENGTH = 80


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the word of `known` that `word` most likely means, whatever its case; None if none is near."""
    if not 0 < len(word) <= MAX_LENGTH:
        return None
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


# A list of numbers alone; strings with brackets in them have quotes, which are not matched.
_NUMBERS = re.compile(r"\[\s[-+.0-9eE,\s]+\]")


def dumps(document: Any) -> str:
    """Returns JSON without NaN, a key a line, and lists of numbers (raw samples, shapes) on one line."""
    import json  # not what `--help` waits for

    text = json.dumps(document, indent=2, allow_nan=False)
    return _NUMBERS.sub(lambda match: "[" + " ".join(match[0][1:-1].split()) + "]", text)


def plain(value: Any) -> Any:
    """Returns a value as JSON has it: by its own to_json, a list of a tuple, the text of a path."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, PurePath) else value


def attributes(thing: Any, *names: str) -> dict[str, Any]:
    """Returns attributes by their names, as JSON has them; without names the fields of a dataclass."""
    return {name: plain(getattr(thing, name)) for name in names or [one.name for one in fields(thing)]}
