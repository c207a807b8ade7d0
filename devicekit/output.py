"""Files results: a folder or a file that appears whole or not at all, and overwrites nothing silently."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from devicekit.deployment import Conversion, Deployment
from devicekit.document import dumps
from devicekit.errors import UsageError
from devicekit.fit import Candidate

MANIFEST = "manifest.json"
REPORT = "report.json"
CANDIDATES = "candidates"


@dataclass(frozen=True)
class Place:
    """Where results will be (`target`), and the hidden folder beside it where they are made (`scratch`)."""

    target: Path
    scratch: Path


@contextmanager
def scratch(target: str | Path, *, overwrite: bool) -> Iterator[Place]:
    """Yields a Place for the folder `target`; what stays in its scratch folder is removed at the end.

    Raises UsageError where the folder exists (with `overwrite`: where it is none of ours), or cannot be
    written.
    """
    target = Path(target)
    if target.exists() or target.is_symlink():
        if not overwrite:
            raise UsageError(f"{target} exists already", remedy="add --overwrite, or name another with -o")
        if not (target / MANIFEST).is_file() and not _is_empty_folder(target):
            raise UsageError(
                f"{target} was not made by devicekit: it has no {MANIFEST}",
                remedy="name another folder with -o",
            )
    with _scratch_beside(target) as folder:
        yield Place(target, folder)


@contextmanager
def scratch_file(target: str | Path, *, overwrite: bool) -> Iterator[Place]:
    """Yields a Place for the file `target`, as `scratch` does for a folder."""
    target = Path(target)
    if target.is_dir():
        raise UsageError(
            f"{target} is a folder; expected a file name", remedy=f"try -o {target}/model.tflite"
        )
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already", remedy="add --overwrite, or name another with -o")
    with _scratch_beside(target) as folder:
        yield Place(target, folder)


def file_deployment(deployment: Deployment, place: Place, *, keep_all: bool) -> Deployment:
    """Writes the folder (chosen .tflite, manifest, report; all candidates with `keep_all`).

    Returns the deployment with the paths as they are then. Candidates that are not kept lose their path.
    """
    made = place.scratch / "folder"
    made.mkdir()
    kept = []
    for candidate in deployment.candidates:
        inside: Path | None = None
        if candidate.path is not None and (candidate.status == "chosen" or keep_all):
            inside = Path(f"{deployment.name}.{candidate.recipe}.tflite")
            if candidate.status != "chosen":
                inside = CANDIDATES / inside
                (made / CANDIDATES).mkdir(exist_ok=True)
            shutil.move(candidate.path, made / inside)
        kept.append(_moved(candidate, None if inside is None else place.target / inside))
    deployment = replace(deployment, candidates=tuple(kept), folder=place.target)
    _write_json(made / MANIFEST, manifest(deployment, made))
    _write_json(made / REPORT, deployment.to_json())
    _replace_folder(made, place)
    return deployment


def file_conversion(conversion: Conversion, place: Place) -> Conversion:
    """Writes the chosen .tflite to the place's target; writes nothing where nothing was chosen."""
    kept = []
    for candidate in conversion.candidates:
        path = None
        if candidate.status == "chosen" and candidate.path is not None:
            path = place.target
            os.replace(candidate.path, path)
        kept.append(_moved(candidate, path))
    return replace(conversion, candidates=tuple(kept))


def manifest(deployment: Deployment, made: Path) -> dict[str, Any]:
    """Returns what identifies the chosen artifact and says how to feed it; `made` holds the file."""
    document = deployment.to_json()
    chosen = deployment.chosen
    common = {
        "schema": document["schema"],
        "source": document["model"],
        "profile": document["profile"],
        "versions": document["versions"],
        "data": document["data"],
        "evidence": document["evidence"],
    }
    if chosen is None or chosen.path is None:
        return {"artifact": None, "error": document["error"], **common}
    return {
        "artifact": {
            "file": chosen.path.name,
            "recipe": chosen.recipe,
            "sha256": chosen.sha256,
            "size_bytes": chosen.size_bytes,
            **_tensors(made / chosen.path.name),
        },
        **{
            k: v for k, v in chosen.to_json().items() if k in ("findings", "fidelity", "measurement", "notes")
        },
        **common,
    }


def _tensors(path: Path) -> dict[str, Any]:
    from devicekit.graph.read import read_graph
    from devicekit.inspect import tensors_json

    graph = read_graph(path)
    return {"inputs": tensors_json(graph.input_tensors), "outputs": tensors_json(graph.output_tensors)}


def _moved(candidate: Candidate, path: Path | None) -> Candidate:
    """Returns the candidate with the path of its file as filed, and the measurement named after it."""
    measurement = candidate.measurement
    if measurement is not None and path is not None:
        measurement = replace(measurement, model=path.name)
    return replace(candidate, path=path, golden=None, measurement=measurement)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(dumps(document) + "\n", encoding="utf-8")


def _replace_folder(made: Path, place: Place) -> None:
    """Moves `made` to the target. An older folder goes only after the new one stands."""
    if place.target.exists():
        place.target.rename(place.scratch / "older")
    made.rename(place.target)


@contextmanager
def _scratch_beside(target: Path) -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise UsageError(
            f"{target.parent} cannot be written: {error.strerror}", remedy="name another place with -o"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
