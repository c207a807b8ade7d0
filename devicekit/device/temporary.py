"""Temporary folders that outlive no crash for long: they carry their process's number in their name."""

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

_NAME = re.compile(r"devicekit-(\d+)-.+")


def folder_prefix() -> str:
    """Returns how the names of this process's temporary folders start."""
    return f"devicekit-{os.getpid()}-"


def new_folder() -> Path:
    """Returns a new empty folder. Removes those of processes that ended without (SIGHUP, SIGKILL)."""
    _remove_stale(Path(tempfile.gettempdir()))
    return Path(tempfile.mkdtemp(prefix=folder_prefix()))


def remove_own() -> None:
    """Removes this process's folders: Ctrl-C may come between making one and knowing of it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{folder_prefix()}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    for folder in parent.glob("devicekit-*-*"):
        match = _NAME.fullmatch(folder.name)
        with suppress(OSError):
            if match and _is_mine(folder) and not psutil.pid_exists(int(match[1])):
                shutil.rmtree(folder, ignore_errors=True)


def _is_mine(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
