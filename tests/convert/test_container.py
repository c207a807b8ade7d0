"""What cannot be a model is told apart before TensorFlow is loaded."""

import os
import shutil
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from devicekit.convert.container import format_of, read_header
from devicekit.errors import DevicekitError, LoadError, UntrustedModel

EXPECTED = "a Keras .h5 or .keras file, a SavedModel directory or a .tflite file"


def refused(path: Path) -> tuple[str, str]:
    """Returns the message and the remedy, with the path taken out."""
    with pytest.raises(LoadError) as caught:
        read_header(path, format_of(path), trusted=False)
    assert caught.value.exit_code == 3
    return caught.value.message.removeprefix(f"{path}: "), caught.value.remedy


def test_the_format_is_told_by_content_and_not_by_name(data: Path, tmp_path: Path) -> None:
    misnamed = tmp_path / "digits.bin"
    for name, expected in [
        ("digits.h5", "h5"),
        ("digits.keras", "keras"),
        ("digits.float32.tflite", "tflite"),
    ]:
        shutil.copy(data / name, misnamed)
        assert format_of(misnamed) == expected
    assert format_of(data / "digits_savedmodel") == "savedmodel"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("digits.keras", "Keras 3.15 sequential"),
        ("legacy_h5/tf2.4/dense.h5", "Keras 2.4 sequential"),
        ("digits_savedmodel", "SavedModel"),
    ],
)
def test_the_kind_names_the_keras_that_wrote_the_file(data: Path, name: str, kind: str) -> None:
    path = data / name
    assert read_header(path, format_of(path), trusted=False).kind == kind


def test_a_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.h5") == ("no such file", f"give the path of {EXPECTED}")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    assert refused(tmp_path / "empty.h5") == (
        f"the file is empty; expected {EXPECTED}",
        "copy or download the file again",
    )


def test_a_directory_that_is_no_saved_model(tmp_path: Path) -> None:
    assert refused(tmp_path) == (
        "a directory without saved_model.pb; expected a SavedModel",
        "give the directory that model.export() or tf.saved_model.save() wrote",
    )


