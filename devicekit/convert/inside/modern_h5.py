"""Loads an .h5 that Keras 3 wrote. Runs in the conversion child only: it imports TensorFlow.

Such a file names classes without their modules, and Keras 3.15 then takes the operation Add of `x + 3.0` for
the layer Add, knows no operation without a layer of its name, and reads score_mode="dot" as a function:
keras.applications.MobileNetV3 does not load. With the modules put back it does, as the .keras file would.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any


def load_modern_h5(
    path: Path,
    config: Mapping[str, Any],
    keras: Any,
    *,
    objects: Mapping[str, Any],
    trusted: bool,
    build: Callable[[Any], None],
) -> Any:
    """Returns the model of `config` with the weights of `path`. Raises whatever Keras raises.

    `build` makes the variables of a model whose config does not (a subclassed one).
    """
    whole = with_modules(config, keras, objects)
    # A copy of the objects: Keras keeps the dict, and adds to it.
    model = keras.saving.deserialize_keras_object(whole, custom_objects={**objects}, safe_mode=not trusted)
    if not model.built:
        build(model)
    model.load_weights(str(path))
    return model


def with_modules(config: Any, keras: Any, own: Collection[str]) -> Any:
    """Returns a copy of a config in which every class has its module; None for the user's `own` classes."""
    if isinstance(config, list):
        return [with_modules(one, keras, own) for one in config]
    if not isinstance(config, dict):
        return config
    node = {key: with_modules(value, keras, own) for key, value in config.items()}
    name = node.get("class_name")
    if "module" in node or not isinstance(name, str) or name.startswith("__"):
        return node
    if name in own:
        return {**node, "module": None, "registered_name": name}
    module = _module_of(name, node.get("config"), keras)
    if module is None:
        return {**node, "module": None, "registered_name": name} if "config" in node else node
    return {**node, "module": module, "registered_name": None}


def _module_of(name: str, config: Any, keras: Any) -> str | None:
    """Returns the module of a layer, model or operation of Keras; None for a custom class.

    An operation's config has no dtype: a layer's always has.
    """
    is_layer = isinstance(config, Mapping) and bool({"dtype", "trainable", "layers"} & config.keys())
    operation = None if is_layer else _operations(keras).get(name)
    if operation:
        return operation
    if name in ("Functional", "Model"):
        return "keras.src.models.functional" if name == "Functional" else "keras"
    if hasattr(keras.layers, name):
        return "keras.layers"
    return "keras" if hasattr(keras, name) else None


def _operations(keras: Any) -> dict[str, str]:
    """Returns the classes of Keras' operations, which no public module lists: name -> module."""
    found: dict[str, str] = {}
    pending = [keras.Operation]
    while pending:
        cls = pending.pop()
        pending.extend(cls.__subclasses__())
        if cls.__module__.startswith("keras.src.ops."):
            found[cls.__name__] = cls.__module__
    return found
