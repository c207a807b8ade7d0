"""Results as one HTML file without network access: tables that sort, charts by Vega-Lite, light and dark."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devicekit.fleet.history import History
    from devicekit.fleet.outcome import RunReport


def render(report: "RunReport") -> str:
    from devicekit.report.html.pages import run_page

    return run_page(report)


def render_history(history: "History") -> str:
    from devicekit.report.html.pages import model_page

    return model_page(history)
