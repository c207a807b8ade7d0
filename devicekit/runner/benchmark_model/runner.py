"""Measures by the vendor's benchmark_model: on Android, and on boards without Python."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from devicekit.device.files import file_of
from devicekit.device.seam import Completed, Device
from devicekit.device.temporary import folder_prefix
from devicekit.errors import MeasurementError, TimedOut, UnreadableOutput
from devicekit.graph.read import read_graph
from devicekit.measurement import Latency, Measurement, Memory, Plan, stability_of
from devicekit.runner.benchmark_model import classic, litert
from devicekit.runner.benchmark_model.printed import Printed, messages
from devicekit.runner.benchmark_model.tool import Tool, tool_for
from devicekit.runner.measure import Prepared, RunnableModel, push_model
from devicekit.runner.measuring import NO_WISHES, Measuring
from devicekit.runner.tensors import compare, keeps_state, read_inputs

NAME = "benchmark_model"
_UNKNOWN_FLAGS = re.compile(r"^Unconsumed cmdline flags: (.*)$")
NO_SEQUENCE = "not verified on device: it keeps a state, and benchmark_model gives its last outputs alone"
NO_OUTPUTS = "not verified on device: this benchmark_model returns no outputs"


class BenchmarkModelRunner:
    """Pushes the tool and runs it; keeps to what the tool prints, as it gives no samples."""

    def __init__(self, how: Measuring = NO_WISHES) -> None:
        self._path = how.benchmark_model
        self._require_delegate = how.require_delegate
        self._tool: Tool | None = None

    def prepare(self, device: Device, model: RunnableModel) -> Prepared:
        """Pushes what the device lacks, by SHA-256. Raises DeviceError, UsageError, MeasurementError."""
        facts = device.describe()
        tool = self._tool = self._tool or tool_for(facts, path=self._path)
        inputs = read_inputs(model.path, model.golden) if tool.kind == "classic" else {}
        with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder:
            program = Path(folder) / NAME  # executable, whatever the user's file is
            program.write_bytes(tool.path.read_bytes())
            program.chmod(0o755)
            return push_model(device, facts, model, inputs, {NAME: file_of(program, tool.sha256)})

    def measure(self, device: Device, prepared: Prepared, plan: Plan) -> Measurement:
        """Runs the tool once. Raises TimedOut, UnreadableOutput, WrongOutput and MeasurementError."""
        assert self._tool is not None
        tool, name = self._tool, prepared.model.path.name
        outputs = f"{prepared.prefix}{classic.OUTPUTS}"
        if tool.kind == "classic":
            device.run(["rm", "-f", outputs], timeout_s=30)
            argv = classic.arguments(
                plan, model=f"{prepared.prefix}model.tflite", inputs=_feeds(prepared), outputs=outputs
            )
        else:
            argv = litert.arguments(
                plan, model=f"{prepared.prefix}model.tflite", require_delegate=self._require_delegate
            )
        done = device.run([f"./{NAME}", *argv], timeout_s=plan.timeout_s)
        if done.timed_out:
            raise TimedOut(name, what="the run of benchmark_model", timeout_s=plan.timeout_s)
        printed = _read(tool, done, prepared)
        if self._require_delegate and printed.delegated in ("some", "none"):
            raise MeasurementError(
                f"{name} on {prepared.facts.address}: the delegate took {printed.delegated} of the graph",
                remedy="leave out --require-delegate, or look at its ops with `devicekit inspect`",
            )
        verified = _verify(device, prepared, outputs) if tool.kind == "classic" else None
        return _measurement(prepared, plan, tool, printed, verified)


def _feeds(prepared: Prepared) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns the inputs by tensor name: their shape, and the file with their bytes."""
    graph = read_graph(prepared.model.path)
    feeds = {}
    for index, name in enumerate(prepared.inputs):
        tensor = graph.input_tensors[name]
        feeds[tensor.name] = (tuple(tensor.shape), f"{prepared.prefix}in{index}.bin")
    return feeds


