"""Probes a live device: what it says of itself, what a tiny model does on it, as a profile in TOML."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from devicekit import progress
from devicekit.device.connect import connect
from devicekit.device.discover import choose
from devicekit.device.matching import Ranking, ranked
from devicekit.device.seam import Device, DeviceFacts
from devicekit.errors import DevicekitError, NoDevice, UsageError
from devicekit.pipeline.measure import measure
from devicekit.profile.authoring import extended, place_of, write
from devicekit.profile.derived import derived
from devicekit.profile.json_schema import LINE
from devicekit.profile.lookup import load_profile
from devicekit.profile.schema import Profile
from devicekit.profile.template import toml
from devicekit.runner.measuring import Measuring
from devicekit.runner.script import FOLDER, WARMUP_MODEL
from devicekit.words import attributes, plain

# JSON schema history: 1, the first version.
SCHEMA = 1
# RAM as it is sold, in GB. Linux shows up to an eighth less: firmware and kernel keep it.
_SOLD_GB = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# The kernels that a tiny model is tried with: Plan.kernel -> runtime.delegate.
_KERNELS = {"xnnpack": "xnnpack", "builtin": "none"}
_DELEGATES = {"xnnpack": "XNNPACK", "none": "the built-in kernels"}
_MOST_TEXT = 120  # characters of what a device says of itself
# Where a value is asked for, in the order of the asking.
_WHERE = {
    "device.soc": "ro.soc.model, or the device tree, or /proc/cpuinfo",
    "device.abi": "uname -m",
    "device.cores": "nproc",
    "device.clocks_mhz": "cpuinfo_max_freq of each core",
    "device.ram_mib": "MemTotal of /proc/meminfo",
    "device.os": "ro.build.version.release, or /etc/os-release",
    "device.libc": "getconf GNU_LIBC_VERSION, or ldd --version",
    "match.adb_model": "ro.product.model",
    "match.device_tree_model": "/proc/device-tree/model",
    "runtime.version": "a run of a tiny model",
}


@dataclass(frozen=True)
class Trial:
    """A run of a tiny model by one delegate: `failed` is why it did not run, None where it did.

    `runtime` is the release that ran it ("2.3.0"), `median_us` its median latency there.
    """

    delegate: str
    runtime: str | None
    median_us: float | None
    failed: str | None

    @property
    def in_words(self) -> str:
        if self.failed is not None:
            return f"did not run: {self.failed}"
        latency = "" if self.median_us is None else f", median {self.median_us:.4g} µs"
        return f"ran, runtime {self.runtime or 'of an unknown release'}{latency}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Value:
    """A value that was read: a dotted key, and how it was read, in words."""

    key: str
    value: Any
    source: str


@dataclass(frozen=True)
class Probed:
    """What a device is: `values` go into the profile, `unread` are keys that it did not tell.

    `document` is the TOML, which extends `base`; `path` is where it was written, None for nowhere.
    """

    facts: DeviceFacts
    base: str
    ranking: Ranking
    trials: tuple[Trial, ...]
    values: tuple[Value, ...]
    unread: tuple[str, ...]
    document: str
    path: Path | None = None
    limits: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "device": self.facts.address,
            "evidence": self.facts.evidence,
            "extends": self.base,
            "matches": plain(self.ranking.matches),
            "values": {one.key: one.value for one in self.values},
            "sources": {one.key: one.source for one in self.values},
            **attributes(self, "unread", "limits", "trials", "path", "document"),
        }


def probe(
    address: str | Device,
    *,
    base: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    measuring: Measuring | None = None,
) -> Probed:
    """Returns what the device at `address` is, as a profile; writes it to `output`, where that is given.

    `base` is what it extends, None: the base of its kind and instruction set. Raises DeviceError where it
    does not answer, UsageError for a file that is there, UnknownProfile for the base.
    """
    how = measuring or Measuring()
    place = None if output is None else place_of(Path(output).name.removesuffix(".toml"), output)
    if place is not None and place.exists() and not overwrite:
        raise UsageError(f"{place} is there", remedy="choose another name, or add --overwrite")
    chosen = choose(None, address)
    if address == "auto" and chosen.address == "host":
        raise NoDevice(
            "auto", found="no device is attached", remedy="attach one, or name it: --device ADDRESS"
        )
    progress.report("probe", detail="asking the device")
    with connect(chosen.address, keep=how.keep, accept_new_host_key=how.accept_new_host_key) as board:
        facts = board.describe()
    ranking = ranked(facts)
    extends = base or ranking.base
    if extends is None:
        raise UsageError(
            f"{facts.address} is of a kind that no base is for", remedy="name what to extend: --from BASE"
        )
    of = load_profile(extends)
    extends = extended(of, place or Path("probed.toml"))
    trials = tuple(_trials(chosen.address, how))
    values = tuple(_values(facts, of, trials))
    unread = tuple(_unread(facts, of, values))
    name = "probed" if place is None else place.name.removesuffix(".toml")
    document = "\n".join(_lines(name, facts, extends, values, unread=unread, trials=trials)) + "\n"
    written = None if place is None else write(place, document, overwrite=overwrite)
    return Probed(
        facts,
        extends,
        ranking,
        trials,
        values,
        unread,
        document,
        None if written is None else written.path,
        _limits(of, values),
    )


def _trials(address: Any, how: Measuring) -> list[Trial]:
    """Returns a run of a tiny model by each delegate of the CPU."""
    return [_trial(address, kernel, delegate, how) for kernel, delegate in _KERNELS.items()]


def _trial(address: Any, kernel: Any, delegate: str, how: Measuring) -> Trial:
    progress.report("probe", detail=f"running a tiny model by {delegate}")
    try:
        found = measure(FOLDER / WARMUP_MODEL, device=address, measuring=how, kernel=kernel)
    except DevicekitError as error:
        return Trial(delegate, None, None, f"{error.message} → {error.remedy}")
    return Trial(delegate, found.runtime_version, found.latency.typical_us, None)


def _values(facts: DeviceFacts, base: Profile, trials: Sequence[Trial]) -> list[Value]:
    """Returns what was read and the base does not say already, in the order of the schema."""
    is_android = facts.kind == "android"
    where = {**_WHERE, **_read_from(facts)}
    found: list[Value] = []

    def add(key: str, value: Any, source: str | None = None) -> None:
        table, _, last = key.partition(".")
        if value not in (None, (), "") and getattr(getattr(base, table), last) != value:
            found.append(Value(key, value, source or where[key]))

    add("device.soc", _text(facts.soc))
    add("device.abi", _text(facts.properties.get("ro.product.cpu.abi") if is_android else facts.abi))
    cores = facts.cores if facts.cores and 0 < facts.cores <= 1024 else None
    add("device.cores", cores)
    clocks = tuple(mhz for mhz in facts.clocks_mhz if 0 < mhz <= 100_000)
    add("device.clocks_mhz", clocks if clocks and len(clocks) <= (cores or 0) else None)
    if facts.ram_mib and facts.ram_mib > 0:
        sold = _sold(facts.ram_mib)
        words = f"MemTotal of /proc/meminfo is {facts.ram_mib} MiB"
        rounded = "" if sold == facts.ram_mib else "; assumption: the size as sold"
        add("device.ram_mib", sold, words + rounded)
    add("device.os", _text(facts.os))
    add("device.libc", _text(facts.libc))
    if is_android:
        model = _text(facts.properties.get("ro.product.model"))
        add("match.adb_model", None if model is None else (model,))
    else:
        tree = _text(re.sub(r" Rev \S+$", "", facts.properties.get("device_tree_model", "")))
        add("match.device_tree_model", None if tree is None else (tree,))
    ran = next((one for one in trials if one.failed is None), None)
    if ran is not None:
        version = re.search(r"\d+(\.\d+)+", ran.runtime or "")
        add("runtime.version", version and version[0])
        if ran.delegate != "xnnpack" and base.runtime.delegate == "xnnpack":
            add("runtime.delegate", ran.delegate, "a run of a tiny model: XNNPACK did not run it")
    if cores and cores < base.runtime.threads:
        add("runtime.threads", cores, "assumption: one per core")
    return found


def _read_from(facts: DeviceFacts) -> dict[str, str]:
    """Returns which of several places a value was read from, where the facts show it."""
    if facts.kind == "android":
        named = ("ro.soc.model", "ro.board.platform")
        soc = next((name for name in named if facts.properties.get(name)), _WHERE["device.soc"])
        libc = "assumption: Android's own" if facts.libc == "bionic" else _WHERE["device.libc"]
        return {"device.soc": soc, "device.os": "ro.build.version.release", "device.libc": libc}
    is_host = facts.kind == "host"
    has_tree = not is_host and "device_tree_model" in facts.properties
    is_kernel = is_host or (facts.os or "").startswith("Linux ")
    return {
        "device.soc": "/proc/device-tree/compatible" if has_tree else "/proc/cpuinfo",
        "device.os": "uname" if is_kernel else "/etc/os-release",
    }


def _unread(facts: DeviceFacts, base: Profile, values: Sequence[Value]) -> list[str]:
    """Returns the keys that the device did not tell, of those that it might have."""
    has = {one.key for one in values}
    matching = "match.adb_model" if facts.kind == "android" else "match.device_tree_model"
    asked = ["device.soc", "device.cores", "device.clocks_mhz", "device.ram_mib", "device.os", "device.libc"]
    return [
        key
        for key in (*asked, matching, "runtime.version")
        if key not in has and getattr(getattr(base, key.partition(".")[0]), key.partition(".")[2]) is None
    ]


def _lines(
    name: str,
    facts: DeviceFacts,
    base: str,
    values: Sequence[Value],
    *,
    unread: Sequence[str],
    trials: Sequence[Trial],
) -> list[str]:
    lines = [
        LINE,
        f"# {name}: read from {_comment(facts.address)} by devicekit profile probe, {date.today():%Y-%m-%d}.",
        "# What is not here comes from the base; limits follow from the RAM by its rule.",
    ]
    if facts.virtual:
        lines.append(f"# An emulated device: {_comment(facts.virtual)}.")
    for trial in trials:
        lines.append(f"# A tiny model on {_DELEGATES[trial.delegate]}: {_comment(trial.in_words)}.")
    if facts.kind == "android":
        lines.append("# GPU and NNAPI: not tried; devicekit check --delegate gpu estimates what they take.")
    title = _text(facts.model) or name
    lines += ["schema = 1", f"extends = {toml(base)}", f"title = {toml(title)}"]
    keys = [*(one.key for one in values), *unread]
    for table in dict.fromkeys(("device", "match", "runtime")):
        of_table = [key for key in keys if key.startswith(f"{table}.")]
        if of_table:
            lines += ["", f"[{table}]"]
        for one in values:
            if one.key in of_table:
                lines.append(f"{one.key.partition('.')[2]} = {toml(one.value)}")
        for key in unread:
            if key in of_table:
                lines.append(f"# {key.partition('.')[2]}: not read; asked was {_WHERE[key]}")
    lines += ["", "[sources]"]
    when = f"read on {date.today():%Y-%m-%d}"
    for one in values:
        said = one.source if one.source.startswith("assumption") else f"{when}: {one.source}"
        lines.append(f"{toml(one.key)} = {toml(said)}")
    return lines


def _limits(base: Profile, values: Sequence[Value]) -> dict[str, float]:
    """Returns the limits that follow from what was read, by the shares of the base."""
    read = {one.key: one.value for one in values}
    device = {"ram_mib": read.get("device.ram_mib", base.device.ram_mib)}
    shares = base.limits.model_dump(include={"memory_of_ram", "model_of_ram"})
    return {key: value for key, (value, _) in derived({"device": device, "limits": shares}).items()}


def _sold(ram_mib: int) -> int:
    """Returns the size as sold for what Linux shows: 7,600 of 8,192; itself where none is near."""
    sizes = (int(1024 * gb) for gb in _SOLD_GB)
    return next((size for size in sizes if size * 7 / 8 <= ram_mib <= size), ram_mib)


def _text(value: str | None) -> str | None:
    """Returns what a device says, without what no terminal should see; None where nothing is left."""
    cleaned = "".join(c if c.isprintable() else " " for c in value or "").strip()
    return cleaned[:_MOST_TEXT].strip() or None


def _comment(value: str) -> str:
    return _text(value) or "?"
