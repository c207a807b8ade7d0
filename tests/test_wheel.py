"""The wheel, installed into an empty environment."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What listing profiles imports. The other dependencies are heavy, and tools/setup installs them all.
LIGHT = ["click", "rich", "pydantic"]


def run(*argv: str | Path, cwd: Path) -> str:
    result = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run(*pip, "--wheel-dir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_carries_the_profiles_and_lists_them(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    constraints = ROOT / "tools" / "constraints.txt"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, *LIGHT, cwd=tmp_path)
    listed = run(tmp_path / "env" / "bin" / "devicekit", "profile", "list", cwd=tmp_path)
    shipped = {path.stem for path in (ROOT / "profiles").glob("*.toml") if not path.name.startswith("_")}
    assert shipped and all(name in listed for name in shipped)
    shown = run(tmp_path / "env" / "bin" / "devicekit", "profile", "show", "pixel7", cwd=tmp_path)
    assert "_android-arm64.toml" in shown
    assert "CONV_2D" in run(tmp_path / "env" / "bin" / "devicekit", "ops", "-r", "tflm", cwd=tmp_path)


def test_the_wheel_holds_what_is_not_python(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("report/html", "store/migrations"):
        files = (
            one for one in (ROOT / "devicekit" / folder).rglob("*") if one.is_file() and one.suffix != ".pyc"
        )
        assert {str(one.relative_to(ROOT)) for one in files} <= names
    assert {"devicekit/profiles/pixel7.toml", "devicekit/runner/warmup.tflite", "devicekit/py.typed"} <= names
