"""Results appear whole or not at all, and overwrite nothing silently."""

from pathlib import Path

import pytest

from devicekit import output
from devicekit.errors import UsageError


def test_an_existing_folder_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "m.pixel7"
    target.mkdir()
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
    assert caught.value.message == f"{tmp_path / 'missing'} cannot be written: No such file or directory"


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
