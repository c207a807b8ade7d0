"""The script runner: board_script.py on a device, its document read into a Measurement."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from devicekit.device.seam import Completed, Device, DeviceFacts
from devicekit.device.temporary import folder_prefix
from devicekit.digest import sha256_file
from devicekit.errors import MeasurementError, OutOfMemory, TimedOut, UnreadableOutput
from devicekit.measurement import Measurement, Memory, Plan, stability, summarize
from devicekit.plugins import resolve
from devicekit.runner import limits
from devicekit.runner.tensors import compare, read_inputs

FOLDER = Path(__file__).parent
BOARD_SCRIPT = "board_script.py"
INTERPRETER_SCRIPT = "interpreter_script.py"
WARMUP_MODEL = "warmup.tflite"
HASH_TIMEOUT_S = 60.0
# What tells "needs more than the limit" from any other failure: does it run once without the limit?
PROBE: dict[str, Any] = {"memory_bytes": None, "warmup_runs": 0, "warmup_s": 0.0, "min_runs": 1, "min_s": 0.0}
BEFORE_MODEL = ("start", "library", "base")
PHASES = {
    "start": "starting",
    "library": "loading the runtime",
    "base": "warming up the runtime",
    "init": "loading the model",
    "inputs": "feeding its inputs",
    "first": "the first inference",
    "warmup": "the warm-up",
    "measure": "the repeats",
    "outputs": "reading its outputs",
}

RUNNERS = {
    "script": "devicekit.runner.script:ScriptRunner",
}


@dataclass(frozen=True)
class RunnableModel:
    """A .tflite to run. `golden` is an npz of one sample, "in/NAME" and "out/NAME", None: random inputs."""

    path: Path
    sha256: str
    golden: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """A model that lies on a device with all that measuring it takes. `inputs` are in in0.bin, in1.bin, …"""

    model: RunnableModel
    facts: DeviceFacts
    inputs: tuple[str, ...]


class Runner(Protocol):
    def prepare(self, device: Device, model: RunnableModel) -> Prepared: ...

    def measure(self, device: Device, prepared: Prepared, plan: Plan) -> Measurement: ...


def measure_model(device: Device, model: RunnableModel, plan: Plan) -> Measurement:
    """Returns the measurement of `model` on `device`; with golden outputs, only of a model that keeps them.

    Raises DeviceError, OutOfMemory, TimedOut, UnreadableOutput, WrongOutput, or MeasurementError where the
    runtime refuses the model.
    """
    runner: Runner = resolve(RUNNERS["script"])()
    return runner.measure(device, runner.prepare(device, model), plan)


class ScriptRunner:
    """Measures on whatever has Python >= 3.6 and LiteRT's shared library."""

    def prepare(self, device: Device, model: RunnableModel) -> Prepared:
        """Pushes what the device lacks, compared by SHA-256. Raises DeviceError, MeasurementError."""
        facts = device.describe()
        if not (facts.python and facts.runtime_library):
            lacks = "LiteRT's shared library" if facts.python else "Python"
            raise MeasurementError(
                f"{facts.address} has no {lacks}", remedy=f"install {_package(lacks)} there, run it again"
            )
        inputs = read_inputs(model.path, model.golden)
        with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder:
            files = {name: FOLDER / name for name in (WARMUP_MODEL, *_fallback(facts))}
            for index, data in enumerate(inputs.values()):
                name = f"in{index}.bin"
                files[name] = Path(folder) / name
                files[name].write_bytes(data)
            hashes = {name: sha256_file(file) for name, file in files.items()}
            files["model.tflite"], hashes["model.tflite"] = model.path, model.sha256
            device.push(FOLDER / BOARD_SCRIPT, BOARD_SCRIPT)
            there = _hashes_there(device, facts, tuple(files))
            for name, file in files.items():
                if there.get(name) != hashes[name]:
                    device.push(file, name)
        return Prepared(model, facts, tuple(inputs))

    def measure(self, device: Device, prepared: Prepared, plan: Plan) -> Measurement:
        """Runs the board script; where the library refuses the model, the Python Interpreter on the host."""
        if prepared.facts.kind != "host":
            plan = replace(plan, cpus=None)  # they are this machine's
        refusals: list[str] = []
        for script in (BOARD_SCRIPT, *_fallback(prepared.facts)):
            document = _run(device, prepared, plan, script=script)
            if "error" not in document:
                notes = plan.notes + tuple(f"run by the Python Interpreter, for {r}" for r in refusals)
                if not prepared.inputs:
                    notes += ("its inputs were zeros and empty strings",)
                verified = _verify(device, prepared, document)
                return _measurement(prepared, plan, document, verified=verified, notes=notes)
            if plan.memory_bytes is not None and document["phase"] not in BEFORE_MODEL:
                _raise_if_only_limited(device, prepared, plan, document=document, script=script)
            refusals.append(_in_words(document))
            if document["phase"] in BEFORE_MODEL:
                break
        name = prepared.model.path.name
        raise MeasurementError(
            f"{name} does not run on {prepared.facts.address}: {refusals[0]}",
            remedy=f"look at its ops with `devicekit inspect {name}`, or try another recipe",
        )


