"""Reads a .tflite file into a Graph, without any runtime. Files are untrusted: every index is checked.

Fields: LiteRT's schema.fbs, as generated into ai_edge_litert/schema_py_generated.py (2.3.0).
"""

import hashlib
import importlib.util
import math
import mmap
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from devicekit.errors import LoadError
from devicekit.graph.model import DTYPE_BITS, Graph, Op, Signature, Subgraph, Tensor

MAX_BYTES = 2**31 - 1  # flatbuffer offsets are 32 bits, and LiteRT takes them as signed

# Options that MACs, arena plans and checks need: op -> (table, accessors).
_CONV = ("Padding", "StrideW", "StrideH")
_DILATION = ("DilationWFactor", "DilationHFactor")
_OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", (*_CONV, *_DILATION)),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_CONV, *_DILATION, "DepthMultiplier")),
    "TRANSPOSE_CONV": ("TransposeConvOptions", _CONV),
    "CONV_3D": ("Conv3DOptions", (*_CONV, "StrideD")),
    "CONV_3D_TRANSPOSE": ("Conv3DOptions", (*_CONV, "StrideD")),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        ("WeightsFormat", "KeepNumDims", "AsymmetricQuantizeInputs"),
    ),
    "BATCH_MATMUL": ("BatchMatMulOptions", ("AdjX", "AdjY")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (*_CONV, "FilterWidth", "FilterHeight")),
    "MAX_POOL_2D": ("Pool2DOptions", (*_CONV, "FilterWidth", "FilterHeight")),
    "GATHER": ("GatherOptions", ("Axis", "BatchDims")),
    "CONCATENATION": ("ConcatenationOptions", ("Axis",)),
    "IF": ("IfOptions", ("ThenSubgraphIndex", "ElseSubgraphIndex")),
    "WHILE": ("WhileOptions", ("CondSubgraphIndex", "BodySubgraphIndex")),
    "CALL": ("CallOptions", ("Subgraph",)),
    "CALL_ONCE": ("CallOnceOptions", ("InitSubgraphIndex",)),
    "STABLEHLO_COMPOSITE": ("StableHLOCompositeOptions", ("DecompositionSubgraphIndex",)),
}
# These tables are in the second union, which the schema added when the first was full.
_SECOND_UNION = ("StableHLOCompositeOptions",)
SUBGRAPH_OPTIONS = (
    "then_subgraph_index",
    "else_subgraph_index",
    "cond_subgraph_index",
    "body_subgraph_index",
    "subgraph",
    "init_subgraph_index",
    "decomposition_subgraph_index",
)


def read_graph(path: Path) -> Graph:
    """Returns what the .tflite at `path` holds. Raises LoadError for anything that is not one."""
    with _open(path) as content:
        return read_graph_bytes(content, path)


def read_graph_bytes(content: bytes | memoryview, path: Path) -> Graph:
    """Returns what the .tflite `content` holds; `path` names it in messages."""
    if not len(content):
        raise LoadError(str(path), found="is empty (0 bytes)", expected="a .tflite file", remedy=_AGAIN)
    if bytes(content[4:8]) != b"TFL3":
        raise LoadError(
            str(path),
            found="not a .tflite (no TFL3 identifier at byte 4)",
            remedy="give a .tflite, or the Keras file or SavedModel it is made from",
        )
    reader = _Reader(content)
    try:
        return reader.graph(path)
    except _LOW_LEVEL as error:
        detail = f": {error}" if isinstance(error, _Corrupt) else ""
        raise LoadError(str(path), found=f"corrupt at {reader.where}{detail}", remedy=_AGAIN) from error


def read_constant(path: Path, tensor: Tensor) -> bytes:
    """Returns the bytes of a constant `tensor` of the .tflite at `path`; b"" for an activation."""
    if not tensor.is_constant:
        return b""
    with _open(path) as content:
        reader = _Reader(content)
        try:
            start, length = reader.buffers(reader.root())[tensor.buffer]
            return bytes(content[start : start + length])
        except _LOW_LEVEL as error:
            raise LoadError(str(path), found=f"corrupt at {reader.where}", remedy=_AGAIN) from error


