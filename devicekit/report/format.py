"""Numbers as people read them: units, significant digits, a dash for what is unknown."""

from collections.abc import Sequence

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