def _run(device: Device, prepared: Prepared, plan: Plan, *, script: str) -> dict[str, Any]:
    """Returns the script's document; what crashed has "error", "phase" and "detail" as a refusal has.

    Raises TimedOut, UnreadableOutput, and MeasurementError where the process was killed: RLIMIT_DATA makes
    allocations fail and kills nobody, so that SIGKILL is not the budget's doing.
    """
    facts, name = prepared.facts, prepared.model.path.name
    done = device.run(_command(prepared, plan, script=script), timeout_s=plan.timeout_s)
    phase = _phase(done.stderr)
    if done.timed_out:
        raise TimedOut(name, what=PHASES[phase], timeout_s=plan.timeout_s)
    if done.signal_name == "SIGKILL":
        raise MeasurementError(
            f"{name} was killed by the system (SIGKILL) during {PHASES[phase]}: most likely {facts.address} "
            "ran out of memory",
            remedy="free memory there and run it again, or try a smaller recipe",
        )
    if done.signal_name:
        return {"error": f"the runtime crashed ({done.signal_name})", "phase": phase, "status": None}
    document = _read(done, facts, script)
    if "error" in document:
        document["detail"] = _last_error(done.stderr)
    return document


def _command(prepared: Prepared, plan: Plan, *, script: str) -> list[str]:
    facts = prepared.facts
    assert facts.python and facts.runtime_library
    # -I -S: neither the user's environment nor site-packages may add to the base.
    flags = ["-I", "-B"] if script == INTERPRETER_SCRIPT else ["-I", "-S", "-B"]
    request = {
        "lib": facts.runtime_library,
        "model": "model.tflite",
        "warmup": WARMUP_MODEL,
        "threads": plan.threads,
        "kernel": plan.kernel,
        "cpus": ",".join(str(cpu) for cpu in plan.cpus or ()),
        "memory": plan.memory_bytes or 0,
        "warmup_runs": plan.warmup_runs,
        "warmup_s": plan.warmup_s,
        "runs": plan.min_runs,
        "min_s": plan.min_s,
        "max_s": plan.max_s,
        "max_runs": plan.max_runs,
    }
    pairs = [f"{key}={value}" for key, value in request.items()]
    return [facts.python, *flags, script, *pairs, *(f"in={name}" for name in prepared.inputs)]


