"""check_model: files and profiles by name, and the JSON that scripts rely on."""

import json
from pathlib import Path

import pytest

from devicekit import check_model
from devicekit.errors import LoadError, ProfileError

DATA = Path(__file__).parent.parent / "data"


def test_a_tflite_is_checked_against_a_profile_by_name() -> None:
    result = check_model(DATA / "tflite" / "cnn_int8.tflite", "pixel7")
    assert (result.ok, result.findings, result.profile) == (True, (), "pixel7")


def test_json_has_the_documented_shape() -> None:
    path = DATA / "tflite" / "flex.tflite"
    document = json.loads(json.dumps(check_model(str(path), "pixel7").to_json()))
    keys = ["schema", "profile", "model", "ok", "findings", "rewrites", "unverified", "memory_verdict"]
    assert list(document) == [*keys, "delegation"]
    assert (document["schema"], document["model"], document["ok"]) == (1, str(path), False)
    assert [set(finding) for finding in document["findings"]] == [
        {"rule", "detail", "remedy", "layer", "op", "excess"}
    ]
    assert document["findings"][0]["rule"] == "flex"


def test_what_is_missing_is_an_error_not_a_finding(tmp_path: Path) -> None:
    with pytest.raises(LoadError):
        check_model(tmp_path / "none.tflite", "pixel7")
    with pytest.raises(ProfileError):
        check_model(DATA / "tflite" / "cnn_int8.tflite", "pixel-seven")


@pytest.mark.slow
def test_a_keras_file_is_checked_as_its_float_tflite(tmp_path: Path) -> None:
    tight = tmp_path / "tight.toml"
    tight.write_text('schema = 1\nextends = "pixel7"\n[limits]\nmodel_mib = 0.1\nmemory_mib = 64\n')
    result = check_model(DATA / "digits.h5", tight)
    (finding,) = result.findings
    assert (finding.rule, result.profile) == ("size", "tight")
    assert finding.remedy == "use a smaller recipe or model, or raise the limit"
