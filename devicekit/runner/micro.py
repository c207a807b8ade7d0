"""TensorFlow Lite Micro on this host: the real interpreter in a real arena, in a child process."""

import importlib.util
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from devicekit.child import ChildFailed, run_child
from devicekit.device.seam import Device
from devicekit.errors import MeasurementError, OutOfMemory
from devicekit.graph.arena import plan_arena
from devicekit.graph.read import read_graph
from devicekit.measurement import Measurement, Memory, Plan, stability, summarize
from devicekit.runner.measure import Prepared, RunnableModel
from devicekit.words import attributes

# Larger than any microcontroller's memory: what does not run in it does not run at all.
MOST_BYTES = 64 * 2**20
KIB = 1024
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class MicroArena:
    """Bytes of a model's arena in TFLM, found by bisection. `reused_bytes` hold activations in turn,
    `persistent_bytes` are the rest: tables, variables, kernels' data. `planned_bytes` is the plan of the
    reused part. `missing_ops` have no kernel in TFLM; `failed` is why the model does not run, None where it
    does: the sizes are None where it does not. `version` is the package's.
    """

    needed_bytes: int | None
    reused_bytes: int | None
    persistent_bytes: int | None
    planned_bytes: int
    failed: str | None
    missing_ops: tuple[str, ...]
    version: str
    samples_ns: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        names = ("needed_bytes", "reused_bytes", "persistent_bytes", "planned_bytes", "failed", "missing_ops")
        return {"evidence": "simulated", **attributes(self, *names), "tflite_micro": self.version}


def is_installed() -> bool:
    return importlib.util.find_spec("tflite_micro") is not None


def micro_arena(path: Path, *, most_bytes: int = MOST_BYTES, runs: int = 1) -> MicroArena:
    """Returns the arena that the .tflite at `path` needs in TFLM, of at most `most_bytes`.

    Raises MeasurementError where tflite-micro is not installed, or its process ends unexpectedly.
    """
    if not is_installed():
        raise MeasurementError(
            "tflite-micro is not installed, which runs models as a microcontroller does",
            remedy="pip install 'devicekit[micro]' (Linux on x86-64)",
        )
    planned = plan_arena(read_graph(path), "tflm").arena_bytes
    request = {"model": str(path), "arena_bytes": most_bytes, "runs": runs}
    try:
        (answer,) = run_child("devicekit.runner.micro_worker", request, timeout_s=TIMEOUT_S)
    except ChildFailed as failure:
        raise MeasurementError(
            f"TFLM: {path.name}: {failure.detail}", remedy="run it again with -v to see what it printed"
        ) from failure
    return MicroArena(
        needed_bytes=answer.get("needed_bytes"),
        reused_bytes=answer.get("head"),
        persistent_bytes=answer.get("tail"),
        planned_bytes=planned,
        failed=answer.get("failed"),
        missing_ops=tuple(answer.get("missing_ops", ())),
        version=version("tflite-micro"),
        samples_ns=tuple(answer.get("ns", ())),
    )


def c_array(content: bytes, name: str) -> tuple[str, str]:
    """Returns the source and header of an array that holds a .tflite, for firmware: model_data.cc and .h."""
    guard = f"{name.upper()}_H_"
    header = (
        f"#ifndef {guard}\n#define {guard}\n\n"
        f"extern const unsigned char {name}[];\nextern const unsigned int {name}_size;\n\n#endif\n"
    )
    rows = [", ".join(f"0x{byte:02x}" for byte in content[i : i + 16]) for i in range(0, len(content), 16)]
    body = ",\n    ".join(rows)
    source = (
        f'#include "{name}.h"\n\n'
        f"// TFLM reads weights in place: they must be aligned.\n"
        f"alignas(16) const unsigned char {name}[] = {{\n    {body}\n}};\n"
        f"const unsigned int {name}_size = {len(content)};\n"
    )
    return source, header


# TFLM's reference kernels are slow on a PC, and their time says nothing of a microcontroller's.
_RUNS = 10
_INSTEAD = (
    "replace the layer behind it, or register a kernel in the firmware; `devicekit check` names the ops"
)


class MicroRunner:
    """Runs a model in TFLM on this host, within the profile's arena: proves that it loads, runs and fits."""

    def __init__(self, how: object = None) -> None:
        pass

    def prepare(self, device: Device, model: RunnableModel) -> Prepared:
        return Prepared(model, device.describe(), ())

    def measure(self, device: Device, prepared: Prepared, plan: Plan) -> Measurement:
        """Returns the arena as must-have memory. Raises OutOfMemory, MeasurementError where TFLM refuses."""
        model = prepared.model
        arena = micro_arena(model.path, runs=min(plan.min_runs, _RUNS))
        if arena.needed_bytes is None or arena.failed:
            missing = (
                f": TFLM has no {', '.join(arena.missing_ops)}" if arena.missing_ops else f": {arena.failed}"
            )
            raise MeasurementError(
                f"{model.path.name} does not run on a microcontroller{missing}", remedy=_INSTEAD
            )
        if plan.memory_bytes is not None and arena.needed_bytes > plan.memory_bytes:
            raise OutOfMemory(
                model.path.name,
                limit_bytes=plan.memory_bytes,
                where="allocating the arena",
                needed_bytes=arena.needed_bytes,
            )
        samples_us = [ns / 1e3 for ns in arena.samples_ns]
        limit = "" if plan.memory_bytes is None else f" of {plan.memory_bytes / KIB:.4g} KiB"
        return Measurement(
            evidence="simulated",
            runner="micro",
            runtime_version=f"tflite-micro {arena.version}",
            threads=1,
            latency=summarize(samples_us, first_us=samples_us[0], init_us=0.0),
            memory=Memory(arena.needed_bytes, None, None, source="TFLM's arena, by bisection"),
            conditions={"before": None, "after": None, "verified": None},
            stability=stability(samples_us, None),
            device=prepared.facts.address,
            model=model.path.name,
            model_sha256=model.sha256,
            limits=(f"arena{limit} (TFLM)",),
            notes=("latency is that of TFLM's reference kernels on this host, no microcontroller's",),
        )
