"""What devices print about themselves, read: untrusted, and often incomplete."""

import random

import pytest

from devicekit.device import facts, health, probes
from devicekit.device.seam import DeviceFacts

PI = {
    "system": "Linux",
    "release": "6.6.31+rpt-rpi-v8",
    "machine": "aarch64",
    "tree_model": "Raspberry Pi 4 Model B Rev 1.5",
    "tree_compatible": "raspberrypi,4-model-b brcm,bcm2711",
    "cores": "4",
    "allowed": "Cpus_allowed_list:\t0-3",
    "clocks": "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq:1800000",
    "memory": "MemTotal:        3882492 kB",
    "os": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"',
    "libc": "glibc 2.36",
    "governor": "ondemand",
    "load": "0.52 0.58 0.59 1/257 2713",
    "uptime": "350735.47 234388.90",
    "zones": "48686",
    "python": "/usr/bin/python3 3 11",
    "free": "/dev/mmcblk0p2 29987672 6012345 22712345 21% /",
}
PHONE = {
    "system": "Linux",
    "machine": "aarch64",
    "properties": "[ro.product.model]: [Pixel 7]\n[ro.soc.model]: [GS201]\n[ro.build.version.release]: [15]\n"
    "[ro.product.cpu.abi]: [arm64-v8a]\n[ro.kernel.qemu]: [0]",
    "allowed": "Cpus_allowed_list:\t0-7",
    "clocks": "\n".join(
        f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq:{khz}"
        for cpu, khz in enumerate([1803000] * 4 + [2348000] * 2 + [2850000] * 2)
    ),
    "battery": "  AC powered: false\n  USB powered: true\n  level: 87\n  temperature: 311",
}


def answer(said: dict[str, str]) -> str:
    return "\n".join(f"==devicekit== {name}\n{text}\n" for name, text in said.items())


def read(said: dict[str, str]) -> DeviceFacts:
    return facts.read_facts("adb:x", answer(said))


def test_a_board_is_read() -> None:
    found = read(PI)
    assert (found.kind, found.evidence, found.virtual) == ("linux", "measured", None)
    assert (found.model, found.soc, found.abi) == (
        "Raspberry Pi 4 Model B Rev 1.5",
        "brcm,bcm2711",
        "aarch64",
    )
    assert (found.cores, found.cpus, found.ram_mib) == (4, (0, 1, 2, 3), 3791)
    assert (found.os, found.libc, found.python) == (
        "Debian GNU/Linux 12 (bookworm)",
        "glibc 2.36",
        "/usr/bin/python3",
    )
    assert (found.governor, found.load_average, found.temperature_c) == ("ondemand", 0.52, 48.686)
    assert (found.battery_percent, found.is_charging) == (None, None)
    assert found.free_bytes == 22712345 * 1024


def test_a_phone_is_read_and_its_fastest_cpus_come_first() -> None:
    found = read(PHONE)
    assert (found.kind, found.evidence, found.model) == ("android", "measured", "Pixel 7")
    assert (found.os, found.libc, found.python) == ("Android 15", "bionic", None)
    assert found.cpus == (6, 7, 4, 5, 0, 1, 2, 3)
    assert (found.battery_percent, found.is_charging, found.temperature_c) == (87, True, 31.1)


@pytest.mark.parametrize(
    ("said", "sign"),
    [
        ({"properties": "[ro.kernel.qemu]: [1]"}, "ro.kernel.qemu is 1"),
        ({"properties": "[ro.boot.qemu]: [1]"}, "ro.boot.qemu is 1"),
        ({"tree_compatible": "linux,dummy-virt"}, "its device tree is linux,dummy-virt"),
        ({"maker": "QEMU", "product": "Standard PC"}, "its DMI names QEMU Standard PC"),
        ({"hypervisor": "hypervisor"}, "its processor has the hypervisor flag"),
    ],
)
def test_a_virtual_machine_is_recognised_and_is_emulated(said: dict[str, str], sign: str) -> None:
    found = read({**PI, **said})
    assert (found.evidence, found.virtual) == ("emulated", sign)


@pytest.mark.parametrize(
    ("words", "libc"),
    [
        ("ldd (Debian GLIBC 2.31-13+deb11u8) 2.31", "glibc 2.31"),
        ("musl libc (aarch64)", "musl"),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_libc_is_read(words: str, libc: str | None) -> None:
    assert read({**PI, "libc": words}).libc == libc


def test_an_old_python_is_none() -> None:
    assert read({**PI, "python": "/usr/bin/python 2 7"}).python is None
    assert read({**PI, "python": "/usr/bin/python3 3 5"}).python is None


def test_nothing_that_a_device_prints_raises() -> None:
    chance = random.Random(3)
    whole = answer({**PI, **PHONE})
    for _ in range(500):
        damaged = list(whole[chance.randrange(len(whole)) :])
        for _ in range(20):
            damaged[chance.randrange(len(damaged))] = chance.choice("0 :[]-\n\té9=")
        facts.read_facts("x", "".join(damaged))
        health.read_condition("".join(damaged))
    assert facts.read_facts("x", "").abi is None


def test_a_raspberry_pi_says_that_it_is_throttled() -> None:
    for bits, words in (
        ("0", None),
        ("50000", None),
        ("50005", "under-voltage, throttled"),
        ("8", "too hot"),
    ):
        assert health.read_condition(answer({"throttled": bits})).throttled == words


def test_clocks_and_governors_are_read_by_cpu() -> None:
    folder = "/sys/devices/system/cpu/cpu{}/cpufreq/{}"
    lines = [
        f"{folder.format(cpu, name)}:{value}"
        for cpu in (0, 1)
        for name, value in (
            ("scaling_cur_freq", 600000),
            ("scaling_max_freq", 1800000),
            ("scaling_governor", "ondemand"),
        )
    ]
    found = health.read_condition(answer({"clocks": "\n".join(lines)}))
    assert found.clocks_khz == {"0": (600000, 1800000), "1": (600000, 1800000)}
    assert found.governors == {"0": "ondemand", "1": "ondemand"}


def test_numbers_are_read_as_far_as_they_are_numbers() -> None:
    assert (probes.number("MemTotal: 12 kB"), probes.number("none")) == (12, None)
    assert (probes.decimal("0.52"), probes.decimal("1e999"), probes.decimal("")) == (0.52, None, None)
