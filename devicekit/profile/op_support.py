"""Which operators, versions and dtypes runtimes and delegates take: the files in profiles/ops/."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

from devicekit.errors import UsageError
from devicekit.profile.files import library
from devicekit.words import attributes, nearest

FOLDER = "ops"


@dataclass(frozen=True)
class OpSupport:
    """What is known of one operator.

    `first` is {highest version: first release of the runtime that has all versions up to it}, `version` the
    highest that a delegate takes, `types` the dtypes that it takes, "float32+int8" for 8-bit weights under
    float activations; each None where nobody knows. `android` is the first Android that has it, `note` a
    condition in words.
    """

    name: str
    first: Mapping[int, str] | None = None
    version: int | None = None
    types: tuple[str, ...] | None = None
    android: int | None = None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "first": self.first and {str(version): release for version, release in self.first.items()},
            **attributes(self, "version", "types", "android", "note"),
        }


@dataclass(frozen=True)
class Support:
    """A runtime or a delegate, with the operators that it takes; what is not in `ops` it does not take.

    `types_of` is the release of a runtime that the dtypes were measured with, None where it has no releases;
    `tried` are the dtypes that were tried there: of others nobody knows. What the `oldest` release has may be
    in older ones, too: nobody knows.
    A delegate takes `max_partitions` partitions at most, None for all: the largest ones, or with
    `takes_first` the first ones.
    """

    name: str
    title: str
    kind: Literal["runtime", "delegate"]
    origin: str
    ops: Mapping[str, OpSupport]
    types_of: str | None = None
    tried: tuple[str, ...] = ()
    max_partitions: int | None = None
    takes_first: bool = False

    @property
    def has_versions(self) -> bool:
        return any(op.first is not None for op in self.ops.values())

    @cached_property
    def oldest(self) -> str | None:
        """Returns the oldest release that is known, None where the runtime has no releases."""
        return min(
            (since for op in self.ops.values() for since in (op.first or {}).values()),
            key=parts,
            default=None,
        )

    def is_known(self, release: str) -> bool:
        """Returns whether it is known which operators a release has; a newer one has all that are here."""
        return self.oldest is not None and parts(release) >= parts(self.oldest)

    def first_release(self, name: str, version: int) -> str | None:
        """Returns the first release that has an operator at a version, None where none has.

        `oldest` may stand for an older one.
        """
        first = self.ops[name].first if name in self.ops else None
        return next((release for highest, release in (first or {}).items() if version <= highest), None)

    def highest_version(self, name: str, release: str) -> int:
        """Returns the highest version of an operator that a release has, 0 for none; see `is_known`."""
        first = (self.ops[name].first or {}) if name in self.ops else {}
        return max((v for v, since in first.items() if parts(since) <= parts(release)), default=0)

    def refuses(self, name: str, dtype: str | None, release: str | None) -> bool:
        """Returns whether an operator was tried on a dtype, and does not run on it.

        What holds for the release that was tried holds for older ones; for newer ones nobody knows.
        """
        known = self.ops[name].types if name in self.ops else None
        if known is None or dtype not in self.tried or dtype in known:
            return False
        return not self.has_versions or (
            release is not None and self.types_of is not None and parts(release) <= parts(self.types_of)
        )

    def to_json(self) -> dict[str, Any]:
        names = ("name", "title", "kind", "origin", "types_of", "tried", "max_partitions")
        return {"schema": 1, **attributes(self, *names), "ops": [op.to_json() for op in self.ops.values()]}


def parts(release: str) -> tuple[int, ...]:
    """Returns (major, minor) of a release: patches add no operators."""
    return tuple(int(part) for part in release.split(".")[:2] if part.isdecimal())


def names(kind: str | None = None) -> list[str]:
    """Returns the runtimes and delegates that there are files for, of one kind or all."""
    found = sorted(path.stem for path in (library() / FOLDER).glob("*.toml"))
    return [name for name in found if kind in (None, support(name).kind)]


@cache
def support(name: str) -> Support:
    """Returns what is known of a runtime or delegate, by its name in a profile. Raises UsageError."""
    path = library() / FOLDER / f"{name}.toml"
    if not name.isalnum() or not path.is_file():
        known = sorted(one.stem for one in (library() / FOLDER).glob("*.toml"))
        guess = nearest(name, known)
        raise UsageError(
            f'no runtime or delegate "{name}"' + (f"; did you mean {guess}?" if guess else ""),
            remedy=f"name one of {', '.join(known)}",
        )
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Support(
        name,
        data["title"],
        data["kind"],
        data["origin"],
        {op: _entry(op, entry) for op, entry in data["ops"].items()},
        data.get("types_of"),
        tuple(data.get("tried", ())),
        data.get("max_partitions"),
        takes_first="takes" in data,
    )


def _entry(name: str, entry: Mapping[str, Any]) -> OpSupport:
    first = entry.get("first")
    return OpSupport(
        name,
        None if first is None else {int(version): release for version, release in first.items()},
        entry.get("version"),
        tuple(entry["types"]) if "types" in entry else None,
        entry.get("android"),
        entry.get("note"),
    )


@dataclass(frozen=True)
class Listing:
    """What `devicekit ops` shows: runtimes and delegates, the operators `asked` for (none: all), and the
    release of the runtime to hold them against, None for all releases."""

    supports: tuple[Support, ...]
    asked: tuple[str, ...] = ()
    version: str | None = None
    is_overview: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "supports": [
                {
                    **one.to_json(),
                    "release": self.release_of(one),
                    "ops": [op.to_json() for op in self.ops_of(one)],
                }
                for one in self.supports
            ],
        }

    def release_of(self, one: Support) -> str | None:
        """Returns the release that was asked about, None for all of them and where there are none."""
        return self.version if one.has_versions else None

    def ops_of(self, one: Support) -> list[OpSupport]:
        """Returns the operators that were asked for and are there, in that release."""
        release = self.release_of(one)
        return [
            op
            for op in one.ops.values()
            if (not self.asked or op.name in self.asked)
            and (release is None or one.highest_version(op.name, release))
        ]


def listing(
    asked: tuple[str, ...], *, runtime: str | None, version: str | None, delegate: str | None
) -> Listing:
    """Returns what to list. Raises UsageError for an unknown runtime, delegate, operator or release."""
    wanted = [name for name in (runtime, delegate) if name is not None]
    for name, kind in ((runtime, "runtime"), (delegate, "delegate")):
        if name is not None and support(name).kind != kind:
            raise UsageError(f"{name} is no {kind}", remedy=f"--{kind} takes {', '.join(names(kind))}")
    if version is not None and (runtime is None or not support(runtime).has_versions):
        raise UsageError("--version is of a runtime with releases", remedy="add --runtime litert or tflite")
    if version is not None and not parts(version):
        raise UsageError(f'--version is "{version}"', remedy="give a release such as 2.14")
    if version is not None and runtime is not None and not support(runtime).is_known(version):
        oldest = support(runtime).oldest
        raise UsageError(
            f"nobody knows the operators of {support(runtime).title} {version}",
            remedy=f"the oldest release that is known is {oldest}: --version {oldest}",
        )
    ops = tuple(dict.fromkeys(name.upper() for name in asked))
    supports = tuple(support(name) for name in wanted or names())
    known = {name for one in map(support, names()) for name in one.ops}
    for name in ops:
        if name not in known:
            guess = nearest(name, known)
            raise UsageError(
                f'no operator "{name}" in any runtime' + (f"; did you mean {guess}?" if guess else ""),
                remedy="`devicekit ops --runtime litert` lists them as the .tflite schema names them",
            )
    return Listing(supports, ops, version, is_overview=not wanted and not ops)
