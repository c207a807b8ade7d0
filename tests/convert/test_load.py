"""Both Kerases' own files load, with the user's code, or say which layer does not and what to do."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devicekit.convert.source import convert_source
from devicekit.errors import DevicekitError
from devicekit.graph.read import read_graph
from tests import warm

CODE = """import keras
class Scale(keras.layers.Layer):
    def __init__(self, factor, **rest):
        super().__init__(**rest)
        self.factor = factor
    def call(self, inputs):
        return inputs * self.factor
class Tens(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None, **rest):
        return keras.initializers.Constant(10)(shape, dtype or "float32")
def bent(x):
    return keras.activations.relu(x) * 0.5 + x
"""
SUB = """import keras
class Sub(keras.Model):
    def __init__(self, units=3, **rest):
        super().__init__(**rest)
        self.dense = keras.layers.Dense(units)
    def call(self, image):
        return self.dense(image)
"""
BOTH = pytest.mark.parametrize("keras", ["keras", "tf_keras"])
FORMATS = pytest.mark.parametrize("suffix", [".h5", ".keras"])
MADE_BY = {"keras": "Keras 3.15", "tf_keras": "Keras 2.21"}


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models that make_own.py writes, one folder per Keras (ten seconds)."""
    folder = tmp_path_factory.mktemp("own")
    script = Path(__file__).with_name("make_own.py")
    for keras in ("keras", "tf_keras"):
        (folder / keras).mkdir()
        argv = [warm.python(), str(script), keras, str(folder / keras)]
        subprocess.run(argv, check=True, capture_output=True)
    return folder


def written(folder: Path, code: str) -> Path:
    path = folder / "own.py"
    path.write_text(code)
    return path


def error_of(model: Path, **options: Any) -> tuple[str, str, str]:
    """Returns kind, message and remedy of the error, with the path taken out."""
    with pytest.raises(DevicekitError) as caught:
        convert_source(model, **options)
    return caught.value.kind, caught.value.message.replace(f"{model}", "MODEL"), caught.value.remedy


@pytest.mark.slow
@BOTH
@FORMATS
def test_layers_activations_and_initialisers_need_no_registration_and_a_loss_no_code(
    own: Path, tmp_path: Path, keras: str, suffix: str
) -> None:
    source = convert_source(own / keras / f"own{suffix}", custom_objects=written(tmp_path, CODE))
    assert source.parameters == 23
    assert source.max_difference is not None and source.max_difference < 1e-6


@pytest.mark.slow
@BOTH
@FORMATS
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("inputs * self.factor", "inputs * self.nothing", "raises AttributeError: 'Scale' object has no"),
        ("self.factor = factor", "self.factor = 1 / 0", "Scale.__init__ (own.py:5) raises ZeroDivisionError"),
    ],
    ids=["call", "init"],
)
def test_own_code_that_raises_is_named_with_its_line(
    own: Path, tmp_path: Path, keras: str, suffix: str, old: str, new: str, said: str
) -> None:
    code = written(tmp_path, CODE.replace(old, new))
    kind, message, remedy = error_of(own / keras / f"own{suffix}", custom_objects=code)
    line = 7 if "inputs" in old else 5
    assert kind == "LoadError" and said in message
    assert f"(own.py:{line})" in message
    assert remedy == f"correct it in {code}, line {line}"


@pytest.mark.slow
@BOTH
@FORMATS
def test_an_activation_that_is_not_given_is_named_with_its_layer(
    own: Path, tmp_path: Path, keras: str, suffix: str
) -> None:
    code = written(tmp_path, CODE.replace("def bent", "def other"))
    assert error_of(own / keras / f"own{suffix}", custom_objects=code) == (
        "LoadError",
        f'MODEL: "bent" (in layer "hidden") of this {MADE_BY[keras]} file is not a part of Keras, '
        f"and {code} does not define it",
        f"define bent in {code}",
    )


@pytest.mark.slow
@BOTH
@FORMATS
def test_a_class_whose_arguments_were_not_saved_is_named(
    own: Path, tmp_path: Path, keras: str, suffix: str
) -> None:
    code = written(tmp_path, CODE.replace("Scale", "Bare"))
    assert error_of(own / keras / f"bare{suffix}", custom_objects=code) == (
        "LoadError",
        "MODEL: Bare (own.py:2) does not fit the saved config: "
        "Bare.__init__() missing 1 required positional argument: 'factor'",
        f"give it the defaults that the model was saved with, in {code}",
    )


@pytest.mark.slow
@BOTH
@FORMATS
def test_a_function_stands_in_for_a_nested_lambda_without_trust(
    own: Path, tmp_path: Path, keras: str, suffix: str
) -> None:
    model = own / keras / f"nested_lambda{suffix}"
    assert error_of(model) == (
        "UntrustedModel",
        f'MODEL ({MADE_BY[keras]}) contains a Lambda layer ("inner-scale"): '
        "loading it runs code stored in the file",
        "if you trust where it came from: add --trust; "
        "better: define inner_scale(inputs) in a file for --custom-objects",
    )
    code = written(tmp_path, "def inner_scale(inputs):\n    return 2 * inputs\n")
    assert convert_source(model, custom_objects=code).parameters == 10


