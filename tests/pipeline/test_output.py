"""Results appear whole or not at all, and overwrite nothing silently."""

from pathlib import Path

import pytest

from devicekit.errors import UsageError
from devicekit.pipeline import output


def test_an_existing_folder_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "m.pixel7"
    target.mkdir()
    (target / "manifest.json").touch()
    with pytest.raises(UsageError) as caught, output.scratch(target, overwrite=False):
        pass
    assert caught.value.message == f"{target} exists already"
    assert caught.value.remedy == "add --overwrite, or name another with -o"


def test_overwrite_refuses_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"x")
    with (
        pytest.raises(UsageError, match="was not made by devicekit"),
        output.scratch(tmp_path / "photos", overwrite=True),
    ):
        pass
    assert (tmp_path / "photos" / "cat.png").exists()


@pytest.mark.parametrize("open_place", [output.scratch, output.scratch_file])
def test_a_place_that_cannot_be_written_is_said_before_the_work(open_place, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError) as caught, open_place(tmp_path / "missing" / "m", overwrite=False):
        pass
    assert caught.value.message == f"{tmp_path / 'missing'} does not exist"
    assert caught.value.remedy == f"make it first: mkdir -p {tmp_path / 'missing'}"


@pytest.mark.parametrize("open_place", [output.scratch, output.scratch_file])
def test_a_place_that_nobody_can_write_is_said_before_the_work(open_place) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="/proc cannot be written: "), open_place("/proc/m", overwrite=False):
        pass


@pytest.mark.parametrize("name", [".", "x" * 300])
def test_names_that_cannot_be_a_folder_of_ours_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError), output.scratch(name, overwrite=True):
        pass


def test_the_older_folder_comes_back_when_the_new_one_cannot_be_put_there(tmp_path: Path) -> None:
    older = tmp_path / "m.pixel7"
    older.mkdir()
    (older / "manifest.json").write_text("older")
    with pytest.raises(FileNotFoundError):
        output._put(tmp_path / "never made", older)
    assert [p.name for p in tmp_path.iterdir()] == ["m.pixel7"]
    assert (older / "manifest.json").read_text() == "older"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_behind_after_an_interruption(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), output.scratch(tmp_path / "m.pixel7", overwrite=False) as place:
        (place.scratch / "half.tflite").write_bytes(b"x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_as_output_file_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="is a folder; expected a file name"),
        output.scratch_file(tmp_path, overwrite=True),
    ):
        pass
