"""What runs outside the model: the module beside the .tflite and the .tflite together are the model."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import devicekit
from devicekit.cache import sha256_file
from devicekit.convert.inside.outside import loaded_module
from devicekit.convert.source import convert_source
from devicekit.errors import ConvertError, UsageError
from devicekit.graph.read import read_graph
from tests import warm

TAGS = ("modern", "legacy")
TEXT_MODELS = [
    f"{name}_{tag}.keras"
    for name in ("lookup", "review", "letters", "multi_hot", "count", "tf_idf")
    for tag in TAGS
]
DETECTORS = [f"detector_{tag}" for tag in TAGS]


@pytest.fixture(scope="session")
def models(written_by: Callable[[Path], Path]) -> Path:
    """The folder of models that make_split_models.py writes."""
    return written_by(Path(__file__).with_name("make_split_models.py"))


def composed(tflite: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """Returns the outputs of the .tflite with the modules beside it around it, for one sample."""
    before, behind = (tflite.with_suffix(f".{role}.py") for role in ("preprocess", "postprocess"))
    if before.is_file():
        inputs = called(before, "preprocess", inputs)
    runner = Interpreter(model_path=str(tflite)).get_signature_runner()
    shapes = {name: detail["shape"] for name, detail in runner.get_input_details().items()}
    outputs = dict(runner(**{name: inputs[name].reshape(shape) for name, shape in shapes.items()}))
    return called(behind, "postprocess", outputs) if behind.is_file() else outputs


def called(module: Path, function: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Runs a written module in a Python of its own, where it must import nothing but numpy."""
    folder = module.parent
    np.savez(folder / "given.npz", **arrays)
    code = (
        "import sys, runpy\n"
        f"sys.path.append({str(Path(np.__file__).parents[1])!r})\n"
        "import numpy as np\n"
        f"given = dict(np.load({str(folder / 'given.npz')!r}))\n"
        "before = set(sys.modules)\n"
        f"result = runpy.run_path({str(module)!r})[{function!r}](given)\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert new <= set(sys.stdlib_module_names) | {'numpy'}, new\n"
        f"np.savez({str(folder / 'taken.npz')!r}, **result)\n"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
    with np.load(folder / "taken.npz") as taken:
        return dict(taken)


def recorded(models: Path, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Returns the samples of a model: its inputs, and the outputs that Keras gave when it was saved."""
    with np.load(models / f"{name.removesuffix('.keras')}.npz") as file:
        arrays = dict(file)
    given = {key.removeprefix("in/"): value for key, value in arrays.items() if key.startswith("in/")}
    expected = {key.removeprefix("out/"): value for key, value in arrays.items() if key.startswith("out/")}
    return [
        ({key: v[i : i + 1] for key, v in given.items()}, {key: v[i] for key, v in expected.items()})
        for i in range(len(next(iter(given.values()))))
    ]


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_text_outside_and_the_tflite_give_what_keras_gave(models: Path, tmp_path: Path, name: str) -> None:
    conversion = devicekit.convert(models / name, path=tmp_path / "model.tflite")
    assert [(one.remedy, one.difference) for one in conversion.source.rewrites] == [("text_outside", 0.0)]
    for inputs, expected in recorded(models, name):
        [actual] = composed(tmp_path / "model.tflite", inputs).values()
        np.testing.assert_allclose(actual, expected["y"], rtol=1e-3, atol=1e-6)


def test_text_of_a_saved_model_goes_outside_by_its_table(models: Path, tmp_path: Path) -> None:
    conversion = devicekit.convert(models / "review_folder", path=tmp_path / "model.tflite")
    assert [(one.remedy, one.difference) for one in conversion.source.rewrites] == [("tables_outside", 0.0)]
    for inputs, expected in recorded(models, "review_folder"):
        [actual] = composed(tmp_path / "model.tflite", inputs).values()
        np.testing.assert_allclose(actual, expected["y"], rtol=1e-3, atol=1e-6)


def test_a_standardisation_of_the_users_own_is_not_taken_for_keras_own(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError) as caught:
        devicekit.convert(models / "own_folder", path=tmp_path / "model.tflite")
    assert caught.value.message.endswith("its text goes through tf.StaticRegexReplace")


def test_text_without_rewriting_is_refused_with_the_option_that_forbids_it(
    models: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConvertError) as caught:
        devicekit.convert(models / "review_modern.keras", path=tmp_path / "model.tflite", rewrite=False)
    assert caught.value.remedy == "leave out --no-rewrite, so that text layers move out of the model"


def test_more_samples_than_one_are_refused_outside(models: Path, tmp_path: Path) -> None:
    for name in ("review_modern.keras", "detector_modern"):
        devicekit.convert(models / name, path=tmp_path / f"{Path(name).stem}.tflite")
    before = loaded_module(tmp_path / "review_modern.preprocess.py").preprocess
    assert list(before({"text": "a plain text"})) == list(before({"text": [["a plain text"]]}))
    with pytest.raises(ValueError, match=r"text holds 2 texts \[2\], expected 1: give one sample at a time"):
        before({"text": ["one", "two"]})
    behind = loaded_module(tmp_path / "detector_modern.postprocess.py").postprocess
    outputs = {
        name: np.zeros(t.shape, np.float32)
        for name, t in read_graph(tmp_path / "detector_modern.tflite").output_tensors.items()
    }
    assert behind(outputs)
    for change in (lambda one: np.repeat(one, 2, 0), lambda one: one.astype(np.int8)):
        with pytest.raises(ValueError, match="give one sample at a time, and of integer outputs"):
            behind({name: change(one) for name, one in outputs.items()})


def test_a_threshold_without_bound_is_written_as_numpy_reads_it(models: Path, tmp_path: Path) -> None:
    devicekit.convert(models / "detector_unbounded", path=tmp_path / "model.tflite")
    assert "score_threshold=-np.inf" in (tmp_path / "model.postprocess.py").read_text()


@pytest.mark.parametrize("name", DETECTORS)
def test_boxes_outside_and_the_tflite_give_what_keras_gave(models: Path, tmp_path: Path, name: str) -> None:
    conversion = devicekit.convert(models / name, path=tmp_path / "model.tflite")
    assert [(one.remedy, one.difference) for one in conversion.source.rewrites] == [("boxes_outside", 0.0)]
    for inputs, expected in recorded(models, name):
        actual = composed(tmp_path / "model.tflite", inputs)
        assert len(actual) == len(expected) == 4
        for value in expected.values():  # a SavedModel names outputs as it likes
            same = [one for one in actual.values() if one.shape == value.shape]
            assert any(np.allclose(one, value, rtol=1e-3, atol=1e-5) for one in same)


def test_a_deployment_files_what_runs_outside_and_its_manifest_names_it(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    deployment = devicekit.deploy(
        models / "review_modern.keras", "raspberrypi4", recipes=["float32"], folder=folder
    )
    assert deployment.chosen is not None
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "review_modern.float32.tflite",
        "review_modern.preprocess.py",
        "review_modern.preprocess.json",
        "manifest.json",
        "report.json",
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    [outside] = manifest["outside"]
    assert (outside["role"], outside["file"]) == ("preprocess", "review_modern.preprocess.py")
    assert outside["constants"]["file"] == "review_modern.preprocess.json"
    assert outside["inputs"] == [{"name": "text", "dtype": "string", "shape": [1, 1]}]
    assert outside["outputs"] == [{"name": "tokens", "dtype": "int32", "shape": [1, 8]}]
    assert sha256_file(folder / outside["file"]) == outside["sha256"]
    settings = json.loads((folder / outside["constants"]["file"]).read_text())
    assert settings["tokens"]["indices"]["movie"] == 3


def test_no_rewrite_refuses_the_split(models: Path) -> None:
    with pytest.raises(ConvertError) as caught:
        convert_source(models / "review_modern.keras", rewrite=False)
    assert caught.value.message.endswith(
        'does not convert: input "text" takes strings, which no recipe, runner or comparison here can feed'
    )


@pytest.mark.parametrize(
    ("name", "why", "remedy"),
    [
        (
            "salted.keras",
            "index (StringLookup) hashes unknown words into 3 indices",
            "save the model with num_oov_indices=1 in that layer",
        ),
        (
            "endless.keras",
            "tokens (TextVectorization) gives as many values as the text has tokens",
            "save the model with output_sequence_length set in that layer",
        ),
        (
            "hashed.keras",
            "hash (Hashing) hashes strings",
            "save the model without this layer, and compute it in the app",
        ),
    ],
)
def test_text_that_cannot_go_outside_names_its_layer(models: Path, name: str, why: str, remedy: str) -> None:
    with pytest.raises(ConvertError) as caught:
        convert_source(models / name)
    [_, after] = caught.value.message.split("comparison here can feed; ")
    assert (after, caught.value.remedy) == (why, remedy)


def test_a_file_in_the_place_of_a_part_is_not_overwritten(models: Path, tmp_path: Path) -> None:
    (tmp_path / "model.preprocess.py").write_text("mine")
    with pytest.raises(UsageError) as caught:
        devicekit.convert(models / "review_modern.keras", path=tmp_path / "model.tflite")
    assert caught.value.message == f"{tmp_path}/model.preprocess.py exists already"
    assert [path.name for path in tmp_path.iterdir()] == ["model.preprocess.py"]


@pytest.fixture(scope="module")
def judged(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each split of split_judged.py (ten seconds)."""
    folder = tmp_path_factory.mktemp("judged")
    script = Path(__file__).with_name("split_judged.py")
    subprocess.run([warm.python(), str(script), str(models), str(folder)], check=True, capture_output=True)
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


@pytest.mark.parametrize(
    ("name", "part", "files"),
    [
        ("text", "preprocess", ["preprocess.json", "preprocess.py"]),
        ("boxes", "postprocess", ["postprocess.py"]),
    ],
)
def test_a_part_that_is_equal_outside_is_taken_out(
    judged: dict[str, Any], name: str, part: str, files: list[str]
) -> None:
    assert judged[name] == {"parts": [part], "refused": [], "files": files}


@pytest.mark.parametrize(
    ("name", "layer", "why"),
    [
        ("wrong_text", "tokens", "outputs would differ by 0."),
        ("broken_text", "tokens", "ValueError: no such thing"),
        ("wrong_boxes", "suppress", "outputs would differ by 0.5"),
    ],
)
def test_a_part_that_is_not_equal_outside_stays_in_and_leaves_no_file(
    judged: dict[str, Any], name: str, layer: str, why: str
) -> None:
    assert (judged[name]["parts"], judged[name]["files"]) == ([], [])
    [refused] = judged[name]["refused"]
    assert refused.startswith(f"what {layer}") and "could not be proven equal outside the model" in refused
    assert why in refused
