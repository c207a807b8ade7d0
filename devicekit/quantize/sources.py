"""Where calibration data comes from: numpy files, directories, the user's own function."""

import sys
import traceback
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.errors import UsageError
from devicekit.graph.model import Graph, Tensor
from devicekit.graph.told import Told
from devicekit.quantize import images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_FILES = 500  # of a directory: decoded images stay in memory
MAX_ITEMS = 10_000  # of a user's iterator, which may never end
BELOW_0 = -0.3  # the usual images of 0..1 have a mean of 0.45 and a spread of 0.25: they end above
_END = object()


def read_numpy(path: Path) -> dict[str, "NDArray[Any]"]:
    """Returns the arrays of a .npz by key, or of a .npy as "x". Raises UsageError."""
    import numpy as np

    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"x": loaded}
            arrays = {key: loaded[key] for key in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f"{path.name}: cannot be read ({first_line(error)})",
            remedy="save it again with numpy.savez, as numbers",
        ) from error
    if list(arrays) == ["arr_0"]:  # numpy.savez(file, array), without a name
        return {"x": arrays["arr_0"]}
    return arrays


@dataclass(frozen=True)
class Folder:
    """What a directory holds: `samples` [N, ...] of the `files`, and what to know of them."""

    samples: "NDArray[Any]"
    files: tuple[str, ...]
    notes: list[str]


def read_directory(path: Path, graph: Graph, told: Mapping[str, Told]) -> Folder:
    """Returns the samples of a directory of images or .npy files in name order.

    Images are resized to the input's height and width, made RGB or grey as its channels say, and scaled to
    what the model is `told` to take, or 0..1, for a float input. Raises UsageError.
    """
    import numpy as np

    if len(graph.input_tensors) > 1:
        names = ", ".join(graph.input_tensors)
        raise UsageError(
            f"{path.name}: a directory feeds one input, the model has {len(graph.input_tensors)}: {names}",
            remedy="give a .npz with one array per input",
        )
    [(input_name, tensor)] = graph.input_tensors.items()
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in images.SUFFIXES | {".npy"})
    kinds = {p.suffix.lower() == ".npy" for p in found}
    if len(kinds) != 1:
        what = "images and .npy files mixed" if kinds else "neither images nor .npy files"
        raise UsageError(f"{path.name}: holds {what}", remedy="give a directory of one kind")
    step = -(-len(found) // MAX_FILES)
    files, notes = found[::step], []
    if step > 1:
        notes.append(f"{len(files)} of {len(found)} files of {path.name}")
    if kinds == {True}:
        depth = len(sample_shape(tensor))
        samples = _joined([_only_array(file) for file in files], depth, path.name)
        return Folder(samples, _names(files) if len(samples) == len(files) else (), notes)
    height, width, channels = _image_shape(tensor, path)
    read = [images.read_image(file, height=height, width=width, channels=channels) for file in files]
    notes += images.in_words([done for _, done in read])
    samples = np.stack([pixels for pixels, _ in read])
    if tensor.dtype == "float32":
        samples, note = _as_trained(samples, told.get(input_name), is_grey=channels == 1)
        notes.append(note)
    return Folder(samples, _names(files), notes)


def _names(files: Iterable[Path]) -> tuple[str, ...]:
    return tuple(file.name for file in files)


def _as_trained(pixels: "NDArray[Any]", told: Told | None, *, is_grey: bool) -> tuple["NDArray[Any]", str]:
    """Returns images (0..255) in the range that the model takes, float32, and a note of that."""
    import numpy as np

    order = "" if is_grey else "RGB, "
    if told is not None:
        # A mean and a spread tell bytes from shares of 1, and those from -1..1.
        high = told.high[0] if told.is_exact else 255.0 if max(told.high) > 2 else 1.0
        low = -1.0 if high == 1 and min(told.low) < BELOW_0 else 0.0
        note = f"images taken as {order}{low:g}..{high:g}, as the model itself tells ({told.by})"
        return pixels.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low), note
    note = f"images taken as {order}0..1: if the model was trained otherwise, give a .npz instead"
    return pixels.astype(np.float32) / np.float32(255), note


def _only_array(file: Path) -> "NDArray[Any]":
    arrays = read_numpy(file)
    if list(arrays) != ["x"]:
        raise UsageError(
            f"{file.name}: holds {', '.join(arrays) or 'nothing'}, expected one array",
            remedy="save it with numpy.save",
        )
    return arrays["x"]


def load_function(spec: str) -> Any:
    """Returns the function that "file.py:function" names; runs the file. Raises UsageError."""
    file, _, name = spec.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"{file or spec}: no such file", remedy="give file.py:function")
    if path.suffix != ".py":
        raise UsageError(f"{path.name}: is no Python file", remedy="give file.py:function")
    loaded = spec_from_file_location(f"user_{path.stem}", path)
    assert loaded and loaded.loader
    loader, module = loaded.loader, module_from_spec(loaded)
    if str(path.resolve().parent) not in sys.path:
        sys.path.append(str(path.resolve().parent))  # at the end: its neighbours must not shadow libraries
    call_user(path.name, lambda: loader.exec_module(module))
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f'{path.name}: has no function "{name}"', remedy=f"define {name} in {path.name}")
    return function


