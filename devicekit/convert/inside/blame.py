"""Words for a model that does not load or run: the layer, or the line of the user's own code, at fault."""

import inspect
import json
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from devicekit.convert.container import Header
from devicekit.convert.objects import STAND_IN, stand_in_name
from devicekit.convert.trust import lambda_layer, layers_in, registered_names
from devicekit.errors import LoadError

_UNKNOWN = (
    re.compile(r"Unknown [\w ]+: '?([\w>.]+)'?"),
    re.compile(r"Could not locate (?:class|function) '([\w>.]+)'"),
    re.compile(r"Could not interpret [\w ]+ identifier: '?([\w>.]+)'?"),
)
_ARGUMENTS = re.compile(r"(\w+)(?:\.from_config|\.__init__)?\(\) (?:missing|got|takes) ")
_SAVE_ELSEWHERE = "save it as .keras with the Keras that wrote it, or export a SavedModel, and give that"


@dataclass(frozen=True)
class OwnCode:
    """Where the user's code raised: the function, as in "My.call", its line in the file, and the error."""

    function: str
    line: int
    error: BaseException


def load_error(
    path: Path, header: Header, error: BaseException, *, given: Path | None, objects: Mapping[str, Any]
) -> LoadError:
    """Returns the LoadError for whatever Keras raised. `given` is the user's --custom-objects file."""
    text = "\n".join(str(one) for one in _chain(error))
    for pattern in _UNKNOWN:
        found = pattern.search(text)
        if found and found[1] != "function":
            return unknown_object(path, header, found[1], given)
    # The config alone: what a model was compiled with lies beside it, and is not needed.
    missing = sorted(registered_names((header.config or {}).get("config")) - objects.keys())
    if missing:
        return unknown_object(path, header, missing[0], given)
    if given and (own := raised_in(given, error)):
        return LoadError(
            str(path),
            found=f"{own.function} ({given.name}:{own.line}) raises {summary(own.error)}",
            remedy=f"correct it in {given}, line {own.line}",
        )
    if given and (misfit := _misfit(given, error, objects)):
        return LoadError(
            str(path), found=misfit, remedy=f"give it the defaults that the model was saved with, in {given}"
        )
    layer = _layer_at_fault(error)
    if "bad marshal data" in text:
        return _other_python(path, header, layer)
    if isinstance(error, RecursionError) and given:
        return LoadError(
            str(path),
            found=f"the layers of this {header.made_by} file contain each other without end",
            remedy=f"look in {given} for a layer that keeps itself, or its model, in an attribute",
        )
    if isinstance(error, RecursionError):
        return LoadError(
            str(path),
            found=f"this {header.made_by} file nests its layers too deeply",
            remedy="save it as one flat model, without models in models",
        )
    whole = f"layer {_label(header, layer)} of this" if layer else "this"
    return LoadError(
        str(path),
        found=f"{whole} {header.made_by} file does not load ({summary(error)})",
        remedy=_SAVE_ELSEWHERE,
    )


def unknown_object(path: Path, header: Header, name: str, given: Path | None) -> LoadError:
    """Returns the error for a custom object that neither Keras nor the user's file `given` defines."""
    short = name.rpartition(">")[2]
    what = f"{_thing(header, name, short)} of this {header.made_by} file is not a part of Keras"
    if given is not None:
        return LoadError(
            str(path), found=f"{what}, and {given} does not define it", remedy=f"define {short} in {given}"
        )
    return LoadError(
        str(path),
        found=what,
        expected="its Python code",
        remedy=f"add --custom-objects file.py, a file that defines {short}",
    )


def _thing(header: Header, name: str, short: str) -> str:
    """Returns a custom object as the user finds it: layer "my" (My), or "bent" (in layer "dense")."""
    layers = layers_in(header.config)
    for layer, node in layers:
        if node["class_name"] in (name, short):
            return f'layer "{layer}" ({short})'
    for layer, node in reversed(layers):  # the innermost last
        text = json.dumps(node["config"])
        if json.dumps(short) in text or json.dumps(name) in text:
            return f'"{short}" (in layer "{layer}")'
    return f'"{short}"'