def test_a_truncated_h5(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.h5"
    path.write_bytes((data / "digits.h5").read_bytes()[:20_000])
    assert refused(path) == ("a truncated HDF5 file", "copy or download the file again")


def test_an_hdf5_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "table.h5"
    with h5py.File(path, "w") as file:
        file["temperature"] = [20.5, 21.0]
    assert refused(path) == (
        "an HDF5 file that holds no Keras model; expected architecture and weights",
        'save the whole model where you built it: model.save("model.h5")',
    )


def test_a_model_config_that_is_no_json(h5: Callable[..., Path]) -> None:
    assert refused(h5("{not json")) == ("its model config is no JSON", "copy or download the file again")
    assert refused(h5("[" * 100_000)) == (
        "its model config nests too deeply; expected at most a few hundred models in models",
        "save it as one flat model, without models in models",
    )
    assert refused(h5("3"))[0] == "its model config is no JSON object"


def test_more_weights_than_a_tflite_can_hold(h5: Callable[..., Path]) -> None:
    path = h5({"class_name": "Sequential", "config": {"layers": []}})
    with h5py.File(path, "r+") as file:
        file.create_dataset("model_weights/huge", shape=(3 * 2**28,), dtype="f4", chunks=(1024,))
    assert path.stat().st_size < 100_000
    assert refused(path) == (
        "3.0 GiB of weights; expected less than 2 GiB, the most that a .tflite can hold",
        "use a smaller variant of the model, or split it",
    )


def test_a_damaged_keras_file(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.keras"
    path.write_bytes((data / "digits.keras").read_bytes()[:5000])
    assert refused(path) == ("a truncated or damaged .keras file", "copy or download the file again")


def test_a_zip_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "photos.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.txt", "a cat")
    assert refused(path) == (
        "a zip file without config.json and metadata.json; expected a .keras file",
        'save the model where you built it: model.save("model.keras")',
    )


def test_a_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    assert refused(path) == ("a Git LFS pointer, not the model", "run `git lfs pull`")


def test_some_other_file(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_text("<!DOCTYPE html>")
    assert refused(path) == (
        f"starts with b'<!DOCTYP'; expected {EXPECTED}",
        "copy or download the file again",
    )


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:  # not even root may open one as a file
        listener.bind("model.h5")
        assert refused(Path("model.h5")) == (
            f"a pipe or device; expected {EXPECTED}",
            "save it as a file",
        )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFO: run this test elsewhere")
def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.h5")
    assert refused(tmp_path / "model.h5") == (
        f"a pipe or device; expected {EXPECTED}",
        "save it as a file",
    )


def test_what_the_system_does_not_look_up_cannot_be_read(tmp_path: Path) -> None:
    assert refused(tmp_path / ("x" * 300)) == (
        "cannot be read (File name too long)",
        "make the model readable, whole and on this machine",
    )


def test_a_saved_model_whose_variables_are_elsewhere_cannot_be_read(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(data / "digits_savedmodel", path)
    variables = path / "variables" / "variables.data-00000-of-00001"
    variables.unlink()
    variables.symlink_to("elsewhere")
    assert refused(path) == (
        "variables.data-00000-of-00001 cannot be read (No such file or directory)",
        "make the model readable, whole and on this machine",
    )


def test_a_keras_file_behind_other_data(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\3\4".ljust(512, b"\0") + (data / "digits.keras").read_bytes())
    assert refused(path) == (
        "a zip file behind other data; expected a .keras file from its first byte on",
        "copy or download the file again",
    )


def test_an_h5_behind_a_user_block(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(b"anything".ljust(512, b"\0") + (data / "digits.h5").read_bytes())
    assert refused(path) == (
        f"starts with b'anything'; expected {EXPECTED}",
        "copy or download the file again",
    )


def test_a_damaged_saved_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x12\xff\xff\xff\x7f rubbish")
    assert refused(tmp_path) == ("a damaged saved_model.pb", "copy or download the file again")


def test_every_refusal_is_ours(data: Path, tmp_path: Path) -> None:
    """Cutting a .keras and a saved_model.pb anywhere gives an error of ours or a header, never another."""
    whole = (data / "digits.keras").read_bytes()
    graph = (data / "digits_savedmodel" / "saved_model.pb").read_bytes()
    for step in range(1, 40):
        (tmp_path / "cut.keras").write_bytes(whole[: len(whole) * step // 40])
        (tmp_path / "saved_model.pb").write_bytes(graph[: len(graph) * step // 40])
        for path in (tmp_path / "cut.keras", tmp_path):
            try:
                header = read_header(path, format_of(path), trusted=False)
            except DevicekitError as error:
                assert error.remedy
            else:
                assert header.format == "savedmodel"  # cut between two fields


def test_an_h5_that_takes_data_from_other_files_is_refused(h5: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["kernel"] = [1.0]

    def external(group: h5py.Group) -> None:
        group.create_dataset("kernel", (4,), "float32", external=[(str(tmp_path / "secret.bin"), 0, 16)])

    def link(group: h5py.Group) -> None:
        group["kernel"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/kernel")

    def virtual(group: h5py.Group) -> None:
        layout = h5py.VirtualLayout((1,), "float64")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "kernel", (1,))
        group.create_virtual_dataset("kernel", layout)

    for make in (external, link, virtual):
        path = h5({"class_name": "Sequential", "config": {"name": "m", "layers": []}})
        with h5py.File(path, "r+") as file:
            make(file.create_group("model_weights/dense"))
        found, remedy = refused(path)
        assert found == (
            "an HDF5 file that takes /model_weights/dense/kernel from other files; "
            "expected one that holds all its data"
        )
        assert remedy.startswith("save it again from the code that builds it")


def test_groups_that_hold_each_other_are_walked_once(h5: Callable[..., Path]) -> None:
    path = h5({"class_name": "Sequential", "config": {"name": "m", "layers": []}})
    with h5py.File(path, "r+") as file:
        file["model_weights/loop"] = file["model_weights"]
        file["model_weights/soft"] = h5py.SoftLink("/nowhere")
    assert read_header(path, "h5", trusted=False).kind == "Keras 2.15 sequential"


def test_a_vocabulary_that_is_a_file_is_refused_without_trust(h5: Callable[..., Path]) -> None:
    layer = {"class_name": "StringLookup", "config": {"name": "words", "vocabulary": "/etc/hostname"}}
    path = h5({"class_name": "Sequential", "config": {"name": "m", "layers": [layer]}})
    with pytest.raises(UntrustedModel) as caught:
        read_header(path, "h5", trusted=False)
    assert caught.value.message == (
        f'{path} (Keras 2.15) contains a layer ("words") with the vocabulary /etc/hostname: '
        "loading it reads that file of this machine"
    )
    assert read_header(path, "h5", trusted=True).kind == "Keras 2.15 sequential"


def test_stand_ins_are_found_in_a_config_as_deep_as_json_allows(h5: Callable[..., Path]) -> None:
    layer: dict[str, Any] = {"class_name": "Lambda", "config": {"name": "twice"}}
    for number in range(200):
        layer = {"class_name": "Sequential", "config": {"name": f"m{number}", "layers": [layer]}}
    assert read_header(h5(layer), "h5", trusted=False, functions=["twice"]).has_stand_ins