def call_user(name: str, call: Any) -> Any:
    """Returns call(). What the user's code raises becomes a UsageError that names the line."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = next(
            (f" (line {f.lineno})" for f in reversed(frames) if Path(f.filename).name == name.split(":")[0]),
            "",
        )
        raise UsageError(
            f"{name}: raised {type(error).__name__}: {first_line(error)}{where}", remedy=f"correct {name}"
        ) from error


def call_function(spec: str, graph: Graph) -> dict[str, "NDArray[Any]"]:
    """Returns the arrays that "file.py:function" gives: an array, a dict, or an iterator of either."""
    name = Path(spec).name
    result = call_user(name, load_function(spec))
    if isinstance(result, Mapping):
        return {str(key): _array(values, f"{name}: {key}") for key, values in result.items()}
    if hasattr(result, "__array__"):
        return {"x": _array(result, name)}
    depths = {key: len(sample_shape(tensor)) for key, tensor in graph.input_tensors.items()}
    only = next(iter(depths.values()))
    columns = _collected(name, result, graph)
    return {key: _joined(items, depths.get(key, only), name) for key, items in columns.items()}


def _collected(name: str, result: Any, graph: Graph) -> dict[str, list[Any]]:
    """Returns the items (arrays, dicts, or lists of one array) of a user's iterator: a list per key."""
    if not isinstance(result, Iterable):
        raise UsageError(
            f"{name}: returned {type(result).__name__}, expected an array, a dict or an iterator of them",
            remedy="return a numpy array [N, …]",
        )
    columns: dict[str, list[Any]] = {}
    iterator = iter(result)
    for _ in range(MAX_ITEMS):
        item = call_user(name, lambda: next(iterator, _END))
        if item is _END:
            break
        if isinstance(item, list | tuple) and len(item) == 1 and len(graph.input_tensors) == 1:
            item = item[0]  # as TensorFlow's representative_dataset yields
        if isinstance(item, list | tuple) and len(graph.input_tensors) > 1:
            raise UsageError(
                f"{name}: yielded a list of {len(item)}, whose order is not the model's",
                remedy=f"yield dicts with the keys {', '.join(graph.input_tensors)}",
            )
        for key, value in (item if isinstance(item, Mapping) else {"x": item}).items():
            columns.setdefault(str(key), []).append(value)
    return columns


def _joined(items: list[Any], depth: int, name: str) -> "NDArray[Any]":
    """Returns samples (of `depth` axes) and batches (one axis more) as one batch."""
    import numpy as np

    arrays = [_array(item, name) for item in items]
    batches = [values[None] if values.ndim == depth else values for values in arrays]
    shapes = {values.shape[1:] for values in batches}
    if len(shapes) > 1:
        listed = " and ".join(str(list(shape)) for shape in sorted(shapes)[:2])
        raise UsageError(f"{name}: samples of different shapes: {listed}", remedy="give all the same shape")
    return np.concatenate(batches) if batches else np.zeros((0,) + (0,) * depth, np.float32)


def _array(value: Any, name: str) -> "NDArray[Any]":
    import numpy as np

    try:
        return np.asarray(value)
    except ValueError as error:
        raise UsageError(
            f"{name}: found lists of different lengths, expected numbers of one shape",
            remedy="pad them to one length, and give a numpy array [N, …]",
        ) from error


def _image_shape(tensor: Tensor, path: Path) -> tuple[int, int, int]:
    shape = sample_shape(tensor)
    if (
        len(shape) != 3
        or min(shape) < 1
        or shape[2] not in (1, 3)
        or tensor.dtype not in ("float32", "uint8")
    ):
        dims = ", ".join(str(dim) for dim in tensor.shape)
        raise UsageError(
            f"{path.name}: holds images, the model's input is {tensor.dtype} [{dims}], "
            "expected float32 or uint8 [1, height, width, 1 or 3]",
            remedy="give a .npz with the input as the model takes it",
        )
    return shape[0], shape[1], shape[2]


def _image(file: Path, *, height: int, width: int, channels: int) -> "NDArray[np.uint8]":
    """Returns the decoded image, uint8 [height, width, channels]."""
    return images.read_image(file, height=height, width=width, channels=channels)[0]


def first_line(error: BaseException) -> str:
    """Returns what an error says, in one line of at most 150 characters; its class where it says nothing."""
    text = str((isinstance(error, OSError) and error.strerror) or error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:150]


def sample_shape(tensor: Tensor) -> tuple[int, ...]:
    """Returns the shape of one sample of an input, without a batch axis of 1; -1 where it may vary."""
    shape = tensor.shape_signature or tensor.shape
    return shape[1:] if shape and shape[0] in (1, -1) else shape
