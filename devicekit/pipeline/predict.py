"""Predicts what a model needs and takes on a profile's device, with no device: memory, latency."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from devicekit.errors import MeasurementError, OutOfMemory
from devicekit.graph.macs import macs, parameters
from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.measurement import Plan
from devicekit.predict.fit import PRIORS
from devicekit.predict.latency import LatencyPrediction, predict_latency
from devicekit.predict.memory import (
    MemoryPrediction,
    Verdict,
    delegate_of,
    measured_memory,
    micro_memory,
    plan_memory,
)
from devicekit.predict.roofline import isa_of, latency_us, precision_of
from devicekit.predict.work import Work, unpredictable, work_of
from devicekit.profile.lookup import load_profile
from devicekit.words import attributes, plain

if TYPE_CHECKING:
    from devicekit.convert.source import Loading
    from devicekit.profile.schema import Profile
    from devicekit.runner.micro import MicroArena

# JSON schema history: 1, the first version.
SCHEMA = 1


@dataclass(frozen=True)
class Confirmation:
    """What a run on this host under the profile's limits said. `enforced` are the limits."""

    runs: bool
    agrees: bool | None
    needed_bytes: int | None
    enforced: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"evidence": "simulated", **attributes(self)}


@dataclass(frozen=True)
class Prediction:
    """What the kit expects of `model` on `profile`'s device.

    `latency` is None where `latency_reason` says why. `micro` is what TFLM said, for a microcontroller, whose
    memory is its arena. `confirmation` is None where no limited run was asked for.
    """

    model: str
    profile: "Profile"
    graph: Graph
    threads: int
    precision: str
    parameters: int
    macs: int | None
    memory: MemoryPrediction
    latency: LatencyPrediction | None
    latency_reason: str | None
    notes: tuple[str, ...] = ()
    micro: "MicroArena | None" = None
    confirmation: Confirmation | None = None

    @property
    def limit_bytes(self) -> int | None:
        limits = self.profile.limits
        if self.memory.delegate == "tflm":
            return None if limits.arena_kib is None else limits.arena_kib * 1024
        return None if limits.memory_mib is None else int(limits.memory_mib * 2**20)

    @property
    def work(self) -> tuple[Work, ...]:
        """Returns what one inference computes and moves, as far as the main subgraph tells."""
        return work_of(self.graph)

    @property
    def relative(self) -> float | None:
        """Returns a number that orders models on processors like the profile's: twice is twice as long, of
        what is not known. None where the work is not known."""
        if unpredictable(self.graph):
            return None
        return latency_us(self.work, PRIORS[isa_of(self.profile.device.abi)]) / 1000

    @property
    def verdict(self) -> Verdict | None:
        """Returns whether must-have memory is within the profile's limit, and a microcontroller's flash."""
        flash = self.profile.limits.model_kib
        if self.micro and (self.micro.failed or (flash and self.graph.size_bytes > flash * 1024)):
            return "does not fit"
        return self.memory.verdict(self.limit_bytes)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "model": self.model,
            "profile": self.profile.name,
            **attributes(self, "threads", "precision", "parameters", "macs"),
            "memory": self.memory.to_json(self.limit_bytes),
            **attributes(self, "latency", "latency_reason"),
            "work": {
                "macs": self.macs,
                "bytes": sum(work.bytes for work in self.work),
                "operators": sum(work.count for work in self.work),
                "relative": self.relative,
            },
            **attributes(self, "notes", "confirmation"),
            "tflm": plain(self.micro),
        }


