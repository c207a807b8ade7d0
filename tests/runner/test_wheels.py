"""Which runtime a device gets, and where it comes from."""

import json
import platform
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from devicekit.cache import sha256_file
from devicekit.errors import MeasurementError, UsageError
from devicekit.measurement import Plan
from devicekit.runner.measure import RunnableModel
from devicekit.runner.script import FOLDER, ScriptRunner
from devicekit.runner.wheels import WHEELS, runtime_for, wheel_for
from devicekit.testing import FAKE_FACTS, FakeDevice, warmup_model

DIGITS = Path(__file__).parent.parent / "data" / "digits.float32.tflite"

BOARD = replace(FAKE_FACTS, address="ssh://pi@board", abi="aarch64", libc="glibc 2.36", runtime_library=None)


@pytest.mark.parametrize(
    ("abi", "libc", "version"),
    [
        ("aarch64", "glibc 2.36", "2.3.0"),
        ("aarch64", "glibc 2.34", "2.3.0"),
        ("aarch64", "glibc 2.33", "1.4.0"),  # Debian 11 has 2.31
        ("aarch64", "glibc 2.30", "1.4.0"),
        ("x86_64", "glibc 2.27", "2.3.0"),
    ],
)
def test_the_newest_library_that_the_libc_loads_is_taken(abi: str, libc: str, version: str) -> None:
    assert wheel_for(replace(BOARD, abi=abi, libc=libc)).version == version


@pytest.mark.parametrize(
    ("abi", "libc", "found"),
    [
        (
            "aarch64",
            "glibc 2.28",
            "aarch64 with glibc 2.28, and LiteRT's library needs aarch64 with glibc 2.30",
        ),
        ("aarch64", "musl", "aarch64 with musl, and LiteRT's library needs aarch64 with glibc 2.30"),
        ("aarch64", None, "aarch64 with an unknown libc"),
        (
            "riscv64",
            "glibc 2.36",
            "riscv64 with glibc 2.36, and LiteRT's library needs x86_64 with glibc 2.27 or",
        ),
    ],
)
def test_a_device_that_no_library_suits_is_told_what_they_need(
    abi: str, libc: str | None, found: str
) -> None:
    with pytest.raises(MeasurementError) as caught:
        wheel_for(replace(BOARD, abi=abi, libc=libc, python_version="3.12"))
    assert caught.value.message.startswith(f"ssh://pi@board is {found}")
    assert "--benchmark-model" in caught.value.remedy


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEVICEKIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_without_the_wheel_names_it_and_how_to_get_it(own_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        runtime_for(BOARD, wheels_dir=tmp_path)
    assert caught.value.message == (
        f"--wheels {tmp_path} has no ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl"
    )
    assert "download" in caught.value.remedy and "ai-edge-litert==2.3.0" in caught.value.remedy


def test_another_file_of_that_name_is_refused(own_cache: Path, tmp_path: Path) -> None:
    wheel = wheel_for(BOARD)
    with zipfile.ZipFile(tmp_path / wheel.filename, "w") as archive:
        archive.writestr(wheel.members[0], b"\x7fELF, but not the makers'")
    with pytest.raises(MeasurementError, match=r"has the SHA-256 [0-9a-f]{16}…, expected 853fc608f96da87b…"):
        runtime_for(BOARD, wheels_dir=tmp_path)


@pytest.mark.slow
def test_a_wheel_is_fetched_once_and_serves_without_a_network_from_a_folder(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = runtime_for(BOARD)
    assert (fetched.version, fetched.library, list(fetched.files)) == (
        "2.3.0",
        "libLiteRt.so",
        ["libLiteRt.so"],
    )
    head = fetched.files["libLiteRt.so"].local.read_bytes()[:20]
    assert (head[:4], head[18]) == (b"\x7fELF", 0xB7)  # for aarch64, whatever this machine is
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert runtime_for(BOARD) == fetched
    shutil.rmtree(own_cache)
    with pytest.raises(MeasurementError, match="cannot be fetched") as caught:
        runtime_for(BOARD)
    assert "--wheels DIR" in caught.value.remedy


def test_every_pin_is_whole() -> None:
    assert all(len(wheel.sha256) == 64 and wheel.members[0].endswith(".so") for wheel in WHEELS)


@pytest.mark.slow
def test_an_armv7l_board_gets_the_package_and_the_script_for_it(own_cache: Path) -> None:
    """LiteRT has no wheel for it: tflite-runtime's has a Python extension, and no library for ctypes."""
    facts = replace(BOARD, abi="armv7l", python_version="3.11")
    device = FakeDevice(facts)
    prepared = ScriptRunner().prepare(device, RunnableModel(warmup_model(), sha256_file(warmup_model())))
    extension = device.files["tflite_runtime/_pywrap_tensorflow_interpreter_wrapper.so"]
    assert (extension[:4], extension[18]) == (b"\x7fELF", 0x28)  # for 32-bit ARM
    assert {"interpreter_script.py", "board_script.py", "tflite_runtime/interpreter.py"} <= set(device.files)
    assert (prepared.facts.runtime_library, prepared.facts.runtime_version) == ("./tflite_runtime", "2.14.0")
    with pytest.raises(MeasurementError):  # the fake knows no such script
        ScriptRunner().measure(device, prepared, Plan())
    [run] = [command for command in device.commands if "interpreter_script.py" in command and "-I" in command]
    assert run[:4] == ("python3", "-I", "-B", "interpreter_script.py")


@pytest.mark.slow
@pytest.mark.parametrize(("numpy", "code"), [("numpy<2", 0), (None, 3)], ids=["numpy 1", "no numpy"])
def test_the_package_runs_from_a_pushed_folder_with_the_boards_own_numpy(
    numpy: str | None, code: int, tmp_path: Path
) -> None:
    """The same release for this machine, in the place of a board's."""
    if sys.version_info[:2] > (3, 11) or platform.machine() != "x86_64":
        pytest.skip("tflite-runtime 2.14 has wheels for Python 3.11 at most: run it with 3.11 on x86_64")
    board = tmp_path / "board"
    venv.create(board, with_pip=numpy is not None)
    if numpy:
        install = [board / "bin" / "pip", "install", "-q", "--disable-pip-version-check", numpy]
        subprocess.run(install, check=True, capture_output=True)
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", tmp_path]
    subprocess.run([*fetch, "tflite-runtime==2.14.0"], check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        for member in WHEELS[-1].members:
            archive.extract(member, tmp_path)
    for name in ("board_script.py", "interpreter_script.py"):
        shutil.copy(FOLDER / name, tmp_path)
    shutil.copy(DIGITS, tmp_path / "model.tflite")
    shutil.copy(warmup_model(), tmp_path / "warmup.tflite")
    line = ["-I", "-B", "interpreter_script.py", "lib=./tflite_runtime", "model=model.tflite"]
    done = subprocess.run(
        [board / "bin" / "python", *line, "warmup=warmup.tflite", "runs=20", "min_s=0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(done.stdout)
    assert done.returncode == code, done.stderr
    if code:
        needs = "the runtime needs numpy 1 there (on Debian: apt install python3-numpy): "
        assert document["error"] == f"{needs}No module named 'numpy'"
        return
    assert (document["api"], document["version"], len(document["ns"])) == ("interpreter", "2.14.0", 20)
    found = np.fromfile(tmp_path / "out0.bin", np.float32)
    [reference] = (
        Interpreter(str(DIGITS)).get_signature_runner()(image=np.zeros((1, 8, 8, 1), np.float32)).values()
    )
    assert np.allclose(found, reference.ravel(), rtol=1e-4, atol=1e-7)