def _read(done: Completed, facts: DeviceFacts, script: str) -> dict[str, Any]:
    what = f"{script} on {facts.address}"
    remedy = "run it again; if it stays, Python or the runtime there is broken"
    try:
        document = json.loads(done.stdout)
    except ValueError as error:
        lines = (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()
        found = f"printed {lines[-1][:200]!r} instead of its document (exit code {done.exit_code})"
        raise UnreadableOutput(what, found=found, remedy=remedy) from error
    needed = {"error", "phase"} if "error" in document else {"ns", "outputs", "mem_base", "mem_end"}
    missing = needed - set(document)
    if missing or not document.get("ns", [1]):
        words = ", ".join(sorted(missing)) or "a sample"
        raise UnreadableOutput(what, found=f"its document lacks {words}", remedy=remedy)
    if document.get("phase", "start") not in PHASES:
        raise UnreadableOutput(what, found=f"unknown phase {document['phase']!r}", remedy=remedy)
    return dict(document)


def _raise_if_only_limited(
    device: Device, prepared: Prepared, plan: Plan, *, document: Mapping[str, Any], script: str
) -> None:
    """Raises OutOfMemory where the same run without the limit succeeds."""
    probe = _run(device, prepared, replace(plan, **PROBE), script=script)
    if "error" in probe:
        return
    assert plan.memory_bytes is not None
    raise OutOfMemory(
        prepared.model.path.name,
        limit_bytes=plan.memory_bytes,
        where=PHASES[document["phase"]],
        needed_bytes=_memory(probe).must_have_bytes,
    )


def _verify(device: Device, prepared: Prepared, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns how far the outputs are from the golden ones, None without those. Raises WrongOutput."""
    model = prepared.model
    if model.golden is None:
        return None
    with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder:
        outputs = {}
        for index, port in enumerate(document["outputs"]):
            file = Path(folder) / f"out{index}.bin"
            device.pull(file.name, file)
            outputs[(str(port["name"]), str(port["tensor"]))] = file.read_bytes()
    return compare(model.path, model.golden, outputs=outputs, where=prepared.facts.address)


def _measurement(
    prepared: Prepared,
    plan: Plan,
    document: Mapping[str, Any],
    *,
    verified: dict[str, Any] | None,
    notes: tuple[str, ...],
) -> Measurement:
    facts = prepared.facts
    samples_us = [ns / 1e3 for ns in document["ns"]]
    conditions = {"before": document.get("before"), "after": document.get("after"), "verified": verified}
    return Measurement(
        evidence=facts.evidence,
        runner="interpreter" if document["api"] == "interpreter" else "script",
        runtime_version=document.get("version") or facts.runtime_version,
        threads=plan.threads,
        latency=summarize(samples_us, first_us=document["first_ns"] / 1e3, init_us=document["init_ns"] / 1e3),
        memory=_memory(document),
        conditions=conditions,
        stability=stability(samples_us),
        device=facts.address,
        model=prepared.model.path.name,
        model_sha256=prepared.model.sha256,
        limits=limits.in_words(plan, document),
        notes=notes,
    )


def _memory(document: Mapping[str, Any]) -> Memory:
    """Growth over the base, from readings in kB: anonymous pages at their peak, and the peak RSS."""
    base, end = document["mem_base"], document["mem_end"]
    peak = max(end["VmHWM"] - base.get("VmRSS", base["VmHWM"]), 0) * 1024 if "VmHWM" in end else None
    base_kb = base.get("VmRSS")
    readings = [document.get(key, {}) for key in ("mem_init", "mem_first", "mem_end")]
    later = [reading for reading in readings if "RssAnon" in reading and "RssAnon" in base]
    must_have = max(_anonymous_kb(base, reading) for reading in later) * 1024 if later else None
    return Memory(
        must_have_bytes=must_have,
        peak_rss_bytes=peak,
        base_bytes=None if base_kb is None else base_kb * 1024,
        source="/proc/self/status: RssAnon or VmHWM - RssFile, peak VmHWM"
        if later
        else "getrusage: ru_maxrss",
    )


def _anonymous_kb(base: Mapping[str, int], reading: Mapping[str, int]) -> int:
    """Returns the most anonymous memory, over the base's, that is known to have been there until `reading`.

    That of now, or what VmHWM leaves for it: while a model loads, both its widened and its packed weights
    may be there (float16), and be gone when anyone looks. At the peak no more file pages were mapped than
    now, unless the system has dropped some. Measured on 25 models, 11/2026: 0 to 0.7 MiB below the budget
    from which RLIMIT_DATA lets them run, once 1.1 MiB for pages that were never touched. A VmHWM that has
    not moved since the base is older than the model.
    """
    grown = max(reading["RssAnon"] - base["RssAnon"], 0)
    if not {"VmHWM", "VmRSS", "RssFile"} <= set(base) or reading["VmHWM"] <= base["VmHWM"]:
        return grown
    peak = reading["VmHWM"] - base["VmRSS"]
    return max(grown, peak - max(reading["RssFile"] - base["RssFile"], 0))


def _hashes_there(device: Device, facts: DeviceFacts, names: Sequence[str]) -> Mapping[str, str | None]:
    assert facts.python
    argv = [facts.python, "-I", "-S", "-B", BOARD_SCRIPT, "sha256", *names]
    done = device.run(argv, timeout_s=HASH_TIMEOUT_S)
    try:
        return dict(json.loads(done.stdout)["sha256"])
    except (ValueError, KeyError, TypeError):
        return {}  # nothing is known, so everything is pushed; a broken Python shows in the measurement


def _fallback(facts: DeviceFacts) -> tuple[str, ...]:
    """Returns what to try where the library refuses: only this host is known to have the Interpreter."""
    return (INTERPRETER_SCRIPT,) if facts.kind == "host" else ()


def _phase(stderr: str) -> str:
    phases = [line[6:].strip() for line in stderr.splitlines() if line.startswith("phase ")]
    return next((phase for phase in reversed(phases) if phase in PHASES), "start")


def _last_error(stderr: str) -> str:
    """Returns the library's last error line, without its severity and source position."""
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR: ")]
    if not errors:
        return ""
    text = errors[-1].removeprefix("ERROR: ")
    return text.partition("] ")[2] if text.startswith("[") else text


def _in_words(document: Mapping[str, Any]) -> str:
    detail = f": {document['detail']}" if document.get("detail") else ""
    status = f", status {document['status']}" if document.get("status") is not None else ""
    return f"{document['error']} (during {PHASES[document['phase']]}{status}){detail}"


def _package(what: str) -> str:
    return "Python 3.6 or later" if what == "Python" else "ai-edge-litert"
