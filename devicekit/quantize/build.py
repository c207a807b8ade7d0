"""Builds recipes from one float .tflite: files, proof, fidelity. The work happens in a child process."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devicekit import progress
from devicekit.cache import sha256_file
from devicekit.child import ChildFailed, default_memory_bytes, run_child
from devicekit.errors import DevicekitError, LoadError, UsageError
from devicekit.finding import Finding
from devicekit.graph.told import NOTHING_TOLD, Told
from devicekit.quantize.fidelity import Fidelity
from devicekit.quantize.quality import Thresholds
from devicekit.quantize.recipes import RECIPES, known_recipe

ORIGINAL = "original"  # the candidate's name where the source is quantized already

# What scoring one candidate may take: int16x8 needs half a second per sample of a ResNet50, as it has no fast
# kernels on x86 (measured, November 2026).
EVALUATION_S = 20.0


@dataclass(frozen=True)
class Built:
    """What one recipe gave. `path` is None where no file came out; `findings` then say why.

    `golden` is a .npz of one sample: "in/<name>" as fed and "out/<name>" as the host computed it, in the
    file's own dtypes. `fidelity` is None where the file does not run, or where there is no float model to
    compare with. `made_up_ranges` says that its ranges are those of random inputs, or of inputs
    that may have been stretched wrongly. `worst` is a .npz of the samples on which it is furthest from the
    float model.
    """

    recipe: str
    path: Path | None
    size_bytes: int | None
    sha256: str | None
    fidelity: Fidelity | None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    golden: Path | None = None
    made_up_ranges: bool = False
    worst: Path | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class DataSummary:
    """What calibrated and scored the candidates; `source` is for the user: "calib.npz".

    `warnings` are to be read before any number.
    """

    source: str
    calibration_count: int
    evaluation_count: int
    is_random: bool
    has_labels: bool
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildResult:
    """Candidates in the order of the recipes asked for; a single "original" where the source is quantized."""

    candidates: tuple[Built, ...]
    data: DataSummary


def build(
    float_path: Path,
    recipes: Sequence[str],
    *,
    data: str | Path | None,
    eval_function: str | Path | None = None,
    out_dir: Path,
    second_source: str | None,
    threads: int = 2,
    timeout_s: float = 600,
    evaluation_s: float = EVALUATION_S,
    memory_bytes: int | None = None,
    wanted: Thresholds | None = None,
    dense_version: int | None = None,
    told: Mapping[str, Told] = NOTHING_TOLD,
    accept_data: bool = False,
    keep_worst: int = 0,
    table: Mapping[str, str] = RECIPES,
) -> BuildResult:
    """Returns what `recipes` make of the .tflite at `float_path`; files are out_dir/<recipe>.tflite.

    `data` names calibration and evaluation inputs, None for random ones; `eval_function` ("file.py:function")
    scores in place of labels. `timeout_s` bounds each step of one recipe, `evaluation_s` the samples that one
    candidate is scored on (as many as it can run in that time, one at least), `memory_bytes` the child (None:
    three quarters of this machine's memory). Where int8 or int8_float_io misses what is `wanted`, a candidate
    RECIPE_mixed with a few ops in float follows it, or a note says why not. `dense_version` is the highest
    version of FULLY_CONNECTED that the runtime knows (None: any): dense weights get one scale each where one
    per channel needs a higher one. `second_source` is the child module that makes int8 where litert-quantizer
    cannot, None for none. `told` are the ranges of inputs that the model itself tells. `accept_data` goes on
    with data that the float model makes nothing of. `keep_worst` samples of each recipe, those furthest
    from the float model, are written beside it. `table` maps names to recipes ("module:attr"). A recipe that
    fails, crashes or hangs, or that `eval_function` cannot score, gives a Built with a finding; the others go
    on.
    Raises RecipeError, UsageError (the data, or the function on the float model), LoadError (the float model
    itself does not run).
    """
    for recipe in recipes:
        if recipe not in table:
            known_recipe(recipe)
    out_dir.mkdir(parents=True, exist_ok=True)
    request = {
        "float_path": str(float_path),
        "data": None if data is None else str(data),
        "eval_function": None if eval_function is None else str(eval_function),
        "out_dir": str(out_dir),
        "threads": threads,
        "evaluation_s": evaluation_s,
        "timeout_s": timeout_s,
        "wanted": None if wanted is None else asdict(wanted),
        "dense_version": dense_version,
        "second_source": second_source,
        "told": {name: one.to_json() for name, one in told.items()},
        "accept_data": accept_data,
        "keep_worst": keep_worst,
        "table": dict(table),
    }
    run = _Run(list(dict.fromkeys(recipes)))
    while run.remaining:
        try:
            child = run_child(
                "devicekit.quantize.worker",
                {**request, "recipes": run.remaining},
                timeout_s=timeout_s,
                memory_bytes=default_memory_bytes() if memory_bytes is None else memory_bytes,
            )
            for event in child:
                run.take(event)
            break
        except ChildFailed as failure:
            run.fail(failure, float_path)
    assert run.data
    return BuildResult(tuple(run.built), run.data)


def unverified(float_path: Path, why: str, *, out_dir: Path) -> BuildResult:
    """Returns the float model as the only candidate: nothing here can run it, so nothing was compared."""
    path = out_dir / "float32.tflite"
    shutil.copyfile(float_path, path)
    built = Built(
        recipe="float32",
        path=path,
        size_bytes=path.stat().st_size,
        sha256=sha256_file(path),
        fidelity=None,
        notes=(f"not verified: {why}",),
    )
    return BuildResult((built,), DataSummary("no inputs", 0, 0, is_random=False, has_labels=False, notes=()))


class _Run:
    """Collects the events of one or more children until every recipe has its outcome."""

    def __init__(self, recipes: list[str]) -> None:
        self.remaining = recipes
        self.total = len(recipes)
        self.built: list[Built] = []
        self.data: DataSummary | None = None
        self._current: str | None = None
        self._is_running = False
        self._reading: str | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        if "reading" in event:
            self._reading = event["reading"]
        elif "data" in event:
            summary = event["data"]
            self.data = DataSummary(**summary | {key: tuple(summary[key]) for key in ("notes", "warnings")})
        elif "started" in event:
            self._current, self._is_running = event["started"], False
            self._report(event["started"])
        elif "running" in event:
            self._is_running = True
        elif "built" in event:
            self._finish(built_from_json(event["built"]))

    def fail(self, failure: ChildFailed, float_path: Path) -> None:
        """Notes that the current recipe ended the child. Raises where it was no recipe: see `_culprit`."""
        if not self.remaining:
            return
        if self._current is None:
            raise self._culprit(failure, float_path) from failure
        rule, doing = ("loads", "running it") if self._is_running else ("build", "building it")
        detail = {"crashed": f"{doing} {failure.detail}", "timed out": f"timed out: {failure.detail}"}
        finding = Finding(rule, detail.get(failure.reason, failure.detail), "choose another recipe")
        self._finish(Built(self._current, None, None, None, None, findings=(finding,)))

    def _culprit(self, failure: ChildFailed, float_path: Path) -> DevicekitError:
        """Returns whose fault it was before any recipe: the user's data or function, or the float model."""
        if self._reading is not None:
            name = Path(self._reading).name
            return UsageError(
                f"{name}: using it failed: {failure.detail}", remedy=f"correct {name}, or give fewer samples"
            )
        return LoadError(
            float_path.name,
            found=f"running it failed: {failure.detail}",
            expected="a model that LiteRT runs",
            remedy="check the file with `devicekit inspect`, or convert it again",
        )

    def _finish(self, built: Built) -> None:
        places = [place for place, one in enumerate(self.built) if one.recipe == built.recipe]
        if places:
            self.built[places[0]] = built
        else:
            self.built.append(built)
        self._current = None
        if built.recipe in self.remaining:
            self.remaining = [recipe for recipe in self.remaining if recipe != built.recipe]
        self._report(built.recipe)

    def _report(self, recipe: str) -> None:
        done = self.total - len(self.remaining)
        progress.report("quantize", detail=recipe, done=done, total=self.total)


def built_from_json(document: Mapping[str, Any]) -> Built:
    """Returns the Built that the worker sent."""
    fidelity = document["fidelity"]
    told = {
        **{name: document[name] and Path(document[name]) for name in ("path", "golden", "worst")},
        "fidelity": fidelity and Fidelity.from_json(fidelity),
        "findings": tuple(Finding(**finding) for finding in document["findings"]),
        "notes": tuple(document["notes"]),
    }
    return Built(**{**document, **told})
