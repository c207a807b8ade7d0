"""Subject: one of the models that are compared, a .tflite or what an output folder of `deploy` holds."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devicekit import measurement as measurements
from devicekit.cache import sha256_file
from devicekit.convert.container import format_of
from devicekit.errors import LoadError
from devicekit.graph.arena import ArenaPlan, plan_arena
from devicekit.graph.macs import macs, parameters
from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.measurement import Measurement
from devicekit.pipeline.output import MANIFEST, REPORT

_DEPLOY_AGAIN = "deploy it again, or name the .tflite itself"


@dataclass(frozen=True)
class Recorded:
    """What an output folder says of its artifact. `machine` tells devices of one address apart."""

    measurement: Measurement
    machine: str


@dataclass(frozen=True)
class Subject:
    """`label` is its column ("A"), `name` what the caller named. `recipe` and `recorded` are None for a file
    that nothing is known of. `ops` counts operators of all subgraphs by name."""

    label: str
    name: str
    path: Path
    graph: Graph
    arena: ArenaPlan
    parameters: int
    macs: int | None
    ops: Counter[str]
    recipe: str | None
    recorded: Recorded | None


def read_subject(label: str, name: str | Path) -> Subject:
    """Returns the model that `name` stands for: a .tflite, or the chosen one of an output folder.

    Raises LoadError for a Keras model, a folder that is none of ours or holds nothing, and a broken file.
    """
    path, recipe, recorded = Path(name), None, None
    if path.is_dir():
        path, recipe, recorded = _chosen(path)
    _refuse_keras(path)
    graph = read_graph(path)
    return Subject(
        label=label,
        name=str(name),
        path=path,
        graph=graph,
        arena=plan_arena(graph),
        parameters=parameters(graph),
        macs=macs(graph),
        ops=Counter(op.label for op in graph.ops),
        recipe=recipe or _recipe_beside(path, graph.sha256),
        recorded=recorded,
    )


def _refuse_keras(path: Path) -> None:
    if format_of(path) != "tflite":
        raise LoadError(
            str(path),
            found="is a Keras model",
            expected="a .tflite or an output folder of `devicekit deploy`",
            remedy=f"convert it first: devicekit convert {path}",
        )


def _chosen(folder: Path) -> tuple[Path, str, Recorded | None]:
    """Returns the file, the recipe and the recorded measurement of what an output folder holds."""
    _refuse_foreign(folder)
    report = _read_json(folder / REPORT)
    try:
        chosen = report["chosen"]
        if chosen is None:
            raise LoadError(str(folder), found="nothing fit, so it holds no .tflite", remedy=_DEPLOY_AGAIN)
        path = folder / Path(chosen["path"]).name
        recipe = str(chosen["recipe"])
        [candidate] = [one for one in report["candidates"] if one["recipe"] == recipe]
        sha256 = str(chosen["sha256"])
        recorded = _recorded(candidate["measurement"], report["device"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LoadError(str(folder / REPORT), found="is no report of deploy", remedy=_DEPLOY_AGAIN) from error
    if path.is_file() and sha256_file(path) != sha256:
        raise LoadError(
            str(path),
            found=f"is not the file that {REPORT} describes (SHA-256 differs)",
            remedy=_DEPLOY_AGAIN,
        )
    return path, recipe, recorded


def _refuse_foreign(folder: Path) -> None:
    if (folder / "saved_model.pb").is_file():
        _refuse_keras(folder)
    if not (folder / MANIFEST).is_file() or not (folder / REPORT).is_file():
        missing = MANIFEST if not (folder / MANIFEST).is_file() else REPORT
        raise LoadError(
            str(folder),
            found=f"was not made by devicekit: it has no {missing}",
            remedy="name a .tflite, or an output folder of `devicekit deploy`",
        )


def _recorded(measurement: Any, device: Any) -> Recorded | None:
    if measurement is None:
        return None
    machine = ", ".join(str(device[key]) for key in ("address", "model", "soc") if device.get(key))
    return Recorded(measurements.from_json(measurement), machine)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(str(path), found="cannot be read as JSON", remedy=_DEPLOY_AGAIN) from error


def _recipe_beside(path: Path, sha256: str) -> str | None:
    """Returns the recipe that a manifest beside the file names for it; None where none does."""
    try:
        artifact = json.loads((path.parent / MANIFEST).read_text(encoding="utf-8"))["artifact"]
        return str(artifact["recipe"]) if artifact["sha256"] == sha256 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
