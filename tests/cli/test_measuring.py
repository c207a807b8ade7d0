"""The options of measuring on a device, right and wrong."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devicekit.cli.options import measuring_of
from devicekit.errors import UsageError
from devicekit.measurement import Plan
from devicekit.runner.measuring import Measuring, sustained


def devicekit(*argv: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from devicekit.cli import main; main()", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


WRONG = {
    "--sustain soon": '"soon": expected a time, as in 90s or 10m',
    "--sustain -5m": '"-5m": expected a time, as in 90s or 10m',
    "--rate fast": '"fast": expected inferences per second, as in 10/s',
    "--rate 0/s": '"0/s": expected inferences per second, as in 10/s',
    "--wait nan": '"nan": expected a time, as in 90s or 10m',
}


@pytest.mark.parametrize("options", WRONG)
def test_a_wrong_value_is_told(options: str, data: Path) -> None:
    done = devicekit("measure", str(data / "digits.float32.tflite"), *options.split())
    assert done.returncode == 2
    assert WRONG[options] in done.stderr


def test_an_unknown_runner_and_a_missing_tool_are_told(data: Path) -> None:
    model = str(data / "digits.float32.tflite")
    done = devicekit("measure", model, "--runner", "mlperf", "-q")
    assert done.returncode == 2
    assert done.stderr == 'error: no runner "mlperf"\n  → choose from: script, micro, benchmark_model\n'
    done = devicekit("measure", model, "--benchmark-model", "/none", "-q")
    assert done.stderr == "error: there is no file /none\n  → name the tool: --benchmark-model FILE\n"
    done = devicekit("measure", model, "--runner", "script", "--require-delegate", "-q")
    assert done.stderr.startswith("error: the script runner cannot tell what the delegate took\n")


def test_a_sustained_run_on_this_host_shows_its_trace(data: Path) -> None:
    model = str(data / "digits.float32.tflite")
    done = devicekit("measure", model, "--sustain", "3s", "--rate", "50/s", "-q")
    assert done.returncode == 0, done.stderr
    assert "pace                   50 inferences per second, for 3 s" in done.stdout
    assert "after  median ms" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"benchmark_model": "x/y"}, "benchmark_model", Path("x/y")),
        ({"wheels": "w"}, "wheels", Path("w")),
        ({"strict": True}, "strict", True),
        ({"sustain_s": 600.0}, "sustain_s", 600.0),
        ({}, "start_below_c", 60.0),
    ],
)
def test_options_become_wishes(given: dict[str, Any], field: str, value: Any) -> None:
    options = {**given, "model": "m"}
    assert getattr(measuring_of(options), field) == value
    assert options == {"model": "m"}


def test_a_plan_is_changed_by_wishes() -> None:
    plan = Measuring(rate_hz=10.0, governor="performance", start_below_c=50, wait_s=1).applied_to(Plan())
    assert (plan.rate_hz, plan.governor, plan.gate.start_below_c) == (10.0, "performance", 50)
    longer = sustained(plan, 600)
    assert (longer.sustain_s, longer.max_s, longer.timeout_s) == (600, 600, 720)
    with pytest.raises(UsageError, match="too short"):
        sustained(plan, 0.5)
    with pytest.raises(UsageError, match="a rate of"):
        Measuring(rate_hz=-1).applied_to(Plan())
