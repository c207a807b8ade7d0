"""Writing profiles: templates, where files go, the JSON Schema beside them, and $EDITOR."""

import json
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from devicekit.errors import DevicekitError, ProfileError, UnknownProfile, UsageError
from devicekit.profile.authoring import editable, new_profile
from devicekit.profile.files import library, library_names
from devicekit.profile.json_schema import FILE_NAME, LINE, json_schema
from devicekit.profile.keys import keys, reference
from devicekit.profile.lookup import load_profile, origins
from devicekit.profile.problems import fact_keys


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def devicekit(*argv: str, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from devicekit.cli import main; main()", *argv]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
    )


# --- new ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", library_names())
def test_a_template_of_any_base_is_valid_and_says_what_the_base_says(base: str) -> None:
    written = new_profile("mine", base=base)
    profile, of = load_profile("mine.toml"), load_profile(base)
    assert written.profile.name == "mine" and profile.extends == base
    ours, theirs = (
        {key: one.value for key, one in origins(each).items() if key not in ("title", "extends")}
        for each in (profile, of)
    )
    assert ours == theirs


@pytest.mark.parametrize("base", ["pixel7", "raspberrypi4", "rp2040"])
def test_every_line_of_a_template_may_be_taken_in(base: str) -> None:
    """Without the # in front each example is TOML of its key's type."""
    new_profile("mine", base=base)
    text = Path("mine.toml").read_text()
    lines = [
        line.removeprefix("# ") if " = " in line and "`" not in line else line for line in text.splitlines()
    ]
    taken = tomllib.loads("\n".join(lines))
    known = {key.name for key in keys()}
    given = {
        f"{table}.{key}" for table, values in taken.items() if isinstance(values, dict) for key in values
    }
    assert {key for key in given if not key.startswith("sources.")} <= known
    jsonschema.validate(taken, json_schema())
    of_others = {"pixel7": "limits.arena_kib", "raspberrypi4": "match.adb_model", "rp2040": "device.ram_mib"}
    assert of_others[base] not in given and "runtime.threads" in given


def test_what_is_written_names_its_schema_which_lies_beside_it(here: Path) -> None:
    done = devicekit("profile", "new", "tablet")
    assert done.returncode == 0 and "written" in done.stdout and "extends _android-arm64" in done.stdout
    assert Path("tablet.toml").read_text().splitlines()[0] == LINE == f"#:schema ./{FILE_NAME}"
    assert json.loads(Path(FILE_NAME).read_text()) == json.loads(json.dumps(json_schema()))
    assert devicekit("profile", "check", "tablet.toml").returncode == 0
    done = devicekit("profile", "new", "tablet")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: tablet.toml is there")
    assert devicekit("profile", "new", "tablet", "--overwrite", "-q").returncode == 0
    document = json.loads(devicekit("profile", "new", "board", "--from", "rp2040", "--format", "json").stdout)
    assert (document["profile"], document["extends"]) == ("board", "rp2040")


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/b", "..", ".hidden", "", "x" * 81, "a b", "a\nb", "ä", "a\\b", "-x"]
)
def test_a_name_never_leads_out_of_the_directory(name: str, here: Path) -> None:
    with pytest.raises(UsageError, match="is no name of a profile"):
        new_profile(name)
    assert list(here.iterdir()) == []


def test_output_says_where_it_goes(here: Path) -> None:
    (here / "lab").mkdir()
    assert new_profile("x", output="lab/board.toml").path == Path("lab/board.toml")
    assert load_profile("lab/board.toml").title == "board"
    with pytest.raises(UsageError, match="is no name of a profile"):
        new_profile("x", output="lab/board.json")
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        new_profile("x", output="none/board.toml")


def test_a_base_of_ones_own_must_lie_beside_the_new_one(here: Path) -> None:
    new_profile("base", base="pixel7")
    assert new_profile("mine", base="base.toml").profile.files[:2] == ("mine.toml", "base.toml")
    (here / "lab").mkdir()
    with pytest.raises(UsageError, match="lies in another directory"):
        new_profile("far", base="base.toml", output="lab/far.toml")
    with pytest.raises(UnknownProfile):
        new_profile("none", base="pixel77")


# --- the JSON Schema ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", library_names())
def test_the_json_schema_takes_every_shipped_file(name: str) -> None:
    jsonschema.validate(tomllib.loads((library() / f"{name}.toml").read_text()), json_schema())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "'schema' is a required property"),
        ("schema = 1\n[device]\nram = 3", "'ram' was unexpected"),
        ("schema = 1\n[device]\nram_mib = '8GB'", "is not of type 'integer'"),
        ("schema = 1\n[runtime]\ndelegate = 'gpuu'", "is not one of"),
        ("schema = 1\nname = 'x'", "'name' was unexpected"),
        ("schema = 2", "1 was expected"),
        ("schema = 1\n[[calibration]]\nthreads = 1", "is a required property"),
    ],
)
def test_the_json_schema_refuses_what_the_kit_refuses(text: str, found: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=found):
        jsonschema.validate(tomllib.loads(text), json_schema())
    Path("p.toml").write_text(text)
    with pytest.raises(ProfileError):
        load_profile("p.toml")


def test_the_schema_is_printed_or_written() -> None:
    assert json.loads(devicekit("profile", "schema").stdout)["title"] == "devicekit profile"
    assert devicekit("profile", "schema", "-o", "s.json").returncode == 0
    assert json.loads(Path("s.json").read_text())["required"] == ["schema"]


