"""Measuring one model on one device: by which runner, and only while the device is fit for it."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from devicekit.device import health
from devicekit.device.files import File, file_of, push_once
from devicekit.device.seam import Device, DeviceFacts
from devicekit.device.temporary import folder_prefix
from devicekit.errors import UsageError
from devicekit.measurement import Measurement, Plan, stability
from devicekit.plugins import resolve
from devicekit.runner.measuring import Measuring

# What measures -> the class, made of a Measuring.
RUNNERS = {
    "script": "devicekit.runner.script:ScriptRunner",
    "micro": "devicekit.runner.micro:MicroRunner",
    "benchmark_model": "devicekit.runner.benchmark_model.runner:BenchmarkModelRunner",
}


@dataclass(frozen=True)
class RunnableModel:
    """A .tflite to run. `golden` is an npz of one sample, "in/NAME" and "out/NAME", None: random inputs."""

    path: Path
    sha256: str
    golden: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """A model that lies on a device with all that measuring it takes.

    `prefix` begins the names of its files there; `inputs` are in PREFIXin0.bin, PREFIXin1.bin, …
    """

    model: RunnableModel
    facts: DeviceFacts
    inputs: tuple[str, ...]
    prefix: str = ""


class Runner(Protocol):
    def prepare(self, device: Device, model: RunnableModel) -> Prepared: ...

    def measure(self, device: Device, prepared: Prepared, plan: Plan) -> Measurement: ...


def push_model(
    device: Device,
    facts: DeviceFacts,
    model: RunnableModel,
    inputs: Mapping[str, bytes],
    others: Mapping[str, File],
) -> Prepared:
    """Pushes what the device lacks of a model, its inputs and `others`, and returns the model prepared.

    Its files have names of its own, so that models that take turns stay side by side.
    """
    prefix = f"{model.sha256[:12]}."
    files = {**others, f"{prefix}model.tflite": file_of(model.path, model.sha256)}
    with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder:
        for index, data in enumerate(inputs.values()):
            path = Path(folder) / f"in{index}.bin"
            path.write_bytes(data)
            files[f"{prefix}{path.name}"] = file_of(path)
        push_once(device, files, address=facts.address, free_bytes=facts.free_bytes)
    return Prepared(model, facts, tuple(inputs), prefix)


def runner_for(facts: DeviceFacts, how: Measuring) -> Runner:
    """Returns the runner that is asked for, else the one that suits the device. Raises UsageError."""
    asks_for_tool = how.benchmark_model is not None or how.require_delegate
    name = how.runner or ("script" if facts.python and not asks_for_tool else "benchmark_model")
    if name not in RUNNERS:
        raise UsageError(f'no runner "{name}"', remedy=f"choose from: {', '.join(RUNNERS)}")
    if name == "script" and how.require_delegate:
        raise UsageError(
            "the script runner cannot tell what the delegate took",
            remedy="leave out --runner: --require-delegate takes benchmark_model",
        )
    runner: Runner = resolve(RUNNERS[name])(how)
    return runner


def measure_model(device: Device, model: RunnableModel, plan: Plan) -> Measurement:
    """Returns the measurement of `model` on `device`; with golden outputs, only of a model that keeps them.

    Raises DeviceError, OutOfMemory, TimedOut, UnreadableOutput, WrongOutput, or MeasurementError where the
    runtime refuses the model.
    """
    runner = runner_for(device.describe(), Measuring())
    return measure_prepared(device, runner, runner.prepare(device, model), plan)


def measure_prepared(device: Device, runner: Runner, prepared: Prepared, plan: Plan) -> Measurement:
    """Returns one measurement of what is prepared, once the device is fit for it. Raises as `measure_model`.

    This host is as it is: it stands in for a device, and is none.
    """
    if prepared.facts.kind == "host":
        return runner.measure(device, prepared, plan)
    before = health.ready(device, prepared.facts.address, plan.gate)
    measurement = runner.measure(device, prepared, plan)
    after = health.condition(device)
    conditions = {
        **measurement.conditions,
        "before": _together(measurement.conditions.get("before"), before),
        "after": _together(measurement.conditions.get("after"), after),
    }
    verdict = measurement.stability
    if measurement.latency.samples_us or after.throttled:
        verdict = stability(measurement.latency.samples_us, conditions)
    return replace(measurement, conditions=conditions, stability=verdict)


def _together(seen: Mapping[str, Any] | None, asked: health.Condition) -> dict[str, Any]:
    """Returns what the runner saw on the device, and what the device said when it was asked."""
    return {**asked.to_json(), **(seen or {})}
