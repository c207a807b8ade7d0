"""The text of a new profile: every key with its meaning, commented out, with the value of its base."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from devicekit.profile.json_schema import LINE
from devicekit.profile.keys import Key, keys
from devicekit.profile.lookup import Origin, origins

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

# Keys of other kinds of devices.
_MICRO = (
    *("device.ram_kib", "device.flash_kib", "limits.arena_kib", "limits.model_kib"),
    *("limits.arena_of_ram", "limits.model_of_flash"),
)
_BOARDS = (
    *("device.ram_mib", "device.os", "device.libc", "runtime.cpus", "runtime.require_full_delegation"),
    *("limits.model_mib", "limits.memory_mib", "limits.memory_of_ram", "limits.model_of_ram"),
)
_ADB, _SSH = (
    ("match.adb_model", "match.adb_soc", "match.adb_abi"),
    ("match.device_tree_model", "match.machine"),
)
_OF_OTHERS: Mapping[str, tuple[str, ...]] = {
    "android": (*_MICRO, *_SSH),
    "linux": (*_MICRO, *_ADB),
    "microcontroller": (*_BOARDS, *_ADB, *_SSH),
}
_OF_KEY = {"ops.allow": '["CONV_2D", "FULLY_CONNECTED"]'}
_EXAMPLES = {"whole number": "1", "number": "1.0", "true or false": "false", "text": '"…"'}


def template(name: str, base: "Profile", *, extends: str) -> str:
    """Returns the TOML of a profile NAME that extends `base`, which it calls `extends`: valid as it is, to be
    filled in."""
    return "\n".join(_lines(name, base, extends)) + "\n"


def toml(value: Any) -> str:
    """Returns a value as TOML, on one line: what JSON writes is TOML for all that a profile holds."""
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _lines(name: str, base: "Profile", extends: str) -> Iterator[str]:
    found = origins(base)
    yield LINE
    yield f"# {name}. What stands behind # comes from the base, as it is there: take the # away to set it."
    yield "# Limits that follow from the RAM do so here, too, once device.ram_mib is set."
    yield f"# Then: devicekit profile check {name}.toml"
    yield "schema = 1"
    yield f"extends = {toml(extends)} # others: devicekit profile list --all"
    yield f"title = {toml(name)}"
    table = ""
    for key in keys():
        head, _, last = key.name.rpartition(".")
        if not head or "[]" in key.name or key.name in _OF_OTHERS[base.device.kind]:
            continue
        if head != table:
            yield f"\n[{head}]"
            table = head
        yield f"# {key.meaning}"
        yield f"# {last} = {_shown(key, found)}"
    yield "\n# Where each value comes from: an address, or what was assumed."
    yield "[sources]"
    yield '# "device.ram_mib" = "https://…"'
    yield '# "limits.latency_ms" = "assumption: …"'


def _shown(key: Key, found: Mapping[str, Origin]) -> str:
    """Returns the value that the base gives and where it is set, or an example of the type."""
    origin = found.get(key.name)
    if origin is not None:
        return f"{toml(origin.value)} # {origin.place}"
    if key.name in _OF_KEY:
        return _OF_KEY[key.name]
    if key.type.startswith("one of: "):
        return f'"{key.type.removeprefix("one of: ").partition(",")[0]}"'
    if key.type.startswith("list of: "):
        return f'["{key.type.removeprefix("list of: ").partition(",")[0]}"]'
    if key.type.startswith("list of"):
        return "[1]" if "numbers" in key.type else '["…"]'
    return _EXAMPLES.get(key.type, '"…"')
