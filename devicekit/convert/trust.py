"""Finds the code that a model file carries, without loading the file: Lambda layers, Python ops, file access.

tf_keras runs the marshalled bytecode of a Lambda layer in an .h5 without objection (2.21, November
2026), imports any module that a config names, and calls any TensorFlow function that a TFOpLambda names
(tf.io.write_file too). So everything is looked up in the config, or the graph, before anything is loaded.
"""

import builtins
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from devicekit.convert.ops import COMPUTING_OPS, SAVER_OPS

# Layers that run code, or load a file, that the config names.
CODE_LAYERS = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})

# Layers that call the TensorFlow function that the config names, and where the config keeps that name.
_CALLING_LAYERS = {"TFOpLambda": "function", "SlicingOpLambda": "function", "ClassMethod": "cls_symbol"}

# Namespaces of TensorFlow that only compute; functions of `tf` itself do, but for the words below.
_COMPUTING = (
    *("math", "nn", "image", "linalg", "strings", "signal", "sparse", "ragged", "bitwise", "random", "sets"),
    *("quantization", "audio", "dtypes", "__operators__", "keras.backend", "keras.activations"),
    "experimental.numpy",
)
_FORBIDDEN_WORDS = (
    "file",
    "py_func",
    "numpy_function",
    "load_",
    "print",
    "import_",
    "write",
    "read_",
    "save",
)

# Where a config may name classes and functions; what any other module defines is a custom object.
_KERAS_ROOTS = frozenset({"keras", "tf_keras", "keras_core", "builtins"})
_LOADING_MODULES = frozenset({"utils", "saving", "export", "config", "legacy_saving", "io"})
_FUNCTION_MODULES = frozenset(
    {"activations", "initializers", "regularizers", "constraints", "losses", "metrics", "ops", "backend"}
)


_REGISTERED = re.compile(r"[\w.]+>[\w.]+")


def find_code(config: Any) -> str | None:
    """Returns the first thing in a Keras model config that runs code, in words; None if there is nothing."""
    return next((found for layer, node in _walk(config) if (found := _code_in(node, layer))), None)


def named_file(config: Any) -> str | None:
    """Returns the first file that a layer reads its vocabulary from, in words; None if there is none."""
    for name, node in layers_in(config):
        if isinstance(node["config"].get("vocabulary"), str):
            return f'a layer ("{name}") with the vocabulary {node["config"]["vocabulary"]}'
    return None


def foreign_names(config: Any) -> tuple[str, ...]:
    """Returns the classes and functions in a config that a module outside Keras defines: custom objects."""
    names: dict[str, None] = {}
    for _, node in _walk(config):
        if node.get("class_name", "__typespec__") == "__typespec__":
            continue
        if isinstance(node.get("module"), str) and not _is_keras(node["module"]):
            names.update(dict.fromkeys(_referenced(node)))
    return tuple(names)


def lambda_layer(config: Any) -> str | None:
    """Returns the name of the first Lambda layer of a Keras config, None where it has none."""
    return next((name for name, node in layers_in(config) if node["class_name"] == "Lambda"), None)


def registered_names(config: Any) -> frozenset[str]:
    """Returns the names of registered classes and functions in a Keras config: "Package>Name"."""
    values = (value for _, node in _walk(config) for value in node.values())
    return frozenset(value for value in values if isinstance(value, str) and _REGISTERED.fullmatch(value))


def layers_in(config: Any) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Returns (name, node) of each layer of a Keras config, the model around them first."""
    return tuple(
        (str(node["config"]["name"]), node)
        for _, node in _walk(config)
        if "class_name" in node and isinstance(node.get("config"), Mapping) and "name" in node["config"]
    )


def nodes_in(config: Any) -> Iterator[Mapping[str, Any]]:
    """Yields every dict of a Keras config, outer ones first."""
    return (node for _, node in _walk(config))


def _code_in(node: Mapping[str, Any], layer: str) -> str | None:
    config = node.get("config")
    config = config if isinstance(config, Mapping) else {}
    layer = str(config.get("name", layer))
    where = f' (in layer "{layer}")' if layer else ""
    if any(key.endswith("_type") and value == "lambda" for key, value in node.items()):
        return f"a lambda function{where}"
    if "class_name" not in node:
        return None
    # tf_keras looks classes up under either name, and "Outer.Inner" too. "Package>Name" is a user's class.
    names = {str(node.get(key)).rpartition(".")[2] for key in ("class_name", "registered_name")}
    for name in sorted(names & CODE_LAYERS):
        return f'a {name} layer ("{layer}")'
    if "__lambda__" in names:
        return f"a lambda function{where}"
    if "TensorFlowOpLayer" in names:
        op = _op_of(config.get("node_def"))
        return None if op in COMPUTING_OPS else f"a {op} op{where}"
    for name in names & _CALLING_LAYERS.keys():
        symbol = str(config.get(_CALLING_LAYERS[name], ""))
        return None if _only_computes(symbol) else f"a call of tf.{symbol}{where}"
    return _odd_reference(node, where)


def _odd_reference(node: Mapping[str, Any], where: str) -> str | None:
    """Returns a reference that no layer needs, in words: tf_keras would call even `eval`."""
    module = node.get("module")
    if not isinstance(module, str):
        return None
    parts = set(module.split("."))
    if node["class_name"] == "__typespec__":
        plain = "tensorflow" in parts and str(node.get("spec_name")).endswith("Spec")
        return None if plain else f"a reference to {module}.{node.get('spec_name')}{where}"
    if not _is_keras(module):
        return None
    for name in _referenced(node):
        if module == "builtins":
            plain = name.isidentifier() and not hasattr(builtins, name)
        elif node["class_name"] == "function":
            plain = name.isidentifier() and bool(parts & _FUNCTION_MODULES) and not parts & _LOADING_MODULES
        else:
            plain = name.isidentifier() and name[0].isupper() and not parts & _LOADING_MODULES
        if not plain:
            return f"a reference to {module}.{name}{where}"
    return None


def _referenced(node: Mapping[str, Any]) -> list[str]:
    """Returns the names by which tf_keras looks in a module for a class or function."""
    is_function = node["class_name"] == "function"
    names = [node.get("config") if is_function else node["class_name"], node.get("registered_name")]
    # A registered "Package>Name" is found in no module.
    return [str(name) for name in names if name not in (None, "function") and ">" not in str(name)]


def _only_computes(symbol: str) -> bool:
    namespace, _, name = symbol.removeprefix("compat.v1.").removeprefix("compat.v2.").rpartition(".")
    return namespace in ("", *_COMPUTING) and not any(word in name.lower() for word in _FORBIDDEN_WORDS)


def _op_of(node_def: Any) -> str:
    """Returns the op of a TensorFlowOpLayer's NodeDef: JSON, or a protobuf kept as text."""
    if isinstance(node_def, Mapping):
        return str(node_def.get("op", ""))
    try:
        return b"".join(bytes(op) for op in _fields(str(node_def).encode(), 2)).decode("utf-8", "replace")
    except ValueError:
        return "PyFunc"  # what cannot be read is not trusted


