"""The latency model: its fit, its cross-validation, its intervals, and what it refuses to say."""

import math
from pathlib import Path

import pytest

from devicekit.graph.read import read_graph, read_graph_bytes
from devicekit.pipeline.calibrate import accuracy
from devicekit.predict.fit import PRIORS, MeasuredRow, cross_validate, fit, within
from devicekit.predict.latency import LatencyPrediction, predict_latency
from devicekit.predict.pack import NETWORKS, build, chosen
from devicekit.predict.roofline import Coefficients, latency_us, precision_of, shares
from devicekit.predict.work import Work, gathered, unpredictable, work_of
from devicekit.profile.lookup import load_profile

DATA = Path(__file__).parent.parent / "data" / "tflite"
PRIOR = PRIORS["arm64"]
TRUTH = Coefficients(20.0, 30.0, 80.0, 60.0, 5.0)


def rows(count: int, *, truth: Coefficients = TRUTH, noise: float = 0.0) -> list[MeasuredRow]:
    found = []
    for number, candidate in enumerate(NETWORKS[::3][:count]):
        graph = read_graph_bytes(build(candidate), Path("m.tflite"))
        factor = math.exp(noise * (-1) ** number)
        latency_ms = latency_us(work_of(graph), truth) / 1000 * factor
        ops = frozenset(op.label for op in graph.main.ops)
        found.append(MeasuredRow(candidate.name, latency_ms, "made up", candidate.block, work_of(graph), ops))
    return found


def test_an_operator_takes_its_arithmetic_or_its_traffic_whichever_is_longer() -> None:
    busy, moving = Work("conv", 10**6, 1, 1), Work("other", 0, 2**20, 3)
    assert latency_us([busy], TRUTH) == pytest.approx(30 + 5)
    assert latency_us([moving], TRUTH) == pytest.approx(60 + 15)
    assert latency_us([Work("product", 10**6, 2**21, 1)], TRUTH) == pytest.approx(120 + 5)


def test_shares_add_up() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    assert sum(shares(work_of(graph), TRUTH).values()) == pytest.approx(1)


def test_gathering_keeps_macs_bytes_and_operators() -> None:
    works = [Work("conv", 100 + i, 50, 1) for i in range(5)] + [Work("conv", 10**6, 50, 1)]
    found = gathered(works)
    assert len(found) == 2
    assert [sum(getattr(w, key) for w in found) for key in ("macs", "bytes", "count")] == [
        sum(getattr(w, key) for w in works) for key in ("macs", "bytes", "count")
    ]


def test_the_fit_finds_the_coefficients_that_made_the_rows() -> None:
    found = fit(rows(20), PRIOR)
    for name in ("product_us_per_mmac", "conv_us_per_mmac", "depthwise_us_per_mmac"):
        assert getattr(found, name) == pytest.approx(getattr(TRUTH, name), rel=0.1), name
    validation = cross_validate(rows(12), PRIOR)
    assert validation.mean_error() < 0.03


def test_three_rows_are_enough_to_find_the_speed() -> None:
    """A device ten times slower than the prior's, in the same proportions."""
    slow = Coefficients(*(10 * value for value in PRIOR.values()))
    few, others = rows(3, truth=slow), rows(15, truth=slow)
    found = fit(few, PRIOR)
    errors = [abs(latency_us(r.work, found) / 1000 / r.latency_ms - 1) for r in others]
    assert sum(errors) / len(errors) < 0.02


def test_one_wrong_row_does_not_spoil_the_fit() -> None:
    good = rows(15)
    wrong = [*good[:-1], MeasuredRow(**{**vars(good[-1]), "latency_ms": 3 * good[-1].latency_ms})]
    found = fit(wrong, PRIOR)
    errors = [abs(latency_us(r.work, found) / 1000 / r.latency_ms - 1) for r in good[:-1]]
    assert sum(errors) / len(errors) < 0.05


def test_an_interval_is_the_conformal_quantile_and_wide_where_there_are_few_rows() -> None:
    residuals = [0.01 * i for i in range(1, 20)]
    assert within(residuals, 0.9) == pytest.approx(0.18)
    assert within([0.1, -0.2, 0.05], 0.9) == pytest.approx(0.3)  # half again as wide as the largest
    assert within([0.001] * 20, 0.9) == 0.03


