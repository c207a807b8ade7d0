"""The user's --custom-objects file: the classes and functions in it, and stand-ins for Lambda layers.

A function named like a Lambda layer stands in for it, so that the bytecode in the model file is not needed:
it need not be trusted, and may be of another Python. `functions_in` reads the file without running it.
"""

import ast
import importlib.util
import json
import keyword
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from devicekit.errors import UsageError

# The class that stands in a config in place of Lambda: the name of a registered class, so no module is asked.
STAND_IN = "devicekit>StandIn"


def functions_in(path: Path | None) -> frozenset[str]:
    """Returns the names of the functions that a Python file defines at its top."""
    if path is None:
        return frozenset()
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):  # running it will say what is wrong
        return frozenset()
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def stand_in_name(layer: str) -> str:
    """Returns the name of the function that stands in for a Lambda layer: for "lambda" it is lambda_."""
    name = re.sub(r"\W|^(?=\d)", "_", layer, flags=re.ASCII)
    return f"{name}_" if keyword.iskeyword(name) else name


def with_stand_ins(config: Any, functions: Collection[str]) -> Any:
    """Returns a copy of a Keras config in which each Lambda layer with one of `functions` is a STAND_IN."""
    if not functions:
        return config
    config = json.loads(json.dumps(config))  # a deep copy, without Python's recursion
    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if _is_lambda(node) and stand_in_name(str(node["config"].get("name"))) in functions:
                _replace(node)
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return config


def _is_lambda(node: Mapping[str, Any]) -> bool:
    return node.get("class_name") == "Lambda" and isinstance(node.get("config"), dict)


def _replace(node: dict[str, Any]) -> None:
    """Keeps the name and the plain arguments of a Lambda layer, and nothing that could be code."""
    arguments = node["config"].get("arguments")
    plain = arguments if isinstance(arguments, dict) else {}
    node.update(class_name=STAND_IN, registered_name=STAND_IN)
    node["config"] = {"name": str(node["config"].get("name")), "arguments": plain}
    if "module" in node:
        node["module"] = None


def load_objects(path: Path | None, keras: Any, registered: Collection[str]) -> dict[str, Any]:
    """Returns the classes and functions that the user's file defines, by name, and STAND_IN.

    They also get those of the names `registered` ("Package>Name") in the model that end in theirs, so that
    the file need not register them. While it runs, `import keras` in it means the Keras that loads the
    model. Raises UsageError.
    """
    if path is None:
        return {}
    spec = importlib.util.spec_from_file_location("devicekit_custom_objects", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"{path}: no such Python file", remedy="give --custom-objects a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.append(str(path.resolve().parent))  # for the modules beside it, also when its functions run
    before = {name: sys.modules.get(name) for name in ("keras", "keras.layers")}
    sys.modules.update({"keras": keras, "keras.layers": keras.layers})
    try:
        spec.loader.exec_module(module)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # the user's code
        raise UsageError(
            f"{path}: {type(error).__name__}: {error}", remedy="make the file importable on its own"
        ) from error
    finally:
        for name, old in before.items():
            sys.modules.pop(name, None) if old is None else sys.modules.update({name: old})
    own = {name: value for name, value in vars(module).items() if callable(value) and _is_beside(path, value)}
    # Registered classes are looked up as "Package>Name".
    named = {name: own[short] for name in registered if (short := name.rpartition(">")[2]) in own}
    named |= {keras.saving.get_registered_name(value): value for value in own.values()}
    return {**own, **named, STAND_IN: _stand_in_class(keras, own)}


def _is_beside(path: Path, value: Any) -> bool:
    """Returns whether the user's file, or a module beside it, defines `value`."""
    file = getattr(sys.modules.get(getattr(value, "__module__", None) or ""), "__file__", None)
    return bool(file) and Path(str(file)).resolve().parent == path.resolve().parent


def with_names_for(config: Any, objects: Collection[str]) -> Any:
    """Returns a copy of a config in which each function of `objects` is its name alone.

    tf_keras 2.21 writes {"class_name": "function", "config": name} into an .h5 and cannot read that again.
    It also wants shapes in the config of a MultiHeadAttention, which TF 2.4 did not write; None will do.
    """
    if isinstance(config, list):
        return [with_names_for(one, objects) for one in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "function" and config.get("config") in objects:
        return config["config"]
    node = {key: with_names_for(value, objects) for key, value in config.items()}
    if node.get("class_name") == "MultiHeadAttention" and isinstance(node.get("config"), dict):
        node["config"] = {**dict.fromkeys(("query_shape", "key_shape", "value_shape")), **node["config"]}
    return node


def _stand_in_class(keras: Any, functions: Mapping[str, Any]) -> Any:
    """Returns the layer that calls the user's function with the arguments that the Lambda layer had."""

    class StandIn(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, name: str, arguments: Mapping[str, Any], **_: Any) -> None:
            super().__init__(name=name)
            self.function = functions[stand_in_name(name)]
            self.arguments = dict(arguments)

        def call(self, inputs: Any) -> Any:
            return self.function(inputs, **self.arguments)

    return StandIn
