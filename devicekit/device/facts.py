"""What a device says about itself: one script there, one answer, read here.

The script takes what a POSIX shell with busybox or toybox has; a fact that it cannot get is missing.
"""

import re
from collections.abc import Mapping, Sequence

from devicekit.device.health import battery_percent, hottest_c, is_charging
from devicekit.device.probes import decimal, number, read, script
from devicekit.device.seam import DeviceFacts
from devicekit.device.shell import quote

# Fact -> shell words that print it, on one line or several. Android's properties are asked for all at once.
_PROBES = {
    "system": "uname -s",
    "release": "uname -r",
    "machine": "uname -m",
    "properties": "getprop",
    "tree_model": "tr -d '\\0' </proc/device-tree/model",
    "tree_compatible": "tr '\\0' ' ' </proc/device-tree/compatible",
    "maker": "cat /sys/class/dmi/id/sys_vendor",
    "product": "cat /sys/class/dmi/id/product_name",
    "processor": "grep -m1 -E '^(model name|Hardware)' /proc/cpuinfo",
    "allowed": "grep Cpus_allowed_list /proc/self/status",
    "clocks": "grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq /dev/null",
    "hypervisor": "grep -m1 -o -w hypervisor /proc/cpuinfo",
    "cores": "nproc || grep -c ^processor /proc/cpuinfo",
    "memory": "grep -m1 MemTotal /proc/meminfo",
    "os": "grep -m1 ^PRETTY_NAME= /etc/os-release",
    "libc": "getconf GNU_LIBC_VERSION || ldd --version 2>&1 | head -n 1",
    "governor": "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "load": "cat /proc/loadavg",
    "uptime": "cat /proc/uptime",
    "boot": "cat /proc/sys/kernel/random/boot_id",
    "zones": "cat /sys/class/thermal/thermal_zone*/temp",
    "battery": "dumpsys battery",
    "capacity": "cat /sys/class/power_supply/*/capacity",
    "charging": "cat /sys/class/power_supply/*/status",
}
_PYTHON = "import sys; print(sys.executable, *sys.version_info[:2])"
# Debian's python3 is a link to python3.11: asking it would cost a start of half a second on a small board.
_PYTHON_PROBE = (
    "python=$(command -v python3) && link=$(readlink -f $python) && case $link in "
    "*/python3.[0-9]*) echo $python 3 ${link##*/python3.};; *) false;; esac "
    f"|| python3 -I -S -c {quote(_PYTHON)} || python -I -S -c {quote(_PYTHON)}"
)
# Makers of virtual machines as DMI names them; a cloud's "metal" machines say so in the product's name.
_VIRTUAL = re.compile(
    r"qemu|kvm|vmware|virtualbox|innotek|xen|bochs|parallels|virtual|bhyve|firecracker|"
    r"google compute|amazon ec2",
    re.I,
)
_ANDROID_VIRTUAL = ("ro.kernel.qemu", "ro.boot.qemu")
_MIN_PYTHON = (3, 6)


def probe_script() -> str:
    """Returns the script that prints all facts, with the free space where it runs."""
    return script({**_PROBES, "free": "df -Pk . | tail -n 1", "python": _PYTHON_PROBE})