@pytest.mark.slow
@FORMATS
def test_a_keras_3_lambda_finds_tensorflow_when_trusted(own: Path, suffix: str) -> None:
    assert convert_source(own / "keras" / f"uses_tf{suffix}", trust=True).parameters == 10


@pytest.mark.slow
def test_operations_in_an_h5_of_keras_3_load_as_from_its_keras_file(own: Path) -> None:
    import numpy as np

    sources = [convert_source(own / "keras" / f"operations{suffix}") for suffix in (".h5", ".keras")]
    references = [np.load(source.reference_path) for source in sources if source.reference_path]
    (output,) = (name for name in references[0].files if name.startswith("out/"))
    assert len(references) == 2
    np.testing.assert_array_equal(references[0][output], references[1][output])


@pytest.mark.slow
@BOTH
def test_a_subclassed_keras_file_knows_its_input_shape(own: Path, tmp_path: Path, keras: str) -> None:
    source = convert_source(own / keras / "sub.keras", custom_objects=written(tmp_path, SUB))
    assert (source.kind, source.parameters) == (f"{MADE_BY[keras]} subclassed", 15)
    inputs = {name: tensor.shape for name, tensor in read_graph(source.float_path).input_tensors.items()}
    assert inputs == {"image": (1, 4)}


@pytest.mark.slow
def test_a_subclassed_h5_takes_its_shape_from_the_user(own: Path, tmp_path: Path) -> None:
    model, code = own / "keras" / "sub.h5", written(tmp_path, SUB)
    assert error_of(model, custom_objects=code) == (
        "ConvertError",
        "MODEL does not convert: the input shapes of Sub are not in the file",
        "fix them with the sizes that you feed: --shape image=1,224,224,3",
    )
    assert error_of(model, custom_objects=code, shapes={"imag": (1, 4)}) == (
        "UsageError",
        '--shape imag: sub.h5 has no input "imag"',
        "name one of its inputs: image",
    )
    assert convert_source(model, custom_objects=code, shapes={"image": (1, 4)}).parameters == 15


@pytest.mark.slow
@BOTH
def test_open_shapes_are_fixed_by_the_line_that_the_remedy_gives(own: Path, keras: str) -> None:
    model = own / keras / "open.keras"
    _, message, remedy = error_of(model, shapes={"steps": (1, 7, 5)})
    assert message == 'MODEL does not convert: input "image" has no fixed shape: [?, ?, ?, 3]'
    assert remedy == "fix it with the sizes that you feed: --shape steps=1,7,5 --shape image=1,224,224,3"
    sizes = {"image": (1, 8, 8, 3), "steps": (1, 7, 5)}
    assert convert_source(model, shapes=sizes).parameters == 0


@pytest.mark.slow
def test_a_model_that_keeps_itself(own: Path, tmp_path: Path) -> None:
    code = written(tmp_path, SUB.replace("self.dense =", "self.whole = self\n        self.dense ="))
    assert error_of(own / "keras" / "sub.keras", custom_objects=code) == (
        "LoadError",
        "MODEL: the layers of this Keras 3.15 file contain each other without end",
        f"look in {code} for a layer that keeps itself, or its model, in an attribute",
    )


@pytest.mark.slow
def test_a_model_that_makes_itself(own: Path, tmp_path: Path) -> None:
    code = written(tmp_path, SUB.replace("keras.layers.Dense(units)", "Sub(units)"))
    kind, message, remedy = error_of(own / "keras" / "sub.keras", custom_objects=code)
    # Where exactly the stack ends depends on Python's frames: at super().__init__ or at Sub().
    assert kind == "LoadError" and remedy in (f"correct it in {code}, line {line}" for line in (4, 5))
    said = r"MODEL: Sub\.__init__ \(own\.py:[45]\) raises RecursionError: maximum recursion depth exceeded.*"
    assert re.fullmatch(said, message)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA limits memory on Linux only: run it there")
@pytest.mark.usefixtures("own_children")
def test_a_layer_that_eats_memory_when_it_is_called_is_ended(own: Path, tmp_path: Path) -> None:
    eating = "held = []\n        while True:\n            held.append(bytearray(2**26))"
    code = written(tmp_path, SUB.replace("return self.dense(image)", eating))
    model = own / "keras" / "sub.keras"
    assert error_of(model, custom_objects=code, memory_bytes=2 * 2**30) == (
        "ConvertError",
        "MODEL does not convert: loading it needs more than 2048 MiB",
        "convert it on a machine with more memory",
    )


@pytest.mark.slow
def test_a_subclassed_model_that_fails_on_its_own_shapes_is_named(own: Path, tmp_path: Path) -> None:
    code = written(tmp_path, SUB.replace("self.dense(image)", "self.dense(self.dense(image))"))
    kind, message, remedy = error_of(own / "keras" / "sub.keras", custom_objects=code)
    assert (kind, remedy) == ("ConvertError", f"correct it in {code}, line 7")
    assert message.startswith("MODEL does not convert: Sub.call (own.py:7) raises ValueError: Input 0 ")
