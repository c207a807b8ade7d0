"""Damaged .tflite files through the whole kit: every one is a result or one of our errors, and none hangs."""

import random
from collections import Counter
from pathlib import Path

import pytest

import devicekit
from devicekit.errors import DevicekitError

MUTATIONS = 500  # that are read and checked; those that pass are also run
MOST_RUNS = 60
MOST_BUILDS = 8


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


@pytest.mark.slow
@pytest.mark.timeout(300)  # a hang
def test_500_damaged_models_neither_crash_nor_hang_the_kit(data: Path, tmp_path: Path) -> None:
    content = (data / "tflite" / "cnn_float32.tflite").read_bytes()
    path = tmp_path / "m.tflite"
    outcomes: Counter[str] = Counter()
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(content, seed))
        try:
            devicekit.inspect_model(path)
            outcomes["checked"] += 1
            devicekit.check_model(path, "pixel7")
            if outcomes["run"] + outcomes["run refused"] < MOST_RUNS:
                outcomes["run refused"] += 1
                devicekit.measure(path, profile="pixel7", timeout_s=20)
                outcomes["run"] += 1
                outcomes["run refused"] -= 1
        except DevicekitError as error:
            assert error.remedy and "\n" not in error.message
            outcomes["refused"] += 1
    assert outcomes["checked"] > 100 and outcomes["refused"] > 100 and outcomes["run"] > 10, outcomes


@pytest.mark.slow
def test_damaged_models_that_can_be_read_do_not_crash_deploy(data: Path, tmp_path: Path) -> None:
    content = (data / "tflite" / "cnn_float32.tflite").read_bytes()
    path = tmp_path / "m.tflite"
    built = 0
    for seed in range(1000, 1100):
        if built == MOST_BUILDS:
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
    assert built == MOST_BUILDS
