"""The pipeline: a model and a profile in, a measured artifact out. Reads top to bottom."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from devicekit import budgets as budget_rules
from devicekit import fit, output
from devicekit.budgets import Budgets
from devicekit.check.model import refuse_unlisted
from devicekit.deployment import Conversion, Deployment, model_name
from devicekit.errors import (
    ConvertError,
    DeviceError,
    LoadError,
    MeasurementError,
    OutOfMemory,
    UsageError,
)
from devicekit.finding import Finding
from devicekit.fit import Candidate, Prefer
from devicekit.measurement import Measurement, Plan, pooled
from devicekit.runner.measuring import NO_WISHES, Measuring, suited_to, sustained
from devicekit.runner.rounds import measure_in_rounds, only

if TYPE_CHECKING:
    from devicekit.convert.source import Loading, Source
    from devicekit.device.seam import Device, DeviceFacts
    from devicekit.predict.latency import LatencyPrediction
    from devicekit.profile.schema import Profile
    from devicekit.quantize.build import BuildResult, DataSummary
    from devicekit.quantize.recipes import Io

_log = logging.getLogger(__name__)

_SOURCE_SUFFIXES = (".h5", ".hdf5", ".keras")

# Every candidate is measured in so many turns, a process each.
ROUNDS = 3


def deploy(
    model: str | Path,
    profile: "str | Path | Profile",
    *,
    data: str | None = None,
    eval_function: str | None = None,
    device: "str | Device" = "auto",
    measuring: Measuring = NO_WISHES,
    recipes: Sequence[str] = (),
    prefer: Prefer | None = None,
    min_cosine: float | None = None,
    min_top1_agreement: float | None = None,
    max_size_bytes: int | None = None,
    max_memory_bytes: int | None = None,
    max_latency_ms: float | None = None,
    max_accuracy_drop: float | None = None,
    io: "Io | None" = None,
    threads: int | None = None,
    folder: str | Path | None = None,
    overwrite: bool = False,
    keep_all: bool = False,
    store: str | Path | None = None,
    timeout_s: float | None = None,
    **loading: Unpack["Loading"],
) -> Deployment:
    """Returns the deployment of `model` on `profile`, filed in `folder` (default MODEL.PROFILE, here).

    It is filed in the `store` too (store.open.open_store; "": in none), where reports and histories find it.

    `model` is a .h5, .keras, SavedModel or .tflite; `data` names calibration and evaluation inputs. What is
    None or empty comes from the profile; the budgets (budgets.Budgets) win over its limits, and
    fit.TIE_BREAKS says what decides between those that fit. `io` is the type of inputs and outputs of recipes
    that quantize them. `loading` is of convert_source: `trust`, `custom_objects`, `shapes`, …
    `device` is an address, an alias of the fleet file or "auto" (discover.choose), `measuring` how to use it.
    `timeout_s` bounds the silence of every step. Where nothing fits, or the device is lost on the way,
    `chosen` is None and `error` says why.
    Raises ProfileError, RecipeError, UsageError, ModelError, DeviceError and MeasurementError.
    """
    from devicekit.convert.source import convert_source
    from devicekit.device.connect import connect, refuse_unreachable
    from devicekit.device.discover import choose
    from devicekit.device.matching import refuse_others
    from devicekit.graph.read import read_graph
    from devicekit.runner.limits import hard, plan_for
    from devicekit.store.deployments import file_in_store

    model = Path(model)
    target = customized(
        profile, recipes, prefer=prefer, min_cosine=min_cosine, min_top1=min_top1_agreement, io=io
    )
    budgets = Budgets(
        max_size_bytes=max_size_bytes,
        max_memory_bytes=max_memory_bytes,
        max_latency_ms=max_latency_ms,
        max_accuracy_drop=max_accuracy_drop,
        min_cosine=min_cosine,
        min_top1_agreement=min_top1_agreement,
    )
    measuring = suited_to(measuring, target)
    budget_rules.check_before(budgets, data=data, eval_function=eval_function, measures=True)
    limits = _given({"timeout_s": timeout_s})
    chosen = choose(target, device)  # what is wrong with a device is said before the long work
    if device != "auto":
        refuse_unreachable(chosen.address, accept_new_host_key=measuring.accept_new_host_key)
    steps, sustained_run = _Steps(), None
    refuse_unlisted(loading.get("custom_ops", ()), target)
    with output.scratch(folder or f"{model_name(model)}.{target.name}", overwrite=overwrite) as place:
        with steps("convert"):
            source = convert_source(model, flex=target.ops.flex, **limits, **loading)
        with steps("quantize"):
            built = build_candidates(
                source,
                target.recipes.try_,
                data=data,
                eval_function=eval_function,
                out_dir=place.scratch,
                **fit.demands(target),
                **limits,
            )
        _refuse_quantized(model, recipes, built)
        budget_rules.check_built(budgets, built)
        candidates = fit.screen(target, built.candidates, source.layers, budgets)
        with steps("measure"), connect(chosen.address, **_access(measuring)) as board:
            facts = board.describe()
            notes = (*chosen.notes, *refuse_others(target, facts, strict=measuring.strict))
            plan = measuring.applied_to(plan_for(target, facts, threads=threads, timeout_s=timeout_s))
            memory_bytes = budgets.max_memory_bytes or plan.memory_bytes
            plan = replace(plan, memory_bytes=memory_bytes, notes=(*plan.notes, *notes))
            with hard(board, plan, measuring) as (place_to_run, under):
                candidates, lost = _measure_fitting(
                    place_to_run, target, candidates, under, measuring, budgets
                )
            if not lost:
                candidates = fit.choose(candidates, target.recipes.prefer)
                sustained_run, lost = _sustain_chosen(board, candidates, plan, measuring)
        deployment = output.file_deployment(
            Deployment(
                model=model,
                profile=target,
                source=source,
                graph=read_graph(source.float_path),
                data=built.data,
                metric=_metric(eval_function, built.data),
                device=facts,
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
    return file_in_store(deployment, chosen.name or facts.address, store)


def convert(
    model: str | Path,
    *,
    profile: "str | Path | Profile | None" = None,
    recipe: str | None = None,
    data: str | None = None,
    eval_function: str | None = None,
    prefer: Prefer | None = None,
    min_cosine: float | None = None,
    min_top1_agreement: float | None = None,
    max_size_bytes: int | None = None,
    max_memory_bytes: int | None = None,
    max_latency_ms: float | None = None,
    max_accuracy_drop: float | None = None,
    io: "Io | None" = None,
    path: str | Path | None = None,
    overwrite: bool = False,
    timeout_s: float | None = None,
    **loading: Unpack["Loading"],
) -> Conversion:
    """Returns the .tflite made of `model` by `recipe`, or by the best recipe of `profile`; written to `path`.

    With neither, float32; `io` as in `deploy`. Nothing is measured: where the profile prefers latency, the
    smallest file that keeps its rules wins. Where nothing fits, `chosen` is None and nothing is written.
    Raises as `deploy` does, and ConvertError where `recipe` is named for a model that is quantized already.
    """
    from devicekit.convert.source import convert_source
    from devicekit.graph.read import read_graph
    from devicekit.quantize.recipes import known_recipe, with_io

    model = Path(model)
    own = {"prefer": prefer, "min_cosine": min_cosine, "min_top1": min_top1_agreement, "io": io}
    target = None if profile is None else customized(profile, (recipe,) if recipe else (), **_given(own))
    recipes = target.recipes.try_ if target else with_io((known_recipe(recipe or "float32"),), io)
    path = Path(path or f"{model_name(model)}.{target.name if target else recipes[0]}.tflite")
    if path.suffix in _SOURCE_SUFFIXES or path.resolve() == model.resolve():
        raise UsageError(f"-o {path} would replace a model with a .tflite", remedy="name a new .tflite file")
    budgets = Budgets(
        max_size_bytes=max_size_bytes,
        max_memory_bytes=max_memory_bytes,
        max_latency_ms=max_latency_ms,
        max_accuracy_drop=max_accuracy_drop,
        min_cosine=min_cosine,
        min_top1_agreement=min_top1_agreement,
    )
    budget_rules.check_before(budgets, data=data, eval_function=eval_function, measures=False)
    refuse_unlisted(loading.get("custom_ops", ()), target)
    limits = _given({"timeout_s": timeout_s})
    with output.scratch_file(path, overwrite=overwrite) as place:
        source = convert_source(model, flex=bool(target and target.ops.flex), **limits, **loading)
        built = build_candidates(
            source,
            recipes,
            data=data,
            eval_function=eval_function,
            out_dir=place.scratch,
            **fit.demands(target),
            **limits,
        )
        _refuse_quantized(model, (recipe,) if recipe else (), built)
        budget_rules.check_built(budgets, built)
        candidates = fit.choose(
            fit.screen(target, built.candidates, source.layers, budgets),
            target.recipes.prefer if target else "size",
        )
        return output.file_conversion(
            Conversion(
                model=model,
                profile=target,
                source=source,
                graph=read_graph(source.float_path),
                data=built.data,
                metric=_metric(eval_function, built.data),
                candidates=tuple(candidates),
                budgets=budgets,
            ),
            place,
        )


def measure(
    model: str | Path,
    *,
    profile: "str | Path | Profile | None" = None,
    device: "str | Device" = "host",
    measuring: Measuring = NO_WISHES,
    threads: int | None = None,
    kernel: Literal["xnnpack", "builtin"] | None = None,
    timeout_s: float | None = None,
) -> Measurement:
    """Returns the measurement of a .tflite on `device`, under the limits of `profile` where one is given.

    The inputs are random, within the inputs' range. `kernel` is what computes in place of the profile's
    delegate. Raises LoadError, DeviceError and MeasurementError.
    """
    from devicekit.cache import sha256_file
    from devicekit.device.connect import connect
    from devicekit.device.discover import choose
    from devicekit.device.matching import refuse_others
    from devicekit.graph.read import read_graph
    from devicekit.runner.limits import hard, plan_for
    from devicekit.runner.measure import RunnableModel
    from devicekit.runner.reference import reference

    model = Path(model)
    if model.suffix in _SOURCE_SUFFIXES or model.is_dir():
        raise LoadError(
            str(model),
            found="is a Keras model",
            expected="a .tflite",
            remedy=f"convert it first: devicekit convert {model}",
        )
    target = None if profile is None else customized(profile)
    measuring = suited_to(measuring, target)
    read_graph(model)  # refuses what is no .tflite before a device is taken
    chosen = choose(target, device)
    with connect(chosen.address, **_access(measuring)) as board:
        facts = board.describe()
        notes = (*chosen.notes, *refuse_others(target, facts, strict=measuring.strict))
        plan = measuring.applied_to(plan_for(target, facts, threads=threads, timeout_s=timeout_s))
        plan = replace(plan, notes=(*plan.notes, *notes), kernel=kernel or plan.kernel)
        if measuring.sustain_s is not None:
            plan = sustained(plan, measuring.sustain_s)
        with reference(model, facts) as golden:
            runnable = RunnableModel(model, sha256_file(model), golden=golden)
            with hard(board, plan, measuring) as (place, under):
                rounds = measure_in_rounds(place, {model.name: runnable}, under, count=1, how=measuring)
    return only(rounds)


def _access(measuring: Measuring) -> dict[str, bool]:
    """Returns what of the user's wishes connecting takes."""
    return {"keep": measuring.keep, "accept_new_host_key": measuring.accept_new_host_key}


