"""build: all recipes in a real child process, on real models; what fails becomes a finding."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from devicekit import progress
from devicekit.child import default_memory_bytes
from devicekit.errors import LoadError, RecipeError, UsageError
from devicekit.finding import Finding
from devicekit.graph.read import read_graph
from devicekit.quantize.bench import Bench, judged
from devicekit.quantize.build import BuildResult
from devicekit.quantize.predictor import Predictor
from devicekit.quantize.recipes import RECIPES, int8
from tests.quantize.building import build

DATA = Path(__file__).parent.parent / "data"
BASIC_PITCH = Path(__file__).parents[2] / ".cache" / "basic-pitch" / "nmp.tflite"
BAD = {name: f"misbehaving_recipes:{name}" for name in ("crashes", "hangs", "raises", "returns_nonsense")}


@pytest.fixture
def own_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "recipes"))


@pytest.fixture(scope="module")
def digits_result(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    out_dir = tmp_path_factory.mktemp("digits")
    return build(
        DATA / "digits.float32.tflite", list(RECIPES), data=str(DATA / "digits.npz"), out_dir=out_dir
    )


def test_every_recipe_of_a_trained_model_keeps_its_accuracy(digits_result: BuildResult) -> None:
    assert [one.recipe for one in digits_result.candidates] == list(RECIPES)
    for one in digits_result.candidates:
        assert one.findings == ()
        assert one.fidelity and one.fidelity.count == 719
        assert one.fidelity.task_metric is not None and one.fidelity.float_task_metric is not None
        assert one.fidelity.float_task_metric > 0.96
        assert one.fidelity.task_metric > one.fidelity.float_task_metric - 0.02
        assert one.fidelity.top1_agreement is not None and one.fidelity.top1_agreement > 0.98
    assert digits_result.data.evaluation_count == 719
    assert digits_result.data.has_labels and not digits_result.data.is_random


def test_sizes_shrink_with_the_bits(digits_result: BuildResult) -> None:
    size = {one.recipe: one.size_bytes or 0 for one in digits_result.candidates}
    assert size["weight_int4"] < size["dynamic_int8"] < size["int8"] < size["float16"] < size["float32"]


def test_float32_is_the_file_itself(digits_result: BuildResult) -> None:
    built = digits_result.candidates[0]
    assert built.path and built.path.read_bytes() == (DATA / "digits.float32.tflite").read_bytes()
    assert built.fidelity and built.fidelity.cosine == 1.0


def test_the_golden_file_is_what_the_artifact_takes_and_gives(digits_result: BuildResult) -> None:
    for one in digits_result.candidates:
        assert one.path and one.golden
        inputs, outputs = read_graph(one.path).input_tensors, read_graph(one.path).output_tensors
        with np.load(one.golden) as golden:
            assert set(golden) == {"in/image", "out/digit", "later/digit"}
            assert (golden["in/image"].dtype, golden["in/image"].shape) == (
                inputs["image"].dtype,
                (1, 8, 8, 1),
            )
            assert golden["out/digit"].dtype == outputs["digit"].dtype
            again = Predictor(one.path.read_bytes(), threads=1).invoke({"image": golden["in/image"]})
            np.testing.assert_allclose(
                again["digit"].astype(float),
                golden["out/digit"].astype(float),
                atol=1e-6 + (one.recipe[:3] == "int"),
            )


def test_without_data_static_recipes_are_marked(digits: Path, tmp_path: Path) -> None:
    result = build(digits, ["float32", "int8"], data=None, out_dir=tmp_path)
    float32, int8 = result.candidates
    assert result.data.is_random and result.data.source == "random inputs in 0..1"
    assert float32.notes == ()
    assert int8.notes == ("calibrated on random data",)
    assert (float32.made_up_ranges, int8.made_up_ranges) == (False, True)
    assert int8.fidelity and int8.fidelity.cosine > 0.9
    assert int8.fidelity.top1_agreement is None  # noise has no class


def test_an_unknown_recipe_is_refused_before_anything_runs(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean int8"):
        build(digits, ["float32", "in8"], data=None, out_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_data_is_one_error(digits: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 8, 8, 1), np.nan, np.float32))
    with pytest.raises(UsageError) as caught:
        build(digits, ["int8"], data=str(tmp_path / "x.npy"), out_dir=tmp_path / "out")
    assert caught.value.message == "x.npy: x: 128 of 128 values are NaN or infinite"


@pytest.mark.usefixtures("own_children")
def test_named_inputs_keep_their_order_through_quantization(
    two_inputs: Path, save_npz: Callable[..., Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    data = save_npz(alpha=rng.normal(size=(20, 6)), zeta=rng.normal(size=(20, 4)) * 50)
    result = build(two_inputs, ["int8", "int8_float_io", "int16x8"], data=str(data), out_dir=tmp_path / "out")
    for one in result.candidates:
        assert one.findings == () and one.fidelity and one.fidelity.cosine > 0.99
    inputs = read_graph(tmp_path / "out" / "int8.tflite").input_tensors
    assert inputs["zeta"].scale[0] > 10 * inputs["alpha"].scale[0]


def test_a_crash_of_one_recipe_leaves_the_others(digits: Path, tmp_path: Path, own_recipes: None) -> None:
    table = {**RECIPES, **BAD}
    recipes = ["float16", "crashes", "raises", "returns_nonsense", "int8"]
    result = build(digits, recipes, data=None, out_dir=tmp_path, table=table)
    by_name = {one.recipe: one for one in result.candidates}
    assert list(by_name) == recipes
    remedy = "choose another recipe"
    assert by_name["crashes"].findings == (Finding("build", "building it crashed (SIGSEGV)", remedy),)
    assert by_name["raises"].findings == (Finding("build", r"KeyError: 'an error\nof two lines'", remedy),)
    assert [f.rule for f in by_name["returns_nonsense"].findings] == ["build"]
    assert all(by_name[name].path is None for name in ("crashes", "raises", "returns_nonsense"))
    assert by_name["float16"].fidelity and by_name["int8"].fidelity


def test_a_recipe_that_hangs_is_ended(digits: Path, tmp_path: Path, own_recipes: None) -> None:
    result = build(
        digits, ["hangs", "float32"], data=None, out_dir=tmp_path, table={**RECIPES, **BAD}, timeout_s=8
    )
    hangs, float32 = result.candidates
    assert [f.detail for f in hangs.findings] == ["timed out: no progress for 8 s"]
    assert float32.path


@pytest.mark.usefixtures("own_children")
def test_a_recipe_that_needs_too_much_memory_is_ended(
    digits: Path, tmp_path: Path, own_recipes: None
) -> None:
    table = {**RECIPES, "eats_memory": "misbehaving_recipes:eats_memory"}
    result = build(
        digits, ["eats_memory", "float32"], data=None, out_dir=tmp_path, table=table, memory_bytes=4 << 30
    )
    assert [f.detail for f in result.candidates[0].findings] == ["needs more than 4096 MiB"]
    assert result.candidates[1].path


def test_an_unquantized_result_is_a_finding(digits: Path, tmp_path: Path, own_recipes: None) -> None:
    table = {name: "misbehaving_recipes:unquantized" for name in ("int16x8", "dynamic_int8")}
    static, dynamic = build(digits, list(table), data=None, out_dir=tmp_path, table=table).candidates
    assert [f.rule for f in static.findings + dynamic.findings] == ["quantized", "quantized"]
    assert static.findings[0].detail.startswith("not int16, computed in float32: ")
    assert dynamic.findings[0].detail.startswith("100% of the weights stay float32: ")


def test_outputs_that_are_not_finite_are_a_finding(digits: Path, tmp_path: Path, own_recipes: None) -> None:
    table = {"broken": "misbehaving_recipes:not_finite"}
    (built,) = build(digits, ["broken"], data=None, out_dir=tmp_path, table=table).candidates
    assert [f.rule for f in built.findings] == ["finite"]
    assert built.fidelity and built.fidelity.cosine == 0


def test_a_model_without_weights_has_nothing_to_quantize(weightless: Path, tmp_path: Path) -> None:
    weight_only, static = build(weightless, ["weight_int8", "int8"], data=None, out_dir=tmp_path).candidates
    assert [f.detail for f in weight_only.findings] == ["nothing to quantize: no op of the model has weights"]
    assert static.findings == ()


def test_a_runtime_without_per_channel_dense_gets_one_scale(digits: Path, tmp_path: Path) -> None:
    recipes = ["float16", "dynamic_int8", "int8"]
    result = build(digits, recipes, data=None, out_dir=tmp_path, dense_version=9)
    assert result.candidates[1].notes == (
        "dense weights have one scale each: with one per channel they need FULLY_CONNECTED version 12, "
        "the profile's runtime knows 9",
    )
    assert result.candidates[1].fidelity and result.candidates[1].fidelity.cosine > 0.999
    assert result.candidates[0].notes == () and result.candidates[2].notes == ("calibrated on random data",)


def test_a_quantized_source_is_taken_as_it_is(tmp_path: Path) -> None:
    path = DATA / "tflite" / "cnn_int8.tflite"
    (built,) = build(path, list(RECIPES), data=None, out_dir=tmp_path).candidates
    assert (built.recipe, built.fidelity, built.findings) == ("original", None, ())
    assert built.notes == ("quantized already (int32 and int8): taken as it is, nothing to compare with",)
    assert built.path and built.path.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["custom", "flex"])
def test_a_model_that_litert_cannot_run_is_one_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError) as caught:
        build(DATA / "tflite" / f"{name}.tflite", ["float32"], data=None, out_dir=tmp_path)
    assert caught.value.message.startswith(f"{name}.tflite: LiteRT cannot run it: ")
    assert "Traceback" not in caught.value.message


def test_the_users_metric_scores_every_candidate(digits: Path, digits_data: Path, tmp_path: Path) -> None:
    code = f"""
