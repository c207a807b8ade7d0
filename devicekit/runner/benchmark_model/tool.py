"""The vendor's tool as a file on this host: given, cached, or downloaded; which of the two it is."""

import json
import mmap
import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devicekit import progress
from devicekit.cache import cached, key_of, sha256_file
from devicekit.device.seam import DeviceFacts
from devicekit.errors import MeasurementError, UsageError

Kind = Literal["classic", "litert"]
VERSION = "2.3.0"
# Where LiteRT's makers publish the tool of a release, per platform; an environment variable names a mirror.
RELEASES = "https://storage.googleapis.com/litert/binaries"
MIRROR = "DEVICEKIT_LITERT_BINARIES"
# The device's kind and machine -> the platform's name there.
PLATFORMS = {
    ("android", "aarch64"): "android_arm64",
    ("android", "x86_64"): "android_x86_64",
    ("linux", "x86_64"): "linux_x86_64",
    ("linux", "aarch64"): "linux_arm64",
}
DOWNLOAD_S = 60.0
MAX_BYTES = 256 * 2**20
# What only one of them can say. Both say "count=", and LiteRT's links parts of the classic one.
_MARKS: tuple[tuple[Kind, bytes], ...] = (
    ("litert", b"BENCHMARK RESULTS"),
    ("classic", b"Inference timings in us"),
    ("classic", b"Average inference timings in us"),
)
# e_machine of an ELF file (System V ABI, and its supplements) -> `uname -m`.
_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "armv7l", 0x03: "i686", 0xF3: "riscv64"}
_SAME = {"armv8l": "armv7l", "armv7l": "armv7l", "i386": "i686", "i586": "i686"}


@dataclass(frozen=True)
class Tool:
    """A benchmark_model for a device. `version` is None where nobody says."""

    path: Path
    kind: Kind
    sha256: str
    version: str | None

    @property
    def words(self) -> str:
        """Returns "benchmark_model 2.3.0 (LiteRT's, sha256 1f15078a…)"."""
        name = "LiteRT's" if self.kind == "litert" else "classic"
        parts = ["benchmark_model", *filter(None, [self.version])]
        return f"{' '.join(parts)} ({name}, sha256 {self.sha256[:8]}…)"


def tool_for(facts: DeviceFacts, *, path: Path | None) -> Tool:
    """Returns the tool for a device: the one at `path`, else the pinned release, cached or downloaded.

    Raises UsageError for a file that is none or for another machine, MeasurementError where none can be had.
    """
    if path is None:
        path, version = _released(facts), VERSION
    else:
        version = None
    if not path.is_file():
        raise UsageError(f"there is no file {path}", remedy="name the tool: --benchmark-model FILE")
    _refuse_other_machine(path, facts)
    return Tool(path, kind_of(path), sha256_file(path), version)


def kind_of(path: Path) -> Kind:
    """Returns which of the two tools a file is, by what it can say. Raises UsageError for neither."""
    with path.open("rb") as file:
        if path.stat().st_size:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for kind, mark in _MARKS:
                    if content.find(mark) >= 0:
                        return kind
    raise UsageError(
        f"{path} is no benchmark_model: it has no words of either tool of that name",
        remedy="give the one of LiteRT's or TensorFlow Lite's releases",
    )


def _refuse_other_machine(path: Path, facts: DeviceFacts) -> None:
    """Raises UsageError for an ELF file of another machine, and for what is neither one nor a script."""
    with path.open("rb") as file:
        head = file.read(20)
    if head[:2] == b"#!":
        return
    if head[:4] != b"\x7fELF" or len(head) < 20:
        raise UsageError(
            f"{path} is no program (it begins with {head[:4]!r})", remedy="give the tool's own file, unpacked"
        )
    number = int.from_bytes(head[18:20], "little")
    machine = _MACHINES.get(number, f"machine {number}")
    device = _SAME.get(facts.abi or "", facts.abi)
    if device is not None and machine != device:
        raise UsageError(
            f"{path} is for {machine}, {facts.address} is {facts.abi}",
            remedy=f"give the tool's build for {facts.abi}",
        )


def _released(facts: DeviceFacts) -> Path:
    """Returns the pinned release for a device, from the cache (which compares hashes) or its makers."""
    kind = "android" if facts.kind == "android" else "linux"  # this host too
    platform = PLATFORMS.get((kind, facts.abi or ""))
    if platform is None:
        raise MeasurementError(
            f"there is no released benchmark_model for {kind} on {facts.abi or 'an unknown machine'}",
            remedy="build it from LiteRT's or TensorFlow Lite's sources, and give it: --benchmark-model FILE",
        )
    key = key_of({"benchmark_model": VERSION, "platform": platform})
    entry, _ = cached("benchmark_model", key, lambda folder: _download(platform, folder))
    return entry / "benchmark_model"


def _download(platform: str, folder: Path) -> None:
    base = os.environ.get(MIRROR, RELEASES)
    address = f"{base}/{VERSION}/{platform}/benchmark_model"
    progress.report("push", detail=f"fetching benchmark_model {VERSION} for {platform}")
    target = folder / "benchmark_model"
    try:
        with urllib.request.urlopen(address, timeout=DOWNLOAD_S) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (OSError, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            reason = error
        raise MeasurementError(
            f"benchmark_model {VERSION} for {platform} cannot be fetched ({reason})",
            remedy="fetch it on a machine with a network, and give it: --benchmark-model FILE",
        ) from error
    target.chmod(0o755)
    record = {"address": address, "version": VERSION, "sha256": sha256_file(target)}
    (folder / "origin.json").write_text(json.dumps(record, indent=2) + "\n")