def customized(
    profile: "str | Path | Profile",
    recipes: Sequence[str] = (),
    *,
    prefer: Prefer | None = None,
    min_cosine: float | None = None,
    min_top1: float | None = None,
    io: "Io | None" = None,
) -> "Profile":
    """Returns the profile with what the caller sets in place of its own values."""
    from devicekit.profile.lookup import load_profile
    from devicekit.quantize.recipes import known_recipe, with_io

    target = load_profile(profile) if isinstance(profile, str | Path) else profile
    tried = tuple(dict.fromkeys(recipes)) or target.recipes.try_
    own = {"prefer": prefer, "try_": with_io(tried, io)}
    quality = {"min_cosine": min_cosine, "min_top1_agreement": min_top1}
    target = target.model_copy(
        update={
            "recipes": target.recipes.model_copy(update=_given(own)),
            "quality": target.quality.model_copy(update=_given(quality)),
        }
    )
    for recipe in target.recipes.try_:
        known_recipe(recipe)
    if target.recipes.prefer not in fit.PREFERENCES:
        raise UsageError(
            f'cannot prefer "{target.recipes.prefer}"', remedy=f"choose from: {', '.join(fit.PREFERENCES)}"
        )
    return target


def build_candidates(
    source: "Source", recipes: Sequence[str], *, out_dir: Path, **options: Any
) -> "BuildResult":
    """Returns what the recipes make of the float model; where nothing here runs that, it alone."""
    from devicekit.quantize.build import build, unverified

    if source.unverified:
        return unverified(source.float_path, source.unverified, out_dir=out_dir)
    return build(source.float_path, recipes, out_dir=out_dir, **options)