def read_facts(address: str, answer: str) -> DeviceFacts:
    """Returns the facts in what the script printed; a line that is not understood is no fact."""
    said = read(answer, (*_PROBES, "free", "python"))
    properties = dict(re.findall(r"^\[([\w.]+)\]: \[(.*)\]\s*$", "\n".join(said["properties"]), re.MULTILINE))
    first = {name: lines[0].strip() if lines else "" for name, lines in said.items()}
    is_android = bool(properties.get("ro.build.version.release"))
    python = first["python"].rsplit(" ", 2)
    has_python = len(python) == 3 and _is_new_enough(python[1:])
    virtual = _virtual(first, properties)
    return DeviceFacts(
        address=address,
        kind="android" if is_android else "linux",
        evidence="emulated" if virtual else "measured",
        virtual=virtual,
        model=properties.get("ro.product.model") or first["tree_model"] or _product(first) or None,
        soc=_soc(first, properties),
        abi=first["machine"] or None,
        cores=number(first["cores"]),
        ram_mib=None if (kib := number(first["memory"])) is None else kib // 1024,
        os=_os(first, properties),
        libc="bionic" if is_android and not first["libc"] else _libc(first["libc"]),
        python=python[0] if has_python else None,
        python_version=".".join(python[1:]) if has_python else None,
        governor=first["governor"] or None,
        load_average=decimal(first["load"].partition(" ")[0]),
        temperature_c=hottest_c(said["zones"], (), said["battery"]),
        battery_percent=battery_percent(said["battery"], said["capacity"]),
        is_charging=is_charging(said["battery"], said["charging"]),
        free_bytes=free_bytes(first["free"]),
        boot_id=first["boot"] or None,
        uptime_s=decimal(first["uptime"].partition(" ")[0]),
        cpus=_cpus(first["allowed"], said["clocks"]),
        clocks_mhz=tuple(sorted((khz // 1000 for khz in _khz(said["clocks"]).values()), reverse=True)),
        properties={
            **{name: properties[name] for name in _KEPT if properties.get(name)},
            **({"device_tree_model": first["tree_model"]} if first["tree_model"] else {}),
        },
    )


# Of Android's hundreds of properties, those that profiles match and reports show.
_KEPT = (
    *(
        "ro.product.model",
        "ro.product.manufacturer",
        "ro.product.device",
        "ro.soc.model",
        "ro.board.platform",
    ),
    *("ro.product.cpu.abi", "ro.build.version.release", "ro.build.version.sdk", "ro.serialno"),
)


def _virtual(first: Mapping[str, str], properties: Mapping[str, str]) -> str | None:
    """Returns what shows that a device is a virtual machine, None where nothing does."""
    for name in _ANDROID_VIRTUAL:
        if properties.get(name) in ("1", "true"):
            return f"{name} is {properties[name]}"
    if "dummy-virt" in first["tree_compatible"]:
        return "its device tree is linux,dummy-virt"
    found = _product(first)
    if _VIRTUAL.search(found) and "metal" not in found:
        return f"its DMI names {found}"
    return "its processor has the hypervisor flag" if first["hypervisor"] else None


def _product(first: Mapping[str, str]) -> str:
    return " ".join(filter(None, (first["maker"], first["product"])))


def _soc(first: Mapping[str, str], properties: Mapping[str, str]) -> str | None:
    named = properties.get("ro.soc.model") or properties.get("ro.board.platform")
    chip = first["tree_compatible"].split()[-1:]  # boards before the chip that they have
    return named or next(iter(chip), None) or first["processor"].partition(":")[2].strip() or None


def _os(first: Mapping[str, str], properties: Mapping[str, str]) -> str | None:
    if release := properties.get("ro.build.version.release"):
        return f"Android {release}"
    named = first["os"].partition("=")[2].strip().strip('"')
    return named or f"{first['system']} {first['release']}".strip() or None


def _libc(words: str) -> str | None:
    """Returns "glibc 2.36" or "musl"; what `ldd --version` says is "ldd (Debian GLIBC 2.36-9) 2.36"."""
    if "musl" in words.lower():
        return "musl"
    found = re.search(r"(\d+\.\d+)\s*$", words)
    return f"glibc {found[1]}" if found and "libc" in words.lower() else None


def _is_new_enough(version: Sequence[str]) -> bool:
    return all(part.isdecimal() for part in version) and tuple(map(int, version)) >= _MIN_PYTHON


def _cpus(allowed: str, clocks: Sequence[str]) -> tuple[int, ...]:
    """Returns the CPUs in "Cpus_allowed_list: 0-3,6", the fastest first; () where neither is said."""
    khz = _khz(clocks)
    listed: list[int] = []
    for part in allowed.partition(":")[2].strip().split(","):
        if found := re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part):
            listed += range(int(found[1]), int(found[2] or found[1]) + 1)
    return tuple(sorted(listed or khz, key=lambda cpu: (-khz.get(cpu, 0), cpu)))


def _khz(clocks: Sequence[str]) -> dict[int, int]:
    """Returns CPU -> highest clock in kHz, by lines "/sys/…/cpu3/cpufreq/cpuinfo_max_freq:1800000"."""
    found = (re.fullmatch(r"\S*/cpu(\d{1,4})/\S*:(\d{1,9})\s*", line) for line in clocks)
    return {int(match[1]): int(match[2]) for match in found if match and int(match[2])}


def free_bytes(line: str) -> int | None:
    """Returns what a line of `df -Pk` says is free, in bytes; None where it is no such line."""
    words = line.split()
    return int(words[3]) * 1024 if len(words) >= 6 and words[3].isdecimal() else None
