"""Builds recipes from one float .tflite: files, proof, fidelity. The work happens in a child process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devicekit import progress
from devicekit.check.finding import Finding
from devicekit.child import ChildFailed, run_child
from devicekit.errors import LoadError
from devicekit.quantize.fidelity import Fidelity
from devicekit.quantize.recipes import RECIPES, known_recipe

ORIGINAL = "original"  # the candidate's name where the source is quantized already


@dataclass(frozen=True)
class Built:
    """What one recipe gave. `path` is None where no file came out; `findings` then say why.

    `golden` is a .npz of one sample: "in/<name>" as fed and "out/<name>" as the host computed it, in the
    file's own dtypes. `fidelity` is None where the file does not run, or where there is no float model to
    compare with.
    """

    recipe: str
    path: Path | None
    size_bytes: int | None
    sha256: str | None
    fidelity: Fidelity | None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    golden: Path | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class DataSummary:
    """What calibrated and scored the candidates; `source` is for the user: "calib.npz"."""

    source: str
    calibration_count: int
    evaluation_count: int
    is_random: bool
    has_labels: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class BuildResult:
    """Candidates in the order of the recipes asked for; a single "original" where the source is quantized."""

    candidates: tuple[Built, ...]
    data: DataSummary


def build(
    float_path: Path,
    recipes: Sequence[str],
    *,
    data: str | None,
    eval_function: str | None = None,
    out_dir: Path,
    threads: int = 2,
    timeout_s: float = 600,
    memory_bytes: int | None = None,
    table: Mapping[str, str] = RECIPES,
) -> BuildResult:
    """Returns what `recipes` make of the .tflite at `float_path`; files are out_dir/<recipe>.tflite.

    `data` names calibration and evaluation inputs, None for random ones; `eval_function` ("file.py:function")
    scores in place of labels. `timeout_s` bounds each step of one recipe, `memory_bytes` the child. `table`
    maps names to recipes ("module:attr"). A recipe that fails, crashes or hangs gives a Built with a finding;
    the others go on. Raises RecipeError, UsageError (the data), LoadError (the float model itself does not
    run).
    """
    for recipe in recipes:
        if recipe not in table:
            known_recipe(recipe)
    out_dir.mkdir(parents=True, exist_ok=True)
    request = {
        "float_path": str(float_path),
        "data": data,
        "eval_function": eval_function,
        "out_dir": str(out_dir),
        "threads": threads,
        "table": dict(table),
    }
    run = _Run(list(dict.fromkeys(recipes)))
    while run.remaining:
        try:
            child = run_child(
                "devicekit.quantize.worker",
                {**request, "recipes": run.remaining},
                timeout_s=timeout_s,
                memory_bytes=memory_bytes,
            )
            for event in child:
                run.take(event)
            break
        except ChildFailed as failure:
            run.fail(failure, float_path)
    assert run.data
    return BuildResult(tuple(run.built), run.data)


class _Run:
    """Collects the events of one or more children until every recipe has its outcome."""

    def __init__(self, recipes: list[str]) -> None:
        self.remaining = recipes
        self.total = len(recipes)
        self.built: list[Built] = []
        self.data: DataSummary | None = None
        self._current: str | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        if "data" in event:
            summary = event["data"]
            self.data = DataSummary(**{**summary, "notes": tuple(summary["notes"])})
        elif "started" in event:
            self._current = event["started"]
            progress.report("quantize", detail=event["started"], done=len(self.built), total=self.total)
        elif "built" in event:
            self._finish(built_from_json(event["built"]))

    def fail(self, failure: ChildFailed, float_path: Path) -> None:
        """Notes that the current recipe ended the child. Raises LoadError where it was the float model."""
        if not self.remaining:
            return
        if self._current is None:
            raise LoadError(
                float_path.name,
                found=f"running it failed: {failure.detail}",
                expected="a model that LiteRT runs",
                remedy="check the file with `devicekit inspect`, or convert it again",
            ) from failure
        detail = {"crashed": f"building it {failure.detail}", "timed out": f"timed out: {failure.detail}"}
        finding = Finding("build", detail.get(failure.reason, failure.detail), "choose another recipe")
        self._finish(Built(self._current, None, None, None, None, findings=(finding,)))

    def _finish(self, built: Built) -> None:
        self.built.append(built)
        self._current = None
        if built.recipe in self.remaining:
            self.remaining = [recipe for recipe in self.remaining if recipe != built.recipe]
        progress.report("quantize", detail=built.recipe, done=len(self.built), total=self.total)


def built_from_json(document: Mapping[str, Any]) -> Built:
    """Returns the Built that the worker sent."""
    fidelity = document["fidelity"]
    return Built(
        recipe=document["recipe"],
        path=Path(document["path"]) if document["path"] else None,
        size_bytes=document["size_bytes"],
        sha256=document["sha256"],
        fidelity=None if fidelity is None else Fidelity(**fidelity),
        findings=tuple(Finding(**finding) for finding in document["findings"]),
        notes=tuple(document["notes"]),
        golden=Path(document["golden"]) if document["golden"] else None,
        seconds=document["seconds"],
    )
