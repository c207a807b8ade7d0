"""The script runner: board_script.py on a device, its document read into a Measurement."""

import json
import math
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from devicekit.device.files import File, file_of
from devicekit.device.seam import Completed, Device, DeviceFacts
from devicekit.device.temporary import folder_prefix
from devicekit.errors import MeasurementError, OutOfMemory, TimedOut, UnreadableOutput
from devicekit.graph.state import LATER
from devicekit.measurement import (
    Measurement,
    Memory,
    Plan,
    TracePoint,
    hottest_c,
    stability,
    summarize,
)
from devicekit.runner import killed, limits
from devicekit.runner.measure import Prepared, RunnableModel, push_model
from devicekit.runner.measuring import NO_WISHES, TRACE_POINTS, Measuring
from devicekit.runner.tensors import compare, read_inputs
from devicekit.runner.wheels import PACKAGE, runtime_for

FOLDER = Path(__file__).parent
BOARD_SCRIPT = "board_script.py"
INTERPRETER_SCRIPT = "interpreter_script.py"
WARMUP_MODEL = "warmup.tflite"
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


class ScriptRunner:
    """Measures on whatever has Python >= 3.6; brings the runtime where there is none."""

    def __init__(self, how: Measuring = NO_WISHES) -> None:
        self._wheels_dir = how.wheels

    def prepare(self, device: Device, model: RunnableModel) -> Prepared:
        """Pushes what the device lacks, compared by SHA-256. Raises DeviceError, MeasurementError."""
        facts = device.describe()
        if not facts.python:
            raise MeasurementError(
                f"{facts.address} has no Python", remedy="install Python 3.6 or later there, run it again"
            )
        inputs = read_inputs(model.path, model.golden)
        others: Mapping[str, File] = {}
        if not facts.runtime_library:
            runtime = runtime_for(facts, wheels_dir=self._wheels_dir)
            others = runtime.files
            facts = replace(facts, runtime_library=f"./{runtime.library}", runtime_version=runtime.version)
        ours = dict.fromkeys((BOARD_SCRIPT, WARMUP_MODEL, *_scripts(facts)))
        files = {**{name: file_of(FOLDER / name) for name in ours}, **others}
        return push_model(device, facts, model, inputs, files)

    def measure(self, device: Device, prepared: Prepared, plan: Plan) -> Measurement:
        """Runs the board script; where the library refuses the model, the Python Interpreter on the host."""
        refusals: list[str] = []
        for script in _scripts(prepared.facts):
            document = run_script(device, prepared, plan, script=script)
            if "error" not in document:
                notes = plan.notes + tuple(f"run by the Python Interpreter, for {r}" for r in refusals)
                if not prepared.inputs:
                    notes += ("its inputs were zeros and empty strings",)
                verified = _verify(device, prepared, document)
                if verified is None and prepared.facts.kind != "host":
                    notes += ("not verified on device: there are no outputs to compare with",)
                return _measurement(prepared, plan, document, verified=verified, notes=notes)
            if plan.memory_bytes is not None and document["phase"] not in BEFORE_MODEL:
                _raise_if_only_limited(device, prepared, plan, document=document, script=script)
            if document["phase"] not in BEFORE_MODEL:
                killed.raise_if_short(prepared, document["available_bytes"], during=PHASES[document["phase"]])
            refusals.append(_in_words(document))
            if document["phase"] in BEFORE_MODEL:
                break
        name = prepared.model.path.name
        raise MeasurementError(
            f"{name} does not run on {prepared.facts.address}: {refusals[0]}",
            remedy=f"look at its ops with `devicekit inspect {name}`, or try another recipe",
        )


