"""Artifacts of a fleet run: built once per distinct need of the profiles, and kept in the cache."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from devicekit import progress
from devicekit.cache import cached, key_of, sha256_tree
from devicekit.convert.source import convert_source
from devicekit.device.temporary import folder_prefix
from devicekit.errors import DevicekitError, DoesNotFit
from devicekit.fit.budgets import Budgets
from devicekit.fit.candidate import Candidate
from devicekit.fit.choose import choose, nearest_miss
from devicekit.fleet.plan import FleetPlan, Job
from devicekit.fleet.rows import NEVER, on_row
from devicekit.pipeline.deployment import runtime_versions
from devicekit.pipeline.making import Making
from devicekit.pipeline.screening import quantized, screen
from devicekit.profile.schema import Profile
from devicekit.quantize.fidelity import Fidelity
from devicekit.words import VERSION

# Raise it when the same model and data would come out otherwise: it is part of the cache's key.
CHOSEN_BY = 2
# The tables of a profile that decide which artifact fits it; its name, calibration and sources do not.
_NEEDS = ("runtime", "limits", "ops", "quality", "recipes")
_GOLDEN, _FACTS = "golden.npz", "facts.json"


@dataclass(frozen=True)
class Artifact:
    """A .tflite for a device: the candidate that was chosen, and the versions of what made it.

    `miss` and `remedy` say why there is none: then `candidate` is the nearest miss.
    """

    candidate: Candidate
    versions: Mapping[str, str]
    miss: str = ""
    remedy: str = ""

    def refuse_unfit(self, job: Job) -> None:
        """Raises DoesNotFit where nothing fits the job's profile."""
        if self.miss:
            raise DoesNotFit(job.model.name, job.profile.name, nearest_miss=self.miss, remedy=self.remedy)


def need_of(job: Job) -> str:
    """Returns what is the same for two jobs that take the same artifact."""
    profile = job.profile.model_dump(mode="json", by_alias=True, include={*_NEEDS})
    profile["kind"] = job.profile.device.kind
    profile["limits"].pop("latency_ms")  # nothing is measured here
    return json.dumps([job.cell.model.sha256, str(job.model), profile], sort_keys=True)


def build_artifact(job: Job, making: Making, keep: Path) -> Artifact:
    """Returns the artifact that fits the job's profile, chosen without measuring: the smallest where
    the profile prefers latency (fit.choose). `keep` is a folder for what the cache cannot tell apart.

    Raises ModelError, RecipeError, UsageError.
    """
    profile = making.applied_to(job.profile)
    key = _key(job, making)
    if key is None:  # an own function may read anything: nothing tells whether it is still the same
        folder = Path(tempfile.mkdtemp(prefix=folder_prefix(), dir=keep))
        _build(job, profile, making, folder)
    else:
        folder, _ = cached("fleet", key, lambda folder: _build(job, profile, making, folder))
    return _read(folder)


def build_all(
    plan: FleetPlan, left: Sequence[Job], artifacts: Mapping[str, Future[Artifact]], keep: Path
) -> None:
    """Fulfils each need's future, in the order of the jobs: with the artifact, or why there is none.

    `keep` is a folder that lives as long as the run.
    """
    for job in left:
        wanted = artifacts[need_of(job)]
        if wanted.done():
            continue
        try:
            with on_row("artifacts", NEVER):
                wanted.set_result(build_artifact(job, plan.making, keep))
        except Exception as error:
            wanted.set_exception(failure_of(error))
    progress.report("artifacts", detail=f"{len(artifacts)} built, or there before", done=1, total=1)


def _key(job: Job, making: Making) -> str | None:
    if any(text and ".py:" in text for text in (making.data, making.eval_function)) or making.custom_objects:
        return None
    data = Path(making.data) if making.data else None
    return key_of(
        {
            "need": need_of(job),
            "making": json.dumps(asdict(making), sort_keys=True),
            "data": sha256_tree(data) if data and data.exists() else None,
            "kit": VERSION,
            "chosen_by": CHOSEN_BY,
            "versions": json.dumps(runtime_versions()),
        }
    )


def _build(job: Job, profile: Profile, making: Making, folder: Path) -> None:
    """Fills `folder` with the artifact and what is known of it."""
    source = convert_source(job.model, flex=profile.ops.flex, **making.loading())
    with tempfile.TemporaryDirectory(prefix=folder_prefix()) as scratch:
        built = quantized(source, profile.recipes.try_, making, profile=profile, out_dir=Path(scratch))
        budgets = Budgets(
            min_cosine=making.min_cosine,
            min_top1_agreement=making.min_top1_agreement,
            max_step=making.max_step,
        )
        screened = screen(profile, built.candidates, source.layers, budgets)
        candidates = choose(screened, profile.recipes.prefer)
        chosen = next((one for one in candidates if one.status == "chosen"), None)
        miss, remedy = ("", "") if chosen else nearest_miss(candidates)
        best = chosen or candidates[0]
        if chosen and chosen.path:
            shutil.copyfile(chosen.path, folder / f"{job.cell.model.name}.tflite")
        if chosen and chosen.golden:
            shutil.copyfile(chosen.golden, folder / _GOLDEN)
        facts = {
            "candidate": best.to_json(),
            "miss": miss,
            "remedy": remedy,
            "versions": {**runtime_versions(), **source.versions},
        }
        (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _read(folder: Path) -> Artifact:
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    one = facts["candidate"]
    candidate = Candidate(
        recipe=one["recipe"],
        path=next(folder.glob("*.tflite"), None),
        size_bytes=one["size_bytes"],
        sha256=one["sha256"],
        status=one["status"],
        fidelity=None if one["fidelity"] is None else Fidelity.from_json(one["fidelity"]),
        golden=folder / _GOLDEN if (folder / _GOLDEN).is_file() else None,
        made_up_ranges=one["made_up_ranges"],
        notes=tuple(one["notes"]),
    )
    return Artifact(candidate, facts["versions"], facts["miss"], facts["remedy"])


def shipped(artifact: Artifact) -> tuple[Artifact, bytes, bytes | None]:
    """Returns an artifact as it travels to another host: without folders, and its files' bytes."""
    candidate = artifact.candidate
    files = [path.read_bytes() if path else None for path in (candidate.path, candidate.golden)]
    bare = replace(candidate, path=candidate.path and Path(candidate.path.name), golden=None)
    return replace(artifact, candidate=bare), files[0] or b"", files[1]


def received(artifact: Artifact, model: bytes, golden: bytes | None, folder: Path) -> Artifact:
    """Returns the artifact with its files in `folder`."""
    path = folder / (artifact.candidate.path or Path("model.tflite")).name
    path.write_bytes(model)
    if golden is not None:
        (folder / _GOLDEN).write_bytes(golden)
    candidate = replace(
        artifact.candidate, path=path, golden=folder / _GOLDEN if golden is not None else None
    )
    return replace(artifact, candidate=candidate)


def failure_of(error: BaseException) -> DevicekitError:
    """Returns what a step raised as an error of ours: one that nobody foresaw is a row too."""
    if isinstance(error, DevicekitError):
        return error
    return DevicekitError(
        f"devicekit failed in a way it should not: {type(error).__name__}: {error}",
        remedy="run it on this device alone with --debug and report what it prints",
    )
