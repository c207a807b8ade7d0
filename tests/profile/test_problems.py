"""How each kind of mistake in a profile reads."""

from pathlib import Path

import pytest

from devicekit import __version__
from devicekit.errors import ProfileError
from devicekit.profile.lookup import load_profile

# (table, line) -> what follows "board.toml: "
DEVICE_KEYS = "kind, soc, abi, cores, clocks_mhz, ram_mib, ram_kib, flash_kib, os, libc"
MISTAKES = [
    ("device", 'kind = "andriod"',
     'device.kind: is "andriod", must be one of android, linux, microcontroller; did you mean android?'),
    ("device", 'cores = "8"', 'device.cores: is "8", must be a whole number: 8'),
    ("device", "cores = 1.5", "device.cores: is 1.5, must be a whole number"),
    ("device", "cores = true", "device.cores: is true, must be a whole number"),
    ("device", "ram_mib = 0", "device.ram_mib: is 0, must be above 0"),
    ("device", 'ram_mib = "8 GiB"', 'device.ram_mib: is "8 GiB", must be a whole number of MiB: 8192'),
    ("device", 'ram_mib = "512 MB"', 'device.ram_mib: is "512 MB", must be a whole number of MiB: 512'),
    ("device", 'ram_mib = "lots"', 'device.ram_mib: is "lots", must be a whole number of MiB'),
    ("device", "soc = 5", 'device.soc: is 5, must be text: "5"'),
    ("device", 'soc = ""', "device.soc: is empty, must have a value"),
    ("device", "latency_ms = 3", "device.latency_ms: unknown key; did you mean limits.latency_ms?"),
    ("device", "colour = 3", "device.colour: unknown key, [device] has " + DEVICE_KEYS),
    ("device", '"\\u001b[31m" = 3',
     'device."\\u001b[31m": unknown key, [device] has ' + DEVICE_KEYS),
    ("runtime", "version = 2.3", 'runtime.version: is 2.3, must be text: "2.3"'),
    ("runtime", "threads = 0", "runtime.threads: is 0, must be above 0"),
    ("limits", 'latency_ms = "20 ms"', 'limits.latency_ms: is "20 ms", must be a number of milliseconds: 20'),
    ("limits", 'latency_ms = "0.5s"', 'limits.latency_ms: is "0.5s", must be a number of milliseconds: 500'),
    ("limits", 'arena_kib = "1MB"', 'limits.arena_kib: is "1MB", must be a whole number of KiB: 1024'),
    ("device", 'clocks_mhz = "1.8 GHz"',
     'device.clocks_mhz: is "1.8 GHz", must be a list of whole numbers of MHz: [1800]'),
    ("device", 'clocks_mhz = ["1.8 GHz"]',
     'device.clocks_mhz[0]: is "1.8 GHz", must be a whole number of MHz: 1800'),
    ("device", 'cores = 1\nclocks_mhz = [1, 1]', "device.clocks_mhz: has 2 clocks, device.cores is 1"),
    ("limits", "memory_of_ram = 2", "limits.memory_of_ram: is 2, must be at most 1"),
    ("limits", "latency_ms = nan", "limits.latency_ms: is NaN, must be a number of milliseconds"),
    ("match", "machine = []", "match.machine: is empty, must have a value"),
    ("ops", 'deny = "CONV_2D"', 'ops.deny: is "CONV_2D", must be a list of texts: ["CONV_2D"]'),
    ("ops", 'deny = ["IF", "conv_2d"]',
     'ops.deny[1]: is "conv_2d", must be an operator as the .tflite schema names it, in capitals; '
     "did you mean CONV_2D?"),
    ("ops", 'allow = ["IF"]\ndeny = ["IF"]', 'ops.deny: has "IF", ops.allow has it too'),
    ("ops", 'flex = "no"', 'ops.flex: is "no", must be true or false: false'),
    ("ops", 'dtypes = ["flaot32"]', 'ops.dtypes[0]: is "flaot32"; did you mean float32?'),
    ("quality", "min_cosine = 98", "quality.min_cosine: is 98, must be at most 1"),
    ("recipes", "try = []", "recipes.try: is empty, must have a value"),
    ("recipes", 'try = ["int8", "flot16"]',
     'recipes.try[1]: is "flot16", must be one of float32, float16, dynamic_int8, weight_int8, weight_int4, '
     "int8, int8_float_io, int16x8, int16x8_float_io; did you mean float16?"),
    ("recipes", 'try = ["int8", "int8"]', 'recipes.try[1]: is "int8", must be there once'),
    ("recipes", 'prefer = "sise"', 'recipes.prefer: is "sise", must be one of latency, size, quality; '
     "did you mean size?"),
    ("sources", '"device.ram" = "x"', 'sources."device.ram": names no key of a profile; '
     "did you mean device.ram_mib?"),
    ("sources", '"device.soc" = ""', 'sources."device.soc": is empty, must have a value'),
]  # fmt: skip
TOO_DEEP = "has values nested too deeply, a profile has at most 3 levels"
TABLES = {
    "device": {"kind": '"linux"'},
    "runtime": {"name": '"litert"', "delegate": '"xnnpack"'},
    "limits": {"model_mib": "8", "memory_mib": "16"},
}


