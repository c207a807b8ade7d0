"""What real runs of both tools printed, read; tests/data/benchmark_model/README.md has the origins."""

import random
from pathlib import Path

import pytest

from devicekit.runner.benchmark_model import classic, litert
from devicekit.runner.benchmark_model.printed import OpTime, Printed

OUTPUTS = Path(__file__).parent.parent.parent / "data" / "benchmark_model"
MIB = 2**20
GOLDEN = {
    "classic-1.13-arm64": Printed(
        count=15,
        mean_us=66767.6,
        init_us=9933.0,
        warmup_mean_us=76605.9,
        min_us=66699.0,
        max_us=66838.0,
        stdev_us=39.0,
    ),
    "classic-2.3-android": Printed(
        count=50,
        mean_us=33209.4,
        init_us=855.0,
        first_us=49060.0,
        warmup_mean_us=34825.1,
        min_us=32641.0,
        max_us=34005.0,
        stdev_us=450.0,
        init_bytes=0,
        overall_bytes=int(12.8672 * MIB),
    ),
    "classic-gpu-android": Printed(
        count=50,
        mean_us=119375.0,
        init_us=870557.0,
        first_us=130565.0,
        warmup_mean_us=122373.0,
        min_us=113737.0,
        max_us=124776.0,
        stdev_us=1948.0,
        delegated="all",
    ),
    "classic-logcat-percentiles": Printed(
        count=25,
        mean_us=145528.0,
        init_us=92318.0,
        first_us=187533.0,
        warmup_mean_us=211669.0,
        min_us=140071.0,
        max_us=195121.0,
        stdev_us=13583.0,
        p5_us=140545.0,
        median_us=141253.0,
        p95_us=187533.0,
        init_bytes=int(54.2852 * MIB),
        overall_bytes=int(73.4102 * MIB),
        delegated="some",
    ),
    "litert-2025-linux": Printed(
        count=1054,
        mean_us=947.132,
        init_us=5760.0,
        first_us=2120.0,
        warmup_mean_us=950.0,
        min_us=910.0,
        max_us=1102.0,
        stdev_us=23.0,
        p5_us=915.0,
        median_us=942.0,
        p95_us=991.0,
        init_bytes=int(4.06 * MIB),
        overall_bytes=int(7.07 * MIB),
    ),
    "litert-2025-windows": Printed(
        count=2166,
        mean_us=460.0,
        init_us=586760.0,
        first_us=4440.0,
        warmup_mean_us=520.0,
        min_us=350.0,
        max_us=740.0,
        stdev_us=30.0,
    ),
}


def output(name: str) -> str:
    return (OUTPUTS / f"{name}.txt").read_text(encoding="utf-8")


def read(name: str, text: str) -> Printed | None:
    return (classic if name.startswith("classic") else litert).read(text)


@pytest.mark.parametrize("name", GOLDEN)
def test_each_generation_is_read(name: str) -> None:
    assert read(name, output(name)) == GOLDEN[name]


def test_every_captured_output_is_tested() -> None:
    assert {path.stem for path in OUTPUTS.glob("*.txt")} == {*GOLDEN, "classic-2.8-riscv64"}


def test_a_profile_is_read_with_the_statistics() -> None:
    found = classic.read(output("classic-2.8-riscv64"))
    assert found is not None
    # The mean is in scientific notation there.
    assert (found.count, found.mean_us, found.stdev_us) == (50, 2950340.0, 109798.0)
    assert (found.init_bytes, found.overall_bytes) == (int(4.21094 * MIB), int(46.0859 * MIB))
    assert len(found.ops) == 5
    assert found.ops[0] == OpTime(
        op="CONV_2D", name="[MobilenetV1/MobilenetV1/Conv2d_0/Relu6]:0", average_us=60957.0, calls=1
    )


def test_one_run_is_its_own_statistics() -> None:
    text = "count=1 curr=1041765\nInference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, "
    found = classic.read(text + "Inference (avg): 1.04176e+06\n")
    assert found is not None
    assert (found.median_us, found.min_us, found.mean_us, found.stdev_us) == (1041765, 1041765, 1041760, None)


def test_the_peak_is_read_and_minus_one_is_unknown() -> None:
    text = output("classic-2.3-android")
    line = "Overall peak memory footprint (MB) via periodic monitoring: {}\n"
    for number, expected in (("12.5", int(12.5 * MIB)), ("-1", None)):
        found = classic.read(text + line.format(number))
        assert found is not None and found.peak_bytes == expected


@pytest.mark.parametrize("name", [*GOLDEN, "classic-2.8-riscv64"])
def test_a_cut_or_damaged_output_raises_nothing(name: str) -> None:
    """It is read, or it is None: what an unknown device prints is not trusted."""
    text, chance = output(name), random.Random(7)
    for _ in range(300):
        damaged = list(text[: chance.randrange(len(text))])
        for _ in range(chance.randrange(8)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.choice("0e.-=: \n\t[é\0")
        read(name, "".join(damaged))
    assert read(name, "") is None
    assert read(name, text[:300]) is None


@pytest.mark.parametrize("name", GOLDEN)
def test_a_tool_is_not_read_as_the_other(name: str) -> None:
    other = litert if name.startswith("classic") else classic
    assert other.read(output(name)) is None
