"""Whether bad files are caught and sound ones let pass: what `tools/bench quality` says.

Bad are the models of tests/bad, one each in a channel, a range, an index or labels. Sound is what
tests/zoo/check.py calls so, by numbers that the kit does not use, of all that the zoo and the legacy H5 files
become.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import devicekit
from devicekit.errors import DevicekitError
from devicekit.graph.ranges import random_inputs
from tests.bad import cases
from tests.zoo import check, drive
from tests.zoo.run import run_zoo

LEGACY = Path(__file__).parent.parent / "tests" / "data" / "legacy_h5"
SAMPLES, SEED = 64, 0
Say = Callable[..., None]
# A refusal: the file and its recipe, and the rules that it broke.
Refusal = tuple[str, Sequence[str]]


def quality(say: Say) -> None:
    """Says how many bad models were caught and named, and how many sound files were refused."""
    with tempfile.TemporaryDirectory(prefix="bench-quality-") as scratch:
        folder = Path(scratch)
        _caught(say, cases.built(folder))
        _refused(say, "legacy H5", list(_legacy(folder)))
        _refused(say, "zoo", list(_zoo(folder)))


def _caught(say: Say, folder: Path) -> None:
    missed = []
    for bad in cases.BAD:
        missing = cases.missing(bad, cases.said_of(bad, folder))
        missed += [f"{bad.data or bad.model} without {' and '.join(missing)}"] if missing else []
    text = f"{len(cases.BAD) - len(missed)} of {len(cases.BAD)} bad models caught and named"
    say("quality", f"{text} (goal: all){''.join(f'; {one}' for one in missed)}", met=not missed)


def _refused(say: Say, what: str, judged: Sequence[tuple[Refusal, bool]]) -> None:
    """`judged` are all files, each with whether it is sound."""
    false = [f"{name} by {', '.join(rules)}" for (name, rules), is_sound in judged if rules and is_sound]
    sound, refused = (sum(found) for found in zip(*((s, bool(r[1])) for r, s in judged), strict=True))
    text = f"{what}: {len(false)} of {sound} sound files refused, {refused} of {len(judged)} in all"
    say("quality", f"{text} (goal: 0){''.join(f'; {one}' for one in false)}", met=not false and bool(judged))


def _zoo(folder: Path) -> Iterator[tuple[Refusal, bool]]:
    results = run_zoo(folder, [], say=lambda line: None)
    for file, result in results["files"].items():
        for recipe, one in (result.get("recipes") or {}).items():
            if "sound" in one:
                yield (f"{file} {recipe}", one["refused"]), one["sound"]


def _legacy(folder: Path) -> Iterator[tuple[Refusal, bool]]:
    for path in sorted(LEGACY.glob("*/*.h5")):
        try:
            source = devicekit.convert(
                path, recipe="float32", path=folder / "float.tflite", overwrite=True, trust=True
            )
        except DevicekitError:
            continue
        samples = random_inputs(source.graph, 2 * SAMPLES, SEED)
        first, second = ({name: one[part] for name, one in samples.items()} for part in _HALVES)
        data = folder / "legacy.npz"
        np.savez(data, **first, **{f"{name}_eval": one for name, one in second.items()})
        made = devicekit.deploy(
            path,
            "pixel7",
            data=str(data),
            trust=True,
            device=drive.BriefDevice(),
            folder=folder / "legacy",
            overwrite=True,
            keep_all=True,
            store="",
            accept_data=True,
        )
        float32 = next(one for one in made.candidates if one.recipe == "float32")
        assert float32.path
        wanted = check.run(float32.path, second, check.NOTHING)
        for one in made.candidates:
            if one.path and one.fidelity and one is not float32:
                rules = [finding.rule for finding in one.findings if finding.rule.startswith("quality.")]
                yield (f"{path.parent.name}/{path.name} {one.recipe}", rules), _is_sound(one, second, wanted)


_HALVES = (slice(0, SAMPLES), slice(SAMPLES, 2 * SAMPLES))


def _is_sound(candidate: Any, samples: Any, wanted: Any) -> bool:
    found = check.run(candidate.path, samples, check.NOTHING)
    return all(check.is_sound(values, found[name]) for name, values in wanted.items())