def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes) -> ProfileError:
    monkeypatch.chdir(tmp_path)
    Path("board.toml").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ProfileError) as caught:
        load_profile("board.toml")
    return caught.value


def profile_with(table: str, line: str) -> str:
    """Returns a file that is right but for `line` in [table]."""
    text = "schema = 1\n"
    for name in dict.fromkeys([*TABLES, table]):
        text += f"[{name}]\n"
        own = line if name == table else ""
        keys = [f"{k} = {v}" for k, v in TABLES.get(name, {}).items() if not own.startswith(f"{k} =")]
        text += "\n".join([*keys, own]) + "\n"
    return text


@pytest.mark.parametrize(("table", "line", "message"), MISTAKES, ids=[line for _, line, _ in MISTAKES])
def test_a_mistake_reads(
    table: str, line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(tmp_path, monkeypatch, profile_with(table, line))
    assert error.message == f"board.toml: {message}"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("", "schema: is missing, must be 1: `schema = 1` on top of the file"),
        ('schema = "1"', 'schema: is "1", must be 1: `schema = 1` on top of the file'),
        ('schema = 1\nname = "x"', "name: unknown key, the file's own; `title` is the name for people"),
        ('schema = 1\ntitel = "x"', "titel: unknown key; did you mean title?"),
        ("schema = 1\nextends = 3", "extends: is 3, must be the name of a profile"),
    ],
)
def test_a_mistake_on_top_reads(
    head: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = profile_with("device", "").removeprefix("schema = 1")
    assert refusal(tmp_path, monkeypatch, head + tables).message == f"board.toml: {message}"


def test_missing_keys_are_named_with_what_belongs_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(tmp_path, monkeypatch, "schema = 1\ndevice = 3\n[limits]\nmodel_mib = 1\n[runtime]\n")
    assert [str(problem) for problem in error.problems] == [
        "device: is 3, must be a table: [device]",
        "runtime.name: is missing, must be one of litert, tflite, tflm",
        "runtime.delegate: is missing, must be one of xnnpack, none, gpu, nnapi, edgetpu",
        "limits.memory_mib: is missing, must be a number of MiB",
    ]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            "[device]\nkind = 'linux'\ncores = 4\n[runtime]\nthreads = 8",
            "runtime.threads: is 8, must be at most device.cores, which is 4",
        ),
        (
            "[device]\nkind = 'linux'\nram_mib = 64\n[limits]\nmemory_mib = 65",
            "limits.memory_mib: is 65, must be at most device.ram_mib, which is 64",
        ),
    ],
)
def test_a_limit_above_what_the_device_has_is_refused(
    limits: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base.toml").write_text(profile_with("device", ""), encoding="utf-8")
    error = refusal(tmp_path, monkeypatch, f'schema = 1\nextends = "base.toml"\n{limits}')
    assert error.message == f"board.toml: {message}"


def test_a_newer_schema_is_refused_before_anything_else_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(tmp_path, monkeypatch, "schema = 2\nnew_key = 3")
    assert error.message == f"board.toml: schema: is 2, devicekit {__version__} reads schema 1"
    assert error.remedy == "update devicekit, run it again"


def test_a_newer_schema_names_the_kit_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(tmp_path, monkeypatch, 'schema = 2\nneeds_devicekit = "7.2"\nnew_key = 3')
    assert error.message == f"board.toml: schema: is 2, devicekit {__version__} reads schema 1"
    assert error.remedy == "update devicekit to 7.2 or newer, run it again"


def test_a_file_that_needs_a_newer_kit_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(tmp_path, monkeypatch, 'schema = 1\nneeds_devicekit = "7.2"\nnew_key = 3')
    assert error.message == f"board.toml: needs_devicekit: is 7.2, this is devicekit {__version__}"
    assert error.remedy == "update devicekit to 7.2 or newer, run it again"


def test_a_microcontroller_needs_flash_and_arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = profile_with("device", 'kind = "microcontroller"')
    (arena,) = refusal(tmp_path, monkeypatch, text).problems
    assert str(arena) == "limits.arena_kib: is missing, must be a whole number of KiB"  # model_mib says flash
    text = text.replace("model_mib = 8\n", "")
    assert [str(problem) for problem in refusal(tmp_path, monkeypatch, text).problems] == [
        "limits.model_kib: is missing, must be a whole number of KiB",
        "limits.arena_kib: is missing, must be a whole number of KiB",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[device\n", "line 1, column 8 is no TOML, expected ']' at the end of a table declaration"),
        (b'schema = 1\nx = "', "the end of the file is no TOML, unterminated string"),
        (b"schema = 1\nsoc = '\xff'", "line 2 is not UTF-8, must be a TOML file in UTF-8"),
        (b"schema = 1 # \0", "is a binary file, must be a TOML file in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1 is not UTF-8, must be a TOML file in UTF-8"),
        (b"#" * (2**20 + 1), "is larger than 1 MiB, a profile has a few KiB"),
        (b"a = " + b"9" * 10_000, "has a number or date that cannot be read"),
        (b"a = " + b"[" * 500_000, TOO_DEEP),
        (b"a = " + b"[" * 9 + b"]" * 9, TOO_DEEP),
        (b"a" + b".a" * 500_000 + b" = 1", TOO_DEEP),
        (b'"a"' + b' . "a"' * 100_000 + b" = 1", TOO_DEEP),
    ],
    ids=["syntax", "string", "latin-1", "nul", "png", "huge", "digits", "open", "lists", "dots", "quoted"],
)  # fmt: skip
def test_what_is_no_profile_is_refused(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(tmp_path, monkeypatch, content).message == f"board.toml: {message}"


def test_dots_in_texts_and_comments_are_no_nested_keys(tmp_path: Path) -> None:
    dots = "a.b.c.d.e.f.g.h.i.j"
    board = profile_with("device", f'soc = "{dots}"')
    text = f"# {dots}\n{board}[sources]\n'device.soc' = '''\n{dots}'''"
    (tmp_path / "board.toml").write_text(text, encoding="utf-8")
    assert load_profile(tmp_path / "board.toml").device.soc == dots


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    text = "\ufeff" + profile_with("device", "cores = 4").replace("\n", "\r\n")
    (tmp_path / "board.toml").write_bytes(text.encode())
    assert load_profile(tmp_path / "board.toml").device.cores == 4


def test_a_directory_is_no_profile(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(tmp_path)
    assert caught.value.message == f"{tmp_path}: is a directory, no file"


def test_many_mistakes_are_counted_not_all_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "schema = 1\n" + "".join(f"zz{i} = 1\n" for i in range(197)) + "[device]\nkind = 'linux'"
    lines = refusal(tmp_path, monkeypatch, text).message.splitlines()
    assert len(lines) == 52
    assert lines[-1] == "  board.toml: 149 more problems"
