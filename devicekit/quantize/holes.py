"""Weights that litert-quantizer's weight recipes leave float: embedding tables and fused LSTMs.

They know EMBEDDING_LOOKUP, not the GATHER that Keras' Embedding becomes, and no LSTM kernel: a text model
stays at 253 KB where the TensorFlow converter gives 68 KB (measured, November 2026). This writes what the
converter writes: a table int8 with one scale and DEQUANTIZE behind its GATHER; int8 LSTM weights with one
scale each, which the kernel multiplies with activations it quantizes while running; else weights that a
DEQUANTIZE turns to floats.
"""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

Mode = Literal["float16", "weight_int8", "dynamic_int8"]

# A smaller table weighs less than what describes its quantization: two tensors, a scale, an operator.
MIN_TABLE_ELEMENTS = 64
LSTM_WEIGHTS = range(1, 9)  # input and recurrent weights of the four gates (lstm_shared.h)
# The first versions whose kernels take int8 weights (tensorflow/lite/tools/versioning/op_version.cc).
GATHER_VERSION = 2
LSTM_VERSION = 2
DEQUANTIZE_VERSION = 3  # takes float16 as well


def fill_holes(model: bytes, mode: Mode) -> bytes:
    """Returns the model with its embedding tables and fused LSTM weights stored as `mode` says."""
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    filled = [_Editor(tree, graph).fill(op, mode) for graph in tree.subgraphs for op in list(graph.operators)]
    if not any(filled):
        return model
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


class _Editor:
    """Edits one subgraph of a flatbuffer tree (schema_py_generated's ...T objects), in place."""

    def __init__(self, tree: Any, graph: Any) -> None:
        self._schema = schema
        self._tree = tree
        self._graph = graph

    def fill(self, op: Any, mode: Mode) -> bool:
        """Returns whether `op` held float weights of ours, now stored anew."""
        builtin = self._builtin(op)
        if builtin == self._schema.BuiltinOperator.GATHER:
            return self._fill_gather(op, mode)
        if builtin == self._schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM:
            return self._fill_lstm(op, mode)
        return False

    def _fill_gather(self, op: Any, mode: Mode) -> bool:
        table = int(op.inputs[0])
        readers = [one for one in self._graph.operators if table in [int(i) for i in one.inputs]]
        if any(self._builtin(one) != self._builtin(op) or int(one.inputs[1]) == table for one in readers):
            return False
        if not self._is_ours(table, readers) or self._floats(table).size < MIN_TABLE_ELEMENTS:
            return False
        self._store(table, mode)
        for reader in readers:
            if mode == "float16":
                self._dequantize_before(reader, [0])  # there is no float16 GATHER
            else:
                self._dequantize_behind(reader)
                self._raise_version(reader, GATHER_VERSION)
        return True

    def _fill_lstm(self, op: Any, mode: Mode) -> bool:
        # All or none: the kernel wants one dtype for all gates. Coupled gates have no input gate: -1.
        positions = [i for i in LSTM_WEIGHTS if op.inputs[i] >= 0]
        has_extras = any(op.inputs[i] >= 0 for i in (9, 10, 11, 16))  # peepholes, projection
        if has_extras or not all(self._is_ours(int(op.inputs[i]), [op]) for i in positions):
            return False
        for i in positions:
            self._store(int(op.inputs[i]), mode)
        if mode == "dynamic_int8":
            self._raise_version(op, LSTM_VERSION)
        else:
            self._dequantize_before(op, positions)
        return True

    def _is_ours(self, index: int, readers: Iterable[Any]) -> bool:
        """Returns whether a tensor is a float constant that only `readers` use, once."""
        tensor = self._graph.tensors[index]
        uses = [op for op in self._graph.operators for i in op.inputs if int(i) == index]
        sharing = sum(t.buffer == tensor.buffer for g in self._tree.subgraphs for t in g.tensors)
        is_float = tensor.type == self._schema.TensorType.FLOAT32
        return is_float and self._floats(index).size > 0 and uses == list(readers) and sharing == 1

    def _floats(self, index: int) -> NDArray[np.float32]:
        data = self._tree.buffers[self._graph.tensors[index].buffer].data
        return np.frombuffer(b"" if data is None else bytes(data), np.float32)

    def _store(self, index: int, mode: Mode) -> None:
        """Stores a constant as float16, or as int8 with one scale, zero point 0."""
        tensor, values = self._graph.tensors[index], self._floats(index)
        if mode == "float16":
            stored = values.astype(np.float16).tobytes()
            tensor.type = self._schema.TensorType.FLOAT16
        else:
            scale = float(np.abs(values).max()) / 127 or 1.0
            stored = np.clip(np.round(values / scale), -127, 127).astype(np.int8).tobytes()
            tensor.type = self._schema.TensorType.INT8
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        self._tree.buffers[tensor.buffer].data = np.frombuffer(stored, np.uint8)

    def _dequantize_before(self, op: Any, positions: Iterable[int]) -> None:
        inputs = [int(index) for index in op.inputs]
        for i in positions:
            floats = self._new_tensor(inputs[i], self._schema.TensorType.FLOAT32)
            self._insert_dequantize(inputs[i], floats, position=self._position(op))
            inputs[i] = floats
        op.inputs = inputs

    def _dequantize_behind(self, op: Any) -> None:
        """Makes `op`, which moves values of its first input around, give int8; floats come behind it."""
        floats = int(op.outputs[0])
        integers = self._new_tensor(floats, self._schema.TensorType.INT8)
        self._graph.tensors[integers].quantization = self._graph.tensors[int(op.inputs[0])].quantization
        op.outputs = [integers]
        self._insert_dequantize(integers, floats, position=self._position(op) + 1)

    def _new_tensor(self, like: int, dtype: int) -> int:
        """Adds an activation of the shape of tensor `like`; returns its index."""
        model, tensor = self._graph.tensors[like], self._schema.TensorT()
        tensor.name = model.name + (b"_int8" if dtype == self._schema.TensorType.INT8 else b"_float")
        tensor.type, tensor.buffer, tensor.hasRank = dtype, 0, model.hasRank
        tensor.shape, tensor.shapeSignature = model.shape, model.shapeSignature
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _insert_dequantize(self, source: int, target: int, *, position: int) -> None:
        op = self._schema.OperatorT()
        op.opcodeIndex = self._opcode(self._schema.BuiltinOperator.DEQUANTIZE, DEQUANTIZE_VERSION)
        op.inputs, op.outputs = [source], [target]
        self._graph.operators.insert(position, op)

    def _position(self, op: Any) -> int:
        return next(i for i, one in enumerate(self._graph.operators) if one is op)

    def _builtin(self, op: Any) -> int:
        code = self._tree.operatorCodes[op.opcodeIndex]
        return int(max(code.builtinCode, code.deprecatedBuiltinCode))

    def _raise_version(self, op: Any, version: int) -> None:
        code = self._tree.operatorCodes[op.opcodeIndex]
        code.version = max(code.version, version)

    def _opcode(self, builtin: int, version: int) -> int:
        """Returns the index of an operator code of at least that version, added where the model has none."""
        for index, code in enumerate(self._tree.operatorCodes):
            if code.builtinCode == builtin and code.version >= version:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode = builtin
        code.deprecatedBuiltinCode = min(
            builtin, self._schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
        )
        code.version = version
        self._tree.operatorCodes.append(code)
        return len(self._tree.operatorCodes) - 1
