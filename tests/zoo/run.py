"""Runs the zoo: builds every file, drives as many at a time as there are CPUs, and gathers what came out."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.zoo.table import ZOO

ROOT = Path(__file__).parents[2]
WRITERS = {".h5": "tf_keras", ".keras": "keras"}
AT_ONCE = max(2, os.cpu_count() or 2)


def run_zoo(
    folder: Path, names: Sequence[str] = (), *, only: Sequence[str] = (), say: Any = lambda line: None
) -> dict[str, Any]:
    """Returns {"files": {file: what drive.py says}, "built": {file: what build.py says}, "seconds": …}.

    `folder` takes the models, and a cache of its own: nothing comes from an earlier run. `only` are the files
    of `names` to take, in place of all.
    """
    start = time.monotonic()
    chosen = {
        suffix: [name for name in names or ZOO if not only or f"{name}{suffix}" in only] for suffix in WRITERS
    }
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DEVICEKIT_CACHE_DIR": str(folder / "cache"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = pool.map(lambda suffix: (suffix, build(suffix, folder, chosen[suffix], environment)), WRITERS)
        built = dict(made)
        build_seconds = time.monotonic() - start
        files = [f"{name}{suffix}" for name in names or ZOO for suffix in WRITERS if name in built[suffix]]

        def one(file: str) -> tuple[str, dict[str, Any]]:
            facts = built[Path(file).suffix][Path(file).stem]
            result = drive(folder / file, folder, environment) if "error" not in facts else unsaved(facts)
            say(f"{file:32} {in_short(result)}")
            return file, result

        results = dict(pool.map(one, files))
    return {
        "files": results,
        "built": {f"{name}{s}": facts for s in WRITERS for name, facts in built[s].items()},
        "build_seconds": build_seconds,
        "seconds": time.monotonic() - start,
    }


def build(suffix: str, folder: Path, names: Sequence[str], environment: dict[str, str]) -> dict[str, Any]:
    if not names:
        return {}
    argv = [sys.executable, "-m", "tests.zoo.build", WRITERS[suffix], str(folder), *names]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"building with {WRITERS[suffix]} failed:\n{done.stderr[-3000:]}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    (folder / f"built{suffix}.json").write_text(json.dumps(facts))
    return facts


def drive(model: Path, out: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Returns what drive.py says of a file; "crashed" where it died, or the kit raised what it must not."""
    argv = [sys.executable, "-m", "tests.zoo.drive", str(model), str(out)]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return {"outcome": "crashed", "message": f"exit code {done.returncode}: {last}"}
    result: dict[str, Any] = json.loads((out / f"{model.name}.json").read_text())
    return result


def unsaved(facts: dict[str, Any]) -> dict[str, Any]:
    return {"outcome": "not saved", "message": facts["error"]}


def in_short(result: dict[str, Any]) -> str:
    recipes = result.get("recipes", {})
    good = [name for name, one in recipes.items() if one["status"] == "good"]
    problems = [f"{name}: {p}" for name, one in recipes.items() for p in one["problems"]]
    words = result["message"][-160:] if "message" in result else f"{', '.join(good)}"
    return f"{result['outcome']:10} {result.get('seconds', 0):5.1f} s  {words}  {'; '.join(problems)}"
