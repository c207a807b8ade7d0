"""Measures which operators, versions and dtypes the runtimes take, and writes profiles/ops/.

    .venv/bin/python tools/op_support.py litert     # releases from PyPI in turn; dtypes of the installed one
    .venv/bin/python tools/op_support.py tflite     # dtypes of tflite-runtime 2.14, the last release
    .venv/bin/python tools/op_support.py tflm       # the installed tflite-micro
    .venv/bin/python tools/op_support.py --verify   # writes nothing, says what differs from the files

A file with one operator is opened for each operator and version, and run on each dtype: what a runtime
refuses there, it refuses in a model. Delegates (gpu, nnapi, edgetpu) cannot be run here; their files are
written by hand from the sources that they name; versions in tflite.toml come of the converter's own table.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "profiles" / "ops"
LITERT = ("1.0.1", "1.1.2", "1.2.0", "1.3.0", "1.4.0", "2.0.3", "2.1.6", "2.2.0", "2.3.0")
TFLITE = "2.14.0"  # the last release of tflite-runtime
OLD_NUMPY = ("1.0.1", "1.1.2", TFLITE)  # built before NumPy 2
NEWEST_VERSION = 16
TYPES = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool", "complex64")
# Activations and weights: 8-bit and 4-bit weights under float, 4-bit ones under int8.
MIXED = (*TYPES, "float32+int8", "float32+int4", "int8+int4", "int16+int8")
BUILTINS = sorted(
    name
    for name in vars(schema.BuiltinOperator)
    if name.isupper() and name not in ("CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES")
)
SCALE = 0.1
# Operators whose output has a scale of its own, by dtype: (scale, zero point). Source: kernels' Prepare.
FIXED_SCALES: Mapping[str, Mapping[str, tuple[float, int]]] = {
    "LOGISTIC": {"int8": (1 / 256, -128), "uint8": (1 / 256, 0), "int16": (1 / 32768, 0)},
    "TANH": {"int8": (1 / 128, 0), "uint8": (1 / 128, 128), "int16": (1 / 32768, 0)},
    "SOFTMAX": {"int8": (1 / 256, -128), "uint8": (1 / 256, 0), "int16": (1 / 32768, 0)},
    "LOG_SOFTMAX": {"int8": (16 / 256, 127), "uint8": (16 / 256, 255)},
    "L2_NORMALIZATION": {"int8": (1 / 128, 0), "uint8": (1 / 128, 128)},
}


@dataclass(frozen=True)
class Value:
    """A tensor of a case: "T" is the dtype in question, "B" that of a bias. Constant where it has data."""

    shape: Sequence[int]
    dtype: str = "T"
    data: Any = None
    weights: bool = False


@dataclass(frozen=True)
class Case:
    """One operator with what it takes."""

    inputs: Sequence[Value]
    outputs: Sequence[Value]
    options: Mapping[str, Any] = field(default_factory=dict)


def ints(*numbers: int, dtype: str = "int32") -> Value:
    return Value([len(numbers)], dtype, list(numbers))


IMAGE = [1, 4, 4, 4]
ROW = [1, 4]
ONE = Case([Value(IMAGE)], [Value(IMAGE)])
TWO = Case([Value(IMAGE), Value(IMAGE)], [Value(IMAGE)])
COMPARED = Case([Value(IMAGE), Value(IMAGE)], [Value(IMAGE, "bool")])
REDUCED = Case([Value(IMAGE), ints(1, 2)], [Value([1, 4])], {"keepDims": False})
POOLED = Case(
    [Value(IMAGE)], [Value([1, 2, 2, 4])], {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
)
STRIDES = {"strideW": 1, "strideH": 1, "padding": 0}
PADS = Value([4, 2], "int32", [0, 0, 1, 1, 1, 1, 0, 0])
CASES: Mapping[str, Case] = {
    **dict.fromkeys(
        [
            "ABS",
            "CEIL",
            "COS",
            "ELU",
            "EXP",
            "FLOOR",
            "GELU",
            "HARD_SWISH",
            "LEAKY_RELU",
            "LOG",
            "LOGISTIC",
            "NEG",
            "RELU",
            "RELU6",
            "RELU_0_TO_1",
            "RELU_N1_TO_1",
            "ROUND",
            "RSQRT",
            "SIGN",
            "SIN",
            "SQRT",
            "SQUARE",
            "TANH",
            "ZEROS_LIKE",
            "LOGICAL_NOT",
            "L2_NORMALIZATION",
        ],
        ONE,
    ),
    **dict.fromkeys(["SOFTMAX", "LOG_SOFTMAX"], Case([Value(ROW)], [Value(ROW)], {"beta": 1.0})),
    **dict.fromkeys(
        [
            "ADD",
            "SUB",
            "MUL",
            "DIV",
            "MAXIMUM",
            "MINIMUM",
            "SQUARED_DIFFERENCE",
            "FLOOR_DIV",
            "FLOOR_MOD",
            "POW",
            "ADD_N",
            "ATAN2",
            "LOGICAL_AND",
            "LOGICAL_OR",
            "BITWISE_XOR",
            "RIGHT_SHIFT",
        ],
        TWO,
    ),
    **dict.fromkeys(["EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"], COMPARED),
    **dict.fromkeys(
        ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"], REDUCED
    ),
    **dict.fromkeys(["AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"], POOLED),
    "CONV_2D": Case(
        [Value(IMAGE), Value([4, 3, 3, 4], weights=True), Value([4], "B")],
        [Value(IMAGE)],
        {**STRIDES, "dilationWFactor": 1, "dilationHFactor": 1},
    ),
    "DEPTHWISE_CONV_2D": Case(
        [Value(IMAGE), Value([1, 3, 3, 4], weights=True), Value([4], "B")],
        [Value(IMAGE)],
        {**STRIDES, "depthMultiplier": 1, "dilationWFactor": 1, "dilationHFactor": 1},
    ),
    "TRANSPOSE_CONV": Case(
        [ints(1, 8, 8, 4), Value([4, 3, 3, 4], weights=True), Value(IMAGE)],
        [Value([1, 8, 8, 4])],
        {"strideW": 2, "strideH": 2, "padding": 0},
    ),
    "FULLY_CONNECTED": Case([Value(ROW), Value([4, 4], weights=True), Value([4], "B")], [Value(ROW)]),
    "BATCH_MATMUL": Case([Value([1, 4, 4]), Value([1, 4, 4])], [Value([1, 4, 4])]),
    "PRELU": Case([Value(IMAGE), Value([1, 1, 4], data=[0, 0, 0, 0])], [Value(IMAGE)]),
    "RESHAPE": Case([Value(IMAGE), ints(1, 64)], [Value([1, 64])], {"newShape": [1, 64]}),
    "SQUEEZE": Case([Value(IMAGE)], [Value([4, 4, 4])], {"squeezeDims": [0]}),
    "EXPAND_DIMS": Case([Value(ROW), Value([], "int32", [0])], [Value([1, 1, 4])]),
    "PAD": Case([Value(IMAGE), PADS], [Value([1, 6, 6, 4])]),
    "PADV2": Case([Value(IMAGE), PADS, Value([1], data=[0])], [Value([1, 6, 6, 4])]),
    "MIRROR_PAD": Case([Value(IMAGE), PADS], [Value([1, 6, 6, 4])], {"mode": 0}),
    "SLICE": Case([Value(IMAGE), ints(0, 1, 1, 0), ints(1, 2, 2, 4)], [Value([1, 2, 2, 4])]),
    "STRIDED_SLICE": Case(
        [Value(IMAGE), ints(0, 0, 0, 0), ints(1, 2, 2, 4), ints(1, 1, 1, 1)], [Value([1, 2, 2, 4])]
    ),
    "SPLIT": Case(
        [Value([], "int32", [3]), Value(IMAGE)], [Value([1, 4, 4, 2]), Value([1, 4, 4, 2])], {"numSplits": 2}
    ),
    "SPLIT_V": Case(
        [Value(IMAGE), ints(1, 3), Value([], "int32", [3])],
        [Value([1, 4, 4, 1]), Value([1, 4, 4, 3])],
        {"numSplits": 2},
    ),
    "CONCATENATION": Case([Value(IMAGE), Value(IMAGE)], [Value([1, 4, 4, 8])], {"axis": 3}),
    "PACK": Case([Value(ROW), Value(ROW)], [Value([2, 1, 4])], {"axis": 0, "valuesCount": 2}),
    "UNPACK": Case([Value([2, 4])], [Value([4]), Value([4])], {"axis": 0, "num": 2}),
    "GATHER": Case([Value([4, 4]), ints(0, 2)], [Value([2, 4])], {"axis": 0}),
    "GATHER_ND": Case([Value([4, 4]), Value([2, 1], "int32", [0, 2])], [Value([2, 4])]),
    "TRANSPOSE": Case([Value(IMAGE), ints(0, 3, 1, 2)], [Value(IMAGE)]),
    "BROADCAST_TO": Case([Value([1, 4]), ints(3, 4)], [Value([3, 4])]),
    "TILE": Case([Value(ROW), ints(2, 1)], [Value([2, 4])]),
    "FILL": Case([ints(2, 2), Value([], data=[0])], [Value([2, 2])]),
    "CAST": Case([Value(ROW)], [Value(ROW, "float32")]),
    "ARG_MAX": Case([Value(ROW), ints(1)], [Value([1], "int32")], {"outputType": schema.TensorType.INT32}),
    "ARG_MIN": Case([Value(ROW), ints(1)], [Value([1], "int32")], {"outputType": schema.TensorType.INT32}),
    "SELECT": Case([Value(ROW, "bool"), Value(ROW), Value(ROW)], [Value(ROW)]),
    "SELECT_V2": Case([Value(ROW, "bool"), Value(ROW), Value(ROW)], [Value(ROW)]),
    "RESIZE_BILINEAR": Case([Value(IMAGE), ints(8, 8)], [Value([1, 8, 8, 4])]),
    "RESIZE_NEAREST_NEIGHBOR": Case([Value(IMAGE), ints(8, 8)], [Value([1, 8, 8, 4])]),
    "SPACE_TO_BATCH_ND": Case(
        [Value(IMAGE), ints(2, 2), Value([2, 2], "int32", [0, 0, 0, 0])], [Value([4, 2, 2, 4])]
    ),
    "BATCH_TO_SPACE_ND": Case(
        [Value([4, 2, 2, 4]), ints(2, 2), Value([2, 2], "int32", [0, 0, 0, 0])], [Value(IMAGE)]
    ),
    "SPACE_TO_DEPTH": Case([Value(IMAGE)], [Value([1, 2, 2, 16])], {"blockSize": 2}),
    "DEPTH_TO_SPACE": Case([Value(IMAGE)], [Value([1, 8, 8, 1])], {"blockSize": 2}),
    "CUMSUM": Case([Value(ROW), Value([], "int32", [1])], [Value(ROW)]),
    "REVERSE_V2": Case([Value(ROW), ints(1)], [Value(ROW)]),
    "EMBEDDING_LOOKUP": Case([ints(0, 2), Value([4, 4], weights=True)], [Value([2, 4])]),
    "DYNAMIC_UPDATE_SLICE": Case([Value([4, 4]), Value([1, 4]), ints(1, 0)], [Value([4, 4])]),
    "QUANTIZE": Case([Value(ROW, "float32")], [Value(ROW)]),
    "DEQUANTIZE": Case([Value(ROW)], [Value(ROW, "float32")]),
    "TOPK_V2": Case([Value(ROW), Value([], "int32", [2])], [Value([1, 2]), Value([1, 2], "int32")]),
    "ONE_HOT": Case(
        [ints(0, 2), Value([], "int32", [4]), Value([], data=[1]), Value([], data=[0])],
        [Value([2, 4])],
        {"axis": -1},
    ),
    "SHAPE": Case([Value(IMAGE)], [Value([4], "int32")], {"outType": schema.TensorType.INT32}),
    "RANK": Case([Value(IMAGE)], [Value([], "int32")]),
    "BROADCAST_ARGS": Case([ints(1, 4), ints(3, 4)], [Value([2], "int32")]),
}


def model_of(name: str, dtype: str = "float32", version: int = 1, *, case: Case | None = None) -> bytes:
    """Returns a .tflite of one operator; with no case it has one input and one output, to be opened only."""
    case = case or Case([Value([1, 4])], [Value([1, 4])])
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    number = getattr(schema.BuiltinOperator, name)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), version
    model.buffers, graph.tensors = [schema.BufferT()], []
    values = [*case.inputs, *case.outputs]
    for index, value in enumerate(values):
        is_output = index >= len(case.inputs)
        graph.tensors.append(_tensor(model, name, value, dtype, is_output=is_output))
    count = len(case.inputs)
    op.opcodeIndex, op.inputs, op.outputs = 0, list(range(count)), list(range(count, len(values)))
    graph.operators = [op]
    graph.inputs = [i for i, value in enumerate(case.inputs) if not _is_constant(value)]
    graph.outputs = list(op.outputs)
    if case.options or _options_of(name):
        kind, options = _options_of(name) or (None, None)
        if options is not None:
            for key, wanted in case.options.items():
                if hasattr(options, key):
                    setattr(options, key, wanted)
            op.builtinOptionsType, op.builtinOptions = kind, options
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _is_constant(value: Value) -> bool:
    return value.data is not None or value.weights or value.dtype == "B"


def _options_of(name: str) -> tuple[int, Any] | None:
    """Returns the kind of an operator's options and an object of it; None where the schema has none."""
    special = {
        "ARG_MAX": "ArgMax",
        "ARG_MIN": "ArgMin",
        "L2_NORMALIZATION": "L2Norm",
        "BATCH_MATMUL": "BatchMatMul",
        **dict.fromkeys(["AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"], "Pool2D"),
        **dict.fromkeys(
            ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"], "Reducer"
        ),
    }
    title = special.get(name) or "".join(part.capitalize() for part in name.split("_"))
    for spelt in (title, title.replace("2d", "2D"), title.replace("Nd", "ND"), title.replace("v2", "V2")):
        kind = getattr(schema.BuiltinOptions, f"{spelt}Options", None)
        if kind is not None:
            return kind, getattr(schema, f"{spelt}OptionsT")()
    return None


