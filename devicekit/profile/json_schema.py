"""The JSON Schema of a profile file, for editors: completion, and mistakes as they are typed."""

from typing import Any

from devicekit.profile.problems import fact_keys
from devicekit.profile.schema import READ_FROM_PLACE, Profile

# What `profile new` and `profile probe -o` write beside a profile, and the line on top of it that names it:
# taplo's, which the TOML plug-ins of VS Code, Zed, Helix and Neovim understand.
FILE_NAME = "devicekit-profile.schema.json"
LINE = f"#:schema ./{FILE_NAME}"


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of a profile as a file: a base may give what is required."""
    found = Profile.model_json_schema(by_alias=True)
    for name in READ_FROM_PLACE:
        found["properties"].pop(name, None)
    _loosen(found)
    found["properties"]["sources"] = {
        "type": "object",
        "description": Profile.model_fields["sources"].description,
        # Written `"device.soc" = "…"`, or as tables, which is the same to us.
        "properties": {key: {"type": "string", "minLength": 1} for key in fact_keys()},
        "additionalProperties": {"type": "object"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "devicekit profile",
        **{key: value for key, value in found.items() if key != "title"},
        "required": ["schema"],
    }


def _loosen(node: Any) -> None:
    """Takes `required` and null out of a schema: a base gives keys, and TOML has no null.

    Rows of a calibration are whole, or they are none.
    """
    if isinstance(node, list):
        for one in node:
            _loosen(one)
        return
    if not isinstance(node, dict):
        return
    if node.get("title") not in ("Calibration", "CalibrationRow"):
        node.pop("required", None)
    if node.get("default", 0) is None:
        del node["default"]
    kept = [one for one in node.get("anyOf", ()) if one != {"type": "null"}]
    if "anyOf" in node and len(kept) == 1:
        del node["anyOf"]
        node.update({key: value for key, value in kept[0].items() if key not in node})
    for key, value in node.items():
        if key != "required":
            _loosen(value)
