"""Vega, Vega-Lite and Vega-Embed as one script, bundled by vl-convert, without network."""

import contextlib
from importlib.metadata import version
from pathlib import Path

import vl_convert

from devicekit.cache import cached, key_of

_FILE = "vega.js"


def bundle() -> str:
    """Returns the script (0.9 MB), which defines vegaEmbed. Bundled once (3 s), then cached."""
    folder, _ = cached("vega", key_of({"vl-convert": version("vl-convert-python")}), _write)
    return (folder / _FILE).read_text(encoding="utf-8")


def _write(folder: Path) -> None:
    with contextlib.redirect_stdout(None):
        script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # It stands inside a page: no end tag of a script may be in it.
    (folder / _FILE).write_text(script.replace("</script", r"<\/script"), encoding="utf-8")
