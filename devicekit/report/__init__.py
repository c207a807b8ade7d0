"""Reports: one module per format, each with `render(results) -> str`; text has a layout per kind of them."""

from typing import Any

from devicekit.plugins import resolve

# The kind of result -> its formats -> what renders it. A new format is one line here.
FORMATS = {
    "RunReport": {
        "text": "devicekit.report.text:render",
        "json": "devicekit.report.json:render",
        "csv": "devicekit.report.csv:render",
        "md": "devicekit.report.markdown:render",
        "html": "devicekit.report.html:render",
        "junit": "devicekit.report.junit:render",
    },
    "GateResult": {
        "text": "devicekit.report.text:render",
        "json": "devicekit.report.json:render",
        "md": "devicekit.report.markdown:render_gate",
        "junit": "devicekit.report.junit:render_gate",
    },
    "History": {
        "text": "devicekit.report.text:render",
        "json": "devicekit.report.json:render",
        "csv": "devicekit.report.csv:render_history",
        "html": "devicekit.report.html:render_history",
    },
}


def render_as(results: Any, format_: str) -> str:
    """Returns the results as text, json, csv, md, html or junit, whatever FORMATS has for their kind."""
    text: str = resolve(FORMATS[type(results).__name__][format_])(results)
    return text
