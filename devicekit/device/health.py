"""Whether a device is fit to be measured: heat, battery, clocks; and its governor, on request.

The governor is set for a run and put back at its end; what it was lies beside the run directory until then,
so that whoever takes the lock next puts it back where a run could not (shell.lock_script).
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from devicekit import progress
from devicekit.device import probes, shell
from devicekit.device.seam import Device
from devicekit.errors import DeviceError, NotReady
from devicekit.measurement import Gate

SHORT_S = 30.0
ASK_EVERY_S = 5.0
_CPUS = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
_PROBES = {
    "zones": "grep . /sys/class/thermal/thermal_zone*/temp /dev/null",
    "thermal": "dumpsys thermalservice",
    "battery": "dumpsys battery",
    "capacity": "cat /sys/class/power_supply/*/capacity",
    "charging": "cat /sys/class/power_supply/*/status",
    "clocks": f"grep . {_CPUS}/scaling_cur_freq {_CPUS}/scaling_max_freq {_CPUS}/scaling_governor /dev/null",
    "throttled": "cat /sys/devices/platform/soc/soc:firmware/get_throttled",
    "load": "cat /proc/loadavg",
}
# Android's names of Temperature.getThrottlingStatus, by number.
_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
# A Raspberry Pi's firmware, get_throttled: what holds now.
_FIRMWARE = {0x1: "under-voltage", 0x2: "its clock is capped", 0x4: "throttled", 0x8: "too hot"}


@dataclass(frozen=True)
class Condition:
    """A device at one moment; None where it does not say. `throttled` is the device's own word for that.

    `hottest_c` is the highest plausible reading. `clocks_khz` are now and at most, by CPU.
    """

    hottest_c: float | None = None
    battery_percent: int | None = None
    is_charging: bool | None = None
    throttled: str | None = None
    load_average: float | None = None
    governors: Mapping[str, str] | None = None
    clocks_khz: Mapping[str, tuple[int, int]] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def condition(device: Device) -> Condition:
    """Returns the condition of a device, in one round trip. Raises DeviceError."""
    done = device.run(["sh", "-c", probes.script(_PROBES)], timeout_s=SHORT_S)
    return read_condition(done.stdout)


def read_condition(answer: str) -> Condition:
    """Returns the condition in what the device printed; a line that is not understood says nothing."""
    said = probes.read(answer, _PROBES)
    clocks = _by_cpu(said["clocks"])
    now, most = clocks.get("scaling_cur_freq", {}), clocks.get("scaling_max_freq", {})
    return Condition(
        hottest_c=hottest_c(said["zones"], said["thermal"], said["battery"]),
        battery_percent=battery_percent(said["battery"], said["capacity"]),
        is_charging=is_charging(said["battery"], said["charging"]),
        throttled=_throttled(said["thermal"], said["throttled"]),
        load_average=probes.decimal("".join(said["load"][:1]).partition(" ")[0]),
        governors=clocks.get("scaling_governor"),
        clocks_khz={
            cpu: (int(now[cpu][:12]), int(most[cpu][:12]))
            for cpu in now.keys() & most.keys()
            if now[cpu].isdecimal() and most[cpu].isdecimal()
        }
        or None,
    )


def _by_cpu(lines: Sequence[str]) -> dict[str, dict[str, str]]:
    """Returns file name -> CPU -> content for lines such as ".../cpu0/cpufreq/scaling_cur_freq:600000"."""
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        if match := re.fullmatch(r"\S*/cpu(\d+)/cpufreq/(\w+):(\S{1,40})\s*", line):
            found.setdefault(match[2], {})[match[1]] = match[3]
    return found


def hottest_c(zones: Sequence[str], thermal: Sequence[str], battery: Sequence[str]) -> float | None:
    """Returns the hottest plausible reading: zones are in thousandths of a degree, the battery in tenths.

    Zones may be lines of a file each, or "path:value"; Android's service says "mValue=38.0".
    """
    readings = [
        value / 1000 for line in zones if (value := probes.number(line.rpartition(":")[2])) is not None
    ]
    now = _section(thermal, "Current temperatures from HAL")
    readings += [float(value) for line in now for value in re.findall(r"mValue=(\d{1,4}\.\d{1,6})", line)]
    if (tenths := _battery(battery, "temperature")) is not None:
        readings.append(tenths / 10)
    return max((one for one in readings if 0 < one < 150), default=None)


def battery_percent(battery: Sequence[str], capacity: Sequence[str]) -> int | None:
    """Returns the charge by `dumpsys battery`, else by /sys/class/power_supply/*/capacity."""
    level = _battery(battery, "level")
    return probes.number("".join(capacity[:1])) if level is None else level


def is_charging(battery: Sequence[str], charging: Sequence[str]) -> bool | None:
    """Returns whether power comes in, by the same two sources; None where neither says."""
    if battery:
        return any(re.match(r"\s*(AC|USB|Wireless|Dock) powered: true", line) for line in battery)
    states = [line.strip() for line in charging]
    return any(state in ("Charging", "Full") for state in states) if states else None


def _section(lines: Sequence[str], title: str) -> Iterator[str]:
    """Yields the indented lines under a title of `dumpsys thermalservice`."""
    inside = False
    for line in lines:
        if line[:1].isspace():
            if inside:
                yield line
        else:
            inside = line.startswith(title)


def _battery(lines: Sequence[str], key: str) -> int | None:
    """Returns a number of `dumpsys battery`: "  level: 87"."""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return probes.number(value)
    return None


def _throttled(thermal: Sequence[str], firmware: Sequence[str]) -> str | None:
    """Returns how a device says that it holds itself back now; None where it does not, or cannot say."""
    for line in thermal:
        if found := re.fullmatch(r"Thermal Status: (\d)", line.strip()):
            status = int(found[1])
            return f"thermal status {_STATUS[min(status, len(_STATUS) - 1)]}" if status else None
    bits = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-f]{1,8})", "".join(firmware[:1]).strip())
    words = [word for bit, word in _FIRMWARE.items() if bits and int(bits[1], 16) & bit]
    return ", ".join(words) or None


def ready(device: Device, address: str, gate: Gate) -> Condition:
    """Returns the condition once it allows to measure. Raises NotReady after `gate.wait_s`.

    A battery that is low and not charging is not waited for.
    """
    deadline = time.monotonic() + gate.wait_s
    while True:
        now = condition(device)
        reason, may_pass = _unfit(now, gate)
        if reason is None:
            return now
        left = deadline - time.monotonic()
        if not may_pass or left <= 0:
            raise NotReady(address, found=reason, waited_s=gate.wait_s if may_pass else 0.0)
        minutes, seconds = divmod(round(left), 60)
        waiting = f"waiting for {address}: {reason} ({minutes}:{seconds:02})"
        progress.report("measure", detail=waiting)
        time.sleep(min(ASK_EVERY_S, max(left, 0.1)))


def _unfit(now: Condition, gate: Gate) -> tuple[str | None, bool]:
    """Returns why a device may not be measured now, None where it may; and whether waiting may help."""
    if now.hottest_c is not None and now.hottest_c >= gate.start_below_c:
        return f"{now.hottest_c:.0f} °C, starts below {gate.start_below_c:g} °C", True
    if now.throttled is not None:
        return f"throttled ({now.throttled})", True
    charge = now.battery_percent
    if charge is not None and charge < gate.min_battery_percent:
        words = f"battery at {charge} %, starts from {gate.min_battery_percent} %"
        return (words, True) if now.is_charging else (f"{words}, and it is not charging", False)
    return None, True


@contextmanager
def pinned_governor(device: Device, governor: str | None) -> Iterator[tuple[str, ...]]:
    """Sets the governor of all CPUs while the block runs; yields notes on what was not permitted.

    None leaves it as it is.
    """
    if governor is None:
        yield ()
        return
    done = device.run(["sh", "-c", shell.pin_script(governor)], timeout_s=SHORT_S)
    said = done.stdout.strip()
    try:
        yield () if said == "pinned" else (f"the governor is not {governor}: {_why_not(said)}",)
    finally:
        with suppress(DeviceError):  # lost: the next to take the lock puts it back
            device.run(["sh", "-c", shell.unpin_script()], timeout_s=SHORT_S)


def _why_not(said: str) -> str:
    if said.startswith("refused"):
        return f"setting it is not permitted, it stays {said.removeprefix('refused ')[:40]}"
    return "the device has no cpufreq" if said == "none" else "the device did not say why"
