"""Source model -> Source: its float .tflite, proven equal, from the cache where it was made before.

Everything that loads the model happens in a child process (`convert.inside.child`), with a time and a memory
limit.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from devicekit import progress
from devicekit.cache import cached, key_of, sha256_file, sha256_tree
from devicekit.child import ChildFailed, default_memory_bytes, run_child
from devicekit.convert.container import MAX_WEIGHT_BYTES, format_of, readable
from devicekit.errors import ConvertError, LoadError, ModelError, UsageError
from devicekit.graph.layers import NO_LAYERS, Layers
from devicekit.graph.macs import parameters
from devicekit.graph.read import read_graph
from devicekit.graph.told import Told, told_ranges

# Raise it when a conversion by the same packages would come out different: it is part of the cache's key.
CONVERT_VERSION = 11

_PACKAGES = ("tensorflow", "tf-keras", "keras", "ai-edge-litert")
_SOURCE_NAME = "source.json"
# What the child writes.
FLOAT_NAME = "float.tflite"
REFERENCE_NAME = "reference.npz"


@dataclass(frozen=True)
class Rewrite:
    """One remedy as it was applied. `layers` are the Keras layers concerned, "" where none is known.

    `difference` is max|rewritten - given| / max|given| over the outputs, on random and edge inputs; None
    where the remedy is meant to change them: the given model is random, or keeps a state.
    """

    remedy: str
    does: str
    layers: tuple[str, ...]
    difference: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Outside:
    """A part of the model outside the .tflite: `files` with their `sha256`, the Python module first.

    `role` is "preprocess" or "postprocess", the name of the module's function: arrays by name in, the same
    out. `inputs` and `outputs` are what it takes and gives: {"name", "dtype", "shape"}.
    """

    role: str
    files: tuple[Path, ...]
    sha256: tuple[str, ...]
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, document: Mapping[str, Any], folder: Path) -> "Outside":
        files = tuple(folder / name for name in document["files"])
        return cls(
            document["role"],
            files,
            tuple(map(sha256_file, files)),
            tuple(document["inputs"]),
            tuple(document["outputs"]),
        )

    def to_json(self) -> dict[str, Any]:
        [module, *constants] = [
            {"file": file.name, "sha256": sha256}
            for file, sha256 in zip(self.files, self.sha256, strict=True)
        ]
        return {
            **module,
            "role": self.role,
            "constants": next(iter(constants), None),
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
        }


@dataclass(frozen=True)
class Source:
    """A model ready for quantization: `float_path` is the .tflite of batch 1, the given file if it was one.

    `reference_path` is an .npz of what Keras gave: "in/NAME" and "out/NAME" by signature names, with a
    leading axis of samples; None for a .tflite. `max_difference` is what verify.Verified says of them; None
    for a .tflite, and where outputs are random. `seconds` is what this call took, `cached` whether nothing
    was converted. `rewrites` are the remedies that were applied, `layers` the Keras layers. `unverified` says
    why the .tflite could not be compared with Keras, None where it was. `outside` are the parts of the model
    that run before and behind the .tflite. `told` are the ranges of float inputs that the model itself tells.
    """

    model: Path
    kind: str
    sha256: str
    float_path: Path
    reference_path: Path | None
    max_difference: float | None
    parameters: int | None
    seconds: float
    cached: bool
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    layers: Layers = NO_LAYERS
    unverified: str | None = None
    outside: tuple[Outside, ...] = ()
    told: Mapping[str, Told] = field(default_factory=dict)


class Loading(TypedDict, total=False):
    """The options of `convert_source` that everything that takes a Keras model passes on to it."""

    trust: bool
    custom_objects: str | Path | None
    shapes: Mapping[str, Sequence[int]] | None
    rewrite: bool
    stateless: bool
    custom_ops: Sequence[str]


def convert_source(
    model: Path,
    *,
    trust: bool = False,
    custom_objects: str | Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    rewrite: bool = True,
    stateless: bool = False,
    custom_ops: Sequence[str] = (),
    flex: bool = False,
    timeout_s: float = 1800,
    memory_bytes: int | None = None,
) -> Source:
    """Returns the float .tflite of a .h5, .keras, SavedModel or .tflite, with proof that it equals Keras.

    `trust` allows code in the file to run. `custom_objects` is a Python file that defines the model's own
    layers and functions; the cache sees changes in it and in the .py files beside it, in no other import.
    `shapes` fixes inputs whose sizes the model leaves open: {"image": (1, 224, 224, 3)}. `rewrite` allows the
    remedies of convert.remedies, `stateless` the one by which a stateful RNN forgets its state between
    inferences: else the .tflite keeps it. `custom_ops` are TensorFlow ops that the device has kernels for;
    `flex` says that it has TensorFlow's own. A model with either cannot be run here, and so is not verified.
    `timeout_s` bounds each phase, `memory_bytes` the child's private memory (None: three quarters of this
    machine's). Raises LoadError, UntrustedModel, ConvertError and UsageError.
    """
    started = time.monotonic()
    progress.report("convert", detail="reading")
    if format_of(model) == "tflite":
        given = {"--shape": shapes, "--custom-objects": custom_objects, "--stateless": stateless}
        _refuse_options(model, given)
        return _passed_through(model, started)
    custom_objects = Path(custom_objects) if custom_objects else None
    if custom_objects and not custom_objects.is_file():
        raise UsageError(f"{custom_objects}: no such file", remedy="give --custom-objects a .py file")
    with readable(model):
        sha256 = sha256_tree(model)
    versions = {name: version(name) for name in _PACKAGES}
    options = {
        "shapes": {name: list(sizes) for name, sizes in (shapes or {}).items()},
        "rewrite": rewrite,
        "stateless": stateless,
        "custom_ops": sorted(custom_ops),
        "flex": flex,
    }
    facts: dict[str, str | int | bool | None] = {
        "model": sha256,
        "trust": trust,
        "custom_objects": _sha256_of_code(custom_objects) if custom_objects else None,
        "convert_version": CONVERT_VERSION,
        "options": json.dumps(options, sort_keys=True),
    }
    request = {
        **options,
        "model": str(model),
        "trust": trust,
        "custom_objects": str(custom_objects) if custom_objects else None,
    }

    def build(out_dir: Path) -> None:
        result = _run(model, {**request, "out_dir": str(out_dir)}, timeout_s, memory_bytes)
        with readable(model):
            unchanged = sha256_tree(model) == sha256
        if not unchanged:
            raise LoadError(
                str(model), found="changed while it was converted", remedy="run it again once it is written"
            )
        (out_dir / _SOURCE_NAME).write_text(json.dumps(result), encoding="utf-8")

    entry, was_there = cached("convert", key_of({**facts, **versions}), build)
    result = json.loads((entry / _SOURCE_NAME).read_text(encoding="utf-8"))
    return Source(
        model=model,
        kind=result["kind"],
        sha256=sha256,
        float_path=entry / FLOAT_NAME,
        reference_path=entry / REFERENCE_NAME,
        max_difference=result["max_difference"],
        parameters=result["parameters"],
        seconds=time.monotonic() - started,
        cached=was_there,
        versions=versions,
        notes=tuple(result["notes"]),
        rewrites=tuple(Rewrite(**{**one, "layers": tuple(one["layers"])}) for one in result["rewrites"]),
        layers=Layers(**result["layers"]),
        unverified=result["unverified"],
        outside=tuple(Outside.read(one, entry) for one in result["outside"]),
        told={name: Told.read(one) for name, one in result["told"].items()},
    )


def _sha256_of_code(custom_objects: Path) -> str:
    """Returns the hashes of the file and of the .py files beside it, which it may import."""
    try:
        beside = sorted(path for path in custom_objects.parent.glob("*.py") if path.is_file())
        return " ".join(sha256_file(path) for path in (custom_objects, *beside))
    except OSError as error:
        raise UsageError(
            f"{error.filename}: cannot be read ({error.strerror})",
            remedy="make --custom-objects and the .py files beside it readable",
        ) from error


def _run(
    model: Path, request: Mapping[str, Any], timeout_s: float, memory_bytes: int | None
) -> dict[str, Any]:
    """Returns the conversion child's result. Raises the child's error, or ConvertError for how it ended."""
    phase = "reading"
    result: dict[str, Any] = {}
    events = run_child(
        "devicekit.convert.inside.child",
        request,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes or default_memory_bytes(),
    )
    try:
        with closing(events):
            for event in events:  # to the end: the child clears up after its result
                result = event.get("result", result)
                phase = str(event.get("phase", phase))
                progress.report("convert", detail=phase)
    except ChildFailed as failure:
        raise _failed(model, phase, failure) from failure
    return result


def _failed(model: Path, phase: str, failure: ChildFailed) -> ModelError:
    remedy = {
        "timed out": "give it more time, or export the model again without what makes it large",
        "out of memory": "convert it on a machine with more memory",
        "crashed": "save the model again, with a current version of its Keras",
    }[failure.reason]
    if phase == "reading" and failure.reason == "crashed":
        return LoadError(
            str(model),
            found=f"its reader {failure.detail}: a damaged file",
            remedy="copy or download the file again",
        )
    return ConvertError(str(model), found=f"{phase} it {_ended(failure)}", remedy=remedy)


def _ended(failure: ChildFailed) -> str:
    if failure.reason == "crashed" and not failure.detail.startswith("crashed"):
        return f"crashed: {failure.detail}"
    last = next((line for line in reversed(failure.log_tail.splitlines()) if line.strip()), "")
    words = {"timed out": f"timed out: {failure.detail}"}.get(failure.reason, failure.detail)
    return f"{words} (last log line: {last.strip()[:200]})" if last and failure.reason == "crashed" else words


def _refuse_options(model: Path, options: Mapping[str, Any]) -> None:
    """Raises UsageError for options of Keras models that were given for a .tflite."""
    for name, value in options.items():
        if value:
            raise UsageError(
                f"{name} is for Keras models, and {model.name} is a .tflite", remedy=f"leave out {name}"
            )


def _passed_through(model: Path, started: float) -> Source:
    if model.stat().st_size > MAX_WEIGHT_BYTES:
        raise LoadError(
            str(model),
            found=f"{model.stat().st_size / 2**30:.1f} GiB",
            expected="less than 2 GiB, the most that a .tflite can hold",
            remedy="use a smaller variant of the model, or split it",
        )
    graph = read_graph(model)
    return Source(
        model=model,
        kind=".tflite",
        sha256=graph.sha256,
        float_path=model,
        reference_path=None,
        max_difference=None,
        parameters=parameters(graph),
        seconds=time.monotonic() - started,
        cached=False,
        versions={},
        told=told_ranges(graph),
    )
