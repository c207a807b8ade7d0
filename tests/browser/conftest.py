"""Headless Chromium, with the network blocked; the pages of runs that were computed."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devicekit.errors import Lost
from devicekit.finding import Finding
from devicekit.store.open import Store, open_store
from tests.store.samples import file_run, measured, outcome, planned

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EVIL = '<script>window.ran = 1</script><img src=x onerror="window.ran = 2">'
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
MIB = 2**20


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    program = shutil.which("chromium")
    if program is None:
        words = "Chromium is missing: run tools/setup (as root, on Debian 12)"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, as CI is, Chromium refuses to run with a sandbox; it opens our own pages alone.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: "Browser") -> "Iterator[Callable[..., Any]]":
    """Returns a function that opens a page, and fails for what the page asked of the network or threw."""

    @contextmanager
    def opened(
        url: str, *, width: int = 1280, dark: bool = False, allowed: str = "file:"
    ) -> "Iterator[Page]":
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        wrong: list[str] = []
        context.route(
            lambda address: not address.startswith((allowed, "data:")),
            lambda route: (wrong.append(f"asked for {route.request.url}"), route.abort()),
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(url)
        try:
            yield page
        finally:
            context.close()
        assert not wrong, wrong

    yield opened


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of four runs: three models on eight devices, with a slow-down, a failure, a missing device."""
    devices = [f"{name}-{i}" for name in ("pixel7", "galaxy-s24", "rpi4", "jetson") for i in (1, 2)]
    slow = Finding("latency", "median 30 ms, limits.latency_ms is 20", "try --threads")
    with open_store(tmp_path_factory.mktemp("filled") / "r.db") as store:
        for number in range(4):
            cells = []
            for m, model in enumerate(("mobilenet_v2", "keyword_spotting", EVIL)):
                for d, device in enumerate(devices):
                    base = 800 * (m + 1) * (1 + d / 4) * (1.18 if number == 3 and d == 2 else 1.0)
                    taken = measured(
                        base,
                        seed=100 * number + 10 * m + d,
                        must_have_bytes=(2 + m) * MIB,
                        evidence="measured" if d % 2 == 0 else "emulated",
                        runtime_version="2.3.0" if number < 3 else "2.4.0",
                    )
                    found = outcome(taken, findings=[slow] if (m, d) == (1, 5) else ())
                    if number == 3 and (m, d) == (0, 4):
                        found = outcome(None, error=Lost("ssh://pi@rpi4-1", during="push"))
                    if not (number == 3 and d == 7):
                        cells.append((planned(model, device), found))
            file_run(store, cells, label="main" if number == 0 else None)
        yield store
