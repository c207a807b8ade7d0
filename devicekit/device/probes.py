"""Questions to a device's shell, many in one round trip: one script there, sections of lines here."""

import re
from collections.abc import Iterable, Mapping

_MARK = "==devicekit=="


def script(probes: Mapping[str, str]) -> str:
    """Returns a script that answers all probes: name -> shell words that print it, on one line or several.

    What is in /proc/device-tree ends without a new line, so that one is added after each.
    """
    lines = [f"echo {_MARK} {name}; {{ {words}; }} 2>/dev/null; echo" for name, words in probes.items()]
    return "; ".join(["export LC_ALL=C", *lines])


def read(answer: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Returns the lines of each probe that are not empty; none where it failed."""
    sections: dict[str, list[str]] = {name: [] for name in names}
    name = ""
    for line in answer.splitlines():
        if line.startswith(_MARK):
            name = line.removeprefix(_MARK).strip()
        elif name in sections and line.strip():
            sections[name].append(line)
    return sections


def number(text: str) -> int | None:
    """Returns the first whole number in a text, None without one."""
    found = re.search(r"-?\d+", text)
    return int(found[0][:18]) if found else None


def decimal(text: str) -> float | None:
    """Returns a text that is a decimal number, None where it is not."""
    return float(text) if re.fullmatch(r"\d{1,18}(\.\d{1,18})?", text) else None
