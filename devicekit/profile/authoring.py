"""Writes profiles: new ones of a base, and where files of the user's go."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.errors import Problem, ProfileError, UsageError
from devicekit.profile.files import MAX_BYTES, NAME, is_path, library, profile_path
from devicekit.profile.json_schema import FILE_NAME

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

DEFAULT_BASE = "_android-arm64"


@dataclass(frozen=True)
class Written:
    """A profile as it was written: `schema` is the JSON Schema beside it that editors read."""

    profile: "Profile"
    path: Path
    schema: Path

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "profile": self.profile.name,
            "extends": self.profile.extends,
            "path": str(self.path),
            "json_schema": str(self.schema),
        }


def new_profile(
    name: str, *, base: str = DEFAULT_BASE, output: str | Path | None = None, overwrite: bool = False
) -> Written:
    """Writes NAME.toml here, or `output`, with every key of `base` commented out; returns what was written.

    Raises UsageError for a name that is no file's, and where the file is there; UnknownProfile and
    ProfileError for the base.
    """
    from devicekit.profile.lookup import load_profile
    from devicekit.profile.template import template

    path = place_of(name, output)
    of = load_profile(base)
    extends = extended(of, path)
    return write(path, template(path.name.removesuffix(".toml"), of, extends=extends), overwrite=overwrite)


def extended(base: "Profile", place: Path) -> str:
    """Returns what a profile at `place` writes behind `extends`: a name of the library, or a file beside it.

    Raises UsageError for a file in another directory.
    """
    if base.path.parent.resolve() == library().resolve():
        return base.name
    if base.path.parent.resolve() != place.parent.resolve():
        raise UsageError(
            f"{base.path} lies in another directory than {place}: `extends` never leaves its own",
            remedy=f"write the new one beside it: -o {base.path.parent / place.name}",
        )
    return base.path.name


def place_of(name: str, output: str | Path | None) -> Path:
    """Returns where a profile NAME goes: `output`, else NAME.toml here. Raises UsageError for a bad name."""
    path = Path(output) if output is not None else Path(f"{name}.toml")
    plain = path.name.removesuffix(".toml")
    if not NAME.fullmatch(name) or not NAME.fullmatch(plain) or path.suffix != ".toml":
        what = name if not NAME.fullmatch(name) else str(path)
        raise UsageError(
            f'"{what}" is no name of a profile',
            remedy="letters, digits, _, - and . alone, 80 at most; -o DIRECTORY/NAME.toml says where it goes",
        )
    return path


def write(path: Path, text: str, *, overwrite: bool) -> Written:
    """Writes a profile, and the JSON Schema that its first line names, and returns it as it loads.

    Raises UsageError where the file is there and may not be replaced, or cannot be written.
    """
    import json

    from devicekit.profile.json_schema import json_schema
    from devicekit.profile.lookup import load_profile

    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there", remedy="choose another name, or add --overwrite")
    schema = path.with_name(FILE_NAME)
    try:
        _put(schema, json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n")
        _put(path, text)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            remedy="name a directory that is there and yours: -o",
        ) from error
    return Written(load_profile(path), path, schema)


def _put(path: Path, text: str) -> None:
    """Writes a file whole or not at all: what it replaces may be somebody's work."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def editable(name_or_path: str) -> Path:
    """Returns the file to edit. Raises UsageError for a profile that ships, ProfileError for none."""
    if not is_path(name_or_path):
        path = Path(f"{name_or_path}.toml")
        if not path.is_file():
            profile_path(name_or_path)  # an unknown name says so
            raise UsageError(
                f"{name_or_path} ships with devicekit: an update would undo what you change",
                remedy=f"`devicekit profile new my-{name_or_path.strip('_')} --from {name_or_path}`",
            )
    else:
        path = Path(name_or_path)
    if not path.is_file():
        problem = Problem("", "is a directory, no file" if path.is_dir() else "no such file", "")
        raise ProfileError(str(path), [problem], remedy="`devicekit profile new NAME` writes one")
    if path.stat().st_size > MAX_BYTES:
        problem = Problem("", "is larger than 1 MiB", "a profile has a few KiB")
        raise ProfileError(str(path), [problem], remedy="name a profile")
    return path