def _is_keras(module: str) -> bool:
    return module.split(".")[0] in _KERAS_ROOTS


def _walk(config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields every dict of a config with the name of the layer around it, without recursion."""
    pending: list[tuple[str, Any]] = [("", config)]
    while pending:
        layer, node = pending.pop()
        if isinstance(node, Mapping):
            yield layer, node
            inner = node.get("config")
            if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
                layer = inner["name"]
            pending.extend((layer, value) for value in reversed(list(node.values())))
        elif isinstance(node, list):
            pending.extend((layer, value) for value in reversed(node))


def code_op(saved_model: bytes) -> str | None:
    """Returns the first op of a SavedModel's graphs that may do more than compute, in words.

    Reads the protobuf's wire format itself, so that TensorFlow need not be loaded. Field numbers:
    saved_model.proto (meta_graphs = 2), meta_graph.proto (graph_def = 2, object_graph_def = 7), graph.proto
    (node = 1, library = 2), function.proto (function = 1; signature = 1, node_def = 3), node_def.proto (name
    = 1, op = 2). Raises ValueError where the bytes are no protobuf.
    """
    meta_graphs = [*_fields(saved_model, 2)]
    graphs = [graph for meta in meta_graphs for graph in _fields(meta, 2)]
    libraries = [library for graph in graphs for library in _fields(graph, 2)]
    objects = [part for meta in meta_graphs for part in _fields(meta, 7)]
    # Without an object graph, or with two graphs, TensorFlow loads as for version 1: it runs the main graph.
    callers = [*libraries, *objects] if len(meta_graphs) == 1 and objects else None
    allowed = COMPUTING_OPS if b"file://" in saved_model else COMPUTING_OPS | {"PrintV2"}
    found = (_odd_op(_fields(graph, 1), allowed) for graph in graphs)
    bodies = (function for library in libraries for function in _fields(library, 1))
    inside = (_odd_op(_fields(f, 3), allowed | _saver_ops(f, callers)) for f in bodies)
    return next((words for words in (*found, *inside) if words), None)


def _odd_op(nodes: Iterator[memoryview], allowed: frozenset[str]) -> str | None:
    for node in nodes:
        op = _last_text(_fields(node, 2))
        if op not in allowed:
            return f'a {op} op ("{_last_text(_fields(node, 1))}")'
    return None


def _saver_ops(function: memoryview, callers: list[memoryview] | None) -> frozenset[str]:
    """Returns SAVER_OPS for a function that only the main graph calls, which TensorFlow 2 does not run.

    Its name is nowhere in the other functions nor among the objects: a name in a protobuf is plain bytes.
    """
    if callers is None:
        return frozenset()
    name = _last_text(n for signature in _fields(function, 1) for n in _fields(signature, 1)).encode()
    mentions = sum(part.tobytes().count(name) for part in callers)
    return SAVER_OPS if mentions == 1 else frozenset()  # its own signature


def _last_text(fields: Iterable[memoryview]) -> str:
    """Returns the text of a field that counts once: of several, a protobuf keeps the last."""
    return next(iter([*fields][-1:]), memoryview(b"")).tobytes().decode("utf-8", "replace")


def _fields(message: bytes | memoryview, wanted: int) -> Iterator[memoryview]:
    """Yields the length-delimited fields numbered `wanted` of a protobuf message."""
    view = memoryview(message)
    position = 0
    while position < len(view):
        key, position = _varint(view, position)
        if key >> 32:
            raise ValueError("a field number is cut by protobuf's 32 bits")
        kind = key & 7
        if kind == 0:
            _, position = _varint(view, position)
        elif kind == 2:
            length, position = _varint(view, position)
            if position + length > len(view):
                raise ValueError("a field is longer than its message")
            if key >> 3 == wanted:
                yield view[position : position + length]
            position += length
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(view) and shift < 70:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, position
    raise ValueError("a number is cut off")
