"""The values that describe a .tflite file: Graph, Subgraph, Op, Tensor. Read by `graph.read.read_graph`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Bits of one element by dtype, None where there is no fixed size; in the order of the schema's numbers.
# Source: TensorType in LiteRT's schema.fbs (2.3.0).
DTYPE_BITS: Mapping[str, int | None] = {
    "float32": 32,
    "float16": 16,
    "int32": 32,
    "uint8": 8,
    "int64": 64,
    "string": None,
    "bool": 8,
    "int16": 16,
    "complex64": 64,
    "int8": 8,
    "float64": 64,
    "complex128": 128,
    "uint64": 64,
    "resource": None,
    "variant": None,
    "uint32": 32,
    "uint16": 16,
    "int4": 4,
    "bfloat16": 16,
    "int2": 2,
    "uint4": 4,
    "float8_e4m3fn": 8,
    "float8_e5m2": 8,
}


@dataclass(frozen=True)
class Tensor:
    """One tensor.

    `dtype` is numpy's name ("float32", "int8", …) or "int4", "int2", "bfloat16", "string", "resource",
    "variant". `shape` is what the file stores; `shape_signature` has -1 where a dimension is dynamic (equal
    to `shape` where the file gives none). `data_bytes` is the size of constant data, 0 for activations.
    `buffer` is the file's buffer that holds the data: tensors that share constants share it.
    `scale` and `zero_point` are empty for an unquantized tensor, one value per tensor or one per channel of
    `quantized_dimension`.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    data_bytes: int = 0
    is_variable: bool = False
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    quantized_dimension: int = 0
    buffer: int = 0

    @property
    def is_constant(self) -> bool:
        return self.data_bytes > 0

    @property
    def is_dynamic(self) -> bool:
        return any(dim < 0 for dim in self.shape_signature)

    @property
    def element_count(self) -> int:
        """Returns the number of elements, with 1 for a dimension that the file leaves open."""
        return math.prod(1 if dim < 0 else dim for dim in self.shape)

    @property
    def size_bytes(self) -> int | None:
        """Returns the size by shape and dtype, with 1 for an open dimension; None for strings and handles."""
        bits = DTYPE_BITS[self.dtype]
        return None if bits is None else (self.element_count * bits + 7) // 8


@dataclass(frozen=True)
class Op:
    """One operator. `name` is the schema's ("CONV_2D"); a custom op is "CUSTOM" with its `custom_code`.

    `layer` is the Keras layer that it comes from, where that is known (graph.layers). Missing optional inputs
    are -1 in `inputs`. `options` holds the builtin options by their schema names
    (stride_w, …), as far as they are needed: MACs, arena plan, subgraph references.
    """

    index: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom_code: str | None = None
    layer: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_flex(self) -> bool:
        return bool(self.custom_code and self.custom_code.startswith("Flex"))

    @property
    def label(self) -> str:
        """Returns the name that a user sees: the builtin's, or the custom op's own."""
        return self.custom_code or self.name


@dataclass(frozen=True)
class Subgraph:
    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """A named entry point: input and output names as a caller uses them -> tensor index in `subgraph`."""

    key: str
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    subgraph: int = 0


@dataclass(frozen=True)
class Graph:
    """A .tflite file. `min_runtime_version` is the converter's stamp ("2.14.0"), None where there is none."""

    path: Path
    size_bytes: int
    sha256: str
    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]
    min_runtime_version: str | None
    description: str

    @property
    def main(self) -> Subgraph:
        return self.subgraphs[0]

    @property
    def ops(self) -> tuple[Op, ...]:
        """Returns the operators of all subgraphs."""
        return tuple(op for subgraph in self.subgraphs for op in subgraph.ops)

    @property
    def input_tensors(self) -> dict[str, Tensor]:
        """Returns the inputs by the name to feed them by: the signature's, else the tensor's own."""
        return self._named("inputs")

    @property
    def output_tensors(self) -> dict[str, Tensor]:
        return self._named("outputs")

    def _named(self, side: str) -> dict[str, Tensor]:
        """Returns the tensors by each of their names: a signature may name one tensor twice."""
        names: dict[int, list[str]] = {}
        for signature in self.signatures:
            if signature.subgraph == 0:
                for name, index in getattr(signature, side).items():
                    names.setdefault(index, []).append(name)
                break
        tensors = [(i, self.main.tensors[i]) for i in dict.fromkeys(getattr(self.main, side))]
        return {name: tensor for i, tensor in tensors for name in names.get(i, [tensor.name])}


def tensors_json(tensors: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Returns tensors as scripts read them; scale and zero_point are None where one is not quantized."""
    return [
        {
            "name": name,
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "shape_signature": list(tensor.shape_signature),
            "scale": tensor.scale[0] if tensor.scale else None,
            "zero_point": tensor.zero_point[0] if tensor.zero_point else None,
        }
        for name, tensor in tensors.items()
    ]