def raised_in(given: Path, error: BaseException) -> OwnCode | None:
    """Returns where the file `given` raised, None where it did not: the innermost of its lines."""
    file = str(given.absolute())  # as importlib names it
    for one in _chain(error):
        steps = [*traceback.walk_tb(one.__traceback__)]
        own = [(frame.f_code, line) for frame, line in steps if frame.f_code.co_filename == file]
        if own:
            code, line = own[-1]
            return OwnCode(code.co_qualname, line, one)
        # AutoGraph runs a copy of the code, and tells its place in the message alone.
        if quoted := re.findall(rf'File "{re.escape(file)}", line (\d+), in (\w+)', str(one)):
            return OwnCode(quoted[-1][1], int(quoted[-1][0]), one)
    return None


def ran_out(error: BaseException) -> bool:
    """Tells whether memory ended: AutoGraph turns a MemoryError into an error of its own."""
    return any(isinstance(one, MemoryError) or "MemoryError" in str(one) for one in _chain(error))


# What Keras and TensorFlow write around the line that says what is wrong.
_NOT_TELLING = (
    *("Exception encountered", "config={", "Graph execution error:", "Detected at node", "<stack traces"),
    "[[{{node",
)


def summary(error: BaseException) -> str:
    """Returns an error's class and its most telling line, 300 characters at most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_NOT_TELLING)] or [""]
    is_wrapped = lines[0].startswith(("Error when deserializing", "in user code:"))
    telling = lines[-1] if is_wrapped else lines[0]
    telling = telling.removeprefix(f"{type(error).__name__}: ")
    if type(error).__name__ == "StagingError":  # AutoGraph's, for what it cannot make again
        return telling[:300]
    return f"{type(error).__name__}: {telling[:300]}" if telling else type(error).__name__


def _other_python(path: Path, header: Header, layer: str | None) -> LoadError:
    version = ".".join(map(str, sys.version_info[:2]))
    name = layer or lambda_layer(header.config) or "lambda"
    return LoadError(
        str(path),
        found=f'layer "{name}" (Lambda) of this {header.made_by} file is bytecode of another Python '
        f"than {version}",
        remedy=f"define {stand_in_name(name)}(inputs) in a file for --custom-objects, to stand in for it",
    )


def _misfit(given: Path, error: BaseException, objects: Mapping[str, Any]) -> str | None:
    """Returns in words which class of the user does not take what the config holds, None where all do."""
    for one in _chain(error):
        found = _ARGUMENTS.search(str(one)) if isinstance(one, TypeError) else None
        if found and found[1] in objects and found[1] != STAND_IN:
            line = _line_of(objects[found[1]])
            text = str(one)[found.start() :].splitlines()[0]
            return f"{found[1]} ({given.name}:{line}) does not fit the saved config: {text}"
    return None


def _line_of(thing: Any) -> int:
    try:
        return inspect.getsourcelines(thing)[1]
    except (OSError, TypeError):
        return 1


def _layer_at_fault(error: BaseException) -> str | None:
    """Returns the name of the innermost layer that Keras was at, from the frames of the error."""
    for one in _chain(error):
        frames = [frame for frame, _ in traceback.walk_tb(one.__traceback__)]
        for frame in reversed(frames):
            if name := _layer_of_frame(frame):
                return name
    return None


def _layer_of_frame(frame: FrameType) -> str | None:
    for key in ("layer_data", "inner_config", "cls_config", "layer_config", "config", "node"):
        value = frame.f_locals.get(key)
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            return str(value["name"])
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what it came from, the first cause first."""
    chain: list[BaseException] = []
    pending: BaseException | None = error
    while pending is not None and pending not in chain:
        chain.append(pending)
        pending = pending.__cause__ or pending.__context__
    yield from reversed(chain)


def _label(header: Header, layer: str) -> str:
    classes = {name: node["class_name"] for name, node in layers_in(header.config)}
    return f'"{layer}" ({classes[layer]})' if layer in classes else f'"{layer}"'
