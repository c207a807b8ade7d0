"""Measures one .tflite on a device, or on this host under a profile's limits."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from devicekit.cache import sha256_file
from devicekit.device.connect import connect
from devicekit.device.discover import choose
from devicekit.device.matching import refuse_others
from devicekit.device.seam import Device
from devicekit.errors import LoadError
from devicekit.graph.read import read_graph
from devicekit.graph.state import begin_anew, keeping_state
from devicekit.measurement import Measurement
from devicekit.pipeline.deployment import SOURCE_SUFFIXES
from devicekit.pipeline.making import AS_PROFILES_SAY
from devicekit.runner.limits import hard, plan_for
from devicekit.runner.measure import RunnableModel
from devicekit.runner.measuring import NO_WISHES, Measuring, suited_to, sustained
from devicekit.runner.reference import reference
from devicekit.runner.rounds import measure_in_rounds, only

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile


def measure(
    model: str | Path,
    *,
    profile: "str | Path | Profile | None" = None,
    device: str | Device = "host",
    measuring: Measuring = NO_WISHES,
    threads: int | None = None,
    kernel: Literal["xnnpack", "builtin"] | None = None,
    timeout_s: float | None = None,
) -> Measurement:
    """Returns the measurement of a .tflite on `device`, under the limits of `profile` where one is given.

    The inputs are random, within the inputs' range. `kernel` is what computes in place of the profile's
    delegate. Raises LoadError, DeviceError and MeasurementError.
    """
    model = Path(model)
    if model.suffix in SOURCE_SUFFIXES or model.is_dir():
        raise LoadError(
            str(model),
            found="is a Keras model",
            expected="a .tflite",
            remedy=f"convert it first: devicekit convert {model}",
        )
    target = None if profile is None else AS_PROFILES_SAY.applied_to(profile)
    measuring = suited_to(measuring, target)
    graph = read_graph(model)  # refuses what is no .tflite before a device is taken
    chosen = choose(target, device)
    with connect(chosen.address, **measuring.access()) as board:
        facts = board.describe()
        notes = (*chosen.notes, *refuse_others(target, facts, strict=measuring.strict))
        plan = measuring.applied_to(plan_for(target, facts, threads=threads, timeout_s=timeout_s))
        if keeping_state(graph):
            notes = (*notes, f"it keeps a state between inferences: an app begins anew {begin_anew(graph)}")
        plan = replace(plan, notes=(*plan.notes, *notes), kernel=kernel or plan.kernel)
        if measuring.sustain_s is not None:
            plan = sustained(plan, measuring.sustain_s)
        with reference(model, facts) as golden:
            runnable = RunnableModel(model, sha256_file(model), golden=golden)
            with hard(board, plan, measuring) as (place, under):
                rounds = measure_in_rounds(place, {model.name: runnable}, under, count=1, how=measuring)
    return only(rounds)