def run_script(device: Device, prepared: Prepared, plan: Plan, *, script: str) -> dict[str, Any]:
    """Returns the script's document; what crashed has "error", "phase" and "detail" as a refusal has.

    Raises TimedOut, UnreadableOutput, and OutOfMemory or MeasurementError where the process was killed:
    RLIMIT_DATA makes allocations fail and kills nobody, so that SIGKILL is not the budget's doing.
    """
    facts, name = prepared.facts, prepared.model.path.name
    done = device.run(_command(prepared, plan, script=script), timeout_s=plan.timeout_s)
    phase = _phase(done.stderr)
    if done.timed_out:
        raise TimedOut(name, what=PHASES[phase], timeout_s=plan.timeout_s)
    if done.signal_name == "SIGKILL":
        raise killed.in_words(device, prepared, during=PHASES[phase], stderr=done.stderr)
    if done.signal_name:
        return {
            "error": f"the runtime crashed ({done.signal_name})",
            "phase": phase,
            "status": None,
            "available_bytes": killed.available_bytes(done.stderr),
        }
    document = _read(done, facts, script)
    if "error" in document:
        document["detail"] = _last_error(done.stderr)
        document["available_bytes"] = killed.available_bytes(done.stderr)
    return document


def _command(prepared: Prepared, plan: Plan, *, script: str) -> list[str]:
    facts = prepared.facts
    assert facts.python and facts.runtime_library
    # -I -S: neither the user's environment nor site-packages may add to the base.
    flags = ["-I", "-B"] if script == INTERPRETER_SCRIPT else ["-I", "-S", "-B"]
    request = {
        "lib": facts.runtime_library,
        "prefix": prepared.prefix,
        "model": f"{prepared.prefix}model.tflite",
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
        "later": LATER,
        "rate": plan.rate_hz or 0,
        "trace_s": max(plan.sustain_s / TRACE_POINTS, 1) if plan.sustain_s else 0,
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
    probe = run_script(device, prepared, replace(plan, **PROBE), script=script)
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
    return compare(
        model.path,
        model.golden,
        outputs=outputs_of(device, prepared, document),
        later=outputs_of(device, prepared, document, side="later"),
        where=prepared.facts.address,
    )


def outputs_of(
    device: Device, prepared: Prepared, document: Mapping[str, Any], *, side: str = "out"
) -> dict[tuple[str, str], bytes]:
    """Returns the bytes of each output that a run left on the device, by (signature name, tensor name).

    `side` is "out" for the first inference, "later" for the LATERth.
    """
    with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder:
        outputs = {}
        for index, port in enumerate(document["outputs"]):
            file = Path(folder) / f"{side}{index}.bin"
            device.pull(f"{prepared.prefix}{file.name}", file)
            outputs[(str(port["name"]), str(port["tensor"]))] = file.read_bytes()
    return outputs


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
        stability=stability(samples_us, conditions),
        trace=trace_of(document),
        pace=_pace(plan),
        device=facts.address,
        model=prepared.model.path.name,
        model_sha256=prepared.model.sha256,
        limits=limits.in_words(plan, document),
        notes=notes,
    )


def trace_of(document: Mapping[str, Any]) -> tuple[TracePoint, ...]:
    """Returns a sustained run's stretches, one per reading of the device's condition; () for other runs."""
    readings = document.get("trace") or ()
    ends = [*(reading["at_ms"] for reading in readings[1:]), math.inf]
    points = []
    for reading, end in zip(readings, ends, strict=False):
        pairs = zip(document["at_ms"], document["ns"], strict=True)
        samples = [ns / 1e3 for at_ms, ns in pairs if reading["at_ms"] <= at_ms < end]
        points.append(
            TracePoint(
                at_s=reading["at_ms"] / 1e3,
                count=len(samples),
                median_us=statistics.median(samples) if samples else None,
                hottest_c=hottest_c(reading),
                khz=max((khz for _, _, khz in reading.get("cpufreq") or ()), default=None),
            )
        )
    return tuple(points)


def _pace(plan: Plan) -> str:
    """Returns what of the pace was asked for, in words; "" for one inference right after another."""
    words = [f"{plan.rate_hz:g} inferences per second"] if plan.rate_hz else []
    return ", ".join([*words, f"for {plan.sustain_s:g} s"] if plan.sustain_s else words)


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


def _scripts(facts: DeviceFacts) -> tuple[str, ...]:
    """Returns what to run, in this order, where the one before refuses.

    Only this host is known to have the Interpreter; where the runtime is a Python package, it is that alone.
    """
    if facts.runtime_library == f"./{PACKAGE}":
        return (INTERPRETER_SCRIPT,)
    return (BOARD_SCRIPT, INTERPRETER_SCRIPT) if facts.kind == "host" else (BOARD_SCRIPT,)


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
