"""Files on a device: pushed once, by their SHA-256, and only where there is room for them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devicekit.cache import sha256_file
from devicekit.device.seam import Device
from devicekit.errors import DeviceFull

HASH_TIMEOUT_S = 120.0
# What must stay free besides the files: outputs, logs, and the system's own needs.
SPARE_BYTES = 4 * 2**20
_LINE = re.compile(r"\\?([0-9a-f]{64})  ?\*?(.+)")


@dataclass(frozen=True)
class File:
    """A file to have on a device, with its SHA-256."""

    local: Path
    sha256: str


def file_of(local: Path, sha256: str | None = None) -> File:
    return File(local, sha256 or sha256_file(local))


def push_once(
    device: Device, files: Mapping[str, File], *, address: str, free_bytes: int | None
) -> tuple[str, ...]:
    """Pushes what the device lacks of `files` (by remote name) and returns their names.

    `free_bytes` is what the device had free before, None where it did not say. Raises DeviceFull.
    """
    there = hashes_there(device, tuple(files))
    lacking = tuple(name for name, file in files.items() if there.get(name) != file.sha256)
    needed = sum(files[name].local.stat().st_size for name in lacking)
    if free_bytes is not None and lacking and needed + SPARE_BYTES > free_bytes:
        raise DeviceFull(address, needed_bytes=needed + SPARE_BYTES, free_bytes=free_bytes)
    for name in lacking:
        device.push(files[name].local, name)
    return lacking


def hashes_there(device: Device, names: Sequence[str]) -> dict[str, str]:
    """Returns the SHA-256 of each file on the device that is there, in one round trip.

    A device without sha256sum has none: then everything is pushed.
    """
    done = device.run(["sha256sum", "--", *names], timeout_s=HASH_TIMEOUT_S)
    matches = (_LINE.fullmatch(line) for line in done.stdout.splitlines())
    return {match[2]: match[1] for match in matches if match}