_DTYPES = tuple(DTYPE_BITS)  # in the order of their numbers in the schema
_AGAIN = "make or fetch the file again: it is damaged"


class _Corrupt(Exception):
    """Something in the file points to where nothing is: says what."""


# What flatbuffers, struct and numpy raise on garbage.
_LOW_LEVEL = (
    _Corrupt,
    struct.error,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    AttributeError,
)


@contextmanager
def _open(path: Path) -> Iterator[memoryview | bytes]:
    """Yields a file's content, mapped: a big model costs no memory. Refuses what cannot be a .tflite."""
    name = str(path)
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise LoadError(
                name, found="is a directory", expected="a .tflite file", remedy="give the file in it"
            )
        if size > MAX_BYTES:
            raise LoadError(
                name,
                found=f"has {size / 2**30:.1f} GiB",
                expected="at most 2 GiB, the limit of the .tflite format",
                remedy="split the model, or quantize its weights when converting it",
            )
        if size == 0:
            yield b""
            return
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise LoadError(name, found="no such file", remedy="check the path") from error
    except OSError as error:
        raise LoadError(
            name, found=f"cannot be read ({error.strerror})", remedy="check its permissions"
        ) from error
    view = memoryview(mapped)
    try:
        yield view
    finally:
        with suppress(BufferError):  # the traceback of an error still holds a view: closed when it goes
            view.release()
            mapped.close()


