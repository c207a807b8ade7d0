"""Reads one profile file: where it is, that it is sane, its TOML. Files are untrusted input."""

import hashlib
import json
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devicekit.errors import Problem, ProfileError, UnknownProfile
from devicekit.words import VERSION, nearest

SCHEMA = 1  # the version of the keys that this kit reads; its history is in schema.py
MAX_BYTES = 2**20
MAX_SHOWN = 60  # characters of a value in a message
MAX_DEPTH = 8  # a profile has three levels; deeper ones come from nobody who means well
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
RELEASE = re.compile(r"\d{1,6}(\.\d{1,6}){0,3}")

_DECODE_ERROR = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)"
)

# Strings and comments, unterminated ones to the end: a dot there is no dotted key.
_TEXT = re.compile(
    r'''"""(?:\\.|[^\\])*?(?:"""|\Z)|'{3}.*?(?:'{3}|\Z)|"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?|#[^\n]*''', re.DOTALL
)
_DEEP_KEY = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}")

Table = dict[str, Any]


@dataclass(frozen=True)
class ProfileFile:
    """One file as it stands, `extends` not yet followed. `shown` is how messages call it."""

    path: Path
    shown: str
    data: Table
    sha256: str

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(".toml")

    @property
    def is_newer(self) -> bool:
        """Returns whether it is written for a later kit: by its schema, or by what it says that it needs."""
        schema = self.data.get("schema")
        return (type(schema) is int and schema > SCHEMA) or _numbers(self.kit) > _numbers(VERSION)

    @property
    def kit(self) -> str | None:
        """Returns the release of devicekit that it says it needs; None where that is no release."""
        needed = self.data.get("needs_devicekit")
        return needed if isinstance(needed, str) and RELEASE.fullmatch(needed) else None

    @property
    def kit_words(self) -> str:
        return f" to {self.kit} or newer" if self.kit else ""

    @property
    def remedy(self) -> str:
        return _remedy(self.path, self.shown)


def library() -> Path:
    """Returns where the shipped profiles are: inside an installed wheel, else on top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "profiles"
    return installed if installed.is_dir() else package.parent / "profiles"


def library_names() -> list[str]:
    """Returns the names of all shipped profiles, bases (first letter "_") included, sorted."""
    return sorted(path.name.removesuffix(".toml") for path in library().glob("*.toml"))


def profile_names() -> list[str]:
    """Returns the names of the shipped profiles of devices, sorted: no bases."""
    return [name for name in library_names() if not name.startswith("_")]


def profile_path(name: str) -> Path:
    """Returns the file of a shipped profile or base. Raises UnknownProfile."""
    path = library() / f"{name}.toml"
    if not NAME.fullmatch(name) or not path.is_file():
        beside = next((p for p in (Path(f"{name}.toml"), Path(name)) if p.is_file()), None)
        guess = f"./{beside}" if beside else nearest(name, library_names())
        raise UnknownProfile(name, nearest=guess, count=len(profile_names()))
    return path


def is_path(name_or_path: str | Path) -> bool:
    """Returns whether `--profile` names a file: it ends in .toml or has a separator."""
    if isinstance(name_or_path, Path):
        return True
    return name_or_path.endswith(".toml") or "/" in name_or_path or "\\" in name_or_path


def find(name_or_path: str | Path) -> tuple[Path, str]:
    """Returns the file and how messages call it. Raises UnknownProfile for a name that is not shipped."""
    if is_path(name_or_path):
        return Path(name_or_path), str(name_or_path)
    path = profile_path(str(name_or_path))
    return path, path.name


def read(path: Path, shown: str) -> ProfileFile:
    """Returns the file. Raises ProfileError where it cannot be read, is no text, or no sane TOML."""
    try:
        content = _read_bytes(path)
        data = _parse(content)
    except _NoFile as error:
        remedy = "correct the path, or name one of `devicekit profile list`"
        raise ProfileError(shown, [Problem("", str(error), "")], remedy=remedy) from error
    except _Refused as error:
        found, expected = error.args
        raise ProfileError(shown, [Problem("", found, expected)], remedy=_remedy(path, shown)) from error
    return ProfileFile(path, shown, data, hashlib.sha256(content).hexdigest())


def shown(value: Any) -> str:
    """Returns a value as TOML writes it, control characters escaped, cut where it is long."""
    if isinstance(value, dict):
        return "a table"
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = re.sub(r"[\x7f-\x9f]", "?", text)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


class _NoFile(Exception):
    """What is at the path instead of a file."""


class _Refused(Exception):
    """What was found in a file, and what was expected."""


def _read_bytes(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode  # before opening: a pipe would hang
        if not stat.S_ISREG(mode):
            raise _NoFile("is a directory, no file" if stat.S_ISDIR(mode) else "is no regular file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _NoFile("no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise _Refused(f"cannot be read ({reason})", "must be a readable .toml file") from error
    if len(content) > MAX_BYTES:
        raise _Refused("is larger than 1 MiB", "a profile has a few KiB")
    return content


def _parse(content: bytes) -> Table:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _Refused(f"line {line} is not UTF-8", "must be a TOML file in UTF-8") from None
    if "\0" in text:
        raise _Refused("is a binary file", "must be a TOML file in UTF-8")
    # Before parsing: tomllib takes memory by the square of a dotted key's parts, 40 GB for one of 1 MiB.
    if _DEEP_KEY.search(_TEXT.sub("_", text)):
        raise _Refused("has values nested too deeply", "a profile has at most 3 levels")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _Refused(*_worded(str(error))) from None
    except RecursionError:
        raise _Refused("has values nested too deeply", "a profile has at most 3 levels") from None
    except ValueError:  # an integer of thousands of digits, a date that does not exist
        raise _Refused("has a number or date that cannot be read", "") from None
    if _depth(data) > MAX_DEPTH:
        raise _Refused("has values nested too deeply", "a profile has at most 3 levels")
    sources = data.get("sources")
    return {**data, "sources": _dotted(sources)} if isinstance(sources, dict) else data


def _worded(message: str) -> tuple[str, str]:
    """Returns found and expected for a message of tomllib: "Expected '=' … (at line 3, column 5)"."""
    match = _DECODE_ERROR.fullmatch(message)
    if not match:
        return f"is no TOML ({message})", ""
    where = f"line {match['line']}, column {match['column']}" if match["line"] else "the end of the file"
    return f"{where} is no TOML", match["what"][:1].lower() + match["what"][1:]


def _depth(value: Any) -> int:
    """Returns how deep tables and lists nest, without recursion."""
    deepest, pending = 0, [(value, 0)]
    while pending and deepest <= MAX_DEPTH:
        current, depth = pending.pop()
        deepest = max(deepest, depth)
        if isinstance(current, dict | list):
            children = current.values() if isinstance(current, dict) else current
            pending.extend((child, depth + 1) for child in children)
    return deepest


def _dotted(table: Table, prefix: str = "") -> Table:
    """Returns `device.ram_mib = …` (tables, to TOML) as `"device.ram_mib" = …`: both ways name a source."""
    flat: Table = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _dotted(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _numbers(release: str | None) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release or "")))


def _remedy(path: Path, shown: str) -> str:
    argument = path.name.removesuffix(".toml") if path.parent == library() else shown
    return f"correct {shown}, then run `devicekit profile check {argument}`"
