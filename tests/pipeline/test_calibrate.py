"""`devicekit profile calibrate` and `accuracy`: rows in, a profile out."""

import tomllib
from pathlib import Path

import pytest

from devicekit.errors import MeasurementError, UsageError
from devicekit.graph.read import read_graph_bytes
from devicekit.pipeline.calibrate import accuracy, calibrate, family_of, read_rows
from devicekit.predict.latency import LatencyPrediction, predict_latency
from devicekit.predict.pack import NETWORKS, build
from devicekit.predict.roofline import Coefficients, latency_us
from devicekit.predict.work import work_of
from devicekit.profile.lookup import load_profile

DATA = Path(__file__).parent.parent / "data" / "tflite"
TRUTH = Coefficients(20.0, 30.0, 80.0, 60.0, 5.0)
OWN = """# my board
schema = 1
extends = "_linux-aarch64"
title = "my board"  # on the desk

[device]
cores = 4
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A CSV of eight models and the latencies that a device with the coefficients TRUTH has."""
    lines = ["model,latency_ms,source"]
    for candidate in NETWORKS[::8][:8]:
        content = build(candidate)
        (tmp_path / f"{candidate.name}.tflite").write_bytes(content)
        latency_ms = latency_us(work_of(read_graph_bytes(content, Path("m"))), TRUTH) / 1000
        lines.append(f"{candidate.name}.tflite,{latency_ms:.6f},desk")
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_profile_of_ones_own_is_calibrated_in_place_and_keeps_its_comments(
    tmp_path: Path, rows: Path
) -> None:
    own = tmp_path / "board.toml"
    own.write_text(OWN)
    found = calibrate(own, rows=rows)
    assert found.path == own and len(found.rows) == 8
    text = own.read_text()
    assert text.startswith("# my board\n") and "# on the desk" in text
    assert found.coefficients.conv_us_per_mmac == pytest.approx(30, rel=0.2)
    graph = read_graph_bytes(build(NETWORKS[4]), Path("m.tflite"))
    predicted = predict_latency(graph, load_profile(own))
    assert isinstance(predicted, LatencyPrediction)
    assert predicted.median_ms == pytest.approx(latency_us(work_of(graph), TRUTH) / 1000, rel=0.1)
    assert predicted.basis == "8 calibration models, LiteRT 2.3.0 CPU ×4, float32"
    (again,) = accuracy(own)
    assert again.validation.mean_error() == pytest.approx(found.validation.mean_error(), abs=1e-3)


def test_calibrating_again_replaces_the_same_calibration_only(tmp_path: Path, rows: Path) -> None:
    own = tmp_path / "board.toml"
    own.write_text(OWN)
    calibrate(own, rows=rows)
    calibrate(own, rows=rows, threads=1)
    calibrate(own, rows=rows)
    assert [one.threads for one in load_profile(own).calibration] == [1, 4]


def test_a_profile_that_ships_is_extended_beside_the_user(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = calibrate("pixel7", rows=rows)
    assert found.path == Path("pixel7.calibrated.toml")
    profile = load_profile(found.path)
    assert profile.device.soc == load_profile("pixel7").device.soc
    assert len(profile.calibration) == 1


def test_a_dry_run_writes_nothing_and_shows_the_table(tmp_path: Path, rows: Path) -> None:
    own = tmp_path / "board.toml"
    own.write_text(OWN)
    found = calibrate(own, rows=rows, dry_run=True)
    assert own.read_text() == OWN and found.path is None
    (table,) = tomllib.loads(found.document)["calibration"]
    assert table["precision"] == "float32" and len(table["rows"]) == 8


def problems(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(("model,latency_ms", *lines)) + "\n")
    with pytest.raises(UsageError) as caught:
        read_rows(path)
    return caught.value.message


def test_all_problems_of_the_rows_are_told_at_once(tmp_path: Path) -> None:
    cnn, int8, branch = (DATA / f"{name}.tflite" for name in ("cnn_float32", "cnn_int8", "branch"))
    message = problems(
        tmp_path,
        f"{cnn},2",
        f"{cnn},3",
        "missing.tflite,1",
        f"{int8},-1",
        f"{int8},1",
        f"{branch},1",
        f"{cnn},x",
    )
    assert message.splitlines()[0].endswith("bad.csv: 6 problems")
    for words in (
        "line 3: cnn_float32.tflite is the model of line 2 again (2 and 3 ms, spread 50%)",
        "missing.tflite: no such file",
        "line 5: latency_ms is '-1', must be a number above 0",
        "line 8: latency_ms is 'x', must be a number above 0",
        "the rows are of several precisions (1 float32, 1 int8): one file for each",
    ):
        assert words in message


def test_three_rows_are_the_least(tmp_path: Path) -> None:
    assert "1 rows, at least 3 are needed" in problems(tmp_path, f"{DATA / 'cnn_float32.tflite'},2")


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("name,ms\nx,1\n")
    with pytest.raises(UsageError, match="has no column model and latency_ms, but name, ms"):
        read_rows(path)


def test_rows_that_contradict_each_other_are_refused_with_their_spread(tmp_path: Path, rows: Path) -> None:
    lines = rows.read_text().splitlines()
    for number, factor in ((1, 9.0), (2, 0.1), (3, 5.0)):
        model, latency, source = lines[number].split(",")
        lines[number] = f"{model},{float(latency) * factor},{source}"
    rows.write_text("\n".join(lines) + "\n")
    own = tmp_path / "board.toml"
    own.write_text(OWN)
    with pytest.raises(
        MeasurementError, match="the rows contradict each other: left out one by one they are"
    ):
        calibrate(own, rows=rows)
    assert own.read_text() == OWN


def test_this_host_is_no_device_that_a_profile_is_calibrated_by(tmp_path: Path) -> None:
    own = tmp_path / "board.toml"
    own.write_text(OWN)
    with pytest.raises(
        MeasurementError, match="host is not the profile's device: its latencies are simulated"
    ):
        calibrate(own, device="host", count=3)
    assert own.read_text() == OWN


def test_the_pack_is_measured_and_fitted_in_a_dry_run_on_this_host(tmp_path: Path) -> None:
    own = tmp_path / "board.toml"
    own.write_text(OWN)
    try:
        found = calibrate(own, device="host", count=4, dry_run=True)
    except MeasurementError as error:  # a busy machine: the rows contradict each other, and are refused
        assert "contradict each other" in error.message
        return
    assert len(found.rows) == 4
    assert all(row.source.startswith("simulated by devicekit on host, ") for row in found.rows)
    assert min(found.coefficients.values()) > 0


def test_neither_rows_nor_a_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="give either --rows or --device"):
        calibrate("pixel7")


def test_a_profile_without_calibration_says_how_to_get_one() -> None:
    with pytest.raises(UsageError) as caught:
        accuracy("pixel7")
    assert caught.value.message == "pixel7 has no calibration"
    assert "profile calibrate pixel7" in caught.value.remedy


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("mobilenet_v1_0.25_128", "mobilenet_v1"),
        ("mobilenet_v3_large_1.0_224", "mobilenet_v3"),
        ("inception_v3_299", "inception"),
        ("inception_resnet_v2_299", "inception"),
        ("nasnet_mobile_224", "nasnet"),
        ("conv_64px_32ch_8x", "conv"),
    ],
)
def test_a_family_is_what_a_name_begins_with(model: str, family: str) -> None:
    assert family_of(model) == family
