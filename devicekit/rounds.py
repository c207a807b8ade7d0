"""Measures several models in turns, a process each: what else the machine does disturbs all alike."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from devicekit import progress
from devicekit.errors import DeviceError, MeasurementError
from devicekit.measurement import Measurement, Plan

if TYPE_CHECKING:
    from devicekit.device.seam import Device
    from devicekit.runner.script import RunnableModel


@dataclass(frozen=True)
class Rounds:
    """What each model gave, by its name: one measurement per round, fewer where it failed or time ran out.

    `failed` says which models could not be measured, and why. `lost` is why the device ended all early.
    """

    taken: Mapping[str, tuple[Measurement, ...]]
    failed: Mapping[str, MeasurementError]
    lost: DeviceError | None


def measure_in_rounds(
    board: "Device", models: Mapping[str, "RunnableModel"], plan: Plan, *, count: int
) -> Rounds:
    """Returns `count` rounds of every model in `models`; each round takes a `count`th of the plan's time.

    Every other round goes backwards, so that none always runs behind the same neighbour. A model that fails
    takes no further turn.
    """
    from devicekit.runner.script import measure_model

    plan = replace(plan, min_s=plan.min_s / count, max_runs=plan.max_runs // count)
    turns = [name for turn in range(count) for name in (models if turn % 2 == 0 else reversed([*models]))]
    taken: dict[str, list[Measurement]] = {name: [] for name in models}
    failed: dict[str, MeasurementError] = {}
    lost = None
    for done, name in enumerate(turns):
        if name in failed:
            continue
        progress.report("measure", detail=name, done=done, total=len(turns))
        try:
            taken[name].append(measure_model(board, models[name], plan))
        except MeasurementError as error:
            failed[name] = error
        except DeviceError as error:
            lost = error
            break
    return Rounds({name: tuple(rounds) for name, rounds in taken.items()}, failed, lost)
