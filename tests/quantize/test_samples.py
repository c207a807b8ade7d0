"""load_data: what is read, repaired, refused; messages in full."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from devicekit.errors import UsageError
from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.quantize.samples import MAX_CALIBRATION, load_data, rows

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 8, 8, 1)).astype(np.float32)
Save = Callable[..., Path]
LABELS = "give y as integers [N], or one-hot [N, classes]; else score with --eval file.py:function"


def refusal(spec: Path | str, graph: Graph) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        load_data(str(spec), graph)
    return caught.value.message, caught.value.remedy


def test_npz_with_evaluation_inputs_and_labels(digits_data: Path, digits_graph: Graph) -> None:
    data = load_data(str(digits_data), digits_graph)
    assert (data.source, data.is_random, data.notes) == ("digits.npz", False, ())
    assert data.calibration["image"].shape == (100, 8, 8, 1)
    assert data.evaluation["image"].shape == (719, 8, 8, 1)
    assert data.labels is not None and data.labels.shape == (719,)


def test_npy_scores_on_the_calibration_inputs_and_says_so(tmp_path: Path, digits_graph: Graph) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    data = load_data(str(tmp_path / "images.npy"), digits_graph)
    assert data.evaluation["image"] is data.calibration["image"]
    assert data.notes == (
        "scored on the calibration inputs: an independent score needs evaluation inputs (x_eval)",
    )


def test_the_input_may_be_called_by_its_own_name_or_saved_without_one(
    save_npz: Save, tmp_path: Path, digits_graph: Graph
) -> None:
    assert (
        len(load_data(str(save_npz(image=IMAGES, image_eval=IMAGES[:2])), digits_graph).evaluation["image"])
        == 2
    )
    np.savez(tmp_path / "unnamed.npz", IMAGES)
    assert len(load_data(str(tmp_path / "unnamed.npz"), digits_graph).calibration["image"]) == 6


def test_named_inputs_reach_the_input_of_that_name(save_npz: Save, two_inputs: Path) -> None:
    graph = read_graph(two_inputs)
    alpha, zeta = RNG.normal(size=(3, 6)).astype("f4"), RNG.normal(size=(3, 4)).astype("f4")
    data = load_data(str(save_npz(zeta=zeta, alpha=alpha)), graph)
    second = rows(data.evaluation, graph)[1]
    np.testing.assert_array_equal(second["alpha"], alpha[1:2])
    np.testing.assert_array_equal(second["zeta"], zeta[1:2])


def test_float64_is_converted_with_a_note(save_npz: Save, digits_graph: Graph) -> None:
    data = load_data(str(save_npz(x=IMAGES.astype(np.float64), x_eval=IMAGES)), digits_graph)
    assert data.calibration["image"].dtype == np.float32
    assert data.notes == ("x: converted from float64 to float32",)


def test_a_missing_batch_dimension_is_added_with_a_note(save_npz: Save, digits_graph: Graph) -> None:
    data = load_data(str(save_npz(x=IMAGES[0], x_eval=IMAGES)), digits_graph)
    assert data.calibration["image"].shape == (1, 8, 8, 1)
    assert data.notes == (
        "calibrated on 1 sample: ranges are a guess",
        "x: one sample without batch dimension, taken as [1, …]",
    )


def test_one_hot_labels_become_class_indices(save_npz: Save, digits_graph: Graph) -> None:
    data = load_data(str(save_npz(x=IMAGES, y=np.eye(10)[[3, 1, 4, 1, 5, 9]])), digits_graph)
    assert data.labels is not None and data.labels.tolist() == [3, 1, 4, 1, 5, 9]


def test_many_samples_are_thinned_for_calibration_only(save_npz: Save, digits_graph: Graph) -> None:
    images = np.repeat(IMAGES, 200, axis=0)
    data = load_data(str(save_npz(x=images)), digits_graph)
    assert len(data.calibration["image"]) == MAX_CALIBRATION
    assert len(data.evaluation["image"]) == 1200
    assert "calibrated on 500 of 1200 samples" in data.notes


@pytest.mark.parametrize(
    ("arrays", "message", "remedy"),
    [
        (
            {"x": IMAGES[:, :, :, 0]},
            "calib.npz: x: found float32 [6, 8, 8], expected float32 [N, 8, 8, 1] with N samples",
            "reshape x to float32 [N, 8, 8, 1]",
        ),
        (
            {"x": (IMAGES * 255).astype(np.uint8)},
            "calib.npz: x: found dtype uint8, expected float32",
            "convert x to float32, scaled as for training (for images often / 255)",
        ),
        (
            {"x": np.where(IMAGES.max() == IMAGES, np.nan, IMAGES)},
            "calib.npz: x: 1 of 384 values are NaN or infinite",
            "remove them from x",
        ),
        (
            {"x": IMAGES[:0]},
            "calib.npz: x: holds no samples",
            "give at least one, better 100",
        ),
        (
            {"x": np.zeros_like(IMAGES)},
            "calib.npz: x: every value is 0, which shows no range",
            "give real samples",
        ),
        (
            {"x": np.full_like(IMAGES, 0.3) + 1e-8 * IMAGES},
            "calib.npz: x: every value is 0.3, which shows no range",
            "give real samples",
        ),
        (
            {"X": IMAGES},
            "calib.npz: no samples for the input image: found X, expected image float32 [N, 8, 8, 1]",
            "save them with numpy.savez(file, x=…)",
        ),
        (
            {"x": IMAGES, "x_evl": IMAGES},
            'calib.npz: unknown key "x_evl"; did you mean x_eval?',
            "use the keys x, x_eval, y",
        ),
        (
            {"x": IMAGES, "y": np.arange(6) + 0.5},
            "calib.npz: y: found float64 [6], expected one class index per sample",
            LABELS,
        ),
        (
            {"x": IMAGES, "y": np.arange(5)},
            "calib.npz: y: 5 labels for 6 evaluation samples",
            "give one label per evaluation sample",
        ),
        (
            {"x": np.array([{}])},
            "calib.npz: cannot be read (Object arrays cannot be loaded when allow_pickle=False)",
            "save it again with numpy.savez, as numbers",
        ),
    ],
)
def test_bad_arrays_are_refused(
    arrays: dict[str, np.ndarray], message: str, remedy: str, save_npz: Save, digits_graph: Graph
) -> None:
    assert refusal(save_npz(**arrays), digits_graph) == (message, remedy)


def test_inputs_of_different_counts_are_refused(save_npz: Save, two_inputs: Path) -> None:
    alpha, zeta = RNG.normal(size=(3, 6)).astype("f4"), RNG.normal(size=(2, 4)).astype("f4")
    message, _ = refusal(save_npz(alpha=alpha, zeta=zeta), read_graph(two_inputs))
    assert message == "calib.npz: the inputs differ in their number of samples: zeta 2, alpha 3"


def test_inputs_that_all_show_no_range_are_refused(save_npz: Save, two_inputs: Path) -> None:
    alpha, zeta = np.zeros((3, 6), "f4"), np.full((3, 4), 0.5, "f4")
    message, remedy = refusal(save_npz(alpha=alpha, zeta=zeta), read_graph(two_inputs))
    assert message == ("calib.npz: zeta: every value is 0.5, alpha: every value is 0, which shows no range")
    assert remedy == "give real samples"


def test_one_input_of_several_that_shows_no_range_is_a_note(save_npz: Save, two_inputs: Path) -> None:
    arrays = {"alpha": RNG.normal(size=(3, 6)).astype("f4"), "zeta": np.zeros((3, 4), "f4")}
    evaluation = {
        f"{name}_eval": RNG.normal(size=values.shape).astype("f4") for name, values in arrays.items()
    }
    data = load_data(str(save_npz(**arrays, **evaluation)), read_graph(two_inputs))
    assert data.notes == ("zeta: every value is 0, its range is a guess",)


def test_a_missing_input_is_named(save_npz: Save, two_inputs: Path) -> None:
    message, remedy = refusal(save_npz(zeta=np.ones((2, 4), "f4")), read_graph(two_inputs))
    assert message == (
        "calib.npz: no samples for the input alpha: found zeta, "
        "expected zeta float32 [N, 4] and alpha float32 [N, 6]"
    )
    assert remedy == "save them with numpy.savez(file, alpha=…)"


def test_tokens_beyond_the_table_are_refused(save_npz: Save, embedding: Path) -> None:
    message, _ = refusal(save_npz(x=np.full((2, 8), 500)), read_graph(embedding))
    assert message == "calib.npz: x: found 500..500, expected 0..499"


def test_int64_tokens_are_converted_with_a_note(save_npz: Save, embedding: Path) -> None:
    tokens = np.arange(16).reshape(2, 8)
    data = load_data(str(save_npz(x=tokens, x_eval=tokens.astype("i4"))), read_graph(embedding))
    assert data.notes == ("x: converted from int64 to int32",)


def test_what_is_no_data_is_refused(tmp_path: Path, digits_graph: Graph) -> None:
    forms = "give --data a .npy, .npz, a directory of images or .npy files, or file.py:function"
    assert refusal("nowhere.npz", digits_graph) == ("nowhere.npz: no such file or directory", forms)
    (tmp_path / "table.csv").write_text("1,2")
    assert refusal(tmp_path / "table.csv", digits_graph)[1] == forms
    long = "x" * 300
    assert refusal(long, digits_graph) == (f"{long}: cannot be read (File name too long)", forms)
    (tmp_path / "truncated.npz").write_bytes(b"PK\x03\x04")
    assert refusal(tmp_path / "truncated.npz", digits_graph)[0].startswith("truncated.npz: cannot be read")


def test_a_directory_of_images_is_resized_and_scaled(tmp_path: Path, digits_graph: Graph) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for value in (0, 255):
        Image.new("RGB", (20, 10), (value, value, value)).save(folder / f"{value}.png")
    (folder / "notes.txt").write_text("not an image")
    data = load_data(str(folder), digits_graph)
    assert data.source == "images"
    assert [float(image.max()) for image in data.calibration["image"]] == [0.0, 1.0]
    assert data.notes[0] == "images taken as 0..1: if the model was trained otherwise, give a .npz instead"


def test_a_broken_image_is_named(tmp_path: Path, digits_graph: Graph) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    message, remedy = refusal(tmp_path, digits_graph)
    assert message.startswith("broken.png: is no readable image (")
    assert remedy == "remove or replace it"


def test_images_are_refused_where_the_input_is_none(tmp_path: Path, embedding: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    message, _ = refusal(tmp_path, read_graph(embedding))
    assert message == (
        f"{tmp_path.name}: holds images, the model's input is int32 [1, 8], "
        "expected float32 or uint8 [1, height, width, 1 or 3]"
    )


def test_a_directory_of_npy_files_joins_samples_and_batches(tmp_path: Path, digits_graph: Graph) -> None:
    np.save(tmp_path / "a.npy", IMAGES[0])
    np.save(tmp_path / "b.npy", IMAGES[1:])
    data = load_data(str(tmp_path), digits_graph)
    np.testing.assert_array_equal(data.calibration["image"], IMAGES)


def test_a_directory_of_files_that_hold_no_single_array_is_refused(
    tmp_path: Path, digits_graph: Graph
) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGES, label=IMAGES)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    assert refusal(tmp_path, digits_graph) == (
        "a.npy: holds image, label, expected one array",
        "save it with numpy.save",
    )
    (tmp_path / "a.npy").unlink()
    (tmp_path / "a.npy").mkdir()
    assert refusal(tmp_path, digits_graph)[0] == "a.npy: cannot be read (Is a directory)"


FUNCTIONS = """
import numpy as np
import neighbour
def array(): return neighbour.images()
def by_name(): return {"image": neighbour.images(), "y": [0, 1, 2, 3]}
def batches():
    for image in neighbour.images():
        yield [image[None]]
