"""The child process that runs TensorFlow Lite Micro: arena by bisection, ops that it lacks, latency here.

Requests: {"model": path, "arena_bytes": most, "runs": n, "inputs": [base64 of each input's bytes, in the
file's order] or none for zeros}. Every attempt is a fork of its own, for the
interpreter ends the process where it meets something that it does not expect.
"""

import base64
import json
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_micro.python.tflite_micro import runtime

from devicekit.graph.inline import with_inline_buffers
from devicekit.graph.state import LATER

_ALLOCATION = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_MISSING_OP = re.compile(r"Didn't find op for builtin opcode '(\w+)'")
_ALIGNMENT = 16
_TIMEOUT_S = 60


def handle(request: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields {"needed_bytes", "total", "head", "tail", "ns", "outputs"} of a model that runs within the bytes
    given; "outputs" are those of each of its first LATER inferences, as "inputs" are.

    Else {"failed": words}, with the sizes where it loads, with "missing_ops" where it does not.
    """
    content = with_inline_buffers(Path(request["model"]).read_bytes())
    most = request["arena_bytes"]
    runs = request["runs"]
    first = _attempt(content, most, runs=runs, inputs=request.get("inputs") or ())
    if "failed" not in first:
        yield {**first, "needed_bytes": _least(content, first["total"], most, runs=min(runs, 1))}
        return
    loaded = _attempt(content, most, runs=0)
    if "failed" in loaded:
        yield {**loaded, "missing_ops": _missing_ops(content)}
        return
    needed = _least(content, loaded["total"], most, runs=0)
    yield {**loaded, "needed_bytes": needed, "failed": f"{first['failed']} in its first inference"}


def _least(content: bytes, total: int, most: int, *, runs: int) -> int:
    """Returns the smallest arena, a multiple of 16, in which the model loads and runs `runs` times."""
    low, high = 0, most
    guess = total + 1024  # what recording counts, and a little
    while high - low > _ALIGNMENT:
        middle = guess if low < guess < high else (low + high) // 2
        middle = -(-middle // _ALIGNMENT) * _ALIGNMENT
        if not low < middle < high:
            break
        guess = -1
        if "failed" in _attempt(content, middle, runs=runs):
            low = middle
        else:
            high = middle
    return high


def _missing_ops(content: bytes) -> list[str]:
    """Returns the built-in operators of the model that TFLM has no kernel for."""
    codes = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).operatorCodes or []
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}
    missing = []
    for code in dict.fromkeys(max(c.builtinCode, c.deprecatedBuiltinCode) for c in codes):
        log = _attempt(_alone(code), 1 << 16, runs=0).get("log", "")
        if _MISSING_OP.search(log):
            missing.append(names.get(code, str(code)))
    return missing


def _alone(code: int) -> bytes:
    """Returns a .tflite of one operator on one tensor, to see whether there is a kernel for it."""
    model, graph, tensor = schema.ModelT(), schema.SubGraphT(), schema.TensorT()
    op, entry = schema.OperatorT(), schema.OperatorCodeT()
    tensor.shape, tensor.type, tensor.buffer, tensor.name = [1, 4], schema.TensorType.FLOAT32, 0, "x"
    entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
    op.opcodeIndex, op.inputs, op.outputs = 0, [0], [1]
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [tensor, tensor], [op], [0], [1]
    model.version, model.buffers, model.operatorCodes, model.subgraphs = (
        3,
        [schema.BufferT()],
        [entry],
        [graph],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _attempt(content: bytes, arena_bytes: int, *, runs: int, inputs: Sequence[str] = ()) -> dict[str, Any]:
    """Returns total, head, tail bytes and "ns" of `runs` inferences; else "failed" and "log"."""
    with tempfile.TemporaryFile("w+b") as log, tempfile.TemporaryFile("w+") as answer:
        child = os.fork()
        if child == 0:
            signal.alarm(_TIMEOUT_S)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            code = 1
            try:
                json.dump(_run(content, arena_bytes, runs, inputs), answer)
                answer.flush()
                code = 0
            except Exception as error:
                os.write(2, f"\n{error}".encode())
            os._exit(code)
        _, status = os.waitpid(child, 0)
        log.seek(0)
        text = log.read().decode("utf-8", "replace")
        if status == 0:
            answer.seek(0)
            found: dict[str, Any] = json.load(answer)
            return {**found, **{name: int(size) for name, size in _ALLOCATION.findall(text)}}
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return {"failed": f"TFLM crashed ({name})", "log": text}
    return {"failed": _first_line(text), "log": text}


def _first_line(text: str) -> str:
    """Returns what TFLM complained of first."""
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in lines if line and not line.startswith("[Recording")), "TFLM failed")[:200]


def _run(content: bytes, arena_bytes: int, runs: int, inputs: Sequence[str]) -> dict[str, Any]:
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
    interpreter.print_allocations()
    samples: list[int] = []
    outputs: list[list[str]] = []
    feeds = [
        _feed(interpreter.get_input_details(i), inputs[i : i + 1]) for i in range(_count(content, "Inputs"))
    ]
    for _ in range(runs):
        for index, feed in enumerate(feeds):  # each time: the arena reuses the inputs' memory
            interpreter.set_input(feed, index)
        start = time.perf_counter_ns()
        interpreter.invoke()
        samples.append(time.perf_counter_ns() - start)
        if len(outputs) < LATER:
            given = (interpreter.get_output(index) for index in range(_count(content, "Outputs")))
            outputs.append([base64.b64encode(one.tobytes()).decode() for one in given])
    return {"ns": samples, "outputs": outputs}


def _feed(detail: Mapping[str, Any], given: Sequence[str]) -> Any:
    """Returns an input's array: of the bytes given, zeros where there are none."""
    if not given:
        return np.zeros(detail["shape"], dtype=detail["dtype"])
    return np.frombuffer(base64.b64decode(given[0]), detail["dtype"]).reshape(detail["shape"])


def _count(content: bytes, side: str) -> int:
    subgraph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    count: int = getattr(subgraph, f"{side}Length")()
    return count
