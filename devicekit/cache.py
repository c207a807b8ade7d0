"""Keeps the results of long steps: directories by key, written whole or not at all, checked before use.

And the SHA-256 of files and directories, which a cache key, a push and a manifest compare.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devicekit.errors import UsageError

_CONTENTS = "contents.json"  # file name -> SHA-256
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def cache_dir() -> Path:
    """Returns where the cache is: $DEVICEKIT_CACHE_DIR, or the user's cache directory."""
    chosen = os.environ.get("DEVICEKIT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("devicekit", appauthor=False)


def key_of(facts: Mapping[str, str | int | bool | None]) -> str:
    """Returns a hex key that changes with any of the facts."""
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()


def cached(step: str, key: str, build: Callable[[Path], None]) -> tuple[Path, bool]:
    """Returns the directory of the entry and whether it was there; `build` fills a directory that was not.

    A damaged entry is built again. Two processes that want the same entry build it once. What `build` raises
    passes through, and nothing is kept. Raises UsageError where the cache cannot be written.
    """
    entry = cache_dir() / step / key
    if _is_intact(entry):
        return entry, True
    from filelock import FileLock

    with ExitStack() as held:
        with _writing():
            entry.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(entry.with_suffix(".lock")))
        if _is_intact(entry):
            return entry, True
        _build(entry, build)
    return entry, False


def _build(entry: Path, build: Callable[[Path], None]) -> None:
    partial = entry.with_suffix(".partial")  # one at a time: the lock is held
    try:
        with _writing():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
        with _writing(only=_FULL):
            build(partial)
        with _writing():
            contents = {file.name: sha256_file(file) for file in sorted(partial.iterdir())}
            (partial / _CONTENTS).write_text(json.dumps(contents, indent=1), encoding="utf-8")
            shutil.rmtree(entry, ignore_errors=True)
            partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _writing(*, only: frozenset[int] | None = None) -> Iterator[None]:
    """Blames the cache for an OSError in its block: any, or `only` those errnos."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise UsageError(
            f"the cache {cache_dir()} cannot be written ({error.strerror or error})",
            remedy="set DEVICEKIT_CACHE_DIR to a directory that is yours and has space",
        ) from error


def _is_intact(entry: Path) -> bool:
    try:
        contents = json.loads((entry / _CONTENTS).read_text(encoding="utf-8"))
        return all(sha256_file(entry / name) == digest for name, digest in contents.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(path: Path) -> str:
    """Returns the SHA-256 of a file, or of a directory's relative names and contents in sorted order."""
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()
