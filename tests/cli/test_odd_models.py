"""Models at the edges of what a model is: no weights, no axes, free sizes, no kernel."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devicekit.convert.source import convert_source
from devicekit.errors import ConvertError, UsageError
from devicekit.graph.read import read_graph

FLEX = 'schema = 1\nextends = "pixel7"\n[ops]\nflex = true\n'
UNVERIFIED = "FlexMatrixInverse: LiteRT has no kernel here, so it was not compared with Keras"


@pytest.fixture(scope="session")
def odd(written_by: Callable[[Path], Path]) -> Path:
    """The folder of models that make_odd_models.py writes (ten seconds)."""
    return written_by(Path(__file__).with_name("make_odd_models.py"))


def devicekit(*argv: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from devicekit.cli import main; main()", *map(str, argv), "-q"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ})
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.slow
def test_a_model_without_parameters_is_deployed(odd: Path, tmp_path: Path) -> None:
    recipes = [part for name in ("float32", "dynamic_int8", "int8") for part in ("-r", name)]
    argv = ("deploy", odd / "flat.keras", "-p", "pixel7", "--data", odd / "flat.npz", *recipes)
    shown = devicekit(*argv, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    text = " ".join(shown.stdout.split())
    assert "Keras 3.15 sequential, 0 parameters, 1 input x float32 [1, 4, 3]" in text
    assert (
        "rejected dynamic_int8: nothing to quantize: no op of the model has weights "
        "→ use float32, or int8, which quantizes activations too" in text
    )
    report = json.loads((tmp_path / "flat.pixel7" / "report.json").read_text())
    candidates = {one["recipe"]: one for one in report["candidates"]}
    assert candidates["int8"]["status"] in ("chosen", "dominated", "fits")
    assert candidates["int8"]["fidelity"]["cosine"] > 0.999


@pytest.mark.slow
def test_a_saved_model_of_odd_inputs_and_outputs_is_deployed(odd: Path, tmp_path: Path) -> None:
    shown = devicekit("deploy", odd / "ends", "-p", "pixel7", "-r", "float32", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "verified      float32: where it was measured, the same outputs as the reference" in shown.stdout
    graph = read_graph(tmp_path / "ends.pixel7" / "ends.float32.tflite")
    inputs = {name: tensor.shape for name, tensor in graph.input_tensors.items()}
    assert inputs == {"gain": (), "bias": (1,), "spare": (1, 2), "x": (1, 4)}
    outputs = {name: tensor.shape for name, tensor in graph.output_tensors.items()}
    assert outputs == {"same": (1, 4), "left": (1, 4), "right": (1, 4), "total": ()}


@pytest.mark.slow
def test_a_signal_without_a_batch_is_one_number_and_a_note_says_so(odd: Path) -> None:
    source = convert_source(odd / "wave")
    assert source.notes == (
        'input "wave" [?] was taken as a batch of one number: give a signal a batch, [?, 16000]',
    )
    with pytest.raises(UsageError) as caught:
        convert_source(odd / "wave", shapes={"wave": (16000,)})
    assert caught.value.message == "--shape wave=16000: the first size is the batch, expected 1"
    assert caught.value.remedy == 'export the model with a batch: "wave" as [?, 16000]'


@pytest.mark.slow
def test_free_sizes_of_several_inputs_are_fixed_by_shape(odd: Path, tmp_path: Path) -> None:
    shapes = ("--shape", "series=1,9,3", "--shape", "image=1,8,6,2")
    made = devicekit("convert", odd / "open.keras", *shapes, "-o", "open.tflite", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    fixed = convert_source(odd / "open", shapes={"image": (1, 8, 6, 2), "series": (1, 9, 3)})
    for tflite in (tmp_path / "open.tflite", fixed.float_path):
        inputs = {name: tensor.shape for name, tensor in read_graph(tflite).input_tensors.items()}
        assert inputs == {"series": (1, 9, 3), "image": (1, 8, 6, 2)}


@pytest.mark.slow
def test_the_remedy_for_a_free_size_keeps_the_shapes_that_were_given(odd: Path) -> None:
    with pytest.raises(ConvertError) as caught:
        convert_source(odd / "open", shapes={"series": (1, 9, 3)})
    found = 'input "image" has no fixed shape: [?, ?, ?, 2]'
    assert caught.value.message == f"{odd / 'open'} does not convert: {found}"
    assert caught.value.remedy == (
        "fix it with the sizes that you feed: --shape series=1,9,3 --shape image=1,224,224,2"
    )


@pytest.mark.slow
def test_a_model_that_needs_flex_is_refused_by_a_profile_without_it(odd: Path, tmp_path: Path) -> None:
    argv = (odd / "inverse.h5", "-p", "pixel7", "--no-rewrite")
    checked = devicekit("check", *argv, "--format", "json", cwd=tmp_path)
    assert checked.returncode == 3
    document = json.loads(checked.stdout)
    remedy = "solve it outside the model, or learn the result with a Dense layer: costs retraining"
    assert not document["ok"] and document["findings"] == [
        {
            "rule": "convert",
            "detail": "tf.MatrixInverse has no builtin kernel in LiteRT",
            "remedy": remedy,
            "layer": "tf.linalg.inv (TFOpLambda)",
            "op": "tf.MatrixInverse",
            "excess": None,
        }
    ]
    deployed = devicekit("deploy", *argv, cwd=tmp_path)
    assert (deployed.returncode, deployed.stderr.splitlines()[-1]) == (3, f"  → {remedy}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_flex_is_written_for_a_profile_with_it_and_said_to_be_unverified(odd: Path, tmp_path: Path) -> None:
    (tmp_path / "flex.toml").write_text(FLEX)
    argv = ("convert", odd / "inverse.h5", "-p", "flex.toml", "--no-rewrite", "-o", "inverse.tflite")
    document = json.loads(devicekit(*argv, "--format", "json", cwd=tmp_path).stdout)
    assert (document["model"]["unverified"], document["model"]["max_difference"]) == (UNVERIFIED, None)
    assert {op.label for op in read_graph(tmp_path / "inverse.tflite").ops} >= {"FlexMatrixInverse"}
    shown = devicekit(*argv, "--overwrite", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert f"note {UNVERIFIED}" in " ".join(shown.stdout.split())
    assert "not compared with Keras" in shown.stdout
    checked = devicekit(
        *("check", odd / "inverse.h5", "-p", "flex.toml", "--no-rewrite", "--format", "json"), cwd=tmp_path
    )
    document = json.loads(checked.stdout)
    assert (checked.returncode, document["ok"], document["unverified"]) == (0, True, UNVERIFIED)


@pytest.mark.parametrize("command", ["check", "convert", "deploy"])
def test_a_custom_op_that_the_profile_does_not_list_is_a_usage_error(
    data: Path, tmp_path: Path, command: str
) -> None:
    argv = (command, data / "digits.h5", "-p", "pixel7", "--custom-op", "MatrixInverse")
    refused = devicekit(*argv, cwd=tmp_path)
    assert (refused.returncode, refused.stderr.splitlines()) == (
        2,
        [
            "error: --custom-op MatrixInverse: pixel7's ops.custom does not list it",
            '  → register its kernel in the device\'s runtime, and write ops.custom = ["MatrixInverse"]',
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first.h5", "first.keras"])
def test_channels_may_come_first(odd: Path, name: str) -> None:
    source = convert_source(odd / name)
    assert source.max_difference is not None and source.max_difference < 1e-5
    assert [tensor.shape for tensor in read_graph(source.float_path).input_tensors.values()] == [
        (1, 3, 12, 10)
    ]


@pytest.mark.slow
def test_outputs_that_a_model_names_keep_their_names(odd: Path) -> None:
    outputs = read_graph(convert_source(odd / "heads.keras").float_path).output_tensors
    assert {name: tensor.shape for name, tensor in outputs.items()} == {"class": (1, 3), "score": (1, 1)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "found", "remedy"),
    [
        ("undefined", 'output "y" is NaN or infinite in Keras already', "check that the file holds trained"),
        (
            "checked",
            "Keras does not run on random inputs (InvalidArgumentError: assertion failed",
            "take out",
        ),
        ("given_nothing", "its signature takes no inputs", "export a signature that takes"),
    ],
)
def test_a_model_that_cannot_be_compared_is_refused_with_the_reason(
    odd: Path, name: str, found: str, remedy: str
) -> None:
    with pytest.raises(ConvertError) as caught:
        convert_source(odd / name, flex=True, rewrite=False)
    assert caught.value.message.startswith(f"{odd / name} does not convert: {found}")
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.slow
def test_options_of_keras_models_are_refused_for_a_tflite(odd: Path, tmp_path: Path) -> None:
    tflite = convert_source(odd / "flat.keras").float_path
    options: list[tuple[str, Any]] = [
        ("--shape", {"shapes": {"x": (1, 4, 3)}}),
        ("--custom-objects", {"custom_objects": tmp_path}),
        ("--stateless", {"stateless": True}),
    ]
    for name, given in options:
        with pytest.raises(UsageError) as caught:
            convert_source(tflite, **given)
        assert caught.value.message == f"{name} is for Keras models, and {tflite.name} is a .tflite"


@pytest.mark.slow
def test_a_size_for_an_input_without_axes_is_a_usage_error(odd: Path) -> None:
    with pytest.raises(UsageError) as caught:
        convert_source(odd / "ends", shapes={"gain": (1,)})
    assert caught.value.message == '--shape gain=1: ends takes "gain" as []'
