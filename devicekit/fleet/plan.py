"""What a fleet run is to do: models × devices, and how. It is filed with the run, so that a run resumes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from devicekit.cache import sha256_tree
from devicekit.device.inventory import Entry
from devicekit.errors import LoadError, UsageError
from devicekit.fleet.where import devices_of, fleet_devices
from devicekit.pipeline.deployment import model_name
from devicekit.pipeline.making import Making
from devicekit.profile.lookup import load_profile, profile_names, profile_path
from devicekit.profile.schema import Profile
from devicekit.runner.measuring import Measuring
from devicekit.store.filing import ModelRef, PlannedCell

# Version history (`version` in every filed plan)
#   1   first version
VERSION = 1
# A phone that reboots needs longer, one whose cable was touched is back at once.
RETRY_S = 5.0


@dataclass(frozen=True)
class Job:
    """One cell: `model` is the file, `cell` what the store calls it."""

    model: Path
    entry: Entry
    cell: PlannedCell

    @property
    def profile(self) -> Profile:
        return self.cell.profile


@dataclass(frozen=True)
class FleetPlan:
    """Models × devices. `rounds` is how often each artifact is measured, a process each.

    `retry_s` is the wait before a cell whose device was lost is tried again.
    """

    jobs: tuple[Job, ...]
    making: Making
    measuring: Measuring
    threads: int | None
    rounds: int
    retry_s: float = RETRY_S

    def to_json(self) -> dict[str, Any]:
        """Returns what `read_plan` reads. Paths are absolute: a run may be resumed from another folder."""
        models = {str(job.model.resolve()): job.cell.model for job in self.jobs}
        entries = {job.entry.name: (job.entry, job.profile) for job in self.jobs}
        return {
            "version": VERSION,
            "models": [{"path": path, **asdict(ref)} for path, ref in models.items()],
            "devices": [
                {**asdict(entry), "profile": _named(profile), "profile_sha256": profile.sha256}
                for entry, profile in entries.values()
            ],
            "making": asdict(self.making),
            "measuring": {
                key: str(v) if isinstance(v, Path) else v for key, v in asdict(self.measuring).items()
            },
            "threads": self.threads,
            "rounds": self.rounds,
            "retry_s": self.retry_s,
        }


def plan_fleet(
    models: Sequence[str | Path],
    *,
    fleet: str | Path | None,
    where: str | None,
    making: Making,
    measuring: Measuring,
    threads: int | None,
    rounds: int,
    retry_s: float = RETRY_S,
) -> FleetPlan:
    """Returns the plan for every model on every device of the fleet file that `where` keeps.

    Raises FleetError, ProfileError, UsageError (no fleet, no model, a model twice), LoadError.
    """
    devices = devices_of(fleet_devices(fleet), where)
    for _, profile in devices:
        making.applied_to(profile)  # what is wrong with the options is said before the long work
    refs = {Path(model): _ref(Path(model)) for model in models}
    names = [ref.name for ref in refs.values()]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"{names.count(name)} models are called {name}",
                remedy="rename a file: reports go by its name",
            )
    jobs = [
        Job(model, entry, PlannedCell(ref, profile, entry.name, entry.address))
        for entry, profile in devices
        for model, ref in refs.items()
    ]
    if not jobs:
        raise UsageError("no model is named", remedy="devicekit fleet run MODEL… --fleet fleet.toml")
    return FleetPlan(tuple(jobs), _absolute(making), measuring, threads, rounds, retry_s)


def read_plan(document: Mapping[str, Any], run_id: str) -> FleetPlan:
    """Returns the plan that was filed with a run. Raises UsageError where a model or profile has changed."""
    if document.get("version") != VERSION:
        raise UsageError(f"{run_id} has no plan to resume", remedy="start a new run: `devicekit fleet run`")
    models = {
        Path(one["path"]): ModelRef(one["name"], one["sha256"], one["kind"]) for one in document["models"]
    }
    for path, ref in models.items():
        if _ref(path).sha256 != ref.sha256:
            raise UsageError(
                f"{path} is not what {run_id} measured", remedy="start a new run: results would not mix"
            )
    jobs = []
    for one in document["devices"]:
        profile = load_profile(one["profile"])
        if profile.sha256 != one["profile_sha256"]:
            raise UsageError(
                f"the profile {profile.name} has changed since {run_id}",
                remedy="start a new run: results would not mix",
            )
        values = {key.name: one[key.name] for key in fields(Entry)}
        entry = Entry(**{**values, "tags": tuple(one["tags"])})
        jobs += [
            Job(path, entry, PlannedCell(ref, profile, entry.name, entry.address))
            for path, ref in models.items()
        ]
    making = document["making"]
    wishes = dict(document["measuring"])
    for name in ("benchmark_model", "wheels"):
        wishes[name] = None if wishes[name] is None else Path(wishes[name])
    return FleetPlan(
        tuple(jobs),
        Making(**{**making, "recipes": tuple(making["recipes"]), "custom_ops": tuple(making["custom_ops"])}),
        Measuring(**wishes),
        document["threads"],
        document["rounds"],
        document["retry_s"],
    )


def _absolute(making: Making) -> Making:
    """Returns the same with paths that hold in every folder; "FILE.py:FUNCTION" keeps its function."""

    def whole(text: str | Path | None) -> str | None:
        if text is None:
            return None
        path, colon, function = str(text).partition(".py:")
        return f"{Path(path + '.py').resolve()}:{function}" if colon else str(Path(text).resolve())

    return replace(
        making,
        data=whole(making.data),
        eval_function=whole(making.eval_function),
        custom_objects=whole(making.custom_objects),
    )


def _named(profile: Profile) -> str:
    """Returns what finds the profile again: its name in the library, or its file."""
    if profile.name in profile_names() and profile_path(profile.name) == profile.path:
        return profile.name
    return str(profile.path.resolve())


def _ref(model: Path) -> ModelRef:
    try:
        if not model.exists():
            raise LoadError(str(model), found="no such file or folder", remedy="check the path")
        return ModelRef(model_name(model), sha256_tree(model))
    except OSError as error:
        raise LoadError(str(model), found=error.strerror or str(error), remedy="make it readable") from error
