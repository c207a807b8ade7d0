"""FakeDevice: a device made of a function, for tests and for trying a fleet without hardware."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args
from urllib.parse import parse_qsl

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
            ports = self._compute(
                self.files[request["model"]],
                names,
                prefix=request.get("prefix", ""),
                later=int(request["later"]),
            )
        except (ValueError, RuntimeError) as error:
            failed = {"error": str(error), "phase": "init", "status": None}
            return Completed(4, json.dumps(failed), "phase init\n")
        return Completed(0, json.dumps(self._document(request, ports)), "phase outputs\n")

    def _compute(
        self, model: bytes, names: Sequence[str], *, prefix: str, later: int
    ) -> list[dict[str, Any]]:
        """Runs the model here; leaves its outputs in PREFIXout0.bin, …, of a later inference in
        PREFIXlater0.bin, …, and returns their descriptions.
        """
        import numpy as np  # a fake that is only listed needs neither
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
        ports: list[dict[str, Any]] = []
        for side, runs in (("out", 1), ("later", later - 1)):
            for _ in range(runs):
                interpreter.invoke()
            ports = []
            for number, (name, detail) in enumerate(outputs.items()):
                value = interpreter.get_tensor(detail["index"])
                if self._fault == "wrong output":
                    value = _different(value)
                self.files[f"{prefix}{side}{number}.bin"] = value.tobytes()
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