def _refuse_quantized(model: Path, recipes: Sequence[str], built: "BuildResult") -> None:
    """Raises ConvertError where recipes were named for a model that is quantized already."""
    from devicekit.quantize.build import ORIGINAL

    if recipes and [one.recipe for one in built.candidates] == [ORIGINAL]:
        raise ConvertError(
            str(model),
            found=f"it is quantized already, {' and '.join(recipes)} needs the float model",
            remedy="give the model that it was quantized from",
        )


def _measure_fitting(
    board: "Device",
    profile: "Profile",
    candidates: Sequence[Candidate],
    plan: Plan,
    measuring: Measuring,
    budgets: Budgets,
) -> tuple[list[Candidate], DeviceError | None]:
    """Returns the candidates, and why the device failed on the way; None where it did not.

    Those that fit come with their measurement, or rejected for what it showed.
    """
    from devicekit.runner.measure import RunnableModel

    models = {
        c.recipe: RunnableModel(c.path, c.sha256, golden=c.golden)
        for c in candidates
        if c.status == "fits" and c.path and c.sha256
    }
    rounds = measure_in_rounds(board, models, plan, count=ROUNDS, how=measuring)
    results = []
    for candidate in candidates:
        if taken := rounds.taken.get(candidate.recipe):
            candidate = _measured(profile, candidate, pooled(taken), budgets)
        if error := rounds.failed.get(candidate.recipe):
            candidate = fit.reject(candidate, _unmeasured(error, budgets))
        results.append(candidate)
    return results, rounds.lost


