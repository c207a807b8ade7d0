"""Explains a profile: where a value was set and where it comes from, and how two profiles differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devicekit.errors import UsageError
from devicekit.profile.keys import Key, keys
from devicekit.profile.lookup import Origin, load_profile, origins, settings
from devicekit.words import nearest, plain

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

# JSON schema history: 1, the first version.
SCHEMA = 1
# Of a file's own head: they say nothing of the device.
_HEAD = ("schema", "extends", "needs_devicekit")
# The tables whose values are facts, or assumed: what they say should have a source.
_FACTS = ("device", "match", "runtime", "limits")


@dataclass(frozen=True)
class Explained:
    """One key of a profile: its value with where it was set, None where it is absent.

    `overridden` are the files that set it too, nearer bases first, with their values. `follows` names what a
    derived limit was computed of: dotted key -> its own origin.
    """

    key: Key
    origin: Origin | None
    overridden: tuple[tuple[str, Any], ...] = ()
    follows: Mapping[str, Origin] | None = None

    def to_json(self) -> dict[str, Any]:
        origin = self.origin
        return {
            "key": self.key.name,
            "value": origin and plain(origin.value),
            "set_in": origin and origin.file,
            "follows": None if self.follows is None else list(self.follows),
            "source": origin and origin.source,
            "overridden": [{"file": file, "value": value} for file, value in self.overridden],
            "unit": self.key.unit,
            "meaning": self.key.meaning,
        }


@dataclass(frozen=True)
class Explanation:
    """What `devicekit profile explain` shows: one key, or all of a table."""

    profile: str
    keys: tuple[Explained, ...]

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "profile": self.profile, "keys": [one.to_json() for one in self.keys]}


@dataclass(frozen=True)
class Difference:
    """A key that two profiles have otherwise; None where one has no value."""

    key: str
    ours: Origin | None
    theirs: Origin | None

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, "a": _side(self.ours), "b": _side(self.theirs)}


@dataclass(frozen=True)
class ProfileDiff:
    """How two profiles differ, inheritance resolved; `same` counts the keys that have one value in both."""

    ours: str
    theirs: str
    differences: tuple[Difference, ...]
    same: int

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "a": self.ours,
            "b": self.theirs,
            "same": self.same,
            "differences": [one.to_json() for one in self.differences],
        }


def explain(name_or_path: str, key: str) -> Explanation:
    """Returns the value of a dotted key, or of a table's keys, with where each was set, and its source.

    Raises UnknownProfile, ProfileError, and UsageError for a key that no profile has.
    """
    known = {one.name: one for one in keys() if "[]" not in one.name}
    asked = key.strip().strip("[]")
    chosen = [one for name, one in known.items() if name == asked or name.startswith(f"{asked}.")]
    if not chosen:
        by_last = {name.rpartition(".")[2]: name for name in reversed(known)}
        guess = nearest(asked, known) or by_last.get(nearest(asked.rpartition(".")[2], by_last) or "")
        raise UsageError(
            f'no key "{key}" in a profile' + (f"; did you mean {guess}?" if guess else ""),
            remedy="`devicekit profile keys` lists all of them",
        )
    profile = load_profile(name_or_path)
    found = origins(profile)
    return Explanation(profile.name, tuple(_explained(profile, one, found) for one in chosen))


def diff(ours: str, theirs: str) -> ProfileDiff:
    """Returns how two profiles differ. Raises UnknownProfile and ProfileError."""
    a, b = load_profile(ours), load_profile(theirs)
    of_a, of_b = origins(a), origins(b)
    names = [one for one in (*of_a, *(key for key in of_b if key not in of_a)) if one not in _HEAD]
    order = {one.name: index for index, one in enumerate(keys())}
    names.sort(key=lambda name: order.get(name, len(order)))
    different = [name for name in names if _value(of_a.get(name)) != _value(of_b.get(name))]
    return ProfileDiff(
        ours if a.name == b.name else a.name,
        theirs if a.name == b.name else b.name,
        tuple(Difference(name, of_a.get(name), of_b.get(name)) for name in different),
        len(names) - len(different),
    )


def unsourced(profile: "Profile") -> tuple[str, ...]:
    """Returns the facts and limits that files set and no source stands for, as dotted keys."""
    return tuple(
        key
        for key, one in origins(profile).items()
        if key.partition(".")[0] in _FACTS and one.file is not None and one.source is None
    )


def _explained(profile: "Profile", key: Key, found: Mapping[str, Origin]) -> Explained:
    origin = found.get(key.name)
    if origin is None:
        return Explained(key, None)
    files = settings(profile, key.name)
    if origin.follows is not None:
        of = {name: found[name] for name in (origin.follows.of, origin.follows.share)}
        return Explained(key, origin, tuple(files), of)
    return Explained(key, origin, tuple(files[1:]))


def _value(origin: Origin | None) -> Any:
    return None if origin is None else origin.value


def _side(origin: Origin | None) -> dict[str, Any] | None:
    if origin is None:
        return None
    return {"value": plain(origin.value), "set_in": origin.place, "source": origin.source}