# --- keys --------------------------------------------------------------------------------------------------


def test_every_key_has_a_meaning_and_a_type() -> None:
    found = {key.name: key for key in keys()}
    assert set(fact_keys()) <= set(found)
    assert all(key.meaning and key.type for key in found.values())
    ram, delegate = found["device.ram_mib"], found["runtime.delegate"]
    assert (ram.type, ram.unit, ram.default, ram.is_required) == ("whole number", "MiB", None, False)
    assert delegate.is_required and delegate.type.startswith("one of: xnnpack, none")
    assert (found["runtime.threads"].default, found["limits.memory_of_ram"].unit) == ("1", "share, 0..1")


def test_keys_are_listed_whole_by_table_or_one_by_one() -> None:
    whole = devicekit("profile", "keys").stdout
    assert all(key.name in whole for key in keys()) and max(map(len, whole.splitlines())) <= 100
    assert {key.name.partition(".")[0] for key in reference("limits").keys} == {"limits"}
    assert "one of: xnnpack, none, gpu" in devicekit("profile", "keys", "runtime.delegate").stdout
    document = json.loads(devicekit("profile", "keys", "calibration", "--format", "json").stdout)
    assert all(key["name"].startswith("calibration[].") for key in document["keys"])
    with pytest.raises(UsageError, match="did you mean limits"):
        reference("limit")


# --- edit --------------------------------------------------------------------------------------------------

GOOD = 'schema = 1\nextends = "pixel7"\n'


def editor(place: Path, *texts: str) -> str:
    """Returns an $EDITOR that writes one of `texts` at each call, in turn."""
    script = place / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        f"texts = {list(texts)!r}\n"
        "count = pathlib.Path(sys.argv[1] + '.count')\n"
        "at = int(count.read_text()) if count.exists() else 0\n"
        "count.write_text(str(at + 1))\n"
        "pathlib.Path(sys.argv[1]).write_text(texts[min(at, len(texts) - 1)])\n"
    )
    return f"{sys.executable} {script}"


def test_what_the_editor_saves_is_checked(here: Path) -> None:
    Path("mine.toml").write_text(GOOD)
    done = devicekit("profile", "edit", "mine.toml", EDITOR=editor(here, GOOD + "[limits]\nlatency_ms = 5\n"))
    assert (done.returncode, done.stdout) == (0, "mine.toml is a valid profile: Google Pixel 7\n")
    assert load_profile("mine.toml").limits.latency_ms == 5
    done = devicekit("profile", "edit", "mine", EDITOR=editor(here, GOOD + "[limits]\nlatency = 5\n"))
    assert done.returncode == 2
    assert "mine.toml: limits.latency: unknown key; did you mean latency_ms?" in done.stderr
    assert Path("mine.toml").read_text().endswith("latency = 5\n")  # what was written is kept
    done = devicekit("profile", "edit", "mine", EDITOR="no-such-editor")
    assert done.returncode == 2 and "no-such-editor" in done.stderr
    assert "→ set EDITOR to the command of an editor, or change mine.toml in one" in done.stderr


def test_at_a_terminal_a_mistake_may_be_mended_at_once(here: Path) -> None:
    Path("mine.toml").write_text(GOOD)
    wrong, right = (GOOD + f"[limits]\n{key} = 5\n" for key in ("latency", "latency_ms"))
    terminal, own = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from devicekit.cli import main; main()", "profile", "edit", "mine.toml"],
        stdin=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "EDITOR": editor(here, wrong, right)},
    )
    os.write(terminal, b"y\n")
    stdout, stderr = process.communicate(timeout=60)
    os.close(terminal)
    os.close(own)
    assert process.returncode == 0, stderr
    assert "unknown key" in stderr and "edit it again?" in stderr
    assert stdout == "mine.toml is a valid profile: Google Pixel 7\n"


@pytest.mark.parametrize(
    ("name", "kind", "words", "remedy"),
    [
        ("pixel7", UsageError, "ships with devicekit", "profile new my-pixel7 --from pixel7"),
        ("pixel77", UnknownProfile, "did you mean pixel7", "profile list"),
        ("none.toml", ProfileError, "no such file", "profile new NAME"),
        ("./", ProfileError, "is a directory, no file", "profile new NAME"),
    ],
)
def test_what_cannot_be_edited_says_what_to_do(
    name: str, kind: type[DevicekitError], words: str, remedy: str
) -> None:
    with pytest.raises(kind) as caught:
        editable(name)
    assert words in caught.value.message and remedy in caught.value.remedy


def test_a_huge_or_binary_file_is_no_profile() -> None:
    Path("huge.toml").write_bytes(b"#" * (2**20 + 1))
    Path("binary.toml").write_bytes(b"\x7fELF\0\0")
    with pytest.raises(ProfileError, match="is larger than 1 MiB"):
        editable("huge.toml")
    wanted: Any
    for argv, wanted in (
        (["check", "huge.toml"], "is larger than 1 MiB"),
        (["check", "binary.toml"], "binary.toml: is a binary file, must be a TOML file in UTF-8"),
        (["explain", "binary.toml", "limits"], "is a binary file"),
        (["diff", "binary.toml", "pixel7"], "is a binary file"),
        (["new", "x", "--from", "./binary.toml"], "is a binary file"),
    ):
        done = devicekit("profile", *argv)
        assert done.returncode == 2 and wanted in done.stderr, argv
