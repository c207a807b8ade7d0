"""Finds profiles by name or path, follows `extends`, and loads them.

Listing needs no pydantic (0.15 s to import here); it is imported where a profile is validated.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.errors import Problem, ProfileError
from devicekit.profile.derived import Share, at, derived, of_other_hardware, with_derived
from devicekit.profile.files import (
    NAME,
    SCHEMA,
    ProfileFile,
    find,
    library,
    library_names,
    profile_names,
    profile_path,
    read,
    shown,
)
from devicekit.profile.label import runtime_label
from devicekit.words import nearest

if TYPE_CHECKING:
    from devicekit.profile.problems import Loc
    from devicekit.profile.schema import Profile

__all__ = [
    "Origin",
    "ProfileRow",
    "check_profile_file",
    "list_profiles",
    "load_profile",
    "merge",
    "origins",
    "profile_names",
    "profile_path",
    "settings",
]

MAX_CHAIN = 16  # files that extend each other
MAX_PROBLEMS = 50  # shown at once

Table = dict[str, Any]


@dataclass(frozen=True)
class ProfileRow:
    """One line of `devicekit profile list`; None where the profile has no such fact.

    Microcontrollers have their limits in KiB, `model_kib` and `arena_kib`.
    """

    name: str
    title: str | None
    kind: str
    soc: str | None
    ram_mib: int | None
    runtime: str
    model_mib: float | None
    memory_mib: float | None
    latency_ms: float | None
    model_kib: int | None = None
    arena_kib: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Origin:
    """Where a value of a profile was set: `file` is its name, None for a default and for what follows.

    `follows` is the share that gives a limit. `source` is where the value comes from, None where nobody says.
    """

    value: Any
    file: str | None
    follows: Share | None = None
    source: str | None = None

    @property
    def place(self) -> str:
        """Returns "pixel7.toml", "device.ram_mib × limits.memory_of_ram", or "default"."""
        if self.follows is not None:
            return f"{self.follows.of} × {self.follows.share}"
        return self.file or "default"


@dataclass(frozen=True)
class _Chain:
    """A file and what it extends, its own first. `broken`: why the last one's `extends` leads nowhere."""

    files: tuple[ProfileFile, ...]
    broken: Problem | None

    def given(self) -> Table:
        """Returns the tables of all files in one, own keys winning."""
        values: Table = {}
        for file in reversed(self.files):
            values = _inherit(values, file.data)
        return values

    def values(self) -> Table:
        """Returns the same with the limits that follow from the hardware."""
        return with_derived(self.given())

    def owner(self, loc: "Loc") -> ProfileFile:
        """Returns the file that sets `loc`; the first one for a key that is missing in all."""
        return next((file for file in self.files if _sets(file.data, loc)), self.files[0])


def load_profile(name_or_path: str | Path) -> "Profile":
    """Returns the profile of that name in the library, or in that file, with `extends` resolved.

    What ends in .toml or has a separator is a path. Raises UnknownProfile, and ProfileError with every
    problem of a file: of the base first, as what extends it cannot be right before.
    """
    chain = _follow(*find(name_or_path))
    profile, mistakes = _validate(chain)
    problems = [*_file_problems(chain), *mistakes]
    for file in reversed(chain.files):
        _raise_if(file, [problem for owner, problem in problems if owner is file])
    assert profile is not None  # without a profile there are mistakes
    return profile


def check_profile_file(path: Path) -> "Profile":
    """Returns the profile in that file. Raises ProfileError with every problem of it."""
    return load_profile(Path(path))


def list_profiles(*, bases: bool = False) -> list[ProfileRow]:
    """Returns one row per shipped profile of a device, or of a base, too, by name; none is validated."""
    return [_row(name) for name in (library_names() if bases else profile_names())]


def origins(profile: "Profile") -> dict[str, Origin]:
    """Returns dotted key -> where it was set, for every key that has a value."""
    chain = _follow(profile.path, str(profile.path))
    given = chain.given()
    follows = derived(given)
    names = {path: file.path.name for file in reversed(chain.files) for path in _leaves(file.data)}
    values = profile.model_dump(by_alias=True, exclude={"name", "path", "files", "sha256", "sources"})
    found = {}
    for path, value in _leaves(values).items():
        key = ".".join(path)
        if value is None:
            continue
        share = follows[key][1] if key in follows else None
        file = names.get(path) if share is None and at(given, key) is not None else None
        source = profile.sources.get(key if share is None else share.share)
        found[key] = Origin(value, file, share, source)
    return found


def settings(profile: "Profile", key: str) -> list[tuple[str, Any]]:
    """Returns the files that set a dotted key, with the value of each: first the one that wins."""
    chain = _follow(profile.path, str(profile.path))
    return [(file.path.name, value) for file in chain.files if (value := at(file.data, key)) is not None]


def merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> Table:
    """Returns `base` with the keys of `own` winning. Tables merge key by key; lists are replaced."""
    merged = dict(base)
    for key, value in own.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _inherit(base: Table, own: Table) -> Table:
    """Returns the merged tables, without limits that were for other hardware, and without sources that speak
    of a value which is replaced."""
    others = of_other_hardware(base, own)
    replaced = {".".join(path) for path in _leaves(own)} | others
    kept = {key: source for key, source in _sources(base).items() if key not in replaced}
    limits = base.get("limits")
    if others and isinstance(limits, dict):
        base = {**base, "limits": {k: v for k, v in limits.items() if f"limits.{k}" not in others}}
    return merge({**base, "sources": kept} if kept else _without(base, "sources"), own)