def _read(tool: Tool, done: Completed, prepared: Prepared) -> Printed:
    """Returns what the tool printed. Raises MeasurementError for a run that failed, UnreadableOutput else."""
    name, address = prepared.model.path.name, prepared.facts.address
    text = f"{done.stdout}\n{done.stderr}"  # which of the two it takes differs by generation
    lines = messages(text)
    for line in lines:
        if unknown := _UNKNOWN_FLAGS.match(line):
            raise UnreadableOutput(
                f"{tool.words} on {address}",
                found=f"it does not know {unknown[1].strip()[:200]}, and measured something else",
                remedy="give a benchmark_model of a release that does: --benchmark-model FILE",
            )
    if done.signal_name == "SIGKILL":
        raise MeasurementError(
            f"{name} was killed by the system (SIGKILL): most likely {address} ran out of memory",
            remedy="free memory there and run it again, or try a smaller recipe",
        )
    reader = classic.read if tool.kind == "classic" else litert.read
    printed = reader(text)
    if done.exit_code:
        errors = [line for line in text.splitlines() if "ERROR" in line or "failed" in line.lower()]
        last = next((line.strip() for line in reversed(errors or lines) if line.strip()), "nothing")
        how = done.signal_name or f"exit code {done.exit_code}"
        raise MeasurementError(
            f"{name} does not run on {address}: {last[:200]} ({how})",
            remedy=f"look at its ops with `devicekit inspect {name}`, or try another recipe",
        )
    if printed is None:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        raise UnreadableOutput(
            f"{tool.words} on {address}",
            found=f"printed {last[:200]!r} at its end, and no results",
            remedy="run it again; if it stays, the tool does not suit the device",
        )
    return printed


def _verify(device: Device, prepared: Prepared, outputs: str) -> dict[str, Any] | None:
    """Returns how far the outputs are from the golden ones; None without either.

    The tool writes those of its last inference: of a model that keeps a state nothing here knows them.
    """
    model = prepared.model
    if (
        model.golden is None
        or keeps_state(model.golden)
        or device.run(["test", "-s", outputs], timeout_s=30).exit_code
    ):
        return None
    with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder:
        file = Path(folder) / "outputs.bin"
        device.pull(outputs, file)
        parts = _split(model.path, file.read_bytes())
    return compare(model.path, model.golden, outputs=parts, where=prepared.facts.address)


def _split(model: Path, data: bytes) -> dict[tuple[str, str], bytes]:
    """Returns the bytes of each output, which the tool writes one after another in the graph's order."""
    parts, start = {}, 0
    for name, tensor in read_graph(model).output_tensors.items():
        size = int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
        parts[(name, tensor.name)] = data[start : start + size]
        start += size
    return parts


def _measurement(
    prepared: Prepared, plan: Plan, tool: Tool, printed: Printed, verified: Mapping[str, Any] | None
) -> Measurement:
    facts = prepared.facts
    latency = Latency(
        samples_us=(),
        first_us=printed.first_us,
        init_us=printed.init_us,
        median_us=printed.median_us,
        p95_us=printed.p95_us,
        mean_us=printed.mean_us,
        stdev_us=printed.stdev_us,
        count=printed.count,
    )
    golden = prepared.model.golden
    why = NO_SEQUENCE if tool.kind == "classic" and golden and keeps_state(golden) else NO_OUTPUTS
    notes = plan.notes if verified is not None else (*plan.notes, why)
    return Measurement(
        evidence=facts.evidence,
        runner=NAME,
        runtime_version=tool.words,
        threads=plan.threads,
        latency=latency,
        memory=Memory(
            must_have_bytes=None,
            peak_rss_bytes=printed.peak_bytes or printed.overall_bytes,
            base_bytes=None,
            source="benchmark_model: its peak, or getrusage's growth since it started",
        ),
        conditions={"before": None, "after": None, "verified": verified},
        stability=stability_of(latency),
        device=facts.address,
        model=prepared.model.path.name,
        model_sha256=prepared.model.sha256,
        limits=(f"{plan.threads} thread{'s' if plan.threads > 1 else ''}", "memory and CPUs not enforced"),
        notes=notes,
    )
