"""The cache keeps whole entries or none."""

import errno
import os
import threading
from pathlib import Path

import pytest

from devicekit.cache import cache_dir, cached, key_of
from devicekit.errors import ConvertError, UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEVICEKIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builder:
    """Writes an entry and counts how often it was asked to."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, directory: Path) -> None:
        self.count += 1
        (directory / "a.txt").write_text("one")
        (directory / "b.txt").write_text("two")


def test_a_second_call_finds_what_the_first_built(folder: Path) -> None:
    build = Builder()
    entry, was_there = cached("step", "key", build)
    assert (was_there, cached("step", "key", build), build.count) == (False, (entry, True), 1)
    assert entry == folder / "step" / "key"
    assert (entry / "b.txt").read_text() == "two"


@pytest.mark.parametrize("damage", ["changed", "missing", "no contents", "contents cut"])
def test_a_damaged_entry_is_built_again(damage: str) -> None:
    build = Builder()
    entry, _ = cached("step", "key", build)
    contents = entry / "contents.json"
    if damage == "changed":
        (entry / "a.txt").write_text("0ne")
    elif damage == "missing":
        (entry / "a.txt").unlink()
    elif damage == "no contents":
        contents.unlink()
    else:
        contents.write_text(contents.read_text()[:20])
    assert cached("step", "key", build) == (entry, False)
    assert build.count == 2
    assert (entry / "a.txt").read_text() == "one"


def test_a_build_that_fails_leaves_nothing(folder: Path) -> None:
    def build(directory: Path) -> None:
        (directory / "half.txt").write_text("…")
        raise ConvertError("m.h5", found="no", remedy="none")

    with pytest.raises(ConvertError):
        cached("step", "key", build)
    assert [path.name for path in (folder / "step").iterdir()] == ["key.lock"]


def test_an_os_error_of_the_build_is_not_blamed_on_the_cache(tmp_path: Path) -> None:
    def build(directory: Path) -> None:
        (tmp_path / "no model").read_bytes()

    with pytest.raises(FileNotFoundError):
        cached("step", "key", build)


def test_a_disk_that_is_full_is_the_caches(folder: Path) -> None:
    def build(directory: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UsageError) as caught:
        cached("step", "key", build)
    assert caught.value.message == f"the cache {folder} cannot be written (No space left on device)"


def test_what_a_killed_build_left_does_not_reach_the_next(folder: Path) -> None:
    (folder / "step" / "key.partial").mkdir(parents=True)
    (folder / "step" / "key.partial" / "stale.txt").touch()
    entry, _ = cached("step", "key", Builder())
    assert sorted(path.name for path in entry.iterdir()) == ["a.txt", "b.txt", "contents.json"]


def test_two_that_want_the_same_entry_build_it_once() -> None:
    build, both_started = Builder(), threading.Barrier(2)

    def want() -> None:
        both_started.wait()
        cached("step", "key", build)

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.count == 1


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEVICEKIT_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(UsageError) as caught:
        cached("step", "key", Builder())
    assert caught.value.message == f"the cache {tmp_path / 'file'} cannot be written (Not a directory)"
    assert caught.value.remedy == "set DEVICEKIT_CACHE_DIR to a directory that is yours and has space"


def test_the_key_changes_with_every_fact() -> None:
    facts = {"model": "00", "trust": False, "version": 1}
    keys = {key_of(facts), *(key_of({**facts, name: "other"}) for name in facts)}
    assert len(keys) == 4
    assert key_of(dict(reversed(facts.items()))) == key_of(facts)


def test_without_the_variable_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVICEKIT_CACHE_DIR")
    assert cache_dir().name == "devicekit"
    assert os.environ.get("DEVICEKIT_CACHE_DIR") is None