def dicts():
    for image in neighbour.images():
        yield {"image": image}
def fails(): raise ValueError("no such dataset")
def exits(): raise SystemExit(3)
def number(): return 3
def ragged(): return {"image": [[1, 2], [3]]}
def ragged_items(): yield [[1, 2], [3]]
value = 5
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    neighbour = (
        "import numpy as np\ndef images(): return np.linspace(0, 1, 256, dtype='f4').reshape(4, 8, 8, 1)\n"
    )
    (tmp_path / "neighbour.py").write_text(neighbour)
    (tmp_path / "calib.py").write_text(FUNCTIONS)
    return tmp_path / "calib.py"


@pytest.mark.parametrize("name", ["array", "by_name", "batches", "dicts"])
def test_a_function_gives_an_array_a_dict_or_an_iterator(
    name: str, functions: Path, digits_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    data = load_data(f"{functions}:{name}", digits_graph)
    assert data.source == f"calib.py:{name}"
    assert data.calibration["image"].shape == (4, 8, 8, 1)
    assert (data.labels is not None) == (name == "by_name")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", "calib.py:fails: raised ValueError: no such dataset (line 12)"),
        ("exits", "calib.py:exits: raised SystemExit: 3 (line 13)"),
        ("number", "calib.py:number: returned int, expected an array, a dict or an iterator of them"),
        (
            "ragged",
            "calib.py:ragged: image: found lists of different lengths, expected numbers of one shape",
        ),
        (
            "ragged_items",
            "calib.py:ragged_items: found lists of different lengths, expected numbers of one shape",
        ),
        ("absent", 'calib.py: has no function "absent"'),
        ("value", 'calib.py: has no function "value"'),
    ],
)
def test_a_failing_function_is_one_error(
    name: str, message: str, functions: Path, digits_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    assert refusal(f"{functions}:{name}", digits_graph)[0] == message


def test_without_data_the_inputs_are_random_and_say_so(digits_graph: Graph) -> None:
    data = load_data(None, digits_graph, random_count=5)
    again = load_data(None, digits_graph, random_count=5)
    assert (data.source, data.is_random, data.labels) == ("random inputs in 0..1", True, None)
    assert data.calibration["image"].shape == (5, 8, 8, 1)
    np.testing.assert_array_equal(data.calibration["image"], again.calibration["image"])
    assert data.notes == ()
    assert data.warnings == (
        "random inputs: fidelity and int8 ranges are made up; give real samples with --data",
    )


def test_a_fixed_batch_is_one_sample(tmp_path: Path, batch_of_4: Path) -> None:
    graph = read_graph(batch_of_4)
    data = load_data(None, graph, random_count=3)
    assert [row["x"].shape for row in rows(data.evaluation, graph)] == [(4, 8)] * 3
    np.save(tmp_path / "x.npy", RNG.random((2, 4, 8)).astype("f4"))
    assert [row["x"].shape for row in rows(load_data(str(tmp_path / "x.npy"), graph).evaluation, graph)] == [
        (4, 8)
    ] * 2
