"""Measures several models in turns, a process each: what else the machine does disturbs all alike."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from devicekit import progress
from devicekit.device.health import pinned_governor
from devicekit.device.seam import Device
from devicekit.errors import DeviceError, MeasurementError
from devicekit.measurement import Measurement, Plan
from devicekit.runner.measure import Prepared, RunnableModel, measure_prepared, runner_for
from devicekit.runner.measuring import NO_WISHES, Measuring


@dataclass(frozen=True)
class Rounds:
    """What each model gave, by its name: one measurement per round, fewer where it failed or time ran out.

    `failed` says which models could not be measured, and why. `lost` is why the device ended all early.
    """

    taken: Mapping[str, tuple[Measurement, ...]]
    failed: Mapping[str, MeasurementError]
    lost: DeviceError | None


def only(rounds: Rounds) -> Measurement:
    """Returns the one measurement of one model. Raises why there is none."""
    if rounds.lost is not None:
        raise rounds.lost
    for error in rounds.failed.values():
        raise error
    [[measurement]] = rounds.taken.values()
    return measurement


def measure_in_rounds(
    board: Device,
    models: Mapping[str, RunnableModel],
    plan: Plan,
    *,
    count: int,
    how: Measuring = NO_WISHES,
) -> Rounds:
    """Returns `count` rounds of every model in `models`; each round takes a `count`th of the plan's time.

    Each round has its own order, the same in every run, so that none always runs behind the same neighbour. A
    model that fails takes no further turn. The plan's governor holds for all of them.
    """
    taken: dict[str, list[Measurement]] = {name: [] for name in models}
    failed: dict[str, MeasurementError] = {}
    lost = None
    try:
        with pinned_governor(board, plan.governor) as notes:
            plan = replace(plan, notes=(*plan.notes, *notes))
            _take_turns(board, models, plan, count=count, how=how, taken=taken, failed=failed)
    except DeviceError as error:
        lost = error
    return Rounds({name: tuple(rounds) for name, rounds in taken.items()}, failed, lost)


def _take_turns(
    board: Device,
    models: Mapping[str, RunnableModel],
    plan: Plan,
    *,
    count: int,
    how: Measuring,
    taken: dict[str, list[Measurement]],
    failed: dict[str, MeasurementError],
) -> None:
    """Adds to `taken` and `failed`, so that what was measured stays when the device is lost."""
    runner = runner_for(board.describe(), how)
    plan = replace(plan, min_s=plan.min_s / count, max_runs=plan.max_runs // count)
    turns = [name for turn in range(count) for name in _shuffled(models, turn)]
    prepared: dict[str, Prepared] = {}
    for done, name in enumerate(turns):
        if name in failed:
            continue
        progress.report("measure", detail=name, done=done, total=len(turns))
        try:
            if name not in prepared:
                prepared[name] = runner.prepare(board, models[name])
                progress.report("measure", detail=name, done=done, total=len(turns))
            taken[name].append(measure_prepared(board, runner, prepared[name], plan))
        except MeasurementError as error:
            failed[name] = error


def _shuffled(names: Iterable[str], turn: int) -> list[str]:
    """Returns the names in the order of a turn; the first keeps the caller's."""
    order = list(names)
    if turn:
        random.Random(turn).shuffle(order)
    return order
