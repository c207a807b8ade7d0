"""What this machine needs to reach devices and to measure: one function per check, in the order of use."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from devicekit.cache import cache_dir
from devicekit.device.discover import adb_usb_devices, attached_serials
from devicekit.device.inventory import fleet_path, read_fleet
from devicekit.device.local import runtime as found
from devicekit.errors import DevicekitError
from devicekit.plugins import resolve

State = Literal["ok", "note", "missing"]

# Name -> what checks it.
CHECKS = {
    "python": "devicekit.doctor:python",
    "runtime": "devicekit.doctor:runtime",
    "adb": "devicekit.doctor:adb",
    "adb key": "devicekit.doctor:adb_key",
    "usb": "devicekit.doctor:usb",
    "ssh keys": "devicekit.doctor:ssh_keys",
    "known hosts": "devicekit.doctor:known_hosts",
    "fleet": "devicekit.doctor:fleet",
    "cache": "devicekit.doctor:cache",
}
# A conversion of a large model and its candidates, a runtime per kind of board.
LOW_SPACE_BYTES = 2 * 2**30
UDEV_RULE = 'SUBSYSTEM=="usb", ENV{ID_USB_INTERFACES}=="*:ff4201:*", TAG+="uaccess"'


@dataclass(frozen=True)
class Check:
    """What was found: "ok", a "note" where nothing needs it yet, or "missing", with what to do."""

    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    checks: tuple[Check, ...]

    @property
    def is_healthy(self) -> bool:
        return all(check.state != "missing" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, "ok": self.is_healthy, "checks": [asdict(check) for check in self.checks]}


def examine() -> Diagnosis:
    """Returns what every check of CHECKS found; one that fails is "missing", with its error."""
    return Diagnosis(tuple(_checked(name, resolve(target)) for name, target in CHECKS.items()))


def _checked(name: str, check: Callable[[], tuple[State, str, str]]) -> Check:
    try:
        return Check(name, *check())
    except DevicekitError as error:
        return Check(name, "missing", error.message, error.remedy)


def python() -> tuple[State, str, str]:
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("devicekit", "tensorflow", "litert-quantizer")
    )
    return "ok", f"{sys.version.split()[0]} with {packages}", ""


def runtime() -> tuple[State, str, str]:
    library, version = found()
    if library:
        return "ok", f"LiteRT {version}: measures on this host", ""
    return "missing", "no LiteRT here", "install it: pip install ai-edge-litert"


def adb() -> tuple[State, str, str]:
    from adbutils import adb_path

    from devicekit.device.adb import is_serving, states

    if not is_serving() and not attached_serials():
        return "ok", f"{adb_path()}; no server runs, and nothing is plugged in", ""
    found = states()
    words = ", ".join(f"{serial} {state}" for serial, state in found.items()) or "no device"
    return "ok", f"{adb_path()}; its server knows {words}", ""


def adb_key() -> tuple[State, str, str]:
    folder = Path(os.environ.get("ANDROID_USER_HOME") or Path.home() / ".android")
    if (folder / "adbkey").is_file():
        return "ok", f"{folder / 'adbkey'}", ""
    return "note", "none yet: adb makes one at the first connection, and the phone asks to allow it", ""


def usb() -> tuple[State, str, str]:
    """Devices on USB that speak adb, and whether this user may open them (Linux)."""
    if not sys.platform.startswith("linux"):
        return "ok", "no permissions are needed on this system", ""
    nodes = adb_usb_devices()
    closed = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        return (
            "missing",
            f"no permission for {', '.join(closed)}",
            f"put into /etc/udev/rules.d/51-adb.rules: {UDEV_RULE}; "
            "then run `udevadm control --reload` and plug it in again",
        )
    return "ok", f"{len(nodes)} device{'' if len(nodes) == 1 else 's'} that speak adb", ""


def ssh_keys() -> tuple[State, str, str]:
    import paramiko

    names = sorted(path.stem for path in (Path.home() / ".ssh").glob("id_*.pub"))
    in_agent = len(paramiko.Agent().get_keys())
    if names or in_agent:
        return "ok", f"{', '.join(names) or 'no file'}; {in_agent} in the agent", ""
    return "note", "none", "for boards over SSH: run ssh-keygen, then ssh-copy-id USER@BOARD"


def known_hosts() -> tuple[State, str, str]:
    path = Path.home() / ".ssh" / "known_hosts"
    if not path.is_file():
        return "note", "none", "the first connection to a board needs --accept-new-host-key"
    lines = [
        line for line in path.read_text(errors="replace").splitlines() if line.strip() and line[0] != "#"
    ]
    return "ok", f"{path}: {len(lines)} keys", ""


def fleet() -> tuple[State, str, str]:
    path = fleet_path()
    if path is None:
        return "note", "no fleet file", "to name boards, write fleet.toml: see the README"
    return "ok", f"{path}: {len(read_fleet(path))} devices", ""


def cache() -> tuple[State, str, str]:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        return (
            "missing",
            f"{folder} cannot be used ({error.strerror})",
            "set DEVICEKIT_CACHE_DIR to a directory of yours",
        )
    found = f"{folder}: {size / 2**20:.0f} MiB, {free / 2**30:.1f} GiB free"
    if free < LOW_SPACE_BYTES:
        return "missing", found, f"free space there, or remove {folder}: it fills again as needed"
    return "ok", found, ""
