"""Prints each promised number as a ratio from one run: goal, what was measured, verdict. Never a timed test.

Every comparison alternates its two sides, so that a noisy machine disturbs both alike.
"""

import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BIN = ROOT / ".venv" / "bin"
CACHE = ROOT / ".cache" / "bench"

ALL_RECIPES = """schema = 1
extends = "pixel7"
title = "all recipes, no limits"
[limits]
model_mib = 1000
memory_mib = 2000
[quality]
min_cosine = 0.0
min_top1_agreement = 0.0
max_step = 1000
[recipes]
try = ["float32", "float16", "dynamic_int8", "weight_int8", "weight_int4", "int8", "int8_float_io", "int16x8"]
"""

MAKE_MOBILENET = """
import sys, tf_keras
tf_keras.applications.MobileNetV2(weights=None).save(sys.argv[1])
"""

# What somebody writes without the kit: load the file, convert it once to float.
PLAIN_CONVERSION = """
import sys, tensorflow as tf, tf_keras
model = tf_keras.models.load_model(sys.argv[1], compile=False)
open(sys.argv[2], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""

# The wheel's own litert-benchmark, but for its rounding to 0.01 ms, which hides a 10 µs model.
UNROUNDED_BENCHMARK = """
from ai_edge_litert.tools import benchmark_litert_model as tool
tool.round = lambda value, digits=None: value
tool.main()
"""


def seconds(argv: Sequence[str | Path], **env: str) -> float:
    """Returns the wall time of one command that must succeed."""
    start = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, **env})
    return time.perf_counter() - start


def alternating(left: Callable[[], float], right: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Returns the medians of both sides over `rounds` pairs."""
    pairs = [(left(), right()) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def say(name: str, text: str, *, met: bool) -> None:
    print(f"{'met   ' if met else 'MISSED'}  {name:<9} {text}", flush=True)


def bench_help() -> None:
    ours, click = alternating(
        lambda: seconds([BIN / "devicekit", "--help"]),
        lambda: seconds([BIN / "python", "-c", "import click"]),
        30,
    )
    ratio = ours / click
    text = (
        f"devicekit --help / import click: {ratio:.2f} (goal ≤ 1.5; {ours * 1e3:.0f} / {click * 1e3:.0f} ms)"
    )
    say("help", text, met=ratio <= 1.5)


def bench_profiles() -> None:
    took = statistics.median(seconds([BIN / "devicekit", "profile", "list"]) for _ in range(7))
    say("profiles", f"devicekit profile list: {took:.2f} s (goal < 0.5 s)", met=took < 0.5)


def mobilenet_h5() -> Path:
    path = CACHE / "mobilenetv2.h5"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        seconds([BIN / "python", "-c", MAKE_MOBILENET, path])
    return path


def bench_convert() -> None:
    model = mobilenet_h5()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "all.toml").write_text(ALL_RECIPES)

        def ours() -> float:
            shutil.rmtree(here / "cache", ignore_errors=True)
            argv = [BIN / "devicekit", "convert", model, "--profile", here / "all.toml"]
            argv += ["-o", here / "ours.tflite", "--overwrite", "--quiet"]
            return seconds(argv, DEVICEKIT_CACHE_DIR=str(here / "cache"))

        def plain() -> float:
            return seconds([BIN / "python", "-c", PLAIN_CONVERSION, model, here / "plain.tflite"])

        all_recipes, once = alternating(ours, plain, 3)
    ratio = all_recipes / once
    text = f"8 recipes checked and scored / one plain float conversion, MobileNetV2: {ratio:.2f} "
    say("convert", text + f"(goal ≤ 1.5; {all_recipes:.1f} / {once:.1f} s)", met=ratio <= 1.5)


def bench_latency() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    big = CACHE / "mobilenetv2.tflite"
    if not big.exists():
        seconds([BIN / "devicekit", "convert", mobilenet_h5(), "-o", big, "--quiet"])
    _compare_latency("MobileNetV2", big, runs=60, low=0.95, high=1.05)
    _compare_latency(
        "digits", ROOT / "tests" / "data" / "digits.float32.tflite", runs=3000, low=0.0, high=1.2
    )


def _compare_latency(name: str, model: Path, *, runs: int, low: float, high: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"

        def ours() -> float:
            argv = [BIN / "devicekit", "measure", model, "--threads", "1", "--format", "json", "--quiet"]
            document = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
            return float(document["latency"]["median_us"])

        def theirs() -> float:
            argv = [BIN / "python", "-c", UNROUNDED_BENCHMARK, f"--model={model}", "--num_threads=1"]
            seconds([*argv, f"--num_runs={runs}", f"--warmup_runs={runs // 5}", f"--result_json={result}"])
            return float(json.loads(result.read_text())["latency"]["median_ms"]) * 1000

        pairs = [(ours(), theirs()) for _ in range(9)]
    # The fastest of many rounds: what the machine does when nobody else uses it (measured, November 2026).
    mine, other = min(a for a, _ in pairs), min(b for _, b in pairs)
    ratio = mine / other
    text = f"our median / litert-benchmark's, {name}, 1 thread: {ratio:.3f} "
    text += f"(goal {low:g}–{high:g}; {mine:.1f} / {other:.1f} µs)"
    say("latency", text, met=low <= ratio <= high)


def bench_base() -> None:
    model = ROOT / "tests" / "data" / "digits.float32.tflite"
    argv = [BIN / "devicekit", "measure", model, "--format", "json", "--quiet"]
    document = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    base = document["memory"]["base_bytes"] / 2**20
    say("base", f"the measuring child before the model: {base:.1f} MiB RSS (goal ≤ 20)", met=base <= 20)


def bench_fuzz() -> None:
    """All damaged models, of which the suite takes a tenth."""
    argv = [BIN / "python", "-m", "pytest", "-q", "--all", "-m", "full", "tests/test_fuzz.py"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
    say("fuzz", f"500 damaged models read, 60 run, 8 deployed: {last}", met=done.returncode == 0)


def beside(module: str) -> Any:
    """Returns a module of this folder; it may import those of tests."""
    sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]
    return importlib.import_module(module)


BENCHES = {
    "help": bench_help,
    "profiles": bench_profiles,
    "base": bench_base,
    "latency": bench_latency,
    "convert": bench_convert,
    "fuzz": bench_fuzz,
    "same": lambda: beside("bench_same").same(say),
    "quality": lambda: beside("bench_quality").quality(say),
    "push": lambda: beside("bench_devices").push(say),
    "deploy": lambda: beside("bench_devices").first_inference(say),
    "memory": lambda: beside("bench_devices").memory(say),
    "prediction": lambda: beside("bench_prediction").memory(say),
    "fleet": lambda: beside("bench_fleet").fleet(say),
    "store": lambda: beside("bench_fleet").store(say),
    "gate": lambda: beside("bench_fleet").gate(say),
    "report": lambda: beside("bench_fleet").report(say),
}


def main() -> None:
    chosen = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in chosen if name not in BENCHES]
    if unknown:
        sys.exit(f"error: no benchmark {unknown[0]!r}\n  → choose from: {', '.join(BENCHES)}")
    for name in chosen:
        BENCHES[name]()


if __name__ == "__main__":
    main()
