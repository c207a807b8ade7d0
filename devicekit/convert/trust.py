"""Finds the code that a model file carries, without loading the file: Lambda layers, Python ops, file access.

tf_keras runs the marshalled bytecode of a Lambda layer in an .h5 without objection (facts/conversion.md
§0.2), imports any module that a config names, and calls any TensorFlow function that a TFOpLambda names
(tf.io.write_file too). So everything is looked up in the config, or the graph, before anything is loaded.
"""

import builtins
from collections.abc import Iterator, Mapping
from typing import Any

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

# Ops that run Python, or reach the file system, when a graph runs. A SavedModel's own saver uses SaveV2.
CODE_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc", "WriteFile", "ReadFile"})
_SAVE_OPS = frozenset({"Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints"})

# Where a config may name classes and functions; what any other module defines is a custom object.
_KERAS_ROOTS = frozenset({"keras", "tf_keras", "keras_core", "builtins"})
_LOADING_MODULES = frozenset({"utils", "saving", "export", "config", "legacy_saving", "io"})
_FUNCTION_MODULES = frozenset(
    {"activations", "initializers", "regularizers", "constraints", "losses", "metrics", "ops", "backend"}
)


def find_code(config: Any) -> str | None:
    """Returns the first thing in a Keras model config that runs code, in words; None if there is nothing."""
    return next((found for layer, node in _walk(config) if (found := _code_in(node, layer))), None)


def foreign_names(config: Any) -> tuple[str, ...]:
    """Returns the classes and functions in a config that a module outside Keras defines: custom objects."""
    names: dict[str, None] = {}
    for _, node in _walk(config):
        if node.get("class_name", "__typespec__") == "__typespec__":
            continue
        if isinstance(node.get("module"), str) and not _is_keras(node["module"]):
            names.update(dict.fromkeys(_referenced(node)))
    return tuple(names)


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
        return f"a {op} op{where}" if op in CODE_OPS | _SAVE_OPS else None
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
    """Returns the first op of a SavedModel's graphs that runs Python or reaches files, in words.

    Reads the protobuf's wire format itself, so that TensorFlow need not be loaded. Field numbers:
    saved_model.proto (meta_graphs = 2), meta_graph.proto (graph_def = 2), graph.proto (node = 1, library =
    2), function.proto (function = 1, node_def = 3), node_def.proto (name = 1, op = 2). Raises ValueError
    where the bytes are no protobuf.
    """
    for graph in (g for meta in _fields(saved_model, 2) for g in _fields(meta, 2)):
        functions = (f for library in _fields(graph, 2) for f in _fields(library, 1))
        nodes = [*_fields(graph, 1), *(node for f in functions for node in _fields(f, 3))]
        for node in nodes:
            op = next(iter([*_fields(node, 2)][-1:]), memoryview(b"")).tobytes().decode("utf-8", "replace")
            is_printing_to_file = op == "PrintV2" and b"file://" in node.tobytes()
            if op in CODE_OPS or is_printing_to_file:
                name = b"".join(bytes(n) for n in _fields(node, 1)).decode("utf-8", "replace")
                return f'a {op} op ("{name}")'
    return None


def _fields(message: bytes | memoryview, wanted: int) -> Iterator[memoryview]:
    """Yields the length-delimited fields numbered `wanted` of a protobuf message."""
    view = memoryview(message)
    position = 0
    while position < len(view):
        key, position = _varint(view, position)
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
