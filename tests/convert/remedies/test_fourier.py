"""Fourier transforms of any size, and complex arithmetic between them, run on LiteRT's builtin kernels."""

import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = "fourier_cases.py"
# LiteRT transforms these itself.
NATIVE = ("rfft of 2", "rfft2d of 2^n", "stft of 2^n")
IMPOSSIBLE = ("prime", "complex output")


def test_every_transform_runs_in_litert_and_equals_tensorflow(probed: dict[str, Any]) -> None:
    unequal = {
        name: case
        for name, case in probed.items()
        if name not in IMPOSSIBLE and not (case["litert"] is not None and case["litert"] <= 1e-5)
    }
    assert unequal == {}
    assert len(probed) > 90


def test_what_litert_transforms_itself_is_left_alone(probed: dict[str, Any]) -> None:
    assert [probed[name]["rewrites"] for name in NATIVE] == [{}] * len(NATIVE)
    assert {name for name, case in probed.items() if not case["rewrites"]} == {*NATIVE, "prime"}


def test_the_proof_holds_on_random_and_edge_inputs(probed: dict[str, Any]) -> None:
    differences = {
        name: case["rewrites"]["complex_pairs"]
        for name, case in probed.items()
        if list(case["rewrites"]) == ["complex_pairs"]
    }
    in_float64 = [name for name in probed if name.endswith("in float64")]
    assert all(list(probed[name]["rewrites"]) == ["complex_pairs", "float64"] for name in in_float64)
    assert len(differences) == len(probed) - len(NATIVE) - len(in_float64) - 1
    assert max(differences.values()) < 2e-5


def test_real_transforms_of_powers_of_two_keep_litert_s_kernel_in_front_of_pairs(
    probed: dict[str, Any],
) -> None:
    assert {"RFFT2D", "COMPLEX_ABS", "FULLY_CONNECTED"} <= set(probed["both"]["ops"])
    assert {"RFFT2D", "REAL", "IMAG"} <= set(probed["transpose"]["ops"])
    assert "RFFT2D" in probed["mfcc of 2^n"]["ops"]
    assert "RFFT2D" not in probed["mfcc of 400"]["ops"]


def test_a_product_with_real_weights_takes_one_op_per_transform(probed: dict[str, Any]) -> None:
    assert probed["rfft of 80"]["ops"] == ["FULLY_CONNECTED", "SPLIT", "STRIDED_SLICE"]


def test_what_no_pair_can_replace_is_left_to_the_advice(probed: dict[str, Any]) -> None:
    assert probed["complex output"]["missing"] == ["Complex"]
    refused = "IsPowerOfTwo(fft_length_data[1]) was not true.Node number 1 (RFFT2D) failed to prepare."
    assert probed["prime"]["missing"][0].endswith(refused)


def test_only_what_rounding_decides_is_excused() -> None:
    """The logarithm of a constant signal's spectrum is excused; the same with a gain of 1.01 is not equal."""
    script = (
        "import tensorflow as tf\n"
        "from devicekit.convert.remedies.proof import difference\n"
        "def traced(gain, noise):\n"
        "    def call(x):\n"
        "        size = tf.abs(tf.signal.rfft(x * tf.signal.hann_window(100)))\n"
        "        return {'y': tf.math.log(gain * (size + noise * tf.reduce_max(tf.abs(x))) + 1e-6)}\n"
        "    spec = tf.TensorSpec((1, 100), tf.float32)\n"
        "    return tf.function(call, input_signature=[spec]).get_concrete_function()\n"
        "given = traced(1.0, 0.0)\n"
        "print(difference(given, traced(1.0, 1e-6)), difference(given, traced(1.01, 0.0)))\n"
    )
    argv = [sys.executable, "-c", script]
    printed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    excused, unequal = map(float, printed.split())
    assert excused < 1e-4
    assert unequal > 1e-3
