"""Drives one file through the whole kit, and checks what comes out: a process of its own for each file.

`python -m tests.zoo.drive MODEL OUT` with MODEL as build.py wrote it; leaves OUT/MODEL.json.
"""

import json
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import devicekit
from devicekit.device.local import LocalDevice
from devicekit.device.seam import Completed, DeviceFacts
from devicekit.errors import DevicekitError
from devicekit.pipeline.screening import thresholds
from devicekit.profile.lookup import load_profile
from devicekit.quantize.quality import MAX_STEP
from tests.zoo import check
from tests.zoo.table import ZOO, Entry

HERE = Path(__file__).parent


class BriefDevice:
    """This machine, which measures as briefly as it can: the zoo's latencies interest nobody.

    Given as an object it takes no lock, so two files are driven at once.
    """

    BRIEF: Mapping[str, str] = {"warmup_runs": "1", "warmup_s": "0", "runs": "3", "min_s": "0"}

    def __init__(self) -> None:
        self._device = LocalDevice()

    def push(self, local: Path, remote: str) -> None:
        self._device.push(local, remote)

    def pull(self, remote: str, local: Path) -> None:
        self._device.pull(remote, local)

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        keys = [word.partition("=")[0] for word in argv]
        brief = [
            f"{key}={self.BRIEF[key]}" if key in self.BRIEF else word
            for key, word in zip(keys, argv, strict=True)
        ]
        return self._device.run(brief, timeout_s=timeout_s)

    def describe(self) -> DeviceFacts:
        return replace(self._device.describe(), address="host")

    def close(self) -> None:
        self._device.close()


def drive(model: Path, out: Path, entry: Entry, layers: Sequence[str]) -> dict[str, Any]:
    """Returns what the kit did with a file: the outcome, its recipes, and every silent failure."""
    folder, device, start = out / f"{model.name}.out", BriefDevice(), time.monotonic()
    try:
        deployment = devicekit.deploy(
            model,
            HERE / "zoo.toml",
            data=None if entry.takes_text else f"{model}.data.npz",
            device=device,
            folder=folder,
            overwrite=True,
            keep_all=True,
            **options(entry),
        )
    except DevicekitError as error:
        return {"outcome": "refused", **told(error, layers), "seconds": time.monotonic() - start}
    finally:
        device.close()
    result = {
        "outcome": "converted",
        "kit_difference": deployment.source.max_difference,
        "rewrites": [rewrite.remedy for rewrite in deployment.source.rewrites],
        "notes": list(deployment.source.notes),
        "steps": dict(deployment.seconds),
        "seconds": time.monotonic() - start,
        **examined(deployment, model, entry, check.outside(folder)),
    }
    shutil.rmtree(folder)
    if deployment.error:
        result |= {"outcome": "refused", **told(deployment.error, layers)}
    if result["recipes"].get("float32", {}).get("problems"):
        result["outcome"] = "wrong"
    return result


def examined(deployment: Any, model: Path, entry: Entry, outside: check.Outside) -> dict[str, Any]:
    """Returns the recipes, each checked against what Keras recorded, and which parts run outside."""
    inputs, expected, halves = check.recorded(Path(f"{model}.npz"))
    expected = {name: values for name, values in expected.items() if name not in entry.random_outputs}
    recipes = {c.recipe: judged(c, inputs, expected, outside, entry) for c in deployment.candidates}
    for candidate in deployment.candidates:
        if halves and candidate.recipe == "float32" and recipes["float32"]["status"] == "good":
            found = check.examine(
                candidate.path, inputs, halves, recipe="float32", limit=entry.rounding, outside=outside
            )
            recipes["float32"]["problems"] += found["problems"]
    return {"recipes": recipes, "outside": [side for side in ("before", "after") if getattr(outside, side)]}


def options(entry: Entry) -> dict[str, Any]:
    """Returns what this model needs to be told."""
    given: dict[str, Any] = {}
    if entry.trust:
        given["trust"] = True
    if entry.custom:
        given["custom_objects"] = HERE / "custom.py"
    if entry.shapes:
        given["shapes"] = entry.shapes
    return given


def judged(
    candidate: Any, inputs: check.Arrays, expected: check.Arrays, outside: check.Outside, entry: Entry
) -> dict[str, Any]:
    """Returns status and numbers of a candidate; "problems" are those of a file that the kit calls good."""
    cosine = candidate.fidelity.cosine if candidate.fidelity else None
    result = {
        "status": "good" if candidate.status in ("fits", "chosen") else candidate.status,
        "kit_cosine": cosine,
        "findings": [finding.detail for finding in candidate.findings],
        "problems": [],
    }
    if candidate.path and candidate.fidelity:
        result |= verdict(candidate, inputs, expected, outside)
    if result["status"] == "good":
        result |= check.examine(
            candidate.path,
            inputs,
            expected,
            recipe=candidate.recipe,
            cosine=cosine,
            outside=outside,
            is_stateful=entry.is_stateful,
        )
    return result


def verdict(
    candidate: Any, inputs: check.Arrays, expected: check.Arrays, outside: check.Outside
) -> dict[str, Any]:
    """Returns by which rules of channels and steps pixel7 would refuse a file, and whether it is sound."""
    misses = list(thresholds(load_profile("pixel7")).misses(candidate.fidelity))
    # Whole outputs are judged as ever: channels and steps are what may be new.
    refused = [miss.rule for miss in misses if miss.rule == MAX_STEP or (miss.where and "[" in miss.where)]
    try:
        actual = check.run(candidate.path, inputs, outside)
    except Exception:  # LiteRT's, or that of what the kit wrote around the file
        return {"refused": refused, "sound": False}
    pairs = check.paired(expected, actual)
    is_sound = len(pairs) == len(expected) and not list(check.misshapen(pairs))
    is_sound = is_sound and all(check.is_sound(*pair) for pair in pairs.values())
    return {"refused": refused, "sound": is_sound}


def told(error: DevicekitError, layers: Sequence[str]) -> dict[str, Any]:
    """Returns the error as the user reads it, and the layer that it names; None where it names none."""
    named = [name for name in layers if re.search(rf"(?<![\w/.]){re.escape(name)}(?![\w.])", error.message)]
    named += [finding.layer for finding in getattr(error, "findings", ()) if finding.layer]
    return {
        "kind": error.kind,
        "message": error.message,
        "remedy": error.remedy,
        "layer": max(named, key=len, default=None),
    }


def main() -> None:
    model, out = Path(sys.argv[1]), Path(sys.argv[2])
    layers = json.loads((model.parent / f"built{model.suffix}.json").read_text())[model.stem]["layers"]
    result = drive(model, out, ZOO[model.stem], layers)
    (out / f"{model.name}.json").write_text(json.dumps(result, default=float))


if __name__ == "__main__":
    main()