def _sustain_chosen(
    board: "Device", candidates: Sequence[Candidate], plan: Plan, measuring: Measuring
) -> tuple[Measurement | None, DeviceError | None]:
    """Returns the sustained run of the chosen candidate where one is asked for, and why the device failed."""
    from devicekit.runner.measure import RunnableModel

    chosen = next((c for c in candidates if c.status == "chosen"), None)
    if measuring.sustain_s is None or chosen is None or not (chosen.path and chosen.sha256):
        return None, None
    model = RunnableModel(chosen.path, chosen.sha256, golden=chosen.golden)
    plan = sustained(plan, measuring.sustain_s)
    rounds = measure_in_rounds(board, {chosen.recipe: model}, plan, count=1, how=measuring)
    return (None, rounds.lost) if rounds.lost else (only(rounds), None)


def _predicted(
    profile: "Profile", candidates: Sequence["fit.Candidate"], facts: "DeviceFacts"
) -> "LatencyPrediction | str | None":
    """Returns the chosen candidate's latency on the profile's device, where it was measured elsewhere."""
    from devicekit.graph.read import read_graph
    from devicekit.predict.latency import predict_latency
    from devicekit.profile.lookup import load_profile

    chosen = next((c for c in candidates if c.status == "chosen" and c.path), None)
    if chosen is None or chosen.path is None or facts.evidence == "measured":
        return None
    sibling = load_profile(profile.sibling) if profile.sibling else None
    return predict_latency(read_graph(chosen.path), profile, sibling=sibling)


def _measured(
    profile: "Profile", candidate: Candidate, measurement: Measurement, budgets: Budgets
) -> Candidate:
    """Returns the candidate with its measurement, rejected for what that shows."""
    candidate = replace(candidate, measurement=measurement)
    for finding in fit.measured_findings(profile, measurement, budgets):
        candidate = fit.reject(candidate, finding)
    return candidate


def _unmeasured(error: MeasurementError, budgets: Budgets) -> Finding:
    if isinstance(error, OutOfMemory):
        return budget_rules.out_of_memory(budgets, error)
    return Finding("measure", error.message, error.remedy)


def _metric(eval_function: str | None, data: "DataSummary") -> str | None:
    """Returns the name of the task metric: the user's function, or accuracy; None where there is none."""
    if eval_function:
        return eval_function.rpartition(":")[2]
    return "accuracy" if data.has_labels else None


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


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
