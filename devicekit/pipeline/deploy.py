"""The pipeline: a model and a profile in, a measured artifact out. Reads top to bottom."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from devicekit.convert.source import convert_source
from devicekit.device.connect import connect, refuse_unreachable
from devicekit.device.discover import choose as choose_device
from devicekit.device.matching import refuse_others
from devicekit.device.seam import Device, DeviceFacts
from devicekit.errors import DeviceError, MeasurementError, OutOfMemory
from devicekit.finding import Finding
from devicekit.fit.budgets import Budgets, check_before, check_built, out_of_memory
from devicekit.fit.candidate import Candidate, is_only_unlike, reject
from devicekit.fit.choose import choose
from devicekit.graph.read import read_graph
from devicekit.measurement import Measurement, Plan, pooled
from devicekit.pipeline import output
from devicekit.pipeline.deployment import Deployment, metric_name, model_name
from devicekit.pipeline.making import Making
from devicekit.pipeline.screening import measured_findings, quantized, screen
from devicekit.predict.latency import LatencyPrediction, predict_latency
from devicekit.profile.lookup import load_profile
from devicekit.profile.schema import Profile
from devicekit.runner.limits import hard, plan_for
from devicekit.runner.measure import RunnableModel
from devicekit.runner.measuring import Measuring, suited_to, sustained
from devicekit.runner.rounds import measure_in_rounds, only

_log = logging.getLogger(__name__)

# Every candidate is measured in so many turns, a process each.
ROUNDS = 3


def deploy(
    model: Path,
    profile: str | Path | Profile,
    making: Making,
    budgets: Budgets,
    *,
    device: str | Device,
    measuring: Measuring,
    threads: int | None,
    folder: str | Path | None,
    overwrite: bool,
    keep_all: bool,
) -> Deployment:
    """Returns the deployment of `model` on `profile`, filed in `folder`; api.deploy says what each means.

    Where nothing fits, or the device is lost on the way, `chosen` is None and `error` says why.
    """
    target = making.applied_to(profile)
    measuring = suited_to(measuring, target)
    check_before(budgets, data=making.data, eval_function=making.eval_function, measures=True)
    found = choose_device(target, device)  # what is wrong with a device is said before the long work
    if device != "auto":
        refuse_unreachable(found.address, accept_new_host_key=measuring.accept_new_host_key)
    steps, sustained_run = _Steps(), None
    with output.scratch(folder or f"{model_name(model)}.{target.name}", overwrite=overwrite) as place:
        with steps("convert"):
            source = convert_source(model, flex=target.ops.flex, **making.loading())
        with steps("quantize"):
            built = quantized(
                source, target.recipes.try_, making, profile=target, budgets=budgets, out_dir=place.scratch
            )
        check_built(budgets, built)
        candidates = screen(target, built.candidates, source.layers, budgets)
        with steps("measure"), connect(found.address, **measuring.access()) as board:
            facts = board.describe()
            notes = (*found.notes, *refuse_others(target, facts, strict=measuring.strict))
            plan = plan_for(target, facts, threads=threads, timeout_s=making.timeout_s)
            plan = measuring.applied_to(plan)
            memory_bytes = budgets.max_memory_bytes or plan.memory_bytes
            plan = replace(plan, memory_bytes=memory_bytes, notes=(*plan.notes, *notes))
            with hard(board, plan, measuring) as (place_to_run, under):
                candidates, lost = _measure_fitting(
                    place_to_run, target, candidates, under, measuring, budgets
                )
            if not lost:
                candidates = choose(candidates, target.recipes.prefer)
                sustained_run, lost = _sustain_chosen(board, candidates, plan, measuring)
        return output.file_deployment(
            Deployment(
                model=model,
                profile=target,
                source=source,
                graph=read_graph(source.float_path),
                data=built.data,
                metric=metric_name(making.eval_function, built.data),
                device=facts,
                alias=found.name,
                candidates=tuple(candidates),
                budgets=budgets,
                seconds=steps.seconds,
                predicted=_predicted(target, candidates, facts),
                sustained=sustained_run,
                lost=lost,
            ),
            place,
            keep_all=keep_all,
        )


def _measure_fitting(
    board: Device,
    profile: Profile,
    candidates: Sequence[Candidate],
    plan: Plan,
    measuring: Measuring,
    budgets: Budgets,
) -> tuple[list[Candidate], DeviceError | None]:
    """Returns the candidates, and why the device failed on the way; None where it did not.

    Those that fit, and those that are only too far from the float model, come with their measurement, or
    rejected for what it showed.
    """
    models = {
        c.recipe: RunnableModel(c.path, c.sha256, golden=c.golden)
        for c in candidates
        if (c.status == "fits" or is_only_unlike(c)) and c.path and c.sha256
    }
    rounds = measure_in_rounds(board, models, plan, count=ROUNDS, how=measuring)
    results = []
    for candidate in candidates:
        if taken := rounds.taken.get(candidate.recipe):
            candidate = _measured(profile, candidate, pooled(taken), budgets)
        if error := rounds.failed.get(candidate.recipe):
            candidate = reject(candidate, _unmeasured(error, budgets))
        results.append(candidate)
    return results, rounds.lost


def _sustain_chosen(
    board: Device, candidates: Sequence[Candidate], plan: Plan, measuring: Measuring
) -> tuple[Measurement | None, DeviceError | None]:
    """Returns the sustained run of the chosen candidate where one is asked for, and why the device failed."""
    chosen = next((c for c in candidates if c.status == "chosen"), None)
    if measuring.sustain_s is None or chosen is None or not (chosen.path and chosen.sha256):
        return None, None
    model = RunnableModel(chosen.path, chosen.sha256, golden=chosen.golden)
    plan = sustained(plan, measuring.sustain_s)
    rounds = measure_in_rounds(board, {chosen.recipe: model}, plan, count=1, how=measuring)
    return (None, rounds.lost) if rounds.lost else (only(rounds), None)


def _predicted(
    profile: Profile, candidates: Sequence[Candidate], facts: DeviceFacts
) -> LatencyPrediction | str | None:
    """Returns the chosen candidate's latency on the profile's device, where it was measured elsewhere."""
    chosen = next((c for c in candidates if c.status == "chosen" and c.path), None)
    if chosen is None or chosen.path is None or facts.evidence == "measured":
        return None
    sibling = load_profile(profile.sibling) if profile.sibling else None
    return predict_latency(read_graph(chosen.path), profile, sibling=sibling)


def _measured(
    profile: Profile, candidate: Candidate, measurement: Measurement, budgets: Budgets
) -> Candidate:
    """Returns the candidate with its measurement, rejected for what that shows."""
    candidate = replace(candidate, measurement=measurement)
    for finding in measured_findings(profile, measurement, budgets):
        candidate = reject(candidate, finding)
    return candidate


def _unmeasured(error: MeasurementError, budgets: Budgets) -> Finding:
    if isinstance(error, OutOfMemory):
        return out_of_memory(budgets, error)
    return Finding("measure", error.message, error.remedy)


class _Steps:
    """Times named steps: `with steps("convert"): …`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start
        _log.info("%s took %.1f s", name, self.seconds[name])
