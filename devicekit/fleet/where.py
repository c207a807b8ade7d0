"""The filter of --where: `tag=android and ram_mib>=4096`, over what the fleet file and the profiles say."""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from devicekit.device.inventory import Entry, fleet_path, read_fleet
from devicekit.errors import UsageError
from devicekit.profile.lookup import load_profile
from devicekit.profile.schema import Profile
from devicekit.words import nearest

# What a filter may speak of -> its value for a device: a text, a number, several texts, or None for unknown.
FIELDS: Mapping[str, Callable[[Entry, Profile], Any]] = {
    "name": lambda entry, profile: entry.name,
    "profile": lambda entry, profile: profile.name,
    "address": lambda entry, profile: entry.address,
    "transport": lambda entry, profile: entry.address.partition(":")[0],
    "tag": lambda entry, profile: entry.tags,
    "kind": lambda entry, profile: profile.device.kind,
    "soc": lambda entry, profile: profile.device.soc,
    "abi": lambda entry, profile: profile.device.abi,
    "cores": lambda entry, profile: profile.device.cores,
    "ram_mib": lambda entry, profile: profile.device.ram_mib,
    "runtime": lambda entry, profile: profile.runtime.name,
    "delegate": lambda entry, profile: profile.runtime.delegate,
}
_GRAMMAR = r"""
    ?start: either
    ?either: both ("or"i both)*
    ?both: one ("and"i one)*
    ?one: "not"i one -> negated | "(" either ")" | WORD COMPARED (WORD | QUOTED) -> compared
    COMPARED: "<=" | ">=" | "!=" | "==" | "=" | "<" | ">"
    QUOTED: /"[^"]*"|'[^']*'/
    WORD: /(?!(?:and|or|not)\b)[^\s()=<>!"']+/i
    %ignore /\s+/
"""
_COMPARED = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MAX_LENGTH = 2000
REMEDY = "write such as: --where 'tag=android and (ram_mib>=4096 or name=desk)'; fields: " + ", ".join(FIELDS)


def fleet_devices(fleet: str | Path | None) -> list[tuple[Entry, Profile]]:
    """Returns the devices of a fleet file, each with its profile. Raises ProfileError, UsageError."""
    path = Path(fleet) if fleet else fleet_path()
    if path is None:
        raise UsageError(
            "there is no fleet file: neither --fleet, nor $DEVICEKIT_FLEET, nor ./fleet.toml",
            remedy="`devicekit fleet init` writes one of what is attached",
        )
    entries = read_fleet(path)
    if not entries:
        raise UsageError(
            f"{path} names no device", remedy="add [[device]] tables, or run `devicekit fleet init`"
        )
    profiles = {name: load_profile(name) for name in {entry.profile for entry in entries}}
    return [(entry, profiles[entry.profile]) for entry in entries]


def devices_of(fleet: Sequence[tuple[Entry, Profile]], where: str | None) -> list[tuple[Entry, Profile]]:
    """Returns the devices that a filter keeps, all for None. Raises UsageError, also where none is left."""
    if where is None:
        return list(fleet)
    tree = _parsed(where)
    kept = [(entry, profile) for entry, profile in fleet if _holds(tree, entry, profile)]
    if not kept:
        raise UsageError(
            f"--where '{where}' leaves none of {len(fleet)} devices",
            remedy="`devicekit fleet list` shows names, tags and profiles",
        )
    return kept


def _parsed(where: str) -> Any:
    from lark.exceptions import LarkError, UnexpectedInput, UnexpectedToken

    if len(where) > MAX_LENGTH:
        raise UsageError(f"--where has {len(where)} characters, at most {MAX_LENGTH} are read", remedy=REMEDY)
    try:
        return _parser().parse(where)
    except UnexpectedInput as error:
        is_cut = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        place = "at its end" if is_cut else f"at position {error.column}"
        raise UsageError(f"--where '{where}' makes no sense {place}", remedy=REMEDY) from error
    except (LarkError, RecursionError) as error:
        raise UsageError(f"--where '{where[:80]}' makes no sense", remedy=REMEDY) from error


@cache
def _parser() -> Any:
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr")


def _holds(tree: Any, entry: Entry, profile: Profile) -> bool:
    if tree.data == "negated":
        return not _holds(tree.children[0], entry, profile)
    if tree.data in ("either", "both"):
        parts = [_holds(child, entry, profile) for child in tree.children]
        return any(parts) if tree.data == "either" else all(parts)
    name, compared, wanted = (str(child) for child in tree.children)
    if name not in FIELDS:
        guess = nearest(name, FIELDS)
        raise UsageError(
            f'--where: unknown field "{name}"' + (f"; did you mean {guess}?" if guess else ""), remedy=REMEDY
        )
    if wanted[:1] in "\"'":
        wanted = wanted[1:-1]
    return _compared(FIELDS[name](entry, profile), compared, wanted, name)


def _compared(found: Any, compared: str, wanted: str, name: str) -> bool:
    if isinstance(found, tuple):  # several: equal is "one of them is"
        if compared not in ("=", "==", "!="):
            raise UsageError(f"--where: {name} has no order, found {name}{compared}{wanted}", remedy=REMEDY)
        return (wanted in found) == (compared != "!=")
    if found is None:  # unknown is neither equal nor more nor less
        return compared == "!="
    if isinstance(found, int | float):
        try:
            return bool(_COMPARED[compared](found, float(wanted)))
        except ValueError as error:
            raise UsageError(f'--where: {name} is a number, found "{wanted}"', remedy=REMEDY) from error
    return bool(_COMPARED[compared](str(found).lower(), wanted.lower()))
