"""The rules of import."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import devicekit

PACKAGE = Path(__file__).parent.parent / "devicekit"
TENSORFLOW = {"tensorflow", "keras", "tf_keras"}
HEAVY = {
    *TENSORFLOW,
    "numpy",
    "ai_edge_litert",
    "litert_quantizer",
    "pydantic",
    "paramiko",
    "adbutils",
    "sqlalchemy",
    "altair",
    "alembic",
    "jinja2",
    "starlette",
    "uvicorn",
    "distributed",
    "lark",
    "vl_convert",
    "rich",
    "h5py",
    "PIL",
}
# Needs no device: these packages may not import the device seam or the runners.
DEVICELESS = ("graph", "profile", "check", "predict")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(result.stdout)}


def test_only_the_conversion_child_names_tensorflow() -> None:
    named = {
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if TENSORFLOW & {name.split(".")[0] for name in imported(path)}
    }
    assert {path.parts[:2] for path in named} == {("convert", "inside"), ("convert", "remedies")}


def test_graph_profile_check_and_predict_need_no_device() -> None:
    for path in (path for package in DEVICELESS for path in (PACKAGE / package).rglob("*.py")):
        for name in imported(path):
            assert not name.startswith(("devicekit.device", "devicekit.runner")), path


@pytest.mark.parametrize(
    "statement", ["import devicekit", "import devicekit.cli", "from devicekit import cli"]
)
def test_the_command_line_imports_nothing_heavy(statement: str) -> None:
    assert not modules_after(statement) & HEAVY


def test_the_converting_parent_never_loads_tensorflow() -> None:
    modules = modules_after("import devicekit.convert.source, devicekit.quantize.build, devicekit.api")
    assert not modules & (TENSORFLOW | {"ai_edge_litert", "litert_quantizer"})


@pytest.mark.parametrize("before", ["", "import devicekit.api, devicekit.convert.source, devicekit.compare"])
def test_the_public_names_are_functions_whatever_was_imported_before(before: str) -> None:
    names = "[type(getattr(devicekit, n)).__name__ for n in devicekit.__all__[1:]]"
    code = f"{before}\nimport devicekit; print({names})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(["function"] * len(devicekit.__all__[1:]))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'deplyo'"):
        _ = devicekit.deplyo
