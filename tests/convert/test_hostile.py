"""Nothing in a model file runs or writes without --trust."""

import base64
import contextlib
import marshal
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from devicekit.convert.source import convert_source
from devicekit.errors import ConvertError, LoadError, UntrustedModel

pytestmark = pytest.mark.usefixtures("own_children")


def lambda_config(code: Any) -> dict[str, Any]:
    """Returns the config of a model with one Lambda layer that holds `code`, marshalled as Keras 2 does."""
    text = base64.b64encode(marshal.dumps(code.__code__)).decode()
    scale = {"name": "scale", "function": [text, None, None], "function_type": "lambda", "arguments": {}}
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "name": "x"}},
        {"class_name": "Lambda", "config": {**scale, "output_shape": None, "output_shape_type": "raw"}},
    ]
    return {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}


def test_a_lambda_layer_is_refused_and_nothing_in_it_runs(h5: Callable[..., Path], tmp_path: Path) -> None:
    model, marker = marking(h5, tmp_path)
    with pytest.raises(UntrustedModel) as caught:
        convert_source(model)
    assert caught.value.message == (
        f'{model} (Keras 2.15) contains a Lambda layer ("scale"): loading it runs code stored in the file'
    )
    assert caught.value.remedy == (
        "if you trust where it came from: add --trust; "
        "better: define scale(inputs) in a file for --custom-objects"
    )
    assert caught.value.exit_code == 3
    assert not marker.exists()


def test_a_file_is_decided_on_before_tensorflow_is_imported(
    h5: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = marking(h5, tmp_path)
    imported = tmp_path / "imported"
    for name in ("tensorflow", "tf_keras", "keras"):
        (tmp_path / f"{name}.py").write_text(f"open({str(imported)!r}, 'w').close()\nraise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UntrustedModel):
        convert_source(model)
    assert not imported.exists()
    with pytest.raises(ConvertError):
        convert_source(model, trust=True)
    assert imported.exists()


@pytest.mark.slow
def test_with_trust_the_same_lambda_runs(h5: Callable[..., Path], tmp_path: Path) -> None:
    model, marker = marking(h5, tmp_path)
    convert_source(model, trust=True)
    assert marker.exists()


def marking(h5: Callable[..., Path], folder: Path) -> tuple[Path, Path]:
    """Returns a model whose Lambda layer writes a marker file, and the marker's path."""
    marker = folder / "ran"
    scope: dict[str, Any] = {}
    exec(f"code = lambda x: (open({str(marker)!r}, 'w').close(), x * 2)[1]", scope)
    model = h5(lambda_config(scope["code"]))
    with h5py.File(model, "r+") as file:
        file["model_weights"].attrs["layer_names"] = [b"scale"]
        file["model_weights"].create_group("scale").attrs["weight_names"] = []
    return model, marker


NESTED = pytest.mark.parametrize(
    ("name", "layer"), [("marks.keras", "mark"), ("nested_marks.keras", "inner-mark")], ids=["flat", "nested"]
)


@NESTED
@pytest.mark.parametrize("code", [None, "def other(inputs):\n    return inputs\n"], ids=["bare", "with code"])
def test_a_keras_3_lambda_is_refused_and_nothing_in_it_runs(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, name: str, layer: str, code: str | None
) -> None:
    monkeypatch.setenv("MARKER", str(tmp_path / "ran"))
    own = tmp_path / "own.py" if code else None
    if own and code:
        own.write_text(code)
    with pytest.raises(UntrustedModel) as caught:
        convert_source(made / name, custom_objects=own)
    assert caught.value.message == (
        f'{made / name} (Keras 3.15) contains a Lambda layer ("{layer}"): '
        "loading it runs code stored in the file"
    )
    assert caught.value.remedy == (
        "if you trust where it came from: add --trust; "
        f"better: define {layer.replace('-', '_')}(inputs) in a file for --custom-objects"
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@NESTED
def test_a_keras_3_lambda_runs_with_trust_and_not_where_a_function_stands_in(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, name: str, layer: str
) -> None:
    marker, own = tmp_path / "ran", tmp_path / "own.py"
    monkeypatch.setenv("MARKER", str(marker))
    own.write_text(f"def {layer.replace('-', '_')}(inputs):\n    return 2 * inputs\n")
    given = convert_source(made / name, custom_objects=own)
    assert not marker.exists()
    trusted = convert_source(made / name, trust=True)
    assert marker.exists()
    assert given.parameters == trusted.parameters


@pytest.mark.slow
def test_a_keras_file_that_hides_an_h5_is_read_as_what_was_checked(
    h5: Callable[..., Path], made: Path, tmp_path: Path
) -> None:
    """A zip from its first byte on, whose first member is an HDF5 file at 512, where its readers look."""
    hidden, marker = marking(h5, tmp_path)
    with h5py.File(hidden) as plain, h5py.File(tmp_path / "block.h5", "w", userblock_size=512) as moved:
        moved.attrs.update(plain.attrs)
        plain.copy("model_weights", moved)
    content = (tmp_path / "block.h5").read_bytes()[512:]
    model = tmp_path / "both.h5"
    with zipfile.ZipFile(model, "w") as both, zipfile.ZipFile(made / "legacy.keras") as seen:
        both.writestr("x", bytes(512 - 30 - 1) + content)  # 30: a local header, 1: its name
        for name in seen.namelist():
            both.writestr(name, seen.read(name))
    assert h5py.is_hdf5(model)
    with contextlib.suppress(LoadError):  # Python 3.12 refuses such a zip, 3.11 loads its harmless part
        assert convert_source(model).kind == "Keras 2.21 sequential"
    assert not marker.exists()


@pytest.mark.slow
def test_a_saved_model_that_writes_when_loaded_is_refused(made: Path) -> None:
    written = made / "summary_ran"
    shutil.rmtree(written, ignore_errors=True)
    with pytest.raises(UntrustedModel) as caught:
        convert_source(made / "summary")
    assert caught.value.message.startswith(
        f'{made / "summary"} contains a SummaryWriter op ("SummaryWriter")'
    )
    assert not written.exists()
    convert_source(made / "summary", trust=True)
    assert written.exists()


def test_python_in_other_formats_is_refused(made: Path) -> None:
    for name, carries in [
        ("lambda.keras", '(Keras 3.15) contains a Lambda layer ("lambda")'),
        ("python", 'contains a PyFunc op ("PyFunc")'),
    ]:
        with pytest.raises(UntrustedModel) as caught:
            convert_source(made / name)
        assert caught.value.message == (f"{made / name} {carries}: loading it runs code stored in the file")
