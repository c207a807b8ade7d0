"""Words what is wrong with a profile: pydantic's errors and what it cannot see, one Problem per key."""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from devicekit.errors import Problem
from devicekit.profile.derived import awaits
from devicekit.profile.files import SCHEMA, ProfileFile, shown
from devicekit.profile.schema import READ_FROM_PLACE, Profile, Table
from devicekit.words import VERSION, nearest

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

Loc = tuple[str | int, ...]

_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]*)\s*")
# Unit a string may carry -> factor to the key's own unit. Makers write GB for 2^30 bytes of RAM.
_UNITS: dict[str, dict[str, float]] = {
    "mib": {"": 1, "k": 2**-10, "m": 1, "g": 2**10, "t": 2**20},
    "kib": {"": 1, "k": 1, "m": 2**10, "g": 2**20},
    "ms": {"": 1, "us": 1e-3, "µs": 1e-3, "ms": 1, "s": 1e3},
    "mhz": {"": 1, "khz": 1e-3, "mhz": 1, "ghz": 1e3},
}
_UNIT_NAMES = {"mib": " of MiB", "kib": " of KiB", "ms": " of milliseconds", "mhz": " of MHz"}
# What each kind of device cannot do without; a share of its memory may give it.
_LIMITS = {
    "android": ("model_mib", "memory_mib"),
    "linux": ("model_mib", "memory_mib"),
    "microcontroller": ("model_kib", "arena_kib"),
}


def worded(error: "ValidationError") -> Iterator[tuple[Loc, Problem]]:
    """Yields where and what, for each of pydantic's errors."""
    for item in error.errors(include_url=False, include_context=True):
        loc = item["loc"]
        if loc[0] in ("schema", "extends"):  # judged file by file
            continue
        # A list whose items are all wrong is empty to pydantic, too.
        if item["type"] != "too_short" or not item["input"]:
            yield loc, _problem(loc, item["type"], value=item["input"], limits=item.get("ctx", {}))


def judge_schema(file: ProfileFile) -> Problem | None:
    """Returns what is wrong with a file's `schema` and the kit that it needs; None if this kit reads it."""
    value = file.data.get("schema")
    if type(value) is int and value > SCHEMA:
        return Problem("schema", f"is {value}", f"devicekit {VERSION} reads schema {SCHEMA}")
    if file.is_newer:
        return Problem("needs_devicekit", f"is {file.kit}", f"this is devicekit {VERSION}")
    if type(value) is int and value == SCHEMA:
        return None
    found = f"is {shown(value)}" if "schema" in file.data else "is missing"
    return Problem("schema", found, f"must be {SCHEMA}: `schema = {SCHEMA}` on top of the file")


