"""The HTML report as people see it: drawn without network, sorted, filtered, on a phone, in the dark."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devicekit.fleet.outcome import run_report
from devicekit.report import render_as
from devicekit.store.open import Store
from tests.browser.conftest import CONTRAST

pytestmark = [pytest.mark.slow, pytest.mark.endpoint]


@pytest.fixture(scope="module")
def url(filled: Store, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_as(run_report(filled, has_timeline=True), "html"), encoding="utf-8")
    return path.as_uri()


def drawn(page: Any) -> list[str]:
    """Waits until every chart is drawn, and returns which."""
    page.wait_for_function("document.querySelectorAll('[data-chart]:not([data-drawn])').length === 0")
    names: list[str] = page.eval_on_selector_all("[data-drawn]", "all => all.map(one => one.dataset.chart)")
    return names


def column(page: Any, index: int) -> list[str]:
    cells: list[str] = page.eval_on_selector_all(
        f"#rows tbody tr:not([hidden]) > :nth-child({index})", "all => all.map(one => one.textContent.trim())"
    )
    return cells


def test_charts_are_drawn_without_network(open_page: Callable[..., Any], url: str, tmp_path: Path) -> None:
    with open_page(url) as page:
        assert drawn(page) == ["distribution", "pareto", "timeline"]
        # Marks, not only axes: a box per device of the first model, a point per model.
        for name, least in (("distribution", 6), ("pareto", 2), ("timeline", 6)):
            marks = page.locator(
                f"[data-chart={name}] svg .mark-rect path, [data-chart={name}] svg .mark-symbol path"
            )
            assert marks.count() >= least, name
        assert page.evaluate("window.ran") is None
        page.screenshot(path=str(tmp_path / "report.png"), full_page=True)
        assert os.path.getsize(tmp_path / "report.png") > 50_000


def test_another_model_is_chosen_for_a_chart(open_page: Callable[..., Any], url: str) -> None:
    with open_page(url) as page:
        drawn(page)
        before = page.inner_html("[data-chart=distribution] svg")
        page.select_option("[data-chart=distribution] select", "keyword_spotting")
        page.wait_for_function(
            "before => document.querySelector('[data-chart=distribution] svg').innerHTML !== before",
            arg=before,
        )
        assert page.get_attribute("[data-chart=distribution] select", "aria-label") == "model"


def test_a_column_sorts_by_value_and_what_is_unknown_comes_last(
    open_page: Callable[..., Any], url: str
) -> None:
    with open_page(url) as page:
        for expected, direction in ((False, "ascending"), (True, "descending")):
            page.click("#rows thead th:nth-child(5) button")
            assert page.get_attribute("#rows thead th:nth-child(5)", "aria-sort") == direction
            shown = column(page, 5)
            numbers = [float(text) for text in shown if text != "–"]
            assert len(numbers) > 15 and numbers == sorted(numbers, reverse=expected)
            assert set(shown[len(numbers) :]) == {"–"}
        page.click("#rows thead th:nth-child(2) button")
        assert page.locator("#rows thead [aria-sort]").count() == 1


def test_a_filter_keeps_the_rows_with_all_its_words(open_page: Callable[..., Any], url: str) -> None:
    with open_page(url) as page:
        page.fill("#rows-filter", "mobilenet FITS")
        assert set(column(page, 1)) == {"mobilenet_v2"} and set(column(page, 3)) == {"fits"}
        assert page.inner_text("#rows-count").startswith(f"{len(column(page, 1))} of ")
        page.fill("#rows-filter", "nothing like this")
        assert column(page, 1) == []


def test_the_keyboard_alone_sorts_and_filters(open_page: Callable[..., Any], url: str) -> None:
    with open_page(url) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.focus("#rows thead th:nth-child(6) button")
        page.keyboard.press("Enter")
        assert page.get_attribute("#rows thead th:nth-child(6)", "aria-sort") == "ascending"
        assert page.locator(".scroll:not([tabindex='0'])").count() == 0


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_contrast(open_page: Callable[..., Any], url: str, dark: bool) -> None:
    with open_page(url, dark=dark) as page:
        drawn(page)
        assert page.evaluate(CONTRAST) == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")


def test_landmarks_and_headings_are_in_order(open_page: Callable[..., Any], url: str) -> None:
    with open_page(url) as page:
        assert [page.locator(name).count() for name in ("main", "header", "footer", "h1")] == [1, 1, 1, 1]
        levels = page.eval_on_selector_all("h1, h2, h3", "all => all.map(one => Number(one.tagName[1]))")
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert page.locator("th:not([scope])").count() == 0
        assert page.locator("[role=region]:not([aria-label]), [role=img]:not([aria-label])").count() == 0


def test_it_reads_at_the_width_of_a_phone(open_page: Callable[..., Any], url: str) -> None:
    with open_page(url, width=360) as page:
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        size = page.evaluate(
            "Math.min(...[...document.querySelectorAll('td, th, p, li')].map(one => "
            "parseFloat(getComputedStyle(one).fontSize)))"
        )
        assert size >= 12


def test_what_is_wrong_is_on_top(open_page: Callable[..., Any], url: str) -> None:
    with open_page(url) as page:
        troubles = page.inner_text(".troubles")
        for words in ("was lost during push", "limits.latency_ms is 20", "not in this run", "jetson-2"):
            assert words in troubles
        assert "runtime 2.3.0 → 2.4.0" in page.inner_text("#main")