def _tensor(model: Any, name: str, value: Value, dtype: str, *, is_output: bool) -> Any:
    activation, _, weights = dtype.partition("+")
    own = {"T": weights or activation if value.weights else activation, "B": _bias(activation, weights)}.get(
        value.dtype, value.dtype
    )
    tensor = schema.TensorT()
    tensor.shape, tensor.name = list(value.shape), f"t{len(model.buffers)}"
    tensor.type, tensor.buffer = getattr(schema.TensorType, own.upper()), 0
    if own in ("int8", "uint8", "int16", "int4") or (value.dtype == "B" and own in ("int32", "int64")):
        tensor.quantization = _quantization(name, value, own, is_output=is_output)
    if _is_constant(value):
        buffer = schema.BufferT()
        numbers = np.zeros(value.shape) if value.data is None else np.array(value.data).reshape(value.shape)
        packed = numbers.astype("int8" if own == "int4" else own)
        buffer.data = list(packed.tobytes()[: max(1, packed.size // 2) if own == "int4" else None])
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    return tensor


def _bias(activation: str, weights: str) -> str:
    return {"int8": "int32", "uint8": "int32", "int16": "int64" if weights else "int32"}.get(
        activation, activation
    )


def _quantization(name: str, value: Value, dtype: str, *, is_output: bool) -> Any:
    found = schema.QuantizationParametersT()
    scale, zero = SCALE, 128 if dtype == "uint8" else 0
    if value.dtype == "B":
        scale, zero = SCALE * SCALE, 0
    elif value.weights and dtype == "uint8":
        zero = 128
    elif is_output and dtype in FIXED_SCALES.get(name, {}):
        scale, zero = FIXED_SCALES[name][dtype]
    channels = 4 if value.weights and name in ("CONV_2D", "DEPTHWISE_CONV_2D") and dtype != "uint8" else 1
    found.scale, found.zeroPoint = [scale] * channels, [zero] * channels
    found.quantizedDimension = 3 if name == "DEPTHWISE_CONV_2D" and channels > 1 else 0
    return found


def in_a_fork(run: Callable[[], None]) -> str | None:
    """Returns None where `run` ends well in a child process, else what it printed: interpreters may abort."""
    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                run()
                os._exit(0)
            except BaseException as error:
                os.write(2, str(error).encode())
            os._exit(1)
        _, status = os.waitpid(child, 0)
        log.seek(0)
        return None if status == 0 else log.read().decode("utf-8", "replace") or "crashed"


def run_in_litert(content: bytes) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.ones(detail["shape"], dtype=detail["dtype"]))
    interpreter.invoke()


def run_in_tflm(content: bytes) -> None:
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=1 << 18)
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    for index in range(graph.InputsLength()):
        detail = interpreter.get_input_details(index)
        interpreter.set_input(np.ones(detail["shape"], dtype=detail["dtype"]), index)
    interpreter.invoke()


def _dtypes_of(case: Case) -> Sequence[str]:
    return MIXED if any(value.weights for value in case.inputs) else TYPES


def types_in(run: Callable[[bytes], None], versions: Mapping[str, int]) -> dict[str, list[str]]:
    """Returns the dtypes on which each operator runs at its version, of those that there is a case for."""
    found = {}
    for name, version in versions.items():
        case = CASES.get(name)
        if case is None:
            continue
        found[name] = [
            dtype
            for dtype in _dtypes_of(case)
            if in_a_fork(partial(run, model_of(name, dtype, version, case=case))) is None
        ]
    return found


# These run in a process that has nothing but one release: it knows neither our schema nor our tools.
OPEN_ALL = """
import importlib, json, sys, zipfile
sys.path.insert(0, sys.argv[1])
Interpreter = importlib.import_module(sys.argv[3] + ".interpreter").Interpreter
highest = {}
with zipfile.ZipFile(sys.argv[2]) as models:
    for entry in models.namelist():
        name, version = entry.split(".")
        try:
            Interpreter(model_content=models.read(entry))
            highest[name] = int(version)
        except ValueError as error:
            if "Didn't find op" not in str(error) and "out of range" not in str(error):
                highest[name] = int(version)
print("@" + json.dumps(highest))
"""
RUN_ALL = """
import importlib, json, os, signal, sys, zipfile
sys.path.insert(0, sys.argv[1])
import numpy
module = importlib.import_module(sys.argv[3] + ".interpreter")
def run(content):
    kind = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = module.Interpreter(model_content=content, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], numpy.ones(detail["shape"], dtype=detail["dtype"]))
    interpreter.invoke()
runs = []
with zipfile.ZipFile(sys.argv[2]) as models:
    for entry in models.namelist():
        content = models.read(entry)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            try:
                run(content)
            except BaseException:
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            runs.append(entry)
print("@" + json.dumps(runs))
"""


def in_release(package: str, release: str, script: str, models: Mapping[str, bytes]) -> Any:
    """Returns what `script` says of `models` in a release from PyPI, alone in a process of its own."""
    print(f"{package} {release}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as place:
        archive, folder = Path(place, "models.zip"), Path(place, "wheels")
        with zipfile.ZipFile(archive, "w") as file:
            for name, content in models.items():
                file.writestr(name, content)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        wanted = [f"{package}=={release}", *(["numpy==1.26.4"] if release in OLD_NUMPY else [])]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*pip, "-d", str(folder), *wanted], check=True, **quiet)
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as file:
                file.extractall(folder)
        argv = [sys.executable, "-c", script, str(folder), str(archive), package.replace("-", "_")]
        done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{package} {release}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.rpartition("@")[2])


