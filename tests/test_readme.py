"""What README promises is there."""

import re
import subprocess
import sys
from pathlib import Path

from devicekit.cli import COMMANDS
from devicekit.cli.frame import INTERRUPTED
from devicekit.convert.remedies import REMEDIES
from devicekit.device.inventory import ADDRESSES
from devicekit.errors import DevicekitError
from devicekit.fleet.where import FIELDS
from devicekit.plugins import resolve
from devicekit.profile.lookup import check_profile_file, load_profile, profile_names
from devicekit.quantize.recipes import RECIPES, describe
from tests.zoo.table import ZOO

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_is_in_the_table() -> None:
    shown = set(re.findall(r"^\| `devicekit (\w+)", README, re.MULTILINE))
    assert shown == set(COMMANDS)


def test_the_recipes_are_described_as_the_code_describes_them() -> None:
    shown = re.findall(r"^\| `(\w+)` \| (.+) \|$", README, re.MULTILINE)
    assert shown == [(name, describe(name)) for name in RECIPES]


def test_the_rewrites_are_described_as_the_code_describes_them() -> None:
    shown = re.findall(r"^\| (.+) \| `(\w+)` \|$", README, re.MULTILINE)
    assert shown == [(resolve(target).does, name) for name, target in REMEDIES.items()]


def test_the_zoo_is_as_large_as_said() -> None:
    assert re.findall(r"shows (\d+) architectures", README) == [str(len(ZOO))]


def test_the_transcript_shows_what_deploy_prints() -> None:
    transcript = [line[4:] for line in README.splitlines() if line.startswith("    ")]
    header = next(line.split() for line in transcript if line.strip().startswith("recipe"))
    assert " ".join(header) == "recipe size must-have host ms cosine same class accuracy to float"
    rows = [line for line in transcript if line.lstrip("▸ ").split(" ")[0] in RECIPES]
    assert (
        len(rows) == len(load_profile("pixel7").recipes.try_)
        and sum(row.endswith("chosen") for row in rows) == 1
    )


def test_the_profile_that_readme_shows_is_valid(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.+?)```", README, re.DOTALL)
    (tmp_path / "tablet.toml").write_text(example)
    profile = check_profile_file(tmp_path / "tablet.toml")
    assert (profile.device.abi, profile.limits.memory_mib) == ("arm64-v8a", 40)


def test_the_profiles_are_as_many_as_said() -> None:
    assert f"device profiles: {len(profile_names())} ship" in README


def test_the_reference_of_keys_is_the_schemas() -> None:
    """profiles/REFERENCE.md is written by tools/profile_reference.py."""
    code = "import profile_reference as r; print(r.PAGE.read_text(encoding='utf-8') == r.page())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tools", capture_output=True, text=True)
    assert done.stdout.strip() == "True", f"run tools/profile_reference.py\n{done.stderr}"


def test_the_two_commands_are_executable() -> None:
    for name in ("demo", "test", "setup", "check", "bench"):
        assert (ROOT / "tools" / name).stat().st_mode & 0o111


def test_the_fields_of_where_are_named() -> None:
    listed = re.search(r"picks devices by (.+?)\.", README, re.DOTALL)
    assert listed and set(re.findall(r"\w+", listed[1])) - {"or"} == set(FIELDS)


def test_the_fleet_s_addresses_are_named() -> None:
    reached = "a phone|a board|this machine|nothing"
    shown = re.findall(rf"^\| `([^`]+)`[^|]* \| (?:{reached})", README, re.MULTILINE)
    assert [re.split(r"\?", one)[0] for one in shown] == list(ADDRESSES.values())


def test_every_exit_code_is_documented() -> None:
    shown = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    codes, pending = {0, INTERRUPTED}, [*DevicekitError.__subclasses__()]
    while pending:
        cls = pending.pop()
        codes.add(cls.exit_code)
        pending += cls.__subclasses__()
    assert shown == codes
