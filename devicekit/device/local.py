"""The local transport: this machine as a device, under the address "host"."""

import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil

from devicekit.device.seam import Completed, DeviceFacts
from devicekit.device.temporary import new_folder
from devicekit.errors import MeasurementError, UsageError

# What a shell answers, so that a missing program looks the same on every transport (POSIX, 2.8.2).
NOT_FOUND, NOT_EXECUTABLE = 127, 126
ENDING_S = 5.0


class LocalDevice:
    """This machine. Files live in a temporary directory that `close` removes, else the next LocalDevice."""

    def __init__(self, address: str = "host", *, keep: bool = False) -> None:
        if address != "host":
            raise UsageError(f'"{address}" is no address of this machine', remedy="use --device host")
        self._folder = new_folder()

    def push(self, local: Path, remote: str) -> None:
        target = self._place(remote)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(local, target)

    def pull(self, remote: str, local: Path) -> None:
        try:
            shutil.copyfile(self._place(remote), local)
        except FileNotFoundError as error:
            raise MeasurementError(
                f"host: there is no file {remote}", remedy="run it again with -v to see what the run printed"
            ) from error

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a group of its own, ended as a whole
            )
        except PermissionError as error:
            return Completed(NOT_EXECUTABLE, "", str(error))
        except OSError as error:
            return Completed(NOT_FOUND, "", str(error))
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
            out, err = _rest(process)
            return Completed(None, _text(out), _text(err), timed_out=True)
        except BaseException:  # Ctrl-C: nothing may go on measuring
            _end(process)
            _rest(process)
            raise
        return Completed(process.returncode, _text(out), _text(err))

    def describe(self) -> DeviceFacts:
        library, version = runtime()
        tree = _first_line("/proc/device-tree/model")
        return DeviceFacts(
            address="host",
            kind="host",
            evidence="simulated",
            model=_first_line("/sys/class/dmi/id/product_name") or _first_line("/proc/device-tree/model"),
            soc=_cpu_name(),
            abi=platform.machine(),
            cores=psutil.cpu_count(),
            cpus=tuple(sorted(os.sched_getaffinity(0))) if sys.platform == "linux" else (),
            ram_mib=psutil.virtual_memory().total // 2**20,
            os=f"{platform.system()} {platform.release()}",
            libc=" ".join(filter(None, platform.libc_ver())) or None,
            clocks_mhz=_clocks_mhz(),
            properties={"device_tree_model": tree} if tree else {},
            python=sys.executable,
            runtime_library=library,
            runtime_version=version,
            governor=_first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            temperature_c=_temperature_c(),
        )

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _place(self, remote: str) -> Path:
        return self._folder / remote


def _clocks_mhz() -> tuple[int, ...]:
    """Returns the highest clock of each core, the fastest first; () where this system does not say."""
    try:
        found = [int(one.max) for one in psutil.cpu_freq(percpu=True) or ()]
    except (OSError, NotImplementedError, AttributeError):
        return ()
    return tuple(sorted((mhz for mhz in found if mhz > 0), reverse=True))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and all that it started."""
    if sys.platform == "win32":
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _rest(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Returns what a killed process had printed; does not wait for one that left the group."""
    try:
        return process.communicate(timeout=ENDING_S)
    except subprocess.TimeoutExpired as expired:
        return expired.stdout or b"", expired.stderr or b""


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def _first_line(path: str) -> str | None:
    try:
        lines = Path(path).read_text(errors="replace").replace("\0", "").splitlines()
    except OSError:
        return None
    return lines[0].strip() or None if lines else None


def _cpu_name() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def _temperature_c() -> float | None:
    """Returns the hottest reading of the sensors, None where there is none (a virtual machine)."""
    if not hasattr(psutil, "sensors_temperatures"):
        return None
    sensors = psutil.sensors_temperatures()
    return max((entry.current for entries in sensors.values() for entry in entries), default=None)


def runtime() -> tuple[str | None, str | None]:
    """Returns LiteRT's shared library and version, found without importing the package."""
    spec = find_spec("ai_edge_litert")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("libLiteRt.so", "libLiteRt.dylib", "libLiteRt.dll"):
            if (Path(folder) / name).is_file():
                try:
                    return str(Path(folder) / name), version("ai-edge-litert")
                except PackageNotFoundError:
                    return str(Path(folder) / name), None
    return None, None
