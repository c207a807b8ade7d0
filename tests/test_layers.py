"""The house: which room stands on which, and what a room may import."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "devicekit"

# From the top. A room (a folder of devicekit/, or a file at its root) imports only rooms on lower lines, and
# none on its own: at a module's top, inside functions, for types, and by names of modules in strings.
LAYERS = (
    ("tools",),
    ("cli",),
    ("serve",),
    ("__init__",),  # hands the public names on
    ("api",),
    ("report",),
    ("fleet",),
    ("store",),
    ("compare",),
    ("pipeline",),
    ("runner", "check", "testing", "doctor"),
    ("device", "predict"),
    ("profile", "fit", "convert"),
    ("quantize",),
    ("words", "cache", "child", "graph"),
    ("errors",),
    ("measurement", "progress", "plugins", "finding"),
)
RANK = {room: rank for rank, line in enumerate(LAYERS) for room in line}
# What started with 26 loose files at the root and 273 arrows between 41 rooms.
MOST_AT_THE_ROOT, MOST_ARROWS = 12, 180


class Import(NamedTuple):
    """`source` names `target`, both modules, at `line` of its file; `in_string`: by its name in a string."""

    source: str
    target: str
    line: int
    in_string: bool


def modules_of(root: Path) -> dict[str, Path]:
    """Returns the files of devicekit/ and tools/ under `root` by their modules' names."""
    files = [path for name in (PACKAGE, "tools") for path in (root / name).rglob("*.py")]
    names = {path: ".".join(path.relative_to(root).with_suffix("").parts) for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def room_of(module: str) -> str:
    first, *rest = module.split(".")
    return first if first == "tools" else rest[0] if rest else "__init__"


def imports_in(modules: dict[str, Path]) -> Iterator[Import]:
    """Yields every import of one module of ours by another, wherever it stands."""
    for source, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named: list[str] = []
            in_string = isinstance(node, ast.Constant)
            if isinstance(node, ast.ImportFrom) and node.module:
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                named = [one if one in modules else node.module for one in whole]
            elif isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = [node.value.partition(":")[0]] if node.value.startswith(f"{PACKAGE}.") else []
            for target in named:
                if target in modules and target != source:
                    yield Import(source, target, node.lineno, in_string)


def broken(imports: Iterable[Import]) -> list[str]:
    """Returns the imports that run up or to a neighbour, in words."""
    found = []
    for one in imports:
        room, other = room_of(one.source), room_of(one.target)
        if room != other and RANK[room] >= RANK[other]:
            where = "beside" if RANK[room] == RANK[other] else "below"
            found.append(f"{one.source}:{one.line} names {one.target}: {room} stands {where} {other}")
    return found


def circle_in(imports: Iterable[Import]) -> list[str]:
    """Returns modules that import each other in a circle, in its order; [] where there is none."""
    targets: dict[str, list[str]] = {}
    for one in imports:
        targets.setdefault(one.source, []).append(one.target)
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        for target in targets.get(module, ()):
            if found := walk(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in list(targets) if (found := walk(module, []))), [])


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return list(imports_in(modules_of(ROOT)))


def test_a_room_imports_only_rooms_below_it(imports: list[Import]) -> None:
    assert broken(imports) == []


def test_every_room_has_a_line_and_every_line_a_room() -> None:
    assert {room_of(module) for module in modules_of(ROOT)} == RANK.keys()


def test_no_file_imports_itself_through_others(imports: list[Import]) -> None:
    assert circle_in(one for one in imports if not one.in_string) == []


def test_rooms_and_arrows_are_few(imports: list[Import], capsys: pytest.CaptureFixture[str]) -> None:
    """Counted over devicekit/ and tools/: an arrow for each ordered pair of rooms with an import."""
    arrows = {(room_of(one.source), room_of(one.target)) for one in imports if not one.in_string}
    arrows = {(source, target) for source, target in arrows if source != target}
    at_the_root = sorted(path.name for path in (ROOT / PACKAGE).glob("*.py"))
    with capsys.disabled():
        print(f" {len(RANK)} rooms, {len(arrows)} arrows, {len(at_the_root)} files at the root ", end="")
    assert len(at_the_root) <= MOST_AT_THE_ROOT, at_the_root
    assert len(arrows) <= MOST_ARROWS


@pytest.mark.parametrize(
    ("room", "line", "expected"),
    [
        ("graph", "from devicekit.store import schema", "graph stands below store"),
        ("check", "def f() -> None:\n    from devicekit.runner import limits", "check stands beside runner"),
        (
            "fit",
            "if TYPE_CHECKING:\n    from devicekit.profile.schema import Profile",
            "fit stands beside profile",
        ),
        ("device", 'TABLE = {"fake": "devicekit.testing:fake_device"}', "device stands below testing"),
        ("report", "import devicekit.cli", "report stands below cli"),
        ("store", "from devicekit import __version__", "store stands below __init__"),
    ],
)
def test_what_runs_up_or_to_a_neighbour_is_found(tmp_path: Path, room: str, line: str, expected: str) -> None:
    modules = modules_of(ROOT)
    modules[f"devicekit.{room}.new"] = tmp_path / "new.py"
    modules[f"devicekit.{room}.new"].write_text(line)
    (found,) = broken(one for one in imports_in(modules) if one.source == f"devicekit.{room}.new")
    assert found.endswith(expected)


def test_a_circle_of_files_is_found() -> None:
    one, two, three = "devicekit.fleet.a", "devicekit.fleet.b", "devicekit.fleet.c"
    imports = [Import(one, two, 1, False), Import(two, three, 1, False), Import(three, two, 1, False)]
    assert circle_in(imports) == [two, three]
