"""Damaged .tflite files through the whole kit: every one is a result or one of our errors, and none hangs.

The suite takes a tenth of them; `tools/bench fuzz` and --all take all.
"""

import random
from collections import Counter
from pathlib import Path

import pytest

import devicekit
from devicekit.errors import DevicekitError

# Files that are damaged, and of those that pass: how many are run, how many built.
TENTH = (50, 6, 1)
ALL = pytest.param(500, 60, 8, marks=pytest.mark.full, id="all")


def mutated(content: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    damaged = bytearray(content)
    match chance.randrange(4):
        case 0:
            return bytes(damaged[: chance.randrange(len(damaged))])
        case 1:
            for _ in range(chance.randint(1, 20)):
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        case 2:
            at = chance.randrange(len(damaged) - 4)
            damaged[at : at + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
        case 3:
            at, length = chance.randrange(len(damaged)), chance.randint(1, 64)
            damaged[at : at + length] = chance.randbytes(length)
    return bytes(damaged)


counts = pytest.mark.parametrize(("mutations", "most_runs", "builds"), [TENTH, ALL])


@pytest.mark.slow
@pytest.mark.timeout(300)  # a hang
@counts
def test_damaged_models_neither_crash_nor_hang_the_kit(
    data: Path, tmp_path: Path, mutations: int, most_runs: int, builds: int
) -> None:
    content = (data / "tflite" / "cnn_float32.tflite").read_bytes()
    path = tmp_path / "m.tflite"
    outcomes: Counter[str] = Counter()
    for seed in range(mutations):
        path.write_bytes(mutated(content, seed))
        try:
            devicekit.inspect_model(path)
            outcomes["checked"] += 1
            devicekit.check_model(path, "pixel7")
            if outcomes["run"] + outcomes["run refused"] < most_runs:
                outcomes["run refused"] += 1
                devicekit.measure(path, profile="pixel7", timeout_s=20)
                outcomes["run"] += 1
                outcomes["run refused"] -= 1
        except DevicekitError as error:
            assert error.remedy and "\n" not in error.message
            outcomes["refused"] += 1
    assert min(outcomes["checked"], outcomes["refused"]) > mutations / 5, outcomes
    assert outcomes["run"] > most_runs / 6, outcomes


@pytest.mark.slow
@counts
def test_damaged_models_that_can_be_read_do_not_crash_deploy(
    data: Path, tmp_path: Path, mutations: int, most_runs: int, builds: int
) -> None:
    content = (data / "tflite" / "cnn_float32.tflite").read_bytes()
    path = tmp_path / "m.tflite"
    built = 0
    for seed in range(1000, 1100):
        if built == builds:
            break
        path.write_bytes(mutated(content, seed))
        try:
            devicekit.inspect_model(path)
        except DevicekitError:
            continue
        built += 1
        # Not on a FakeDevice, which would run the damaged file in this process.
        try:
            devicekit.deploy(
                path,
                "pixel7",
                recipes=["float32", "dynamic_int8", "int8"],
                device="host",
                folder=tmp_path / f"out{seed}",
            )
        except DevicekitError as error:
            assert error.remedy
    assert built == builds