import numpy as np
data = np.load({str(digits_data)!r})
def hits(predict):
    return (predict(data["x_eval"][:50]).argmax(1) == data["y"][:50]).sum()
"""
    (tmp_path / "score.py").write_text(code)
    score = f"{tmp_path / 'score.py'}:"
    result = build(
        digits, ["float32", "int8"], data=str(digits_data), eval_function=score + "hits", out_dir=tmp_path
    )
    for one in result.candidates:
        assert one.fidelity and one.fidelity.task_metric and one.fidelity.task_metric >= 48


@pytest.mark.parametrize(
    ("model", "recipes"),
    [
        ("constant_right", ["int8", "int8_float_io", "int16x8"]),
        ("constant_left", ["int8", "int8_float_io"]),  # no kernel multiplies 16 bits by 16
    ],
)
def test_weights_get_one_scale_where_kernels_read_one(
    model: str, recipes: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for one in build(request.getfixturevalue(model), recipes, data=None, out_dir=tmp_path).candidates:
        assert one.findings == () and one.fidelity and one.fidelity.cosine > 0.999


def test_a_constant_from_the_left_stays_float_where_no_kernel_takes_it(
    constant_left: Path, tmp_path: Path
) -> None:
    """LiteRT said "FULLY_CONNECTED (op 0) failed to prepare"."""
    recipes = ["float16", "dynamic_int8", "weight_int8"]
    for one in build(constant_left, recipes, data=None, out_dir=tmp_path).candidates:
        assert one.fidelity and one.fidelity.cosine == 1
        assert [finding.detail for finding in one.findings] == [
            "100% of the weights stay float32: FULLY_CONNECTED"
        ]


SCORES = """
import ctypes
calls = 0
def on_second_call(first, then):
    global calls
    calls += 1
    return first if calls == 1 else then()