def all_versions() -> dict[str, bytes]:
    """Returns "NAME.VERSION" -> a file to open."""
    versions = range(1, NEWEST_VERSION + 1)
    return {f"{name}.{number}": model_of(name, version=number) for name in BUILTINS for number in versions}


def litert() -> dict[str, dict[str, Any]]:
    """Returns operator -> {"first": {highest version: release that has it}, "types": dtypes}."""
    first: dict[str, dict[str, str]] = {}
    highest: dict[str, int] = {}
    models = all_versions()
    for release in LITERT:
        for name, version in in_release("ai-edge-litert", release, OPEN_ALL, models).items():
            if version > highest.get(name, 0):
                first.setdefault(name, {})[str(version)] = ".".join(release.split(".")[:2])
                highest[name] = version
    types = types_in(run_in_litert, highest)
    return {name: {"first": first[name], **_types(types, name)} for name in sorted(first)}


def tflite() -> dict[str, dict[str, Any]]:
    """Returns the operators of the file, which come of the converter's table, with the dtypes measured.

    Says where the last release that runs here opens other versions than the table has for it.
    """
    ops: dict[str, dict[str, Any]] = tomllib.loads((PLACE / "tflite.toml").read_text(encoding="utf-8"))["ops"]
    table = {
        name: max((int(v) for v, since in op["first"].items() if _is_by(since, TFLITE)), default=0)
        for name, op in ops.items()
    }
    for name, version in in_release("tflite-runtime", TFLITE, OPEN_ALL, all_versions()).items():
        if version != table.get(name, 0):
            print(f"tflite {name}: {TFLITE} opens {version}, the table has {table.get(name, 0)}")
    models = {
        f"{name}.{dtype}": model_of(name, dtype, version, case=CASES[name])
        for name, version in table.items()
        if version and name in CASES
        for dtype in _dtypes_of(CASES[name])
    }
    types: dict[str, list[str]] = {}
    for entry in in_release("tflite-runtime", TFLITE, RUN_ALL, models):
        name, _, dtype = entry.partition(".")
        types.setdefault(name, []).append(dtype)
    return {name: {"first": op["first"], **_types(types, name)} for name, op in ops.items()}