def _follow(path: Path, shown: str) -> _Chain:
    """Returns the file and all that it extends. Raises ProfileError where one of them cannot be read."""
    files = [read(path, shown)]
    while "extends" in files[-1].data and not files[-1].is_newer:
        base, problem = _base(files)
        if base is None:
            return _Chain(tuple(files), problem)
        beside = base.parent == files[-1].path.parent
        files.append(read(base, str(Path(files[-1].shown).with_name(base.name)) if beside else base.name))
    return _Chain(tuple(files), None)


def _base(files: Sequence[ProfileFile]) -> tuple[Path | None, Problem | None]:
    """Returns the file that the last of `files` extends, or why there is none."""
    last = files[-1]
    name = last.data["extends"]
    if not isinstance(name, str):
        return None, Problem("extends", f"is {shown(name)}", "must be the name of a profile")
    base = _base_path(name, last.path.parent)
    if base is None:
        beside = [path.name for path in sorted(last.path.parent.glob("*.toml"))[:1000]]
        expected = "must be a profile of the library, or a .toml file in the same directory"
        guess = nearest(name, [*library_names(), *beside]) if _is_inside(name) else None
        return None, Problem("extends", f"is {shown(name)}", expected, guess)
    trail = [file.path.name for file in files] + [base.name]
    if base.resolve() in [file.path.resolve() for file in files]:
        return None, Problem("extends", f"runs in a circle: {' → '.join(trail)}", "must end at a base")
    if len(files) >= MAX_CHAIN:
        return None, Problem("extends", f"is file {len(trail)} in a row", f"at most {MAX_CHAIN} may follow")
    return base, None


def _base_path(name: str, directory: Path) -> Path | None:
    """Returns the file that `extends` names; None if there is none, or the name leads elsewhere."""
    if not _is_inside(name):
        return None
    path = directory / name if name.endswith(".toml") else library() / f"{name}.toml"
    return path if path.is_file() else None


def _is_inside(name: str) -> bool:
    return NAME.fullmatch(name) is not None


def _file_problems(chain: _Chain) -> Iterator[tuple[ProfileFile, Problem]]:
    """Yields what each file has for itself: `schema`, `extends`, keys that are not for files.

    Raises ProfileError where a file is written for a newer kit: nothing else of it can be judged.
    """
    from devicekit.profile.problems import judge_place, judge_schema

    for file in chain.files:
        problem = judge_schema(file)
        if problem and file.is_newer:
            raise ProfileError(
                file.shown, [problem], remedy=f"update devicekit{file.kit_words}, run it again"
            )
        if problem:
            yield file, problem
        yield from ((file, problem) for problem in judge_place(file.data))
    if chain.broken:
        yield chain.files[-1], chain.broken


def _validate(chain: _Chain) -> "tuple[Profile | None, list[tuple[ProfileFile, Problem]]]":
    """Returns the profile, None where its values make none, and what is wrong with them."""
    from pydantic import ValidationError

    from devicekit.profile.problems import judge_together, worded
    from devicekit.profile.schema import Profile

    own, values = chain.files[0], chain.values()
    digests = "\n".join(file.sha256 for file in chain.files)
    place = {
        "schema": SCHEMA,
        "extends": own.data.get("extends"),
        "name": own.name,
        "path": own.path,
        "files": tuple(file.path.name for file in chain.files),
        "sha256": hashlib.sha256(digests.encode()).hexdigest(),
    }
    profile = None
    mistakes = list(judge_together(values))
    try:
        profile = Profile.model_validate({**values, **place})
    except ValidationError as error:
        mistakes = [*worded(error), *mistakes]
    if chain.broken:  # what the base would have given is no mistake of this file
        mistakes = [(loc, problem) for loc, problem in mistakes if problem.found != "is missing"]
    return profile, [(chain.owner(loc), problem) for loc, problem in mistakes]


def _raise_if(file: ProfileFile, problems: list[Problem]) -> None:
    if len(problems) > MAX_PROBLEMS:
        more = Problem("", f"{len(problems) - MAX_PROBLEMS} more problems", "")
        problems = [*problems[:MAX_PROBLEMS], more]
    if problems:
        raise ProfileError(file.shown, problems, remedy=file.remedy)


def _row(name: str) -> ProfileRow:
    values = _follow(*find(name)).values()
    try:
        device, runtime, limits = values["device"], values["runtime"], values["limits"]
        label = runtime_label(
            runtime["name"],
            runtime.get("version"),
            delegate=runtime["delegate"],
            threads=runtime.get("threads", 1),
        )
        return ProfileRow(
            name=name,
            title=values.get("title"),
            kind=device["kind"],
            soc=device.get("soc"),
            ram_mib=device.get("ram_mib"),
            runtime=label,
            model_mib=limits.get("model_mib"),
            memory_mib=limits.get("memory_mib"),
            latency_ms=limits.get("latency_ms"),
            model_kib=limits.get("model_kib"),
            arena_kib=limits.get("arena_kib"),
        )
    except (KeyError, TypeError, AttributeError):
        load_profile(name)  # says what is wrong with it
        raise


def _leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Returns every value that is no table, by its path. Sources, whose keys are paths, are left out."""
    leaves: dict[tuple[str, ...], Any] = {}
    for key, value in table.items():
        if (*path, key) == ("sources",):
            continue
        leaves |= _leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return leaves


def _sources(table: Table) -> Table:
    value = table.get("sources")
    return value if isinstance(value, dict) else {}


def _without(table: Table, key: str) -> Table:
    return {name: value for name, value in table.items() if name != key}


def _sets(table: Any, loc: "Loc") -> bool:
    """Returns whether `table` has a value at `loc`, list positions aside."""
    for part in loc:
        if isinstance(part, int):
            return True
        if not isinstance(table, dict) or part not in table:
            return False
        table = table[part]
    return True