def word(predict): return "good"
def nan(predict): return float("nan")
def raises(predict): raise IndexError("no such class")
def crashes(predict): return ctypes.string_at(0)
def raises_once_float_is_scored(predict): return on_second_call(0.5, lambda: 1 / 0)
def crashes_once_float_is_scored(predict): return on_second_call(0.5, lambda: ctypes.string_at(0))
def inf_once_float_is_scored(predict): return on_second_call(0.5, lambda: float("inf"))
"""


def test_a_crash_while_a_candidate_runs_does_not_blame_the_recipe(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(SCORES)
    function = f"{tmp_path / 'score.py'}:crashes_once_float_is_scored"
    (one,) = build(
        digits, ["float16"], data=None, eval_function=function, out_dir=tmp_path / "out"
    ).candidates
    assert one.findings == (Finding("loads", "running it crashed (SIGSEGV)", "choose another recipe"),)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("word", "score.py:word: returned str, expected a finite number"),
        ("nan", "score.py:nan: returned nan, expected a finite number"),
        ("raises", "score.py:raises: raised IndexError: no such class (line 10)"),
        ("crashes", "score.py:crashes: using it failed: crashed (SIGSEGV)"),
    ],
)
def test_a_metric_that_fails_on_the_float_model_is_a_usage_error(
    function: str, message: str, digits: Path, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(SCORES)
    with pytest.raises(UsageError) as caught:
        build(
            digits,
            ["float32"],
            data=None,
            eval_function=f"{tmp_path / 'score.py'}:{function}",
            out_dir=tmp_path / "out",
        )
    assert caught.value.message == message
    assert list((tmp_path / "out").iterdir()) == []  # before any recipe


@pytest.mark.parametrize(
    ("function", "detail"),
    [
        (
            "raises_once_float_is_scored",
            "score.py:raises_once_float_is_scored: raised ZeroDivisionError: division by zero (line 12)",
        ),
        (
            "inf_once_float_is_scored",
            "score.py:inf_once_float_is_scored: returned inf, expected a finite number",
        ),
    ],
)
def test_a_metric_that_fails_on_a_candidate_is_its_finding(
    function: str, detail: str, digits: Path, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(SCORES)
    spec = f"{tmp_path / 'score.py'}:{function}"
    result = build(digits, ["float16", "int8"], data=None, eval_function=spec, out_dir=tmp_path)
    assert [one.recipe for one in result.candidates] == ["float16", "int8"]
    for one in result.candidates:
        assert [(f.rule, f.detail) for f in one.findings] == [("eval", detail)]
        assert one.fidelity and one.fidelity.cosine > 0.9
        assert (one.fidelity.task_metric, one.fidelity.float_task_metric) == (None, 0.5)


def test_a_metric_that_is_no_python_file_is_refused(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "score.txt").write_text(SCORES)
    spec = f"{tmp_path / 'score.txt'}:word"
    with pytest.raises(UsageError) as caught:
        build(digits, ["float32"], data=None, eval_function=spec, out_dir=tmp_path / "out")
    assert caught.value.message == "score.txt: is no Python file"


def test_data_that_ends_the_child_is_blamed_on_the_data(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "calib.py").write_text("import ctypes\ndef load(): return ctypes.string_at(0)\n")
    with pytest.raises(UsageError) as caught:
        build(digits, ["int8"], data=f"{tmp_path / 'calib.py'}:load", out_dir=tmp_path / "out")
    assert caught.value.message == "calib.py:load: using it failed: crashed (SIGSEGV)"
    assert caught.value.remedy == "correct calib.py:load, or give fewer samples"


def test_labels_out_of_range_are_refused(digits: Path, save_npz: Callable[..., Path], tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    with pytest.raises(UsageError) as caught:
        build(digits, ["int8"], data=save_npz(x=images, y=[0, 1, 2, 77]), out_dir=tmp_path / "out")
    assert caught.value.message == (
        "calib.npz: y: found labels 0..77, expected 0..9: the output digit has 10 classes"
    )


def test_one_number_that_int8_clips_is_told_from_one_that_it_keeps(
    regression: Path, save_npz: Callable[..., Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    narrow, wide = rng.uniform(0, 0.3, (50, 16)), rng.uniform(0, 1, (50, 16))
    for calibration, low, high in ((narrow, -1, 0.9), (wide, 0.999, 1)):
        data = save_npz(x=calibration.astype("f4"), x_eval=wide.astype("f4"))
        (int8,) = build(regression, ["int8"], data=data, out_dir=tmp_path).candidates
        assert int8.findings == () and int8.fidelity
        assert low < int8.fidelity.cosine < high


@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors")
def test_a_recipe_too_slow_for_all_samples_shows_no_accuracy_beside_the_others(
    make_bench: Callable[..., Bench], digits: Path, digits_data: Path
) -> None:
    bench = make_bench(digits, data=digits_data)
    slow = judged(replace(bench, evaluation_s=0.0), "int8", bench.quantized("int8", int8))
    assert slow.fidelity and slow.fidelity.count == 1 and slow.fidelity.task_metric is None
    assert slow.fidelity.float_task_metric == bench.float_metric == pytest.approx(0.9944, abs=1e-3)
    assert slow.fidelity.change, "on the same sample it is compared with the float model, and judged"
    assert slow.notes == (
        "scored on 1 of 719 samples, what 0 s allow: there 100.0% accuracy for 100.0% of the float model",
    )
    whole = judged(bench, "int8", bench.quantized("int8", int8))
    assert whole.fidelity and whole.fidelity.task_metric and whole.notes == ()


def test_scoring_ends_in_time_and_says_how_far_it_came(
    digits: Path, digits_data: Path, tmp_path: Path
) -> None:
    result = build(digits, ["int8"], data=digits_data, out_dir=tmp_path, evaluation_s=0)
    assert result.data.notes == ("scored on 1 of 719 samples, what 0 s allow",)
    assert result.data.evaluation_count == 1
    (built,) = result.candidates
    assert built.findings == () and built.fidelity
    assert (built.fidelity.count, built.fidelity.float_task_metric) == (1, 1.0)


def test_without_a_limit_the_child_may_take_three_quarters_of_the_memory(
    digits: Path, tmp_path: Path, own_recipes: None
) -> None:
    table = {"limited": "misbehaving_recipes:tells_its_memory_limit"}
    (built,) = build(digits, ["limited"], data=None, out_dir=tmp_path, table=table).candidates
    assert [f.detail for f in built.findings] == [f"limited to {default_memory_bytes()} bytes"]


def test_progress_tells_each_recipe_and_how_many_are_done(digits: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float, float | None]] = []

    class Watcher:
        def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
            assert step == "quantize"
            told.append((detail, done, total))

    token = progress.current.set(Watcher())
    try:
        build(digits, ["float32", "float16"], data=None, out_dir=tmp_path)
    finally:
        progress.current.reset(token)
    assert told == [("float32", 0, 2), ("float32", 1, 2), ("float16", 1, 2), ("float16", 2, 2)]


def test_a_model_without_signature_is_quantized_statically(without_signature: Path, tmp_path: Path) -> None:
    (built,) = build(without_signature, ["int8"], data=str(DATA / "digits.npz"), out_dir=tmp_path).candidates
    assert built.findings == () and built.fidelity and built.fidelity.cosine > 0.99


@pytest.mark.skipif(not BASIC_PITCH.exists(), reason="run tools/fetch_test_models.py to get Basic Pitch")
def test_a_model_that_nobody_here_made(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "sound.npy", rng.uniform(-1, 1, (2, 43844, 1)).astype(np.float32))
    recipes = ["float16", "dynamic_int8", "int8"]
    result = build(BASIC_PITCH, recipes, data=str(tmp_path / "sound.npy"), out_dir=tmp_path)
    cosine = {one.recipe: one.fidelity.cosine for one in result.candidates if one.fidelity}
    assert cosine["float16"] > 0.999 and cosine["dynamic_int8"] > 0.98 and cosine["int8"] > 0.85
    assert result.candidates[2].notes == (
        "computed in float32: EXPAND_DIMS ×19, NEG ×9, SQUARE, LOG, REDUCE_MAX",
    )
