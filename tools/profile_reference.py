"""Writes profiles/REFERENCE.md, the reference of a profile's keys, from the schema.

.venv/bin/python tools/profile_reference.py
"""

from pathlib import Path

from devicekit.profile.keys import Key, keys
from devicekit.profile.schema import Profile

PAGE = Path(__file__).resolve().parent.parent / "profiles" / "REFERENCE.md"
HEAD = """# The keys of a profile

Written by tools/profile_reference.py from the schema: do not edit. A profile is a TOML file that says
what a device, with its runtime, can hold and run. It may extend another: then it holds what differs.
`devicekit profile new NAME` writes one to fill in, `devicekit profile probe --device D` reads a device.
An unknown key is an error; what nobody knows is absent.

A limit that a file does not give follows from the memory of the device, by the share that its base
gives: 1/64 of a phone's RAM, 1/8 of a board's, 5/8 of a microcontroller's for its arena. A file that
gives its memory does not inherit limits that were for another.
"""


def page() -> str:
    """Returns the page."""
    sections: dict[str, list[Key]] = {}
    for key in keys():
        sections.setdefault(key.name.rpartition(".")[0], []).append(key)
    lines = [HEAD]
    for table, rows in sections.items():
        if table:
            brackets = f"[[{table.removesuffix('[]')}]]" if table.endswith("[]") else f"[{table}]"
            lines.append(f"## `{brackets}`\n\n{_about(table)}\n")
        else:
            lines.append("## On top of the file\n")
        lines.append("| key | type | unit | default | meaning |\n|---|---|---|---|---|")
        for key in rows:
            default = "required" if key.is_required else f"`{key.default}`" if key.default else ""
            name = key.name.rpartition(".")[2]
            lines.append(f"| `{name}` | {key.type} | {key.unit or ''} | {default} | {key.meaning} |")
        lines.append("")
    return "\n".join(lines)


def _about(table: str) -> str:
    """Returns what a table is for: the first paragraph of its docstring."""
    model = Profile.model_fields[table.partition("[")[0]].annotation
    if "rows" in table:
        return "The measured models of a calibration, one table each."
    if table.startswith("calibration"):
        return "What `devicekit profile calibrate` writes: one table per runtime, delegate and precision."
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
