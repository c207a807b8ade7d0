"""TensorFlow Lite Micro on this host: the real interpreter in a real arena, in a child process."""

import base64
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from devicekit.child import ChildFailed, run_child
from devicekit.device.seam import Device
from devicekit.errors import MeasurementError, OutOfMemory, WrongOutput
from devicekit.graph.arena import plan_arena
from devicekit.graph.read import read_graph
from devicekit.graph.state import LATER
from devicekit.measurement import Measurement, Memory, Plan, stability, summarize
from devicekit.runner.measure import Prepared, RunnableModel
from devicekit.runner.tensors import compare, keeps_state, read_inputs
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
    does: the sizes are None where it does not. `version` is the package's. `outputs` are the bytes of each
    output in each of the first inferences.
    """

    needed_bytes: int | None
    reused_bytes: int | None
    persistent_bytes: int | None
    planned_bytes: int
    failed: str | None
    missing_ops: tuple[str, ...]
    version: str
    samples_ns: tuple[int, ...] = ()
    outputs: tuple[tuple[bytes, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        names = ("needed_bytes", "reused_bytes", "persistent_bytes", "planned_bytes", "failed", "missing_ops")
        return {"evidence": "simulated", **attributes(self, *names), "tflite_micro": self.version}


def is_installed() -> bool:
    return importlib.util.find_spec("tflite_micro") is not None


def micro_arena(
    path: Path, *, most_bytes: int = MOST_BYTES, runs: int = 1, inputs: Sequence[bytes] = ()
) -> MicroArena:
    """Returns the arena that the .tflite at `path` needs in TFLM, of at most `most_bytes`.

    `inputs` are the bytes of each input, in the file's order; (): zeros.
    Raises MeasurementError where tflite-micro is not installed, or its process ends unexpectedly.
    """
    if not is_installed():
        raise MeasurementError(
            "tflite-micro is not installed, which runs models as a microcontroller does",
            remedy="pip install 'devicekit[micro]' (Linux on x86-64)",
        )
    planned = plan_arena(read_graph(path), "tflm").arena_bytes
    request = {
        "model": str(path),
        "arena_bytes": most_bytes,
        "runs": runs,
        "inputs": [base64.b64encode(one).decode() for one in inputs],
    }
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
        outputs=tuple(tuple(map(base64.b64decode, one)) for one in answer.get("outputs", ())),
    )


def c_array(content: bytes, name: str, *, begin_anew: str | None = None) -> tuple[str, str]:
    """Returns the source and header of an array that holds a .tflite, for firmware: model_data.cc and .h.

    `begin_anew` says how the app makes a model that keeps a state forget it, None where it keeps none.
    """
    told = f"// It keeps a state between inferences. Begin anew {begin_anew}.\n" if begin_anew else ""
    guard = f"{name.upper()}_H_"
    header = (
        f"#ifndef {guard}\n#define {guard}\n\n{told}"
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
        inputs = _in_file_order(model) if model.golden else ()
        arena = micro_arena(model.path, runs=max(LATER, min(plan.min_runs, _RUNS)), inputs=inputs)
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
        verified, told = _verified(model, arena)
        samples_us = [ns / 1e3 for ns in arena.samples_ns]
        limit = "" if plan.memory_bytes is None else f" of {plan.memory_bytes / KIB:.4g} KiB"
        return Measurement(
            evidence="simulated",
            runner="micro",
            runtime_version=f"tflite-micro {arena.version}",
            threads=1,
            latency=summarize(samples_us, first_us=samples_us[0], init_us=0.0),
            memory=Memory(arena.needed_bytes, None, None, source="TFLM's arena, by bisection"),
            conditions={"before": None, "after": None, "verified": verified},
            stability=stability(samples_us, None),
            device=prepared.facts.address,
            model=model.path.name,
            model_sha256=model.sha256,
            limits=(f"arena{limit} (TFLM)",),
            notes=("latency is that of TFLM's reference kernels on this host, no microcontroller's", *told),
        )


def _in_file_order(model: RunnableModel) -> tuple[bytes, ...]:
    """Returns the bytes of the golden sample's inputs; () where it lacks one."""
    given = read_inputs(model.path, model.golden)
    names = _in_order(model.path, "inputs")
    return tuple(given[name] for name in names) if set(names) <= set(given) else ()


def _in_order(path: Path, side: str) -> list[str]:
    """Returns the names of the signature's inputs or outputs in the order of the file's."""
    graph = read_graph(path)
    named = graph.input_tensors if side == "inputs" else graph.output_tensors
    by_tensor = {tensor.index: name for name, tensor in named.items()}
    return [by_tensor.get(index, "") for index in getattr(graph.main, side)]


def _verified(model: RunnableModel, arena: MicroArena) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Returns how far TFLM's outputs are from the golden ones, None without those, and notes.

    TFLM's kernels round otherwise than LiteRT's: that is told. What the file remembers between two inferences
    on the same input is not a matter of rounding. Raises WrongOutput where the golden sample does not.
    """
    if model.golden is None or len(arena.outputs) < LATER:
        return None, ()
    names = _in_order(model.path, "outputs")
    first, later = (
        {(name, name): data for name, data in zip(names, one, strict=True)}
        for one in (arena.outputs[0], arena.outputs[-1])
    )
    if first != later and not keeps_state(model.golden):
        changed = ", ".join(name for (name, _), data in first.items() if later[name, name] != data)
        raise WrongOutput(
            model.path.name,
            where="TFLM",
            difference=f"an output that changes by inference {LATER} on the same input ({changed})",
        )
    try:
        return compare(model.path, model.golden, outputs=first, later=later, where="TFLM"), ()
    except WrongOutput as error:
        return None, (f"TFLM and LiteRT round differently: {error.message}",)