def predict(
    model: str | Path,
    profile: "str | Path | Profile",
    *,
    threads: int | None = None,
    may_run: bool = True,
    confirm: bool = False,
    hard_limits: bool = False,
    timeout_s: float = 1800,
    **loading: Unpack["Loading"],
) -> Prediction:
    """Returns memory and latency of `model` on the device of `profile`; a Keras model as its float .tflite.

    Where memory cannot be planned, the model runs once in a clean process on this host, unless `may_run` is
    False: its figures then stay None. `confirm` runs it under the profile's limits too, `hard_limits` by a
    control group (as root) and not by RLIMIT_DATA. Raises ProfileError, LoadError, ConvertError and
    UntrustedModel.
    """
    target = load_profile(profile) if isinstance(profile, str | Path) else profile
    path = _tflite(Path(model), timeout_s=timeout_s, **loading)
    graph = read_graph(path)
    count = threads or target.runtime.threads
    notes: list[str] = []
    micro = None
    if target.device.kind == "microcontroller":
        plan, micro = _micro(path, graph, may_run=may_run, notes=notes)
    else:
        plan = plan_memory(graph, delegate_of(target), threads=count)
    if micro is None and target.device.kind != "microcontroller" and plan.must_have_bytes is None and may_run:
        plan = _run(path, graph, plan, threads=count, timeout_s=timeout_s, notes=notes)
    if target.runtime.delegate not in ("xnnpack", "none"):
        notes.append(f"memory is that of the CPU, not of the {target.runtime.delegate} delegate")
    sibling = load_profile(target.sibling) if target.sibling else None
    latency = predict_latency(graph, target, sibling=sibling, threads=threads)
    reason = latency if isinstance(latency, str) else None
    found = Prediction(
        model=str(model),
        profile=target,
        graph=graph,
        threads=count,
        precision=precision_of(graph),
        parameters=parameters(graph),
        macs=macs(graph),
        memory=plan,
        latency=None if isinstance(latency, str) else latency,
        latency_reason=reason,
        notes=tuple(notes),
        micro=micro,
    )
    if not (confirm or hard_limits) or micro is not None:
        return found
    return replace(found, confirmation=_confirm(path, found, hard_limits=hard_limits, timeout_s=timeout_s))


def _tflite(model: Path, *, timeout_s: float, **loading: Unpack["Loading"]) -> Path:
    """Returns the .tflite itself, or the float one that a Keras model converts to."""
    if model.suffix == ".tflite" and not loading:
        return model  # without the converter's modules: they take a tenth of a second
    from devicekit.convert.source import convert_source

    return convert_source(model, timeout_s=timeout_s, **loading).float_path


def _confirm(path: Path, found: Prediction, *, hard_limits: bool, timeout_s: float) -> Confirmation:
    """Returns whether the model runs here under the profile's limits, and whether that was predicted."""
    from devicekit.pipeline.measure import measure
    from devicekit.runner.measuring import Measuring

    how = Measuring(hard_limits=hard_limits)
    limits = found.profile.limits
    limit = (
        f"arena {limits.arena_kib} KiB" if limits.memory_mib is None else f"memory {limits.memory_mib:g} MiB"
    )
    try:
        asked = found.threads if found.threads != found.profile.runtime.threads else None
        run = measure(path, profile=found.profile, measuring=how, threads=asked, timeout_s=timeout_s)
    except OutOfMemory as error:
        by = "cgroup" if hard_limits else "RLIMIT_DATA"
        agrees = None if found.verdict in (None, "tight") else found.verdict == "does not fit"
        return Confirmation(False, agrees, error.needed_bytes, (f"{limit} ({by})",))
    agrees = None if found.verdict in (None, "tight") else found.verdict == "fits"
    enforced = (*run.limits, *(note for note in run.notes if note.startswith("enforced: ")))
    return Confirmation(True, agrees, run.memory.must_have_bytes, enforced)


def _micro(
    path: Path, graph: Graph, *, may_run: bool, notes: list[str]
) -> tuple[MemoryPrediction, "MicroArena | None"]:
    """Returns the arena on a microcontroller, by the real interpreter where it is there and may run."""
    from devicekit.runner.micro import micro_arena

    if not may_run:
        return micro_memory(graph, None, "TFLM's persistent part comes on top"), None
    try:
        arena = micro_arena(path)
    except MeasurementError as error:
        notes.append(f"{error.message}: {error.remedy}")
        return micro_memory(graph, None, "TFLM's persistent part comes on top"), None
    return micro_memory(graph, arena.needed_bytes, arena.failed), arena


def _run(
    path: Path,
    graph: Graph,
    plan: MemoryPrediction,
    *,
    threads: int,
    timeout_s: float,
    notes: list[str],
) -> MemoryPrediction:
    """Returns the prediction with the memory of one inference in a clean process here, without a limit."""
    from devicekit.device.local import LocalDevice
    from devicekit.runner.measure import RunnableModel, measure_model

    assert plan.delegate != "tflm"
    once = Plan(
        threads=threads,
        warmup_runs=0,
        warmup_s=0.0,
        min_runs=1,
        min_s=0.0,
        kernel=plan.delegate,
        timeout_s=timeout_s,
    )
    device = LocalDevice()
    try:
        memory = measure_model(device, RunnableModel(path, graph.sha256), once).memory
    except MeasurementError as error:
        notes.append(f"it does not run here, so that only a lower bound is known: {error.message}")
        return plan
    finally:
        device.close()
    if memory.must_have_bytes is None:
        return plan
    return measured_memory(plan, memory.must_have_bytes, memory.peak_rss_bytes, memory.base_bytes)
