"""Files results: a folder or a file that appears whole or not at all, and overwrites nothing silently."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from devicekit.convert.source import Source
from devicekit.errors import UsageError
from devicekit.fit.candidate import Candidate
from devicekit.graph.inline import with_inline_buffers
from devicekit.graph.model import tensors_json
from devicekit.graph.read import read_graph
from devicekit.graph.state import begin_anew, state_json
from devicekit.pipeline.deployment import Conversion, Deployment
from devicekit.runner.micro import c_array
from devicekit.words import dumps

MANIFEST = "manifest.json"
REPORT = "report.json"
ARRAY = "model_data"  # the name that TFLM's examples use
CANDIDATES = "candidates"
WORST = "worst"


@dataclass(frozen=True)
class Place:
    """Where results will be (`target`), and the hidden folder beside it where they are made (`scratch`).

    `overwrite` says whether an older target of ours may go.
    """

    target: Path
    scratch: Path
    overwrite: bool


@contextmanager
def scratch(target: str | Path, *, overwrite: bool) -> Iterator[Place]:
    """Yields a Place for the folder `target`; what stays in its scratch folder is removed at the end.

    Raises UsageError where the folder exists (with `overwrite`: where it is none of ours), or cannot be
    written.
    """
    target = Path(target)
    with _writing(target):
        if target.resolve() == Path.cwd() or not target.name:
            raise UsageError(f"{target} is the current folder", remedy="name a folder in it: -o results")
        _refuse_existing(target, overwrite=overwrite)
        if target.exists() and not (target / MANIFEST).is_file() and not _is_empty_folder(target):
            raise UsageError(
                f"{target} was not made by devicekit: it has no {MANIFEST}",
                remedy="name another folder with -o",
            )
    with _scratch_beside(target) as folder:
        yield Place(target, folder, overwrite)


@contextmanager
def scratch_file(target: str | Path, *, overwrite: bool) -> Iterator[Place]:
    """Yields a Place for the file `target`, as `scratch` does for a folder."""
    target = Path(target)
    with _writing(target):
        if target.is_dir():
            raise UsageError(
                f"{target} is a folder; expected a file name", remedy=f"try -o {target}/model.tflite"
            )
        _refuse_existing(target, overwrite=overwrite)
    with _scratch_beside(target) as folder:
        yield Place(target, folder, overwrite)


def file_deployment(deployment: Deployment, place: Place, *, keep_all: bool) -> Deployment:
    """Writes the folder (chosen .tflite, manifest, report; all candidates with `keep_all`).

    Returns the deployment with the paths as they are then. Candidates that are not kept lose their path.
    Where another folder has appeared at the target meanwhile, the next free name is taken. Raises UsageError
    where the disk is full or refuses.
    """
    target = place.target if place.overwrite else _free(place.target)
    with _writing(target):
        made = place.scratch / "folder"
        made.mkdir()
        deployment = _fill(made, deployment, target=target, keep_all=keep_all)
        _put(made, target)
    return deployment


def file_conversion(conversion: Conversion, place: Place) -> Conversion:
    """Writes the chosen .tflite to the place's target; writes nothing where nothing was chosen.

    What runs outside the model comes beside it: NAME.preprocess.py for NAME.tflite; and its worst samples, as
    NAME.worst.npz. Raises UsageError where one of those exists already.
    """
    stem = place.target.stem
    worst = place.target.with_name(f"{stem}.{WORST}.npz")
    beside = [place.target.with_name(f"{stem}.{f.name}") for p in conversion.source.outside for f in p.files]
    for file in beside + ([worst] if conversion.chosen and conversion.chosen.worst else []):
        _refuse_existing(file, overwrite=place.overwrite)
    kept = []
    for candidate in conversion.candidates:
        path = None
        if candidate.status == "chosen" and candidate.path is not None:
            path = place.target
            with _writing(path):
                _refuse_existing(path, overwrite=place.overwrite)
                os.replace(candidate.path, path)
                if candidate.worst is not None:
                    os.replace(candidate.worst, worst)
        kept.append(_moved(candidate, path, worst if path and candidate.worst else None))
    source = conversion.source
    if conversion.chosen is not None:
        folder = place.target.parent
        with _writing(place.target):
            source = _outside_filed(source, folder, folder, place.target.stem)
    return replace(conversion, candidates=tuple(kept), source=source)


def _outside_filed(source: Source, made: Path, target: Path, name: str) -> Source:
    """Copies what runs outside the model into `made`, which will be `target`; returns it with its places."""
    filed = []
    for part in source.outside:
        for file in part.files:
            shutil.copyfile(file, made / f"{name}.{file.name}")
        filed.append(replace(part, files=tuple(target / f"{name}.{file.name}" for file in part.files)))
    return replace(source, outside=tuple(filed))


def _fill(made: Path, deployment: Deployment, *, target: Path, keep_all: bool) -> Deployment:
    """Writes everything into `made`, which will be `target`; returns the deployment as filed."""
    kept = []
    for candidate in deployment.candidates:
        inside: Path | None = None
        if candidate.path is not None and (candidate.status == "chosen" or keep_all):
            inside = Path(f"{deployment.name}.{candidate.recipe}.tflite")
            if candidate.status != "chosen":
                inside = CANDIDATES / inside
                (made / CANDIDATES).mkdir(exist_ok=True)
            shutil.move(candidate.path, made / inside)
            if candidate.status == "chosen" and deployment.profile.device.kind == "microcontroller":
                _write_array(made / inside, made)
        worst = None
        if candidate.worst is not None:
            worst = Path(WORST, f"{deployment.name}.{candidate.recipe}.npz")
            (made / WORST).mkdir(exist_ok=True)
            shutil.move(candidate.worst, made / worst)
        kept.append(
            _moved(
                candidate,
                None if inside is None else target / inside,
                None if worst is None else target / worst,
            )
        )
    deployment = replace(deployment, candidates=tuple(kept), folder=target)
    if any(candidate.path for candidate in kept):
        source = _outside_filed(deployment.source, made, target, deployment.name)
        deployment = replace(deployment, source=source)
    _write_json(made / MANIFEST, manifest(deployment, made))
    _write_json(made / REPORT, deployment.to_json())
    return deployment


def _write_array(tflite: Path, folder: Path) -> None:
    """Writes the model as an array for firmware beside it, its constants inside the flatbuffer."""
    state = begin_anew(read_graph(tflite))
    source, header = c_array(with_inline_buffers(tflite.read_bytes()), ARRAY, begin_anew=state)
    (folder / f"{ARRAY}.cc").write_text(source, encoding="ascii")
    (folder / f"{ARRAY}.h").write_text(header, encoding="ascii")


def manifest(deployment: Deployment, made: Path) -> dict[str, Any]:
    """Returns what identifies the chosen artifact and says how to feed it; `made` holds the file."""
    document = deployment.to_json()
    chosen = deployment.chosen
    schema = {"schema": document["schema"]}
    common = {
        "source": document["model"],
        "profile": document["profile"],
        "versions": document["versions"],
        "data": document["data"],
        "evidence": document["evidence"],
    }
    if chosen is None or chosen.path is None:
        return {**schema, "artifact": None, "error": document["error"], **common}
    return {
        **schema,
        "artifact": {
            "file": chosen.path.name,
            "recipe": chosen.recipe,
            "sha256": chosen.sha256,
            "size_bytes": chosen.size_bytes,
            **_tensors(made / chosen.path.name),
        },
        "outside": document["outside"],
        **{
            k: v for k, v in chosen.to_json().items() if k in ("findings", "fidelity", "measurement", "notes")
        },
        **common,
    }


def _tensors(path: Path) -> dict[str, Any]:
    graph = read_graph(path)
    return {
        "inputs": tensors_json(graph.input_tensors),
        "outputs": tensors_json(graph.output_tensors),
        "state": state_json(graph),
    }


def _moved(candidate: Candidate, path: Path | None, worst: Path | None) -> Candidate:
    """Returns the candidate with the paths of its files as filed, and the measurement named after it."""
    measurement = candidate.measurement
    if measurement is not None and path is not None:
        measurement = replace(measurement, model=path.name)
    return replace(candidate, path=path, golden=None, worst=worst, measurement=measurement)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(dumps(document) + "\n", encoding="utf-8")


def _put(made: Path, target: Path) -> None:
    """Moves the folder `made` to `target`. An older one goes only after the new one stands."""
    if not target.exists():
        made.rename(target)
        return
    older = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}.older.", dir=target.parent))
    try:
        target.rename(older)  # onto an empty folder: one step
        made.rename(target)
    except BaseException:
        if target.exists():
            older.rmdir()
        else:
            older.rename(target)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _free(target: Path) -> Path:
    """Returns `target`, or the first of target-2, target-3, … that does not exist."""
    others = (target.with_name(f"{target.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([target], others) if not _is_taken(path))


def _refuse_existing(target: Path, *, overwrite: bool) -> None:
    if _is_taken(target) and not overwrite:
        raise UsageError(f"{target} exists already", remedy="add --overwrite, or name another with -o")


def _is_taken(target: Path) -> bool:
    return (target.exists() or target.is_symlink()) and not _is_empty_folder(target)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turns what the system refuses while `target` is written into a UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror or error}", remedy="name another place with -o"
        ) from error


@contextmanager
def _scratch_beside(target: Path) -> Iterator[Path]:
    if not target.parent.exists():
        raise UsageError(f"{target.parent} does not exist", remedy=f"make it first: mkdir -p {target.parent}")
    with _writing(target.parent):
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}.", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
