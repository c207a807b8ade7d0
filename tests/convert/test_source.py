"""Source models become float .tflite files that compute the same, or one clear error."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from devicekit import progress
from devicekit.convert.source import Source, convert_source
from devicekit.errors import DevicekitError, UsageError
from devicekit.graph.read import read_graph


def run(tflite: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """Returns the outputs of a .tflite for samples [n, ...], one sample at a time."""
    interpreter = Interpreter(model_path=str(tflite))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    outputs = []
    for i in range(len(next(iter(inputs.values())))):
        outputs.append(
            {k: np.copy(v) for k, v in runner(**{n: x[i : i + 1] for n, x in inputs.items()}).items()}
        )
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def error_of(model: Path, **options: Any) -> tuple[str, str, str]:
    """Returns kind, message and remedy of the error, with the path taken out."""
    with pytest.raises(DevicekitError) as caught:
        convert_source(model, **options)
    return caught.value.kind, caught.value.message.replace(f"{model}", "MODEL"), caught.value.remedy


class Told:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        self.details.append(detail)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("digits.h5", "Keras 2.21 sequential"),
        ("digits.keras", "Keras 3.15 sequential"),
        ("digits_savedmodel", "SavedModel"),
    ],
)
@pytest.mark.usefixtures("own_children", "empty_cache")
def test_the_digits_model_converts_and_computes_the_same(data: Path, name: str, kind: str) -> None:
    source = convert_source(data / name)
    assert (source.kind, source.parameters, source.notes) == (kind, 31978, ())
    assert source.max_difference is not None
    assert source.max_difference < 1e-5
    with np.load(data / "digits.npz") as digits:
        output = run(source.float_path, {"image": digits["x_eval"]})
        assert list(output) == ["digit"]
        accuracy = (output["digit"].argmax(axis=1) == digits["y"]).mean()
    assert accuracy == pytest.approx(0.9944, abs=0.002)
    ops = {op.name for op in read_graph(source.float_path).main.ops}
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "SOFTMAX"} <= ops
    assert "CUSTOM" not in ops


@pytest.mark.slow
def test_the_reference_holds_what_keras_computed(data: Path) -> None:
    source = convert_source(data / "digits.h5")
    assert source.reference_path is not None
    with np.load(source.reference_path) as reference:
        assert {name: reference[name].shape for name in reference} == {
            "in/image": (5, 8, 8, 1),
            "out/digit": (5, 10),
        }
        output = run(source.float_path, {"image": reference["in/image"]})
        np.testing.assert_allclose(output["digit"], reference["out/digit"], atol=1e-6)
        assert len(np.unique(reference["in/image"])) > 200


@pytest.mark.slow
@pytest.mark.parametrize("version", ["tf2.4", "tf2.15"])
@pytest.mark.parametrize(
    "name", ["dense", "cnn_dw", "lstm", "emb", "custom_layer", "lambda", "mha", "tfop_lambda"]
)
def test_legacy_files_give_the_outputs_of_the_version_that_wrote_them(
    data: Path, tmp_path: Path, version: str, name: str
) -> None:
    model = data / "legacy_h5" / version / f"{name}.h5"
    own = {"custom_layer": multiplying, "lambda": doubling}.get(name)
    source = convert_source(model, custom_objects=own(tmp_path) if own else None)
    style = "functional" if name in ("mha", "tfop_lambda") else "sequential"
    assert source.kind == f"Keras {version.removeprefix('tf')} {style}"
    with np.load(model.with_suffix(".npz")) as recorded:
        tensor = next(iter(read_graph(source.float_path).input_tensors.items()))
        output = run(source.float_path, {tensor[0]: recorded["x0"].astype(tensor[1].dtype)})
        error = np.abs(next(iter(output.values())) - recorded["y"]).max()
        assert error <= 1e-5 * np.abs(recorded["y"]).max()


def doubling(folder: Path) -> Path:
    """Writes the function that stands in for the Lambda layer of lambda.h5."""
    path = folder / "functions.py"
    path.write_text("def lambda_(inputs):\n    return 2 * inputs\n")
    return path


def multiplying(folder: Path, keras: str = "keras") -> Path:
    """Writes the layer of custom_layer.h5, imported as people did when they wrote such files."""
    path = folder / "layers.py"
    path.write_text(
        f"from {keras}.layers import Layer\n"
        "class My(Layer):\n"
        "    def build(self, shape):\n"
        "        self.w = self.add_weight(name='w', shape=(int(shape[-1]),))\n"
        "    def call(self, inputs):\n"
        "        return inputs * self.w\n"
    )
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("own_children", "empty_cache")  # what TensorFlow reads while it is imported
def test_custom_objects_may_import_keras_from_tensorflow(data: Path, tmp_path: Path) -> None:
    model = data / "legacy_h5" / "tf2.4" / "custom_layer.h5"
    source = convert_source(model, custom_objects=multiplying(tmp_path, "tensorflow.keras"))
    assert (source.parameters, source.cached) == (34, False)


@pytest.mark.slow
def test_a_registered_keras_3_layer_comes_from_the_users_file(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('lab')\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return 2 * inputs\n"
    )
    assert convert_source(made / "twice.keras", custom_objects=path).parameters == 10


@pytest.mark.slow
def test_a_layer_comes_from_a_module_beside_the_users_file(made: Path, tmp_path: Path) -> None:
    (tmp_path / "own_layers.py").write_text(
        "import keras\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        import own_numbers\n"
        "        assert inputs.shape[0] in (None, 1), 'one sample at a time'\n"
        "        return own_numbers.TWO * inputs\n"
    )
    (tmp_path / "own_numbers.py").write_text("TWO = 2\n")
    path = tmp_path / "objects.py"
    path.write_text("from own_layers import Twice\n")
    assert convert_source(made / "twice.keras", custom_objects=path).parameters == 10


@pytest.mark.slow
def test_an_unknown_custom_object_is_named(data: Path, made: Path) -> None:
    for model, name, layer, made_by in [
        (data / "legacy_h5" / "tf2.4" / "custom_layer.h5", "My", "my", "Keras 2.4"),
        (made / "twice.keras", "Twice", "twice", "Keras 3.15"),
    ]:
        assert error_of(model) == (
            "LoadError",
            f'MODEL: layer "{layer}" ({name}) of this {made_by} file is not a part of Keras; '
            "expected its Python code",
            f"add --custom-objects file.py, a file that defines {name}",
        )


@pytest.mark.slow
def test_a_keras_3_h5_goes_through_keras_3(made: Path) -> None:
    source = convert_source(made / "modern.h5")
    assert (source.kind, source.parameters) == ("Keras 3.15 sequential", 58)
    assert list(read_graph(source.float_path).input_tensors) == ["features"]


@pytest.mark.slow
def test_inputs_and_outputs_keep_their_names_as_identifiers(made: Path) -> None:
    graph = read_graph(convert_source(made / "two_inputs.h5").float_path)
    assert {name: tensor.shape for name, tensor in graph.input_tensors.items()} == {
        "right_hand": (1, 4),
        "left_hand": (1, 3),
    }
    assert {name: tensor.shape for name, tensor in graph.output_tensors.items()} == {
        "sum": (1, 2),
        "own": (1, 5),
    }


@pytest.mark.slow
def test_random_outputs_are_noted_and_not_compared(made: Path) -> None:
    source = convert_source(made / "random.h5")
    assert source.max_difference is None
    assert source.notes == ("outputs are random (RANDOM_STANDARD_NORMAL): not compared with Keras",)


@pytest.mark.slow
def test_outputs_beside_random_ones_are_compared(made: Path) -> None:
    source = convert_source(made / "half_random.h5")
    assert source.max_difference is not None and source.max_difference < 1e-5
    assert source.notes == ("random: output drawn (RANDOM_STANDARD_NORMAL): not compared with Keras",)


@pytest.mark.slow
def test_a_trained_model_that_nobody_here_made(basic_pitch: Path) -> None:
    source = convert_source(basic_pitch / "savedmodel")
    assert (source.kind, source.parameters) == ("SavedModel", 16864)
    assert source.reference_path is not None
    with np.load(source.reference_path) as reference:
        inputs = {"input_2": reference["in/input_2"]}
    ours, theirs = run(source.float_path, inputs), run(basic_pitch / "nmp.tflite", inputs)
    assert sorted(ours) == sorted(theirs) == ["contour", "note", "onset"]
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, atol=1e-5)


def test_a_tflite_passes_through(data: Path, empty_cache: Path) -> None:
    model = data / "digits.float32.tflite"
    source = convert_source(model)
    assert (source.kind, source.float_path, source.reference_path) == (".tflite", model, None)
    assert (source.parameters, source.cached) == (30858, False)
    assert not empty_cache.exists()


def test_a_corrupt_tflite_is_refused(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "short.tflite"
    model.write_bytes((data / "digits.float32.tflite").read_bytes()[:3000])
    kind, message, remedy = error_of(model)
    assert (kind, message.split(" at ")[0]) == ("LoadError", "MODEL: corrupt")
    assert remedy == "make or fetch the file again: it is damaged"


def test_a_tflite_over_two_gigabytes_is_refused(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "huge.tflite"
    shutil.copy(data / "digits.float32.tflite", model)
    os.truncate(model, 3 * 2**30)  # sparse
    assert error_of(model) == (
        "LoadError",
        "MODEL: 3.0 GiB; expected less than 2 GiB, the most that a .tflite can hold",
        "use a smaller variant of the model, or split it",
    )


def test_a_missing_file_is_refused_in_the_parent(tmp_path: Path, empty_cache: Path) -> None:
    assert error_of(tmp_path / "no.h5")[:2] == ("LoadError", "MODEL: no such file")
    assert not empty_cache.exists()


def test_damaged_files_are_refused_by_the_child(data: Path, tmp_path: Path, empty_cache: Path) -> None:
    model = tmp_path / "short.h5"
    model.write_bytes((data / "digits.h5").read_bytes()[:20_000])
    told = Told()
    token = progress.current.set(told)
    try:
        error = error_of(model)
    finally:
        progress.current.reset(token)
    assert error == ("LoadError", "MODEL: a truncated HDF5 file", "copy or download the file again")
    assert set(told.details) == {"reading"}  # TensorFlow was not loaded
    assert [path.suffix for path in (empty_cache / "convert").iterdir()] == [".lock"]


@pytest.mark.slow
def test_h5_files_with_any_bytes_changed_end_in_a_model_or_in_our_error(data: Path, tmp_path: Path) -> None:
    whole = (data / "legacy_h5" / "tf2.4" / "dense.h5").read_bytes()
    dice = random.Random(7)
    model = tmp_path / "changed.h5"
    for _ in range(25):
        changed = bytearray(whole)
        for _ in range(4):
            changed[dice.randrange(min(len(whole), 4096))] = dice.randrange(256)
        model.write_bytes(changed)
        try:
            assert convert_source(model, timeout_s=60).float_path.is_file()
        except DevicekitError as error:
            assert error.exit_code == 3
            assert error.remedy


@pytest.mark.slow
def test_a_lambda_of_another_python_is_explained(data: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert error_of(data / "legacy_h5" / "tf2.4" / "lambda.h5", trust=True) == (
        "LoadError",
        f'MODEL: layer "lambda" (Lambda) of this Keras 2.4 file is bytecode of another Python than {version}',
        "define lambda_(inputs) in a file for --custom-objects, to stand in for it",
    )


@pytest.mark.parametrize("name", ["weights.h5", "modern.weights.h5"])
def test_weights_without_architecture_are_refused(made: Path, name: str) -> None:
    assert error_of(made / name) == (
        "LoadError",
        "MODEL: an HDF5 file with weights only; expected architecture and weights",
        'save the whole model where you built it: model.save("model.h5")',
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "found", "remedy"),
    [
        (
            "inverse.h5",
            "layer tf.linalg.inv (TFOpLambda): tf.MatrixInverse has no builtin kernel in LiteRT",
            "solve it outside the model, or learn the result with a Dense layer: costs retraining",
        ),
        (
            "free_size.h5",
            'input "photo" has no fixed shape: [?, ?, ?, 3]',
            "fix it with the sizes that you feed: --shape photo=1,224,224,3",
        ),
        (
            "stateful.h5",
            'it does not run on a batch of 1 (ValueError: Input 0 of layer "lstm" is incompatible with the '
            "layer: expected shape=(8, None, 3), found shape=(1, 5, 3))",
            "re-save it with a batch size of None, and without state across batches",
        ),
        (
            "words",
            'input "text" takes strings, which no recipe, runner or comparison here can feed',
            "leave out --no-rewrite, so that text layers move out of the model",
        ),
        (
            "text.keras",
            'input "text" takes strings, which no recipe, runner or comparison here can feed',
            "leave out --no-rewrite, so that text layers move out of the model",
        ),
    ],
)
def test_what_does_not_convert_as_it_is_says_why(made: Path, name: str, found: str, remedy: str) -> None:
    kind = "Unsupported" if "kernel" in found else "ConvertError"
    said = (kind, f"MODEL does not convert: {found}", remedy)
    assert error_of(made / name, trust=True, rewrite=False) == said


ANOTHER = "replace the layer by one of builtin ops, or move that step out of the model"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "problems"),
    [
        (
            "half.h5",
            {
                "layer conv2d (Conv2D): tf.BiasAdd has no builtin kernel in LiteRT": ANOTHER,
                "layer conv2d (Conv2D): tf.Conv2D has no builtin kernel in LiteRT": ANOTHER,
            },
        ),
        (
            "table",
            {
                "tf.HashTableV2 has no builtin kernel in LiteRT": "index with the integer itself, or compare "
                "with constant keys: costs N·keys memory",
                "layer None_Lookup: tf.LookupTableFindV2 has no builtin kernel in LiteRT": "compare with "
                "constant keys: costs N·keys memory",
                "tf.LookupTableImportV2 has no builtin kernel in LiteRT": ANOTHER,
            },
        ),
        (
            "python",
            {
                "tf.PyFunc has no kernel in LiteRT, not even through Flex": "write the layer with keras.ops: "
                "Python functions cannot run on a device",
                "tf.EnsureShape has no builtin kernel in LiteRT": ANOTHER,
            },
        ),
    ],
    ids=["half.h5", "table", "python"],
)
def test_each_op_that_does_not_convert_as_it_is_has_its_remedy(
    made: Path, name: str, problems: dict[str, str]
) -> None:
    lines = "".join(f"\n  {problem}\n    → {remedy}" for problem, remedy in problems.items())
    assert error_of(made / name, trust=True, rewrite=False) == (
        "Unsupported",
        f"MODEL does not convert: {len(problems)} problems{lines}",
        "change these layers; where the device's runtime has Flex, set ops.flex in its profile",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("half.h5", "float16"),
        ("table", "integer_lookup"),
        ("words", "tables_outside"),
        ("text.keras", "text_outside"),
    ],
)
def test_the_same_models_convert_with_a_remedy(made: Path, name: str, remedy: str) -> None:
    source = convert_source(made / name)
    assert [one.remedy for one in source.rewrites] == [remedy]
    assert source.max_difference is not None and source.max_difference < 1e-6
    takes_text = remedy.endswith("outside")
    assert [part.role for part in source.outside] == ["preprocess"] * takes_text
    for part in source.outside:
        assert part.inputs == ({"name": "text", "dtype": "string", "shape": [1, 1]},)
        (output,) = part.outputs
        assert list(read_graph(source.float_path).input_tensors) == [output["name"]]
        assert source.notes[0] == (
            "the text of text is prepared outside the model, by the .preprocess.py beside it: "
            f"--data holds what that gives, {output['name']}"
        )


@pytest.mark.slow
def test_a_saved_model_without_signatures_is_refused(made: Path) -> None:
    assert error_of(made / "no_signature") == (
        "LoadError",
        "MODEL: a SavedModel without signatures; expected serving_default",
        "export it with model.export(), or pass signatures= to tf.saved_model.save()",
    )


@pytest.mark.slow
def test_weights_of_nan_are_an_error(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "nan.h5"
    shutil.copy(data / "digits.h5", model)
    with h5py.File(model, "r+") as file:
        file["model_weights/digit/digit/bias:0"][:] = np.nan
    assert error_of(model) == (
        "ConvertError",
        'MODEL does not convert: output "digit" is NaN or infinite in Keras already, on random inputs',
        "check that the file holds trained weights, and which inputs the model expects",
    )


@pytest.mark.usefixtures("own_children")
def test_a_conversion_that_hangs_is_ended(data: Path, tmp_path: Path, empty_cache: Path) -> None:
    endless = tmp_path / "endless.py"
    endless.write_text("while True: pass\n")
    assert error_of(data / "digits.h5", custom_objects=endless, timeout_s=4) == (
        "ConvertError",
        "MODEL does not convert: loading it timed out: no progress for 4 s",
        "give it more time, or export the model again without what makes it large",
    )
    assert [path.suffix for path in (empty_cache / "convert").iterdir()] == [".lock"]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA limits memory on Linux only: run it there")
@pytest.mark.usefixtures("own_children")
def test_a_conversion_that_eats_memory_is_ended(data: Path, tmp_path: Path, empty_cache: Path) -> None:
    greedy = tmp_path / "greedy.py"
    greedy.write_text("held = bytearray(4 * 2**30)\n")
    assert error_of(data / "digits.h5", custom_objects=greedy, memory_bytes=2 * 2**30) == (
        "ConvertError",
        "MODEL does not convert: loading it needs more than 2048 MiB",
        "convert it on a machine with more memory",
    )


@pytest.mark.usefixtures("own_children", "empty_cache")
def test_a_tensorflow_that_crashes_is_no_damaged_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorflow.py").write_text("import os\nos.kill(os.getpid(), 4)\n")  # a CPU without AVX
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    kind, message, _ = error_of(data / "digits.h5")
    assert (kind, message) == ("ConvertError", "MODEL does not convert: loading it crashed (SIGILL)")


@pytest.mark.slow
def test_a_crash_is_an_error_with_its_last_words(data: Path, tmp_path: Path) -> None:
    crashing = tmp_path / "crashing.py"
    crashing.write_text("import os, sys\nsys.stderr.write('last words\\n')\nsys.stderr.flush()\nos.abort()\n")
    assert error_of(data / "digits.h5", custom_objects=crashing) == (
        "ConvertError",
        "MODEL does not convert: loading it crashed (SIGABRT) (last log line: last words)",
        "save the model again, with a current version of its Keras",
    )


def test_a_custom_objects_file_that_fails_is_the_users(data: Path, tmp_path: Path) -> None:
    model, path = data / "digits.h5", tmp_path / "layers.py"
    with pytest.raises(UsageError) as caught:
        convert_source(model, custom_objects=path)
    assert caught.value.message == f"{path}: no such file"
    path.write_text("import nothing_of_that_name\n")
    with pytest.raises(UsageError) as caught:
        convert_source(model, custom_objects=path)
    assert caught.value.message == f"{path}: ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert caught.value.remedy == "make the file importable on its own"
    path.write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(UsageError, match=r"layers\.py: SystemExit: 0"):
        convert_source(model, custom_objects=path)


@pytest.mark.slow
def test_a_custom_objects_file_that_lacks_the_class_is_named(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text("class Other: pass\n")
    kind, message, remedy = error_of(data / "legacy_h5" / "tf2.4" / "custom_layer.h5", custom_objects=path)
    assert kind == "LoadError"
    what = 'layer "my" (My) of this Keras 2.4 file is not a part of Keras'
    assert message == f"MODEL: {what}, and {path} does not define it"
    assert remedy == f"define My in {path}"


@pytest.mark.slow
def test_signatures_that_are_left_out_are_noted(made: Path) -> None:
    assert convert_source(made / "two_signatures").notes == ("signature double was taken, not triple",)


@pytest.mark.slow
def test_a_second_conversion_comes_from_the_cache_at_once(data: Path) -> None:
    first = convert_source(data / "digits.h5")
    second = convert_source(data / "digits.h5")
    assert second.cached
    same = ("kind", "sha256", "float_path", "reference_path", "max_difference", "parameters", "versions")
    assert [getattr(first, name) for name in same] == [getattr(second, name) for name in same]


@pytest.mark.slow
def test_a_changed_helper_beside_the_custom_objects_is_converted_anew(data: Path, tmp_path: Path) -> None:
    model, custom = data / "legacy_h5" / "tf2.4" / "dense.h5", tmp_path / "custom.py"
    custom.write_text("")
    first = convert_source(model, custom_objects=custom)
    (tmp_path / "helper.py").write_text("RATE = 2")
    assert not convert_source(model, custom_objects=custom).cached
    assert convert_source(model, custom_objects=custom).float_path != first.float_path


def test_a_model_that_changes_while_it_is_converted_is_not_kept(
    data: Path, tmp_path: Path, empty_cache: Path
) -> None:
    model, custom = tmp_path / "dense.h5", tmp_path / "custom.py"
    shutil.copy(data / "legacy_h5" / "tf2.4" / "dense.h5", model)
    custom.write_text(f"open({str(model)!r}, 'ab').write(b'more')")
    assert error_of(model, custom_objects=custom) == (
        "LoadError",
        "MODEL: changed while it was converted",
        "run it again once it is written",
    )
    assert [path.suffix for path in (empty_cache / "convert").iterdir()] == [".lock"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/mem is Linux': run it there")
def test_variables_that_cannot_be_read_are_an_error_of_the_model(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(data / "digits_savedmodel", model)
    variables = model / "variables" / "variables.data-00000-of-00001"
    variables.unlink()
    variables.symlink_to("/proc/self/mem")  # which not even root can read at 0
    assert error_of(model) == (
        "LoadError",
        "MODEL: cannot be read (Input/output error)",
        "make the model readable, whole and on this machine",
    )


@pytest.mark.slow
def test_complex_outputs_convert(made: Path) -> None:
    source = convert_source(made / "spectrum")
    assert source.max_difference is not None
    assert 0 < source.max_difference < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.h5", "model.zip", "model"])
def test_a_keras_file_converts_under_any_name(data: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(data / "digits.keras", tmp_path / name)
    assert convert_source(tmp_path / name).kind == "Keras 3.15 sequential"


@pytest.mark.slow
def test_an_h5_file_converts_under_any_name(data: Path, tmp_path: Path, empty_cache: Path) -> None:
    shutil.copy(data / "legacy_h5" / "tf2.4" / "dense.h5", tmp_path / "model.keras")
    assert convert_source(tmp_path / "model.keras").kind == "Keras 2.4 sequential"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flip", "recurrent"])
def test_ordinary_saved_models_need_no_trust(made: Path, name: str) -> None:
    assert convert_source(made / name).kind == "SavedModel"


@pytest.mark.slow
def test_what_the_converter_printed_is_logged_when_it_fails(
    made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="devicekit.child"):
        assert error_of(made / "inverse.h5")[0] == "Unsupported"
    assert caplog.messages[0].startswith("devicekit.convert.inside.child printed last:\n")
    assert "tf.MatrixInverse" in caplog.messages[0]


@pytest.mark.slow
def test_a_changed_model_or_option_is_converted_anew(data: Path, tmp_path: Path) -> None:
    model, custom = tmp_path / "dense.h5", tmp_path / "custom.py"
    shutil.copy(data / "legacy_h5" / "tf2.4" / "dense.h5", model)
    custom.write_text("")
    first = convert_source(model)
    with h5py.File(model, "r+") as file:
        file["model_weights/dense/dense/bias:0"][:] = 1
    entries: list[Source] = [first, convert_source(model), convert_source(model, custom_objects=custom)]
    assert len({source.float_path for source in entries}) == 3
    assert entries[0].sha256 != entries[1].sha256 == entries[2].sha256


@pytest.mark.slow
def test_a_damaged_cache_entry_is_converted_anew(data: Path, empty_cache: Path) -> None:
    model = data / "legacy_h5" / "tf2.4" / "dense.h5"
    whole = convert_source(model).float_path.read_bytes()
    entry = next((empty_cache / "convert").glob("*/float.tflite"))
    entry.write_bytes(whole[:100])
    again = convert_source(model)
    assert not again.cached
    assert again.float_path.read_bytes() == whole
    assert sorted(path.name for path in entry.parent.iterdir()) == [
        "contents.json",
        "float.tflite",
        "reference.npz",
        "source.json",
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process: run it on Linux or macOS")
@pytest.mark.parametrize("phase", ["reading", "loading", pytest.param("converting", marks=pytest.mark.slow)])
def test_ctrl_c_leaves_nothing_behind(data: Path, tmp_path: Path, empty_cache: Path, phase: str) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    error = interrupted(data / "digits.keras", temporary, phase)
    if "Exception ignored in" in error:
        # Python drops an interrupt that comes inside a callback, such as that of an import's lock.
        shutil.rmtree(empty_cache)
        error = interrupted(data / "digits.keras", temporary, phase)
    assert "KeyboardInterrupt" in error
    assert list(temporary.iterdir()) == []
    left = [path.suffix for path in empty_cache.rglob("*") if path.name != "convert"]
    assert left in ([], [".lock"]), error


def interrupted(model: Path, temporary: Path, phase: str) -> str:
    """Returns the errors of a conversion that gets SIGINT as soon as it says that it is in `phase`."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from devicekit import progress\n"
        "from devicekit.convert.source import convert_source\n"
        "class Tell:\n"
        "    def update(self, step, *, detail='', done=0, total=None):\n"
        "        print(detail, flush=True)\n"
        "progress.current.set(Tell())\n"
        "convert_source(Path(sys.argv[1]))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert child.stdout is not None
    assert any(line.strip() == phase for line in child.stdout)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=30)
    return error