class _Reader:
    """Walks the flatbuffer. `where` follows the walk, for messages.

    `_budget` bounds the work: in a file that is not built to deceive, vectors do not overlap, so there are
    never more elements than bytes.
    """

    def __init__(self, content: bytes | memoryview) -> None:
        self._content = content
        self._size = len(content)
        self._budget = self._size
        self._schema = _schema()
        self.where = "the header"

    def root(self) -> Any:
        return self._schema.Model.GetRootAs(self._content, 0)

    def graph(self, path: Path) -> Graph:
        model = self.root()
        codes = list(self._codes(model))
        buffers = self.buffers(model)
        subgraphs = tuple(
            self._subgraph(number, table, codes, buffers)
            for number, table in enumerate(self._tables(model, "Subgraphs"))
        )
        self.where = "the list of subgraphs"
        if not subgraphs:
            raise _Corrupt("it is empty")
        self._check_references(subgraphs)
        return Graph(
            path=path,
            size_bytes=self._size,
            sha256=hashlib.sha256(self._content).hexdigest(),
            subgraphs=subgraphs,
            signatures=tuple(self._signatures(model, subgraphs)),
            min_runtime_version=self._min_runtime_version(model, buffers),
            description=self._text(model.Description()),
        )

    def buffers(self, model: Any) -> list[tuple[int, int]]:
        """Returns the start and length of each buffer in the file."""
        places = []
        for number, table in enumerate(self._tables(model, "Buffers")):
            self.where = f"buffer {number}"
            start, length = table.Offset(), table.Size()
            if start <= 1:  # not after the flatbuffer, as in files near 2 GB, but in it
                field = table._tab.Offset(4)
                start = table._tab.Vector(field) if field else 0
                length = table._tab.VectorLen(field) if field else 0
            if start + length > self._size:
                raise _Corrupt(f"its {length} bytes are more than the file holds")
            places.append((start, length))
        return places

    def _codes(self, model: Any) -> Iterator[tuple[str, int, str | None]]:
        names = {
            number: name for name, number in vars(self._schema.BuiltinOperator).items() if name.isupper()
        }
        for number, table in enumerate(self._tables(model, "OperatorCodes")):
            self.where = f"operator code {number}"
            # Files from before 2020 have only the first; later ones say 127 there for codes above it.
            code = max(table.DeprecatedBuiltinCode(), table.BuiltinCode())
            if code not in names:
                raise _Corrupt(f"{code} is no operator up to LiteRT 2.3")
            custom = table.CustomCode()
            is_custom = names[code] == "CUSTOM"
            yield names[code], table.Version(), self._text(custom) if is_custom else None

    def _subgraph(
        self,
        number: int,
        table: Any,
        codes: Sequence[tuple[str, int, str | None]],
        buffers: Sequence[tuple[int, int]],
    ) -> Subgraph:
        tensors = []
        for index, tensor in enumerate(self._tables(table, "Tensors")):
            self.where = f"subgraph {number}, tensor {index}"
            tensors.append(self._tensor(index, tensor, buffers))
        count = len(tensors)
        ops = []
        for index, op in enumerate(self._tables(table, "Operators")):
            self.where = f"subgraph {number}, op {index}"
            ops.append(self._op(index, op, codes, tensor_count=count))
        self.where = f"subgraph {number}"
        return Subgraph(
            name=self._text(table.Name()),
            tensors=tuple(tensors),
            ops=tuple(ops),
            inputs=self._indices(table, "Inputs", count, optional=False),
            outputs=self._indices(table, "Outputs", count, optional=False),
        )

    def _tensor(self, index: int, table: Any, buffers: Sequence[tuple[int, int]]) -> Tensor:
        number = table.Type()
        if not 0 <= number < len(_DTYPES):
            raise _Corrupt(f"{number} is no dtype up to LiteRT 2.3")
        buffer = table.Buffer()
        if buffer >= len(buffers) and buffer != 0:
            raise _Corrupt(f"its buffer is {buffer} of {len(buffers)}")
        shape = self._numbers(table, "Shape")
        signature = self._numbers(table, "ShapeSignature") or shape
        if any(dim < -1 for dim in shape + signature) or len(signature) != len(shape):
            raise _Corrupt(f"its shape is {list(shape)}, with signature {list(signature)}")
        quantization = table.Quantization()
        scale = self._numbers(quantization, "Scale") if quantization else ()
        if not all(map(math.isfinite, scale)):
            raise _Corrupt("its scale is not finite")
        tensor = Tensor(
            index=index,
            name=self._text(table.Name()),
            dtype=_DTYPES[number],
            shape=shape,
            shape_signature=signature,
            data_bytes=buffers[buffer][1] if buffers else 0,
            is_variable=table.IsVariable(),
            scale=scale,
            zero_point=self._numbers(quantization, "ZeroPoint") if quantization else (),
            quantized_dimension=quantization.QuantizedDimension() if quantization else 0,
            buffer=buffer,
        )
        needed = tensor.size_bytes
        if tensor.is_constant and needed is not None and tensor.data_bytes != needed and not table.Sparsity():
            raise _Corrupt(f"it holds {tensor.data_bytes} bytes, its shape needs {needed}")
        return tensor

    def _op(
        self, index: int, table: Any, codes: Sequence[tuple[str, int, str | None]], *, tensor_count: int
    ) -> Op:
        code = table.OpcodeIndex()
        if code >= len(codes):
            raise _Corrupt(f"its operator code is {code} of {len(codes)}")
        name, version, custom_code = codes[code]
        return Op(
            index=index,
            name=name,
            version=version,
            inputs=self._indices(table, "Inputs", tensor_count, optional=True),
            outputs=self._indices(table, "Outputs", tensor_count, optional=True),
            custom_code=custom_code,
            options=self._options(name, table),
        )

    def _options(self, name: str, table: Any) -> dict[str, Any]:
        if name not in _OPTIONS:
            return {}
        kind, accessors = _OPTIONS[name]
        second = "2" if kind in _SECOND_UNION else ""
        number = getattr(table, f"BuiltinOptions{second}Type")()
        if number == 0:
            return {}
        if number != getattr(getattr(self._schema, f"BuiltinOptions{second}"), kind):
            raise _Corrupt(f"{name} carries the options of another operator")
        union = getattr(table, f"BuiltinOptions{second}")()
        options = getattr(self._schema, kind)()
        options.Init(union.Bytes, union.Pos)
        return {_snake(accessor): getattr(options, accessor)() for accessor in accessors}

    def _signatures(self, model: Any, subgraphs: Sequence[Subgraph]) -> Iterator[Signature]:
        for number, table in enumerate(self._tables(model, "SignatureDefs")):
            self.where = f"signature {number}"
            subgraph = table.SubgraphIndex()
            if subgraph >= len(subgraphs):
                raise _Corrupt(f"its subgraph is {subgraph} of {len(subgraphs)}")
            sides = []
            for side in ("Inputs", "Outputs"):
                names = {self._text(m.Name()): m.TensorIndex() for m in self._tables(table, side)}
                if any(index >= len(subgraphs[subgraph].tensors) for index in names.values()):
                    raise _Corrupt(f"its {side.lower()} name tensors that are not there")
                sides.append(names)
            yield Signature(
                self._text(table.SignatureKey()), inputs=sides[0], outputs=sides[1], subgraph=subgraph
            )

    def _min_runtime_version(self, model: Any, buffers: Sequence[tuple[int, int]]) -> str | None:
        self.where = "the metadata"
        for table in self._tables(model, "Metadata"):
            if self._text(table.Name()) == "min_runtime_version":
                if table.Buffer() >= len(buffers):
                    raise _Corrupt(f"its buffer is {table.Buffer()} of {len(buffers)}")
                start, length = buffers[table.Buffer()]
                text = bytes(self._content[start : start + min(length, 64)]).split(b"\0")[0]
                return text.decode("ascii", "replace").strip() or None
        return None

    def _check_references(self, subgraphs: Sequence[Subgraph]) -> None:
        for number, subgraph in enumerate(subgraphs):
            for op in subgraph.ops:
                self.where = f"subgraph {number}, op {op.index}"
                for key in SUBGRAPH_OPTIONS:
                    target = op.options.get(key, 0)
                    if not 0 <= target < len(subgraphs):
                        raise _Corrupt(f"{op.name} calls subgraph {target} of {len(subgraphs)}")

    def _tables(self, table: Any, field: str) -> Iterator[Any]:
        count = getattr(table, f"{field}Length")()
        self._spend(count, 4)
        entry = getattr(table, field)
        for number in range(count):
            yield entry(number)

    def _numbers(self, table: Any, field: str) -> tuple[Any, ...]:
        self._spend(getattr(table, f"{field}Length")(), 4)
        if getattr(table, f"{field}IsNone")():
            return ()
        return tuple(getattr(table, f"{field}AsNumpy")().tolist())

    def _indices(self, table: Any, field: str, count: int, *, optional: bool) -> tuple[int, ...]:
        indices = self._numbers(table, field)
        lowest = -1 if optional else 0
        for index in indices:
            if not lowest <= index < count:
                raise _Corrupt(f"its {field.lower()} name tensor {index} of {count}")
        return indices

    def _text(self, raw: bytes | None) -> str:
        self._spend(len(raw or b""), 1)
        return (raw or b"").decode("utf-8", "replace")

    def _spend(self, count: int, element_bytes: int) -> None:
        self._budget -= count
        if count * element_bytes > self._size or self._budget < 0:
            raise _Corrupt(f"a list of {count} entries is more than the file holds")


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@cache
def _schema() -> ModuleType:
    """Returns LiteRT's flatbuffer accessors: the file alone, for importing its package loads the runtime."""
    package = importlib.util.find_spec("ai_edge_litert")
    assert package and package.submodule_search_locations
    file = Path(package.submodule_search_locations[0], "schema_py_generated.py")
    spec = importlib.util.spec_from_file_location("devicekit.graph._schema", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
