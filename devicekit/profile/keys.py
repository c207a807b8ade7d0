"""The keys of a profile as a table: what `devicekit profile keys`, the reference page and templates show."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from devicekit.errors import UsageError
from devicekit.profile.schema import READ_FROM_PLACE, Profile, Table
from devicekit.words import nearest

_UNITS = {
    "mib": "MiB",
    "kib": "KiB",
    "ms": "ms",
    "mhz": "MHz",
    "mmac": "µs per million MACs",
    "us": "µs",
}
_PER_MIB = "_us_per_mib"
_PLAIN = {int: "whole number", float: "number", bool: "true or false", str: "text"}
_MANY = {int: "whole numbers", float: "numbers", str: "texts"}


@dataclass(frozen=True)
class Key:
    """One key: `name` is dotted, with [] for each table of a list.

    `unit` is None where it has none, `default` the TOML of what it is where nobody sets it, None where it is
    absent then. A key `is_required` in the end: the file sets it, or its base.
    """

    name: str
    type: str
    unit: str | None
    default: str | None
    is_required: bool
    meaning: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def keys() -> list[Key]:
    """Returns all keys that a file may have, in the schema's order."""
    return list(_keys(Profile, ""))


def _keys(table: type[Table], prefix: str) -> Iterator[Key]:
    for name, field in table.model_fields.items():
        if table is Profile and name in READ_FROM_PLACE:
            continue
        dotted = prefix + (field.alias or name)
        expected, is_list = _bare(field.annotation)
        if isinstance(expected, type) and issubclass(expected, Table):
            yield from _keys(expected, f"{dotted}[]." if is_list else f"{dotted}.")
            continue
        yield Key(
            dotted,
            _type_words(expected, is_list=is_list),
            _unit(dotted),
            _default(field),
            field.is_required(),
            field.description or "",
        )


def _bare(annotation: Any) -> tuple[Any, bool]:
    """Returns the type without None and constraints, and whether it is a list of it."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare(next(one for one in get_args(annotation) if one is not type(None)))
    if get_origin(annotation) is tuple and Ellipsis in get_args(annotation):
        return _bare(get_args(annotation)[0])[0], True
    return annotation, False


def _type_words(expected: Any, *, is_list: bool) -> str:
    if get_origin(expected) is Literal:
        words = ", ".join(map(str, get_args(expected)))
        return f"list of: {words}" if is_list else f"one of: {words}" if "," in words else words
    if get_origin(expected) is tuple:
        return "list of [kind, MACs, bytes, operators]"
    if get_origin(expected) is dict:
        return "table: dotted key = text"
    return f"list of {_MANY[expected]}" if is_list else _PLAIN[expected]


def _unit(dotted: str) -> str | None:
    if dotted.endswith(_PER_MIB):
        return "µs per MiB"
    if "_of_" in dotted:
        return "share, 0..1"
    return _UNITS.get(dotted.rpartition("_")[2])


def _default(field: Any) -> str | None:
    if field.is_required() or field.default is None or isinstance(field.default, Table):
        return None
    if isinstance(field.default, bool):
        return "true" if field.default else "false"
    if isinstance(field.default, tuple):
        return "[" + ", ".join(f'"{one}"' for one in field.default) + "]"
    if isinstance(field.default, dict):
        return None
    return f'"{field.default}"' if isinstance(field.default, str) else f"{field.default:g}"


@dataclass(frozen=True)
class Reference:
    """What `devicekit profile keys` shows."""

    keys: tuple[Key, ...]

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, "keys": [key.to_json() for key in self.keys]}


def reference(prefix: str = "") -> Reference:
    """Returns all keys, or those of a table: "limits", or one key. Raises UsageError where there is none."""
    found = tuple(one for one in keys() if not prefix or _is_of(one.name, prefix))
    if not found:
        known = [one.name for one in keys()]
        guess = nearest(prefix, [*known, *{name.partition(".")[0].strip("[]") for name in known}])
        raise UsageError(
            f'no key or table "{prefix}" in a profile' + (f"; did you mean {guess}?" if guess else ""),
            remedy="`devicekit profile keys` lists all of them",
        )
    return Reference(found)


def _is_of(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name[len(prefix) :][:1] in ("", ".", "[")
