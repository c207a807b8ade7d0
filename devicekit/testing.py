"""FakeDevice and tiny models: for our tests and our users'."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from devicekit.device.fake import FAKE_FACTS, FakeDevice, Fault, fake_device

__all__ = [
    "FAKE_FACTS",
    "FakeDevice",
    "Fault",
    "fake_device",
    "warmup_model",
    "write_dense_model",
    "write_hungry_model",
    "write_string_model",
]


def warmup_model() -> Path:
    """Returns the tiny .tflite that the package carries: one fully connected op, float32 [1, 8] to [1, 4]."""
    return Path(__file__).parent / "runner" / "warmup.tflite"


def write_dense_model(
    path: Path, *, inputs: int = 8, outputs: int = 4, has_signature: bool = True, seed: int = 0
) -> Path:
    """Writes a .tflite of one FULLY_CONNECTED op, float32 [1, inputs] to [1, outputs], random weights.

    Its signature's names are "x" and "y", its tensors' "input" and "output". Weights take 4 * inputs *
    outputs bytes of file, and as much must-have memory again where XNNPACK packs them.
    """
    random = np.random.default_rng(seed)
    weights = random.uniform(-1, 1, (outputs, inputs)).astype(np.float32)
    bias = random.uniform(-1, 1, outputs).astype(np.float32)
    tensors = [
        _tensor("input", (1, inputs), buffer=1),
        _tensor("weights", (outputs, inputs), buffer=2),
        _tensor("bias", (outputs,), buffer=3),
        _tensor("output", (1, outputs), buffer=1),
    ]
    op = schema.OperatorT()
    op.inputs, op.outputs = [0, 1, 2], [3]
    op.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    op.builtinOptions = schema.FullyConnectedOptionsT()
    buffers = [b"", b"", weights.tobytes(), bias.tobytes()]
    code = schema.BuiltinOperator.FULLY_CONNECTED
    signature = {"x": 0, "y": 3} if has_signature else None
    return _write_model(path, code, op=op, tensors=tensors, buffers=buffers, signature=signature)


def write_hungry_model(path: Path, *, mib: int) -> Path:
    """Writes a .tflite of 1 KiB that needs `mib` MiB: TILE, float32 [1, 1024] to [1, 1024 * 256 * mib].

    Its memory, all of it arena, is touched in the first inference, not while it is loaded.
    """
    repeats = np.array([1, 256 * mib], np.int32)
    tensors = [
        _tensor("x", (1, 1024), buffer=0),
        _tensor("repeats", (2,), buffer=1, dtype=schema.TensorType.INT32),
        _tensor("y", (1, 1024 * 256 * mib), buffer=0),
    ]
    op = schema.OperatorT()
    op.inputs, op.outputs = [0, 1], [2]
    op.builtinOptionsType = schema.BuiltinOptions.TileOptions
    op.builtinOptions = schema.TileOptionsT()
    code = schema.BuiltinOperator.TILE
    return _write_model(path, code, op=op, tensors=tensors, buffers=[b"", repeats.tobytes()], signature=None)


def write_string_model(path: Path) -> Path:
    """Writes a .tflite that compares two strings: EQUAL, string [1] and [1] to bool [1].

    LiteRT's C interface refuses string tensors, its Python Interpreter runs them.
    """
    string, boolean = schema.TensorType.STRING, schema.TensorType.BOOL
    tensors = [
        _tensor("x", (1,), buffer=0, dtype=string),
        _tensor("x2", (1,), buffer=0, dtype=string),
        _tensor("y", (1,), buffer=0, dtype=boolean),
    ]
    op = schema.OperatorT()
    op.inputs, op.outputs = [0, 1], [2]
    op.builtinOptionsType = schema.BuiltinOptions.EqualOptions
    op.builtinOptions = schema.EqualOptionsT()
    code = schema.BuiltinOperator.EQUAL
    return _write_model(path, code, op=op, tensors=tensors, buffers=[b""], signature=None)


def _tensor(name: str, shape: tuple[int, ...], *, buffer: int, dtype: int = 0) -> Any:
    """`dtype` is the schema's TensorType; 0 is FLOAT32."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = name.encode(), list(shape), buffer, dtype
    return tensor


def _write_model(
    path: Path,
    code: int,
    *,
    op: Any,
    tensors: Sequence[Any],
    buffers: Sequence[bytes],
    signature: Mapping[str, int] | None,
) -> Path:
    graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.operators = b"main", list(tensors), [op]
    constants = {index for index in op.inputs if buffers[tensors[index].buffer]}
    graph.inputs = [index for index in op.inputs if index not in constants]
    graph.outputs = list(op.outputs)
    opcode = schema.OperatorCodeT()
    opcode.builtinCode = code
    opcode.deprecatedBuiltinCode = min(code, 127)  # the field of readers before schema version 3a
    opcode.version = 1
    model = schema.ModelT()
    model.version, model.description = 3, b"devicekit.testing"
    model.operatorCodes, model.subgraphs, model.buffers = [opcode], [graph], []
    for data in buffers:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8) if data else None
        model.buffers.append(buffer)
    if signature:
        model.signatureDefs = [_signature(signature, set(graph.inputs))]
    builder = flatbuffers.Builder(sum(len(data) for data in buffers) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def _signature(names: Mapping[str, int], inputs: set[int]) -> Any:
    definition = schema.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = b"serving_default", 0
    definition.inputs, definition.outputs = [], []
    for name, index in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        (definition.inputs if index in inputs else definition.outputs).append(entry)
    return definition