def _is_by(since: str, release: str) -> bool:
    one, other = (tuple(map(int, text.split(".")[:2])) for text in (since, release))
    return one <= other


def tflm() -> dict[str, dict[str, Any]]:
    """Returns operator -> {"types": dtypes}, of those that TFLM has a kernel for."""
    names = []
    for name in BUILTINS:
        if "Didn't find op" not in (in_a_fork(partial(run_in_tflm, model_of(name))) or ""):
            names.append(name)
    types = types_in(run_in_tflm, dict.fromkeys(names, 1))
    return {name: _types(types, name) for name in names}


def _types(types: Mapping[str, list[str]], name: str) -> dict[str, Any]:
    return {"types": types[name]} if types.get(name) else {}


def written(head: str, ops: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the file: its head as it stands, an operator a line."""
    head = re.sub(r"(?m)^tried = .*$", f"tried = {_inline(list(dict.fromkeys(MIXED)))} # dtypes", head)
    lines = [f"{name} = {_inline(entry)}" for name, entry in ops.items()]
    return head.rstrip("\n") + "\n\n[ops]\n" + "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_inline(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


RUNTIMES: Mapping[str, Callable[[], dict[str, dict[str, Any]]]] = {
    "litert": litert,
    "tflite": tflite,
    "tflm": tflm,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runtime", nargs="*", choices=[*RUNTIMES, []], help="default: all that can be run here"
    )
    parser.add_argument("--verify", action="store_true", help="write nothing, say what differs")
    arguments = parser.parse_args()
    differs = 0
    for name in arguments.runtime or RUNTIMES:
        path = PLACE / f"{name}.toml"
        text = path.read_text(encoding="utf-8")
        ops = RUNTIMES[name]()
        if not arguments.verify:
            path.write_text(written(text.partition("[ops]")[0], ops), encoding="utf-8")
            continue
        before = tomllib.loads(text)["ops"]
        for op in sorted({*before, *ops}):
            if before.get(op) != ops.get(op):
                differs += 1
                print(f"{name} {op}: the file has {before.get(op)}, measured {ops.get(op)}")
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