# The goals of the published tables, over what ships.
@pytest.mark.parametrize(
    ("label", "count", "mean", "within_10", "family"),
    [
        ("TFLite CPU built-in ×4, float32", 32, 0.04, 0.85, 0.08),
        ("TFLite CPU built-in ×4, int8", 21, 0.065, 0.75, 0.10),
    ],
)
def test_the_pixel_3_is_predicted_as_well_as_the_readme_says(
    label: str, count: int, mean: float, within_10: float, family: float
) -> None:
    (found,) = [one for one in accuracy("pixel3") if one.label == label]
    assert len(found.rows) == count
    assert found.validation.mean_error() <= mean
    assert found.validation.hit_rate(0.1) >= within_10
    assert 0.85 <= found.validation.covered_90 <= 0.97
    assert (found.validation.family_error() or 1) <= family


def test_the_stored_residuals_are_those_of_the_rows() -> None:
    for profile in ("pixel3", "raspberrypi4"):
        for one, stored in zip(accuracy(profile), load_profile(profile).calibration, strict=True):
            assert [row.residual for row in stored.rows] == pytest.approx(one.validation.left_out, abs=2e-3)


def predicted(name: str, profile: str) -> LatencyPrediction | str:
    return predict_latency(read_graph(DATA / name), load_profile(profile))


def test_a_model_far_below_the_rows_gets_the_wider_interval_and_says_why() -> None:
    found = predicted("cnn_float32.tflite", "pixel3")
    assert isinstance(found, LatencyPrediction)
    assert found.far == "it is outside of the calibration models' 1.24 to 1135 ms"
    calibration = load_profile("pixel3").calibration[0]
    assert found.interval_90_ms[1] / found.median_ms == pytest.approx(math.exp(calibration.family_within_90))
    assert found.basis == "32 calibration models, TFLite CPU built-in ×4, float32"


def test_a_model_like_the_rows_gets_their_interval() -> None:
    calibration = load_profile("pixel3").calibration[0]
    row = next(r for r in calibration.rows if r.model == "mobilenet_v2_1.0_224")
    from devicekit.predict.latency import predicted as by_calibration
    from devicekit.predict.latency import work_of_row

    found = by_calibration(work_of_row(row), {"CONV_2D"}, calibration, tier="calibrated", basis="")
    assert found.far is None
    low, high = found.interval_90_ms
    assert low < row.latency_ms < high
    assert found.interval_80_ms[1] < high


def test_without_a_calibration_there_is_no_number() -> None:
    assert predicted("cnn_float32.tflite", "pixel7") == (
        "this profile has no calibration for LiteRT 2.3.0 CPU ×4"
    )


def test_a_precision_that_was_never_calibrated_says_which_were() -> None:
    assert predicted("cnn_int8.tflite", "raspberrypi4") == (
        "this profile has no calibration for LiteRT 2.3.0 CPU ×4, int8, but for TFLite CPU ×4, float32"
    )


def test_another_number_of_threads_is_another_calibration() -> None:
    found = predict_latency(read_graph(DATA / "cnn_float32.tflite"), load_profile("pixel3"), threads=2)
    assert isinstance(found, str) and "CPU built-in ×2, float32, but for" in found


def test_a_sibling_may_stand_in_labelled_and_with_the_wider_interval() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    bare, sibling = load_profile("pixel7"), load_profile("pixel2")
    found = predict_latency(graph, bare, sibling=sibling)
    assert isinstance(found, LatencyPrediction)
    assert (found.tier, found.basis) == (
        "sibling",
        "pixel2's 4 calibration models, TFLite CPU ×4, float32",
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cnn_dynamic_batch", None),
        ("branch", "runs another subgraph"),
        ("custom", "is a custom operator"),
    ],
)
def test_what_the_graph_does_not_tell_is_not_predicted(name: str, words: str | None) -> None:
    reason = unpredictable(read_graph(DATA / f"{name}.tflite"))
    assert (reason is None) if words is None else (reason and words in reason)


def test_precision_goes_by_the_multiply_accumulates() -> None:
    assert precision_of(read_graph(DATA / "cnn_float32.tflite")) == "float32"
    assert precision_of(read_graph(DATA / "cnn_int8.tflite")) == "int8"


def test_the_pack_takes_models_of_every_kind_and_they_are_valid() -> None:
    picked = chosen(8, PRIOR)
    assert len({candidate for candidate, _ in picked}) == 8
    kinds = {
        work.kind for _, content in picked for work in work_of(read_graph_bytes(content, Path("m.tflite")))
    }
    assert kinds == {"product", "conv", "depthwise", "other"}
