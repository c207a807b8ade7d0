"""`devicekit serve` in a browser, and asked for what it must not give."""

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from devicekit.fleet.outcome import run_report
from devicekit.store.open import Store
from tests.browser.conftest import CONTRAST, EVIL
from tests.browser.test_report import column, drawn

pytestmark = [pytest.mark.slow, pytest.mark.endpoint]

MAIN = "import sys; from devicekit.cli import main; sys.argv[0] = 'devicekit'; main()"


@contextmanager
def serving(store: Store, *arguments: str) -> Iterator[str]:
    """Yields the address that `devicekit serve` prints."""
    command = [sys.executable, "-c", MAIN, "serve", "--store", store.name, "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), address
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=30)
        process.stdout.close()
    assert code in (0, 130)


@pytest.fixture(scope="module")
def address(filled: Store) -> Iterator[str]:
    with serving(filled) as address:
        yield address


def ask(address: str, path: str, *, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def test_a_visitor_goes_from_runs_to_a_model_to_a_device(
    open_page: Callable[..., Any], address: str, filled: Store
) -> None:
    run = run_report(filled).run.id
    with open_page(address, allowed=address) as page:
        assert page.locator("#rows tbody tr").count() == 4
        page.click(f"text={run}")
        assert page.inner_text("h1") == f"Fleet run {run}"
        assert drawn(page) == ["distribution", "pareto", "timeline"]
        page.click("#rows >> text=mobilenet_v2 >> nth=0")
        assert page.inner_text("h1") == "mobilenet_v2" and drawn(page) == ["timeline", "memory"]
        page.click("#rows >> text=pixel7-1 >> nth=0")
        assert page.inner_text("h1") == "pixel7-1" and "FakeDevice" in page.inner_text("dl")
        assert page.evaluate(CONTRAST) == []
        page.click("nav >> text=all results")
        assert page.url == address
        assert page.evaluate("window.ran") is None


def test_a_name_with_a_script_is_a_name(open_page: Callable[..., Any], address: str) -> None:
    with open_page(f"{address}models/{quote(EVIL, safe='')}", allowed=address) as page:
        assert page.inner_text("h1") == EVIL and drawn(page)
        assert page.evaluate("window.ran") is None and len(column(page, 1)) > 20


def test_it_is_read_only_and_keeps_to_itself(address: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(address, "/", method=method)[0] == 405
    status, headers, _ = ask(address, "/")
    policy = headers["content-security-policy"]
    assert status == 200 and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert ask(address, "/", Host="evil.example")[0] == 400  # no DNS rebinding


def test_what_is_not_there_is_a_page_that_says_so(address: str) -> None:
    for path in ("/runs/none", "/models/none", "/devices/none", "/etc/passwd", "/runs/../../etc/passwd"):
        status, _, text = ask(address, path)
        assert status == 404 and "→" in text and "Traceback" not in text
    assert ask(address, "/models/" + quote("<b>bold</b>"))[2].count("<b>bold</b>") == 0


def test_a_token_is_asked_for(open_page: Callable[..., Any], filled: Store) -> None:
    with serving(filled, "--token", "secret-1") as address:
        root, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+/)\?token=(.+)", address).groups()  # type: ignore[union-attr]
        for path in ("/", "/vega.js", "/runs/none", "/?token=wrong"):
            status, _, text = ask(root, path)
            assert status == 401 and "devicekit serve" in text
        assert ask(root, "/", Cookie="devicekit-token=wrong")[0] == 401
        with open_page(address, allowed=root) as page:
            assert page.url == root and page.inner_text("h1") == "devicekit results"
        assert token == "secret-1"


# In a network of its own, which has nothing but its loopback: 0.0.0.0 there is within nobody's reach.
ELSEWHERE = """
import fcntl, http.client, signal, socket, struct, subprocess, sys
from urllib.parse import urlsplit
with socket.socket() as one:  # SIOCGIFFLAGS, SIOCSIFFLAGS: lo comes up
    flags = struct.unpack("16sh14x", fcntl.ioctl(one, 0x8913, struct.pack("16sh14x", b"lo", 0)))[1]
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))
command = [sys.executable, "-c", sys.argv[1], "serve", "--store", sys.argv[2], "--port", "0"]
command += ["--host", "0.0.0.0"]
with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
    address = urlsplit(process.stdout.readline().strip())
    for path in ("/", f"/?{address.query}", "/?token=x"):
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=30)
        connection.request("GET", path)
        print(connection.getresponse().status, len(address.query))
        connection.close()
    process.send_signal(signal.SIGINT)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: run it as root")
def test_away_from_loopback_there_is_a_token_of_its_own(filled: Store) -> None:
    command = ["unshare", "-n", sys.executable, "-c", ELSEWHERE, MAIN, filled.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    answers = [line.split() for line in done.stdout.splitlines()]
    assert [status for status, _ in answers] == ["401", "303", "401"], done.stderr
    assert int(answers[0][1]) > len("token=") + 24


def test_an_address_that_is_taken_is_said(address: str, filled: Store) -> None:
    port = str(urlsplit(address).port)
    command = [sys.executable, "-c", MAIN, "serve", "--store", filled.name, "--port", port]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "cannot listen" in done.stderr and "--port 0" in done.stderr
