"""FakeDevice and tiny models: for our tests and our users'."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from devicekit.device.seam import Completed, DeviceFacts
from devicekit.errors import Lost, MeasurementError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fault = Literal["out of memory", "time-out", "lost", "wrong output", "garbage output", "crash"]

# "emulated", never "measured": the latencies and memory figures of a FakeDevice are made up.
FAKE_FACTS = DeviceFacts(
    address="fake:1",
    kind="linux",
    evidence="emulated",
    model="FakeDevice",
    abi="aarch64",
    cores=4,
    cpus=(0, 1, 2, 3),
    ram_mib=1024,
    os="none: a fake",
    python="python3",
    runtime_library="/fake/libLiteRt.so",
    runtime_version="0.0.fake",
)


def warmup_model() -> Path:
    """Returns the tiny .tflite that the package carries: one fully connected op, float32 [1, 8] to [1, 4]."""
    return Path(__file__).parent / "runner" / "warmup.tflite"


class FakeDevice:
    """A device made of a function: no hardware, no transport, made-up times.

    `run` answers every command, where given; it returns a Completed, or None for the default answer. The
    default knows the commands of the script runner: it computes true outputs with LiteRT here, so that
    verification means something, and answers `latency_us` and `must_have_bytes`. With a limit below
    `must_have_bytes` it fails as a device does. `fault` makes every measurement fail in one way. A
    measurement takes `run_s`, and each is off by a random, normal `spread` of its latency.
    """

    def __init__(
        self,
        facts: DeviceFacts = FAKE_FACTS,
        *,
        run: Callable[[Sequence[str]], Completed | None] | None = None,
        fault: Fault | None = None,
        latency_us: float = 1000.0,
        must_have_bytes: int = 2**20,
        run_s: float = 0.0,
        spread: float = 0.0,
    ) -> None:
        if facts.evidence == "measured":
            facts = replace(facts, evidence="emulated")
        self.files: dict[str, bytes] = {}
        self.pushed: list[str] = []
        self.commands: list[tuple[str, ...]] = []
        self.is_closed = False
        self._facts = facts
        self._answer = run
        self._fault = fault
        self._latency_us = latency_us
        self._must_have_bytes = must_have_bytes
        self._run_s = run_s
        self._spread = spread

    def push(self, local: Path, remote: str) -> None:
        self.files[remote] = Path(local).read_bytes()
        self.pushed.append(remote)

    def pull(self, remote: str, local: Path) -> None:
        if remote not in self.files:
            raise MeasurementError(
                f"{self._facts.address}: there is no file {remote}", remedy="push it first"
            )
        Path(local).write_bytes(self.files[remote])

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        self.commands.append(tuple(argv))
        answer = self._answer(argv) if self._answer else None
        if answer is not None:
            return answer
        if argv[0] == "sha256sum":
            return Completed(0, "".join(f"{digest}  {name}\n" for name, digest in self._hashes()), "")
        if argv[0] == "sh":  # a fake is never hot, and has no governor
            return Completed(0, "", "")
        for position, word in enumerate(argv):
            if word.endswith("board_script.py"):
                arguments = list(argv[position + 1 :])
                return self._measure(arguments)
        return Completed(127, "", f"{argv[0]}: not found")

    def describe(self) -> DeviceFacts:
        return self._facts

    def close(self) -> None:
        self.is_closed = True

    def _hashes(self) -> list[tuple[str, str]]:
        return [(name, hashlib.sha256(data).hexdigest()) for name, data in self.files.items()]

    def _measure(self, arguments: Sequence[str]) -> Completed:
        pairs = [argument.partition("=") for argument in arguments]
        request = {key: value for key, _, value in pairs if key != "in"}
        names = [value for key, _, value in pairs if key == "in"]
        limit = int(request.get("memory", 0))
        time.sleep(self._run_s)
        if self._fault == "lost":
            raise Lost(self._facts.address, during="measuring")
        if self._fault == "time-out":
            return Completed(None, "", "phase measure\n", timed_out=True)
        if self._fault == "garbage output":
            return Completed(0, "Segmentation fault? no, just noise\n", "")
        if self._fault == "crash":
            return Completed(-11, "", "phase init\n")
        if limit and (self._fault == "out of memory" or limit < self._must_have_bytes):
            failed = {"error": "inference fails", "phase": "first", "status": 3}
            return Completed(6, json.dumps(failed), "phase first\nERROR: Failed to allocate tensors\n")
        try:
            ports = self._compute(self.files[request["model"]], names, prefix=request.get("prefix", ""))
        except (ValueError, RuntimeError) as error:
            failed = {"error": str(error), "phase": "init", "status": None}
            return Completed(4, json.dumps(failed), "phase init\n")
        return Completed(0, json.dumps(self._document(request, ports)), "phase outputs\n")

    def _compute(self, model: bytes, names: Sequence[str], *, prefix: str) -> list[dict[str, Any]]:
        """Runs the model here; leaves its outputs in PREFIXout0.bin, … and returns their descriptions."""
        import numpy as np
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=model)
        interpreter.allocate_tensors()
        feeds, outputs = _named(interpreter, "input"), _named(interpreter, "output")
        for detail in feeds.values():  # what gets no file: an unset string tensor would crash
            interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
        for number, name in enumerate(names):
            detail = feeds[name]
            data = np.frombuffer(self.files[f"{prefix}in{number}.bin"], detail["dtype"])
            interpreter.set_tensor(detail["index"], data.reshape(detail["shape"]))
        interpreter.invoke()
        ports = []
        for number, (name, detail) in enumerate(outputs.items()):
            value = interpreter.get_tensor(detail["index"])
            if self._fault == "wrong output":
                value = _different(value)
            self.files[f"{prefix}out{number}.bin"] = value.tobytes()
            ports.append({"name": name, "tensor": detail["name"], "bytes": value.nbytes})
        return ports

    def _document(self, request: Mapping[str, str], ports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        base = {"VmRSS": 12_000, "VmHWM": 12_000, "RssAnon": 4_000}
        grown_kb = self._must_have_bytes // 1024
        end = {key: value + grown_kb for key, value in base.items()}
        latency_ns = self._latency_us * 1000 * max(random.gauss(1, self._spread), 0.1)
        return {
            "api": "fake",
            "cpus": list(range(int(request["threads"]))),
            "mem_base": base,
            "mem_init": base,
            "mem_first": end,
            "mem_end": end,
            "init_ns": round(latency_ns * 10),
            "first_ns": round(latency_ns * 2),
            # Between 99 and 101 % of the latency.
            "ns": [round(latency_ns * (0.99 + 0.002 * (i % 11))) for i in range(int(request["runs"]))],
            "outputs": list(ports),
        }


_FAKED = {"latency_us", "run_s", "spread"}


def fake_device(address: str, *, keep: bool = False) -> FakeDevice:
    """Returns the FakeDevice at "fake:NAME?latency_us=900&must_have_mib=2&run_s=1&spread=0.02&fault=lost".

    For trying a fleet without hardware: its numbers are made up, and labelled emulated. Raises UsageError.
    """
    from urllib.parse import parse_qsl

    name, _, query = address.removeprefix("fake:").partition("?")
    given = dict(parse_qsl(query))
    fault = given.pop("fault", None)
    try:
        numbers = {key: float(value) for key, value in given.items()}
        must_have_bytes = int(numbers.pop("must_have_mib", 1.0) * 2**20)
        fault = fault and fault.replace("_", " ")
        if not all(0 <= value < 1e9 for value in numbers.values()):
            raise ValueError
        if not name or not numbers.keys() <= _FAKED or (fault and fault not in get_args(Fault)):
            raise ValueError
        return FakeDevice(
            replace(FAKE_FACTS, address=address),
            fault=cast("Fault | None", fault),
            must_have_bytes=must_have_bytes,
            **cast("dict[str, Any]", numbers),
        )
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f'"{address}" names no fake device',
            remedy="write fake:NAME, or fake:NAME?latency_us=900&must_have_mib=2&run_s=1&fault=lost",
        ) from error


def _named(interpreter: Any, side: Literal["input", "output"]) -> dict[str, dict[str, Any]]:
    """Returns the tensors' details by signature name, else by tensor name."""
    details = getattr(interpreter, f"get_{side}_details")()
    signatures = interpreter.get_signature_list()
    names: dict[int, str] = {}
    if signatures:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        own = getattr(runner, f"get_{side}_details")()
        names = {detail["index"]: name for name, detail in own.items()}
    return {names.get(detail["index"], detail["name"]): detail for detail in details}


def _different(value: "NDArray[Any]") -> "NDArray[Any]":
    """Returns what a broken kernel gives: every value the other way round, and off by a few steps."""
    wrong: NDArray[Any] = value[..., ::-1] + value.dtype.type(3)
    return wrong


def write_dense_model(
    path: Path, *, inputs: int = 8, outputs: int = 4, has_signature: bool = True, seed: int = 0
) -> Path:
    """Writes a .tflite of one FULLY_CONNECTED op, float32 [1, inputs] to [1, outputs], random weights.

    Its signature's names are "x" and "y", its tensors' "input" and "output". Weights take 4 * inputs *
    outputs bytes of file, and as much must-have memory again where XNNPACK packs them.
    """
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

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
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

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
    from ai_edge_litert import schema_py_generated as schema

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
    from ai_edge_litert import schema_py_generated as schema

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
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

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
    from ai_edge_litert import schema_py_generated as schema

    definition = schema.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = b"serving_default", 0
    definition.inputs, definition.outputs = [], []
    for name, index in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        (definition.inputs if index in inputs else definition.outputs).append(entry)
    return definition
