"""Looks at a model file without loading it: what it is, which Keras wrote it, whether it may be loaded.

`format_of` reads a few bytes and runs in the parent. `read_header` parses an untrusted file with h5py,
which can crash on a damaged one, so it runs in the conversion child, before TensorFlow is imported.
"""

import json
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from devicekit.convert import trust
from devicekit.convert.objects import stand_in_name, with_stand_ins
from devicekit.convert.wiring import find_cycle
from devicekit.errors import LoadError, UntrustedModel

Format = Literal["h5", "keras", "savedmodel", "tflite"]

# A .tflite is a flatbuffer, whose offsets are 32 bits with a sign.
MAX_WEIGHT_BYTES = 2**31 - 1
_EXPECTED = "a Keras .h5 or .keras file, a SavedModel directory or a .tflite file"
_SAVE_WHOLE = 'save the whole model where you built it: model.save("model.h5")'
_COPY_AGAIN = "copy or download the file again"


@dataclass(frozen=True)
class Header:
    """What a source file says about itself. `config` is Keras' model config, None for a SavedModel.

    `has_stand_ins` tells that `config` is not the file's: functions of the user replace Lambda layers.
    """

    format: Format
    keras_version: str | None
    config: Mapping[str, Any] | None
    has_stand_ins: bool = False

    @property
    def is_legacy(self) -> bool:
        """Keras 2 wrote it (or 1, which wrote no version): tf_keras loads it, Keras 3 cannot."""
        return self.config is not None and not (self.keras_version or "2").startswith("3")

    @property
    def kind(self) -> str:
        if self.config is None:
            return "SavedModel"
        styles = {"Sequential": "sequential", "Functional": "functional", "Model": "functional"}
        return f"{self.made_by} {styles.get(str(self.config.get('class_name')), 'subclassed')}"

    @property
    def made_by(self) -> str:
        """Returns what wrote the file: "Keras 2.15", "TensorFlow" for a SavedModel."""
        if self.config is None:
            return "TensorFlow"
        return f"Keras {'.'.join((self.keras_version or '1').split('.')[:2])}"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns an OSError in its block into the LoadError of a model that cannot be read."""
    try:
        yield
    except OSError as error:
        inside = error.filename and str(error.filename) != str(path)
        raise LoadError(
            str(path),
            found=f"{Path(error.filename).name + ' ' if inside else ''}cannot be read ({error.strerror})",
            remedy="make the model readable, whole and on this machine",
        ) from error


def format_of(path: Path) -> Format:
    """Returns what `path` holds, by its first bytes rather than by its name. Raises LoadError."""
    with readable(path):
        if path.is_dir():
            return _format_of_directory(path)
        if not path.exists():
            raise LoadError(str(path), found="no such file", remedy=f"give the path of {_EXPECTED}")
        if not path.is_file():
            # A FIFO would be waited for without end.
            raise LoadError(
                str(path), found="a pipe or device", expected=_EXPECTED, remedy="save it as a file"
            )
        with path.open("rb") as file:
            return _format_of_bytes(path, file.read(512))


def _format_of_directory(path: Path) -> Format:
    if (path / "saved_model.pb").is_file():
        return "savedmodel"
    raise LoadError(
        str(path),
        found="a directory without saved_model.pb",
        expected="a SavedModel",
        remedy="give the directory that model.export() or tf.saved_model.save() wrote",
    )


def _format_of_bytes(path: Path, start: bytes) -> Format:
    shown = str(path)
    if not start:
        raise LoadError(shown, found="the file is empty", expected=_EXPECTED, remedy=_COPY_AGAIN)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "h5"
    if start.startswith(b"PK\x03\x04"):
        return "keras"
    if start[4:8] == b"TFL3":
        return "tflite"
    if start.startswith(b"version https://git-lfs"):
        raise LoadError(shown, found="a Git LFS pointer, not the model", remedy="run `git lfs pull`")
    raise LoadError(shown, found=f"starts with {start[:8]!r}", expected=_EXPECTED, remedy=_COPY_AGAIN)


def read_header(
    path: Path, format: Format, *, trusted: bool, functions: Collection[str] = frozenset()
) -> Header:
    """Returns what the file says about itself. Raises LoadError, and UntrustedModel unless `trusted`.

    `functions` are those that the user defines: they stand in for Lambda layers of their names.
    """
    if format == "savedmodel":
        _check_saved_model(path, trusted=trusted)
        return Header("savedmodel", None, None)
    header = _read_h5(path) if format == "h5" else _read_keras(path)
    config = with_stand_ins(header.config, functions)
    header = replace(header, config=config, has_stand_ins=config != header.config)
    code = trust.find_code(config)
    if code and not trusted:
        layer = trust.lambda_layer(config)
        raise UntrustedModel(
            f"{path}", carries=code, made_by=header.made_by, stand_in=layer and stand_in_name(layer)
        )
    if (file := trust.named_file(config)) and not trusted:
        raise UntrustedModel(
            f"{path}", carries=file, made_by=header.made_by, danger="reads that file of this machine"
        )
    if cycle := find_cycle(config):
        raise LoadError(
            str(path),
            found=f"its layers wait for their own outputs ({' ← '.join([*cycle, cycle[0]])})",
            expected="layers that follow each other",
            remedy="save it again from the code that builds it: model.save() writes no such cycle",
        )
    return header


def _read_h5(path: Path) -> Header:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            elsewhere = next(_read_elsewhere(file), None)
            attributes = dict(file.attrs)
            group = file.get("model_weights")
            weight_bytes = _dataset_bytes(group) if group is not None else 0
            is_weights = "layer_names" in attributes or bool(
                {"layers", "_layer_checkpoint_dependencies"} & {*file}
            )
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        cause = "truncated" if "truncated file" in str(error) else "damaged"
        raise LoadError(str(path), found=f"a {cause} HDF5 file", remedy=_COPY_AGAIN) from error
    if elsewhere:
        raise LoadError(
            str(path),
            found=f"an HDF5 file that takes {elsewhere} from other files",
            expected="one that holds all its data",
            remedy="save it again from the code that builds it: model.save() writes one whole file",
        )
    if "model_config" not in attributes:
        found = "an HDF5 file with weights only" if is_weights else "an HDF5 file that holds no Keras model"
        raise LoadError(str(path), found=found, expected="architecture and weights", remedy=_SAVE_WHOLE)
    _check_size(path, weight_bytes)
    version = attributes.get("keras_version")
    return Header(
        "h5", _text(version) if version is not None else None, _config(path, attributes["model_config"])
    )


def _read_keras(path: Path) -> Header:
    try:
        with zipfile.ZipFile(path) as archive:
            if min((member.header_offset for member in archive.infolist()), default=0):
                raise LoadError(
                    str(path),
                    found="a zip file behind other data",
                    expected="a .keras file from its first byte on",
                    remedy=_COPY_AGAIN,
                )
            names = set(archive.namelist())
            if not {"config.json", "metadata.json"} <= names:
                raise LoadError(
                    str(path),
                    found="a zip file without config.json and metadata.json",
                    expected="a .keras file",
                    remedy='save the model where you built it: model.save("model.keras")',
                )
            _check_size(path, sum(i.file_size for i in archive.infolist() if i.filename.endswith(".h5")))
            metadata = _config(path, archive.read("metadata.json"))
            config = _config(path, archive.read("config.json"))
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise LoadError(str(path), found="a truncated or damaged .keras file", remedy=_COPY_AGAIN) from error
    return Header("keras", str(metadata.get("keras_version", "3")), config)


def _check_saved_model(path: Path, *, trusted: bool) -> None:
    if (path / "saved_model.cpb").exists():
        raise LoadError(
            str(path),
            found="a SavedModel in chunks (saved_model.cpb)",
            expected="saved_model.pb alone",
            remedy="export it without chunking: experimental_image_format=False",
        )
    with readable(path):
        _check_size(path, sum(file.stat().st_size for file in path.glob("variables/variables.data-*")))
        graph = (path / "saved_model.pb").read_bytes()
    try:
        code = trust.code_op(graph)
    except ValueError as error:
        raise LoadError(str(path), found="a damaged saved_model.pb", remedy=_COPY_AGAIN) from error
    if code and not trusted:
        raise UntrustedModel(str(path), carries=code)


def _check_size(path: Path, weight_bytes: int) -> None:
    if weight_bytes > MAX_WEIGHT_BYTES:
        raise LoadError(
            str(path),
            found=f"{weight_bytes / 2**30:.1f} GiB of weights",
            expected="less than 2 GiB, the most that a .tflite can hold",
            remedy="use a smaller variant of the model, or split it",
        )


def _read_elsewhere(file: Any) -> Iterator[str]:
    """Yields what an HDF5 file takes from other files: reading it would show files that nobody named."""
    import h5py

    pending, seen = [file], set()
    while pending:
        group = pending.pop()
        for name in group:
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                yield f"{group.name.rstrip('/')}/{name}"
                continue
            item = group.get(name)
            address = item is not None and h5py.h5o.get_info(item.id).addr
            if item is None or address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                pending.append(item)
            elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                yield str(item.name)


def _dataset_bytes(group: Any) -> int:
    """Returns the bytes of all arrays in an HDF5 group, without reading them."""
    import h5py

    total = 0

    def add(_: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            total += int(item.size or 0) * item.dtype.itemsize

    group.visititems(add)
    return total


def _config(path: Path, text: Any) -> Mapping[str, Any]:
    try:
        config = json.loads(_text(text))
    except RecursionError as error:
        raise LoadError(
            str(path),
            found="its model config nests too deeply",
            expected="at most a few hundred models in models",
            remedy="save it as one flat model, without models in models",
        ) from error
    except ValueError as error:
        raise LoadError(str(path), found="its model config is no JSON", remedy=_COPY_AGAIN) from error
    if not isinstance(config, dict):
        raise LoadError(str(path), found="its model config is no JSON object", remedy=_COPY_AGAIN)
    return config


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
