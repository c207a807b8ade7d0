"""Small models for the quantize tests: the trained digits, and hand-made graphs of a few ops."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.pipeline.screening import SECOND_SOURCE
from devicekit.quantize.bench import Bench
from devicekit.quantize.samples import load_data
from devicekit.quantize.worker import prepare

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def digits() -> Path:
    return DATA / "digits.float32.tflite"


@pytest.fixture
def digits_data() -> Path:
    return DATA / "digits.npz"


@pytest.fixture
def digits_graph(digits: Path) -> Graph:
    return read_graph(digits)


@pytest.fixture
def two_inputs(tmp_path: Path) -> Path:
    """y = alpha @ A + zeta @ Z: inputs alpha [1, 6] and zeta [1, 4], in the file zeta comes first."""
    model = _Model()
    zeta, alpha = model.activation("zeta", [1, 4]), model.activation("alpha", [1, 6])
    left, right = model.activation("left", [1, 32]), model.activation("right", [1, 32])
    y = model.activation("y", [1, 32])
    rng = np.random.default_rng(1)
    model.dense(alpha, rng.normal(size=(32, 6)), left)
    model.dense(zeta, rng.normal(size=(32, 4)), right)
    model.op("ADD", [left, right], [y], options=(schema.BuiltinOptions.AddOptions, schema.AddOptionsT()))
    return model.save(tmp_path / "two_inputs.tflite", [zeta, alpha], [y])


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    """int32 tokens [1, 8] below 500 -> float32 [1], by two GATHERs of one table of 500 x 32 floats."""
    model = _Model()
    tokens = model.activation("tokens", [1, 8], np.int32)
    rng = np.random.default_rng(2)
    table = model.constant("table", rng.normal(size=(500, 32)).astype(np.float32))
    axis = model.constant("axis", np.array([1, 2], np.int32))
    summed = []
    for name in ("first", "second"):
        rows = model.activation(f"{name}_rows", [1, 8, 32])
        mean = model.activation(f"{name}_mean", [1])
        gather = (schema.BuiltinOptions.GatherOptions, schema.GatherOptionsT())
        model.op("GATHER", [table, tokens], [rows], options=gather)
        model.op("MEAN", [rows, axis], [mean], options=_reducer())
        summed.append(mean)
    y = model.activation("y", [1])
    model.op("ADD", summed, [y], options=(schema.BuiltinOptions.AddOptions, schema.AddOptionsT()))
    return model.save(tmp_path / "embedding.tflite", [tokens], [y])


@pytest.fixture
def weightless(tmp_path: Path) -> Path:
    """y = relu(x), float32 [1, 8]."""
    model = _Model()
    x, y = model.activation("x", [1, 8]), model.activation("y", [1, 8])
    model.op("RELU", [x], [y])
    return model.save(tmp_path / "weightless.tflite", [x], [y])


@pytest.fixture
def batch_of_4(tmp_path: Path) -> Path:
    """y = relu(x), float32 [4, 8]."""
    model = _Model()
    x, y = model.activation("x", [4, 8]), model.activation("y", [4, 8])
    model.op("RELU", [x], [y])
    return model.save(tmp_path / "batch_of_4.tflite", [x], [y])


@pytest.fixture
def shared_output(tmp_path: Path) -> Path:
    """Two outputs: "hidden" [1, 16], and "y" = sin of it, which litert-quantizer leaves in float."""
    model = _Model()
    x, hidden, y = (model.activation(name, [1, 16]) for name in ("x", "hidden", "y"))
    model.dense(x, np.random.default_rng(3).normal(size=(16, 16)), hidden)
    model.op("SIN", [hidden], [y])
    return model.save(tmp_path / "shared_output.tflite", [x], [hidden, y])


@pytest.fixture
def multiplier(tmp_path: Path) -> Path:
    """y = x * a constant of 256 x 256 floats, which no weight recipe touches; float32 [256, 256]."""
    model = _Model()
    x, y = model.activation("x", [256, 256]), model.activation("y", [256, 256])
    factor = model.constant("factor", np.random.default_rng(4).normal(size=(256, 256)).astype(np.float32))
    model.op("MUL", [x, factor], [y], options=(schema.BuiltinOptions.MulOptions, schema.MulOptionsT()))
    return model.save(tmp_path / "multiplier.tflite", [x], [y])


@pytest.fixture
def scaled_dense(tmp_path: Path) -> Path:
    """y = (x @ 16 x 48 weights) * a constant of 48 floats; float32 [1, 16] -> [1, 48]."""
    model = _Model()
    x, hidden, y = (
        model.activation(name, [1, size]) for name, size in (("x", 16), ("hidden", 48), ("y", 48))
    )
    rng = np.random.default_rng(5)
    model.dense(x, rng.normal(size=(48, 16)), hidden)
    factor = model.constant("factor", rng.normal(size=(1, 48)).astype(np.float32))
    model.op("MUL", [hidden, factor], [y], options=(schema.BuiltinOptions.MulOptions, schema.MulOptionsT()))
    return model.save(tmp_path / "scaled_dense.tflite", [x], [y])


@pytest.fixture
def windowed(tmp_path: Path) -> Path:
    """y = (x * a window of 128 floats) @ 4 x 16 weights; float32 [8, 16] -> [8, 4]."""
    model = _Model()
    x, framed, y = (model.activation(name, [8, size]) for name, size in (("x", 16), ("framed", 16), ("y", 4)))
    window = model.constant("window", np.hanning(128).astype(np.float32).reshape(8, 16))
    model.op("MUL", [x, window], [framed], options=(schema.BuiltinOptions.MulOptions, schema.MulOptionsT()))
    model.dense(framed, np.random.default_rng(9).normal(size=(4, 16)), y)
    return model.save(tmp_path / "windowed.tflite", [x], [y])


@pytest.fixture
def small_table(tmp_path: Path) -> Path:
    """int32 token [1] below 5 -> a row of 5 x 6 floats -> 2 x 6 weights: float32 [1, 2]."""
    model = _Model()
    token, row = model.activation("token", [1], np.int32), model.activation("row", [1, 6])
    rng = np.random.default_rng(10)
    table = model.constant("table", rng.normal(size=(5, 6)).astype(np.float32))
    y = model.activation("y", [1, 2])
    gather = (schema.BuiltinOptions.GatherOptions, schema.GatherOptionsT())
    model.op("GATHER", [table, token], [row], options=gather)
    model.dense(row, rng.normal(size=(2, 6)), y)
    return model.save(tmp_path / "small_table.tflite", [token], [y])


@pytest.fixture
def constant_right(tmp_path: Path) -> Path:
    """y = 4 matrices of 18 x 5 behind x by BATCH_MATMUL, columns of very different size: [4, 1, 18]."""
    model = _Model()
    x, y = model.activation("x", [4, 1, 18]), model.activation("y", [4, 1, 5])
    sizes = np.array([0.1, 0.3, 1, 3, 10])
    kernel = np.random.default_rng(11).normal(size=(4, 18, 5)) * sizes
    options = (schema.BuiltinOptions.BatchMatMulOptions, schema.BatchMatMulOptionsT())
    model.op("BATCH_MATMUL", [x, model.constant("kernel", kernel.astype(np.float32))], [y], options=options)
    return model.save(tmp_path / "constant_right.tflite", [x], [y])


@pytest.fixture
def constant_left(tmp_path: Path) -> Path:
    """An einsum as the converter writes it: 24 x 8 weights, FULLY_CONNECTED with x [6, 8] -> [24, 6]."""
    model = _Model()
    x, y = model.activation("x", [6, 8]), model.activation("y", [24, 6])
    kernel = np.random.default_rng(12).normal(size=(24, 8)) * np.linspace(0.1, 5, 24)[:, None]
    options = (schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT())
    inputs = [model.constant("kernel", kernel.astype(np.float32)), x, -1]
    model.op("FULLY_CONNECTED", inputs, [y], options=options)
    return model.save(tmp_path / "constant_left.tflite", [x], [y])


@pytest.fixture
def dead_filters(tmp_path: Path) -> Path:
    """Two outputs of x [1, 4, 4, 8]: "some" [1, 4, 4, 16] by filters of which one in two is 0, biases 0.5;
    "none" [1, 4, 4, 3] by filters that are all 0, biases -0.25.
    """
    model = _Model()
    x, some, none = (
        model.activation(name, [1, 4, 4, size]) for name, size in (("x", 8), ("some", 16), ("none", 3))
    )
    kernel = np.random.default_rng(13).normal(size=(16, 1, 1, 8))
    kernel[::2] = 0
    model.convolution(x, kernel, some, bias=0.5)
    model.dense(x, np.zeros((3, 8)), none, bias_of_all=-0.25)
    return model.save(tmp_path / "dead_filters.tflite", [x], [some, none])


@pytest.fixture
def regression(tmp_path: Path) -> Path:
    """y = x @ 16 positive weights, one number: float32 [1, 16] -> [1, 1]."""
    model = _Model()
    x, y = model.activation("x", [1, 16]), model.activation("y", [1, 1])
    model.dense(x, np.random.default_rng(6).uniform(0.5, 1, size=(1, 16)), y)
    return model.save(tmp_path / "regression.tflite", [x], [y])


@pytest.fixture
def dead_relu(tmp_path: Path) -> Path:
    """y = 4 convolutions of relu(16 convolutions of x - 1000) + 1: the inner tensor is always 0.

    float32 [1, 4, 4, 8] -> [1, 4, 4, 4]; called "dead".
    """
    model = _Model()
    x, dead, y = (
        model.activation(name, [1, 4, 4, size]) for name, size in (("x", 8), ("dead", 16), ("y", 4))
    )
    rng = np.random.default_rng(0)
    model.convolution(x, rng.normal(size=(16, 1, 1, 8)), dead, bias=-1000)
    model.convolution(dead, rng.normal(size=(4, 1, 1, 16)), y, bias=1)
    return model.save(tmp_path / "dead_relu.tflite", [x], [y])


@pytest.fixture
def class_token(tmp_path: Path) -> Path:
    """A ViT's first ops: patches by a convolution, flattened, a constant token put in front.

    float32 [1, 4, 4, 8] -> [1, 17, 16].
    """
    model = _Model()
    rng = np.random.default_rng(7)
    x, patches = model.activation("x", [1, 4, 4, 8]), model.activation("patches", [1, 4, 4, 16])
    rows, y = model.activation("rows", [1, 16, 16]), model.activation("y", [1, 17, 16])
    token = model.constant("token", rng.normal(size=(1, 1, 16)).astype(np.float32))
    shape = model.constant("shape", np.array([1, 16, 16], np.int32))
    model.convolution(x, rng.normal(size=(16, 1, 1, 8)), patches, bias=0)
    model.op("RESHAPE", [patches, shape], [rows])
    options = schema.ConcatenationOptionsT()
    options.axis = 1
    joined = (schema.BuiltinOptions.ConcatenationOptions, options)
    model.op("CONCATENATION", [token, rows], [y], options=joined)
    return model.save(tmp_path / "class_token.tflite", [x], [y])


@pytest.fixture
def drawn_noise(tmp_path: Path) -> Path:
    """Two outputs [1, 16]: "mean" = x @ weights, and "drawn" = that with normal noise on it."""
    model, x, mean, drawn = _noisy()
    return model.save(tmp_path / "drawn_noise.tflite", [x], [mean, drawn])


@pytest.fixture
def only_noise(tmp_path: Path) -> Path:
    """As drawn_noise, with the output "drawn" alone."""
    model, x, _, drawn = _noisy()
    return model.save(tmp_path / "only_noise.tflite", [x], [drawn])


@pytest.fixture
def without_signature(digits: Path, tmp_path: Path) -> Path:
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(digits.read_bytes()))
    tree.signatureDefs = []
    path = tmp_path / "without_signature.tflite"
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(tree))
    return path


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., Bench]:
    """Returns a function that prepares a model in this process, as the worker does in its own."""

    def make(path: Path, *, data: Path | None = None, **request: Any) -> Bench:
        graph = read_graph(path)
        loaded = load_data(None if data is None else str(data), graph)
        request = {
            "threads": 1,
            "evaluation_s": 20.0,
            "timeout_s": 300.0,
            "out_dir": str(tmp_path),
            "wanted": None,
            "dense_version": None,
            "second_source": SECOND_SOURCE,
            "keep_worst": 0,
            **request,
        }
        return prepare(request, graph, data=loaded, metric=None)

    return make


@pytest.fixture
def save_npz(tmp_path: Path) -> Callable[..., Path]:
    def save(**arrays: Any) -> Path:
        path = tmp_path / "calib.npz"
        np.savez(path, **arrays)
        return path

    return save


class _Model:
    """Puts a one-subgraph .tflite together."""

    def __init__(self) -> None:
        self._tree = schema.ModelT()
        self._tree.version, self._tree.description = 3, b"test model"
        self._tree.buffers, self._tree.operatorCodes, self._tree.metadata = [schema.BufferT()], [], []
        self._graph = schema.SubGraphT()
        self._graph.name, self._graph.tensors, self._graph.operators = b"main", [], []

    def activation(self, name: str, shape: Sequence[int], dtype: type = np.float32) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), list(shape), 0
        tensor.type = schema.TensorType.FLOAT32 if dtype is np.float32 else schema.TensorType.INT32
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def constant(self, name: str, values: np.ndarray) -> int:
        index = self.activation(name, values.shape, values.dtype.type)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._tree.buffers.append(buffer)
        self._graph.tensors[index].buffer = len(self._tree.buffers) - 1
        return index

    def dense(self, source: int, weights: np.ndarray, target: int, *, bias_of_all: float = 0) -> None:
        kernel = self.constant(f"weights{target}", weights.astype(np.float32))
        bias = self.constant(f"bias{target}", np.full(len(weights), bias_of_all, np.float32))
        options = (schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT())
        options[1].keepNumDims = len(self._graph.tensors[target].shape) > 2
        self.op("FULLY_CONNECTED", [source, kernel, bias], [target], options=options)

    def convolution(self, source: int, kernel: np.ndarray, target: int, *, bias: float) -> None:
        """Adds CONV_2D with RELU; `kernel` is [out, height, width, in]."""
        options = schema.Conv2DOptionsT()
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        weights = self.constant(f"weights{target}", kernel.astype(np.float32))
        added = self.constant(f"bias{target}", np.full(len(kernel), bias, np.float32))
        self.op(
            "CONV_2D",
            [source, weights, added],
            [target],
            options=(schema.BuiltinOptions.Conv2DOptions, options),
        )

    def op(
        self, name: str, inputs: list[int], outputs: list[int], *, options: tuple[int, Any] = (0, None)
    ) -> None:
        builtin = getattr(schema.BuiltinOperator, name)
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        self._tree.operatorCodes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = len(self._tree.operatorCodes) - 1, inputs, outputs
        op.builtinOptionsType, op.builtinOptions = options
        self._graph.operators.append(op)

    def save(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        self._graph.inputs, self._graph.outputs = inputs, outputs
        self._tree.subgraphs = [self._graph]
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs, signature.outputs = self._entries(inputs), self._entries(outputs)
        self._tree.signatureDefs = [signature]
        path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(self._tree))
        return path

    def _entries(self, indices: list[int]) -> list[Any]:
        entries = []
        for index in indices:
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = self._graph.tensors[index].name, index
            entries.append(entry)
        return entries


def _noisy() -> tuple[_Model, int, int, int]:
    model = _Model()
    x, mean, noise, drawn = (model.activation(name, [1, 16]) for name in ("x", "mean", "noise", "drawn"))
    model.dense(x, np.random.default_rng(8).normal(size=(16, 16)), mean)
    shape = model.constant("shape", np.array([1, 16], np.int32))
    random = (schema.BuiltinOptions.RandomOptions, schema.RandomOptionsT())
    model.op("RANDOM_STANDARD_NORMAL", [shape], [noise], options=random)
    adding = (schema.BuiltinOptions.AddOptions, schema.AddOptionsT())
    model.op("ADD", [mean, noise], [drawn], options=adding)
    return model, x, mean, drawn


def _reducer() -> tuple[int, Any]:
    return schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT()