def judge_place(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields the keys of a file that only the reader sets."""
    for key in READ_FROM_PLACE:
        if key in data:
            yield Problem(key, "unknown key", "the file's own; `title` is the name for people")


def judge_together(data: Mapping[str, Any]) -> Iterator[tuple[Loc, Problem]]:
    """Yields what only shows when keys are seen together, or needs the kit's own tables."""
    device, runtime, limits, ops = (_table(data, key) for key in ("device", "runtime", "limits", "ops"))
    threads, cores = _number(runtime, "threads"), _number(device, "cores")
    if threads and cores and threads > cores:
        yield (
            ("runtime", "threads"),
            Problem("runtime.threads", f"is {threads}", f"must be at most device.cores, which is {cores}"),
        )
    for limit, of in (("memory_mib", "ram_mib"), ("arena_kib", "ram_kib"), ("model_kib", "flash_kib")):
        value, most = _number(limits, limit), _number(device, of)
        if value and most and value > most:
            expected = f"must be at most device.{of}, which is {most}"
            yield ("limits", limit), Problem(f"limits.{limit}", f"is {value}", expected)
    if isinstance(data.get("limits"), dict):
        for limit in _LIMITS.get(str(device.get("kind")), _LIMITS["linux"]):
            if limit == "model_kib" and "model_mib" in limits:
                continue  # one of the two says it
            if limit not in limits and not awaits(dict(data), f"limits.{limit}"):
                loc = ("limits", limit)
                yield loc, Problem(dotted(loc), "is missing", f"must be {_expectation(loc)}")
    clocks = device.get("clocks_mhz")
    if isinstance(clocks, list) and cores and len(clocks) > cores:
        yield (
            ("device", "clocks_mhz"),
            Problem("device.clocks_mhz", f"has {len(clocks)} clocks", f"device.cores is {cores:g}"),
        )
    allowed = set(_texts(ops.get("allow")))
    for op in sorted(allowed.intersection(_texts(ops.get("deny")))):
        yield ("ops", "deny"), Problem("ops.deny", f"has {shown(op)}", "ops.allow has it too")
    yield from _judge_recipes(_table(data, "recipes").get("try"))
    yield from _judge_sources(_table(data, "sources"))


def _judge_recipes(names: Any) -> Iterator[tuple[Loc, Problem]]:
    from devicekit.quantize.recipes import RECIPES

    seen: set[str] = set()
    for index, name in enumerate(names if isinstance(names, list) else ()):
        if not isinstance(name, str):
            continue  # pydantic says so
        loc: Loc = ("recipes", "try", index)
        if name not in RECIPES:
            expected = f"must be one of {', '.join(RECIPES)}"
            yield loc, Problem(dotted(loc), f"is {shown(name)}", expected, nearest(name, RECIPES))
        elif name in seen:
            yield loc, Problem(dotted(loc), f"is {shown(name)}", "must be there once")
        seen.add(name)


def _judge_sources(sources: Mapping[str, Any]) -> Iterator[tuple[Loc, Problem]]:
    known = set(fact_keys())
    for key in sources:
        if key not in known:
            found = "names no key of a profile"
            yield ("sources", key), Problem(dotted(("sources", key)), found, "", nearest(key, known))


def fact_keys() -> Iterator[str]:
    """Yields the dotted keys that can have a source: all keys inside tables."""
    for name, table in _tables():
        yield from (f"{name}.{key}" for key in _keys(table))


def dotted(loc: Iterable[str | int]) -> str:
    """Returns ("ops", "deny", 0) as `ops.deny[0]`; parts that are no bare TOML key in quotes."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]{1,80}", part)
            text += ("." if text else "") + (part if bare else shown(part))
    return text


def _problem(loc: Loc, kind: str, *, value: Any, limits: Mapping[str, Any]) -> Problem:
    key = dotted(loc)
    if kind == "extra_forbidden":
        return _unknown(loc)
    if kind == "missing":
        return Problem(key, "is missing", f"must be {_expectation(loc)}")
    found = f"is {shown(value)}"
    bounds = {
        "greater_than": "must be above {gt:g}",
        "greater_than_equal": "must be at least {ge:g}",
        "less_than_equal": "must be at most {le:g}",
    }
    if kind in bounds:
        return Problem(key, found, bounds[kind].format(**limits))
    if kind in ("too_short", "string_too_short"):
        return Problem(key, "is empty", "must have a value")
    if kind == "string_pattern_mismatch":
        capitals = value.strip().upper()
        guess = capitals if re.fullmatch(limits["pattern"], capitals) else None
        return Problem(key, found, "must be an operator as the .tflite schema names it, in capitals", guess)
    if kind == "literal_error" and isinstance(value, str):
        words = [str(word) for word in get_args(_type(loc))]
        guess = nearest(value, words)
        expected = "" if guess and len(words) > 10 else f"must be {_expectation(loc)}"
        return Problem(key, found, expected, guess)
    meant = _meant(value, loc)
    return Problem(key, found, f"must be {_expectation(loc)}" + (f": {meant}" if meant else ""))


def _unknown(loc: Loc) -> Problem:
    """Words an unknown key, with the nearest of its table, or the same key of another table."""
    *parents, last = loc
    table = _type(tuple(parents)) if parents else Profile
    keys = _keys(table)
    guess = nearest(str(last), keys)
    if guess is None:
        guess = next((f"{name}.{last}" for name, other in _tables() if last in _keys(other)), None)
    where = f"[{dotted(parents)}]" if parents else "a profile"
    return Problem(dotted(loc), "unknown key", "" if guess else f"{where} has {', '.join(keys)}", guess)


def _expectation(loc: Loc) -> str:
    """Returns what belongs there, in words: "a whole number of MiB"."""
    expected = _type(loc)
    unit = _UNIT_NAMES.get(_unit(loc), "")
    if get_origin(expected) is Literal:
        return f"one of {', '.join(map(str, get_args(expected)))}"
    if get_origin(expected) is tuple:
        return f"a list of {_plural(_bare(get_args(expected)[0]))}{unit}"
    if isinstance(expected, type) and issubclass(expected, Table):
        return f"a table: [{dotted(loc)}]"
    words: dict[Any, str] = {
        int: f"a whole number{unit}",
        float: f"a number{unit}",
        bool: "true or false",
        str: "text",
    }
    return words.get(expected, "a table")


def _plural(item: Any) -> str:
    return {str: "texts", int: "whole numbers"}.get(item) or ", ".join(map(str, get_args(item)))


def _meant(value: Any, loc: Loc) -> str | None:
    """Returns the TOML for what a value of the wrong type most likely means: "8GB" in MiB is 8192."""
    expected = _type(loc)
    if expected is str and not isinstance(value, dict | list):
        return shown(str(value))
    if get_origin(expected) is tuple and isinstance(value, str | int):
        item = _bare(get_args(expected)[0])
        if item is str:
            return shown([str(value)])
        number = _converted(str(value), unit=_unit(loc), whole=True)
        return None if number is None else f"[{number}]"
    if not isinstance(value, str):
        return None
    if expected is bool:
        return {"true": "true", "yes": "true", "false": "false", "no": "false"}.get(value.strip().lower())
    if expected in (int, float):
        return _converted(value, unit=_unit(loc), whole=expected is int)
    return None


def _unit(loc: Loc) -> str:
    """Returns what the key's name ends in, "mib" of device.ram_mib; inside a list, the list's."""
    return str(next(part for part in reversed(loc) if isinstance(part, str))).rpartition("_")[2]


def _converted(text: str, *, unit: str, whole: bool) -> str | None:
    match = _QUANTITY.fullmatch(text)
    if not match or len(text) > 40:
        return None
    given = match[2].lower()
    if unit in ("mib", "kib"):
        given = re.sub(r"(?<=[kmgt])(i?b)$", "", given)
    factor = _UNITS.get(unit, {"": 1}).get(given)
    if factor is None:
        return None
    number = float(match[1]) * factor
    if number.is_integer():
        return str(int(number))
    return None if whole else f"{number:g}"


def _field(loc: Loc) -> "FieldInfo | None":
    """Returns the schema's field at `loc` (its keys as TOML spells them); list positions are skipped."""
    table: Any = Profile
    field: FieldInfo | None = None
    for part in loc:
        if isinstance(part, int) or not hasattr(table, "model_fields"):
            break
        field = next((f for n, f in table.model_fields.items() if (f.alias or n) == part), None)
        if field is None:
            return None
        table = _bare(field.annotation)
    return field


def _type(loc: Loc) -> Any:
    """Returns the type that belongs at `loc`, without None and constraints; inside a list, its items'."""
    field = _field(loc)
    expected = _bare(field.annotation) if field else None
    if loc[0] == "sources" and len(loc) > 1:
        return str
    return _bare(get_args(expected)[0]) if isinstance(loc[-1], int) and get_args(expected) else expected


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare(next(arg for arg in get_args(annotation) if arg is not type(None)))
    return annotation


def _tables() -> Iterator[tuple[str, Any]]:
    for name, field in Profile.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Table):
            yield name, field.annotation


def _keys(table: Any) -> list[str]:
    fields = getattr(table, "model_fields", {})
    return [f.alias or n for n, f in fields.items() if table is not Profile or n not in READ_FROM_PLACE]


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _number(table: Mapping[str, Any], key: str) -> float | None:
    """Returns the number above 0 at `key`; None for anything else, which pydantic judges."""
    value = table.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
