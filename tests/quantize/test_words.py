"""The words for what litert-quantizer and LiteRT 2.3 say; messages captured from real models."""

from pathlib import Path

import pytest

from devicekit.finding import Finding
from devicekit.quantize.words import worded
from tests.quantize.building import build

MODELS = Path(__file__).parent.parent / "data" / "tflite"

CAPTURED = [
    (  # a MobileNetV2 as int16x8
        "tflite/kernels/kernel_util.cc:349 no_integer_overflow_from_quantization was not true."
        "Node number 13 (CONV_2D) failed to prepare.",
        "CONV_2D (op 13): its scales overflow the 16-bit kernel",
        "use int8",
    ),
    (  # a Keras 3 LSTM as int8
        "Failed to get quantization parameters for tensor: functional_3_1/lstm_1/while_cond_arg2. Error: "
        "TFLOperationName.INPUT(index: -1) not found in tensor_name_to_qsv. Check if the correct calibration "
        "results are passed into the ParamsGenerator.",
        "a loop (WHILE, from an RNN) cannot be quantized statically",
        "use dynamic_int8, or build the RNN with unroll=True",
    ),
    (  # the same as int8_float_io
        "tflite/kernels/while.cc:169 body_input->type != body_output->type (FLOAT32 != INT8)"
        "Node number 3 (WHILE) failed to prepare.",
        "a loop (WHILE, from an RNN) cannot be quantized statically",
        "use dynamic_int8, or build the RNN with unroll=True",
    ),
    (  # tests/data/tflite/custom.tflite
        "Encountered unresolved custom op: MatrixInverse.\nSee instructions: "
        "https://www.tensorflow.org/lite/guide/ops_custom Node number 0 (MatrixInverse) failed to prepare.",
        "LiteRT has no kernel for the custom op MatrixInverse",
        "replace the layer behind it by built-in ones",
    ),
    (  # tests/data/tflite/flex.tflite
        "Select TensorFlow op(s), included in the given model, is(are) not supported by this interpreter. "
        "Make sure you apply/link the Flex delegate before inference. For the Android, it can be resolved by "
        'adding "org.tensorflow:tensorflow-lite-select-tf-ops" dependency. See instructions: '
        "https://www.tensorflow.org/lite/guide/ops_select"
        "Node number 0 (FlexMatrixInverse) failed to prepare.",
        "it needs TensorFlow ops (Flex), which no LiteRT package carries",
        "replace the layer behind them by built-in ones",
    ),
]


@pytest.mark.parametrize(("message", "detail", "remedy"), CAPTURED)
def test_known_errors_get_words_and_a_remedy(message: str, detail: str, remedy: str) -> None:
    finding = worded("loads", RuntimeError(message))
    assert (finding.rule, finding.detail, finding.remedy) == ("loads", detail, remedy)


def test_unknown_errors_are_cut_to_one_short_line() -> None:
    finding = worded("build", ValueError("first line\n" + "x" * 500))
    assert finding.detail.startswith("first line xxx") and len(finding.detail) == 118


def test_a_branch_explains_what_a_runtime_does_not(tmp_path: Path) -> None:
    """litert-quantizer: "TFLOperationName.INPUT(index: -1) not found in tensor_name_to_qsv"."""
    result = build(MODELS / "branch.tflite", ["dynamic_int8", "int8", "int16x8"], data=None, out_dir=tmp_path)
    dynamic, *static = result.candidates
    assert dynamic.findings == () and dynamic.fidelity and dynamic.fidelity.cosine > 0.99
    detail = "a branch (IF) cannot be quantized statically"
    remedy = "use dynamic_int8, or compute both branches and choose with tf.where"
    assert [one.findings for one in static] == [(Finding("build", detail, remedy),)] * 2


def test_a_branch_explains_no_loop_and_no_unknown_kernel() -> None:
    error = RuntimeError("Node number 1 (TfLiteXNNPackDelegate) failed to invoke.")
    assert worded("loads", error).detail == "TfLiteXNNPackDelegate (op 1) failed to invoke"
    assert worded("loads", error, has_branch=True).detail == "a branch (IF) cannot be quantized statically"
    for message, detail, _ in CAPTURED:
        assert worded("loads", RuntimeError(message), has_branch=True).detail == detail