@pytest.mark.slow
def test_wrong_outputs_of_a_tflite_are_found(data: Path, tmp_path: Path) -> None:
    """The proof itself is proven: a .tflite of other weights, compared with this model, is refused."""
    probe = (
        "import sys\n"
        "from pathlib import Path\n"
        "from devicekit.convert.container import read_header\n"
        "from devicekit.convert.inside.load import load\n"
        "from devicekit.convert.inside.lower import trace\n"
        "from devicekit.convert.inside.verify import verify\n"
        "from devicekit.errors import ConvertError\n"
        "model, tflite = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "header = read_header(model, 'h5', trusted=False)\n"
        "options = dict(trusted=False, custom_objects=None, shapes={}, scratch=tflite.parent)\n"
        "function = trace(load(model, header, **options))\n"
        "try:\n"
        "    verify(model, function, tflite)\n"
        "except ConvertError as error:\n"
        "    print(error.message)\n"
    )
    good = convert_source(data / "digits.h5").float_path
    changed = bytearray(good.read_bytes())
    with h5py.File(data / "digits.h5") as file:
        kernel = file["model_weights/digit/digit/kernel:0"][()].T.tobytes()
    at = bytes(changed).index(kernel)
    changed[at : at + len(kernel)] = np.zeros(len(kernel), np.uint8).tobytes()
    (tmp_path / "zeroed.tflite").write_bytes(changed)
    argv = [sys.executable, "-c", probe, str(data / "digits.h5"), str(tmp_path / "zeroed.tflite")]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert 'output "digit" of the .tflite differs from Keras by ' in printed
    assert printed.strip().endswith("of its largest value, more than 0.001")
