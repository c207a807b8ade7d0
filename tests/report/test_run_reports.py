"""Reports of a run in every format: what failed and what is missing is there, names are only names."""

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from devicekit.cli import fleet as fleet_commands
from devicekit.cli import results as results_commands
from devicekit.errors import Lost
from devicekit.finding import Finding
from devicekit.fleet.history import history
from devicekit.fleet.outcome import RunReport, run_report
from devicekit.report import FORMATS, markdown, render_as
from devicekit.store.open import Store, open_store
from tests.store.samples import file_run, measured, outcome, planned

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">{{7*7}}|*b*'
MEMORY = Finding("memory", "needs 300 MiB, limits.memory_mib is 128", "use int8")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "r.db") as store:
        yield store


@pytest.fixture
def report(store: Store) -> RunReport:
    names = ("desk", "rack", "gone", EVIL)
    file_run(store, [(planned(device=name), outcome(measured(1000))) for name in names])
    cells = [
        (planned(device="desk"), outcome(measured(1200, seed=1, runtime_version="2.4.0"))),
        (planned(device="rack"), outcome(measured(seed=2), findings=[MEMORY])),
        (planned(device=EVIL), outcome(None, error=Lost(EVIL, during="push"))),
        (planned(device="late"), None),
    ]
    file_run(store, cells, label="main")
    return run_report(store, has_timeline=True)


def test_a_report_counts_everything(report: RunReport) -> None:
    assert report.counts == {"fits": 1, "does not fit": 1, "failed": 1, "not run": 1, "missing": 1}
    assert report.previous and report.previous.id < report.run.id
    assert [one.device for one in report.missing] == ["gone"]
    assert len(report.timeline) == 4  # gone, and what failed, have no line


def test_a_run_of_a_part_of_the_fleet_misses_nothing(store: Store) -> None:
    from sqlalchemy import update

    from devicekit.store import schema

    file_run(store, [(planned(device=name), outcome(measured())) for name in ("desk", "rack")])
    run = file_run(store, [(planned(device="desk"), outcome(measured()))])
    assert [one.device for one in run_report(store).missing] == ["rack"]
    with store.writing() as connection:
        connection.execute(
            update(schema.runs).where(schema.runs.c.id == run).values(plan={"where": "name=desk"})
        )
    assert run_report(store).missing == ()


def test_the_run_before_is_the_last_with_a_cell_in_common(store: Store) -> None:
    first = file_run(store, [(planned(), outcome(measured()))])
    file_run(store, [(planned(model="other"), outcome(measured()))])
    file_run(store, [(planned(), outcome(None, error=Lost("x", during="push")))])
    file_run(store, [(planned(), outcome(measured()))])
    report = run_report(store)
    assert report.previous and report.previous.id == first


@pytest.mark.parametrize("format_", FORMATS["RunReport"])
def test_every_format_shows_failures_and_missing_devices(report: RunReport, format_: str) -> None:
    text = render_as(report, format_)
    assert "gone" in text
    assert "missing" in text
    assert "was lost during push" in text
    assert MEMORY.detail in text.replace("&#95;", "_")


def test_text_fits_a_terminal(report: RunReport) -> None:
    assert all(len(line) <= 100 for line in render_as(report, "text").splitlines())


def test_json_is_strict_and_whole(report: RunReport) -> None:
    document = json.loads(render_as(report, "json"))
    assert (document["schema"], document["run"]["label"]) == (1, "main")
    desk = document["rows"][0]
    assert desk["measurement"]["conditions"]["after"]["hottest_c"] == 33.0
    assert desk["change"]["ratio"]["is_different"] and desk["change"]["notes"] == ["runtime 2.3.0 → 2.4.0"]
    assert document["rows"][2]["error"]["remedy"] and document["rows"][3]["measurement"] is None


def test_csv_has_a_row_each_and_no_formulas(store: Store) -> None:
    name = '=HYPERLINK("http://x")'
    file_run(store, [(planned(model=name), outcome(measured()))])
    text = render_as(run_report(store), "csv")
    [row] = csv.DictReader(io.StringIO(text))
    assert row["model"] == f"'{name}"
    assert float(row["median_us"]) == pytest.approx(1000, rel=0.1) and row["evidence"] == "emulated"


def test_markdown_fits_a_comment_and_shows_failures_first(store: Store) -> None:
    cells = [(planned(device=f"device-{i:04}"), outcome(measured(count=3))) for i in range(900)]
    cells.append((planned(device="broken"), outcome(None, error=Lost("fake:broken", during="push"))))
    file_run(store, cells)
    text = render_as(run_report(store), "md")
    assert len(text) < 65_536 and "more: `devicekit fleet report" in text
    assert text.index("broken") < text.index("device&#45;0000")
    assert markdown.text("a|b\n<c>") == "a&#124;b &#60;c&#62;"


def test_junit_is_what_ci_reads(report: RunReport) -> None:
    suite = ET.fromstring(render_as(report, "junit"))[0]
    counts = [suite.get(key) for key in ("tests", "failures", "errors", "skipped")]
    assert counts == ["5", "1", "2", "1"]


def test_junit_takes_names_that_xml_cannot_write(store: Store) -> None:
    file_run(
        store,
        [(planned(device="a\x00\x1b[31mb\ud800".encode("utf-8", "replace").decode()), outcome(measured()))],
    )
    assert ET.fromstring(render_as(run_report(store), "junit"))[0][0].get("name", "").startswith("a\ufffd")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_html_is_one_file_that_runs_no_name(report: RunReport) -> None:
    text = render_as(report, "html")
    tags = Tags()
    tags.feed(text)
    assert all("onerror" not in attributes for _, attributes in tags.seen)
    assert not {"img", "iframe", "object"} & {tag for tag, _ in tags.seen}
    for tag, attributes in tags.seen:
        for name in ("src", "href", "srcset"):
            assert not str(attributes.get(name) or "").startswith(("http:", "https:", "//")), (
                tag,
                attributes,
            )
    assert "alert(1)</script>" not in text
    assert {"header", "main", "footer", "h1", "h2", "caption", "th"} <= {tag for tag, _ in tags.seen}
    assert tags.seen[0] == ("html", {"lang": "en"})


def test_a_report_without_numbers_has_no_charts(store: Store) -> None:
    file_run(store, [(planned(), outcome(None, error=Lost("x", during="push")))])
    text = render_as(run_report(store), "html")
    assert "<figure" not in text and len(text) < 100_000


def test_a_history_is_a_page(store: Store, report: RunReport) -> None:
    text = render_as(history(store, "net"), "html")
    assert "<figure" in text and "runtime 2.3.0 → 2.4.0" in text and "alert(1)</script>" not in text


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (fleet_commands.report, "RunReport"),
        (results_commands.show_, "RunReport"),
        (results_commands.compare, "RunReport"),
        (fleet_commands.gate, "GateResult"),
        (fleet_commands.history, "History"),
    ],
)
def test_the_command_line_offers_every_format(command: object, kind: str) -> None:
    [option] = [one for one in command.params if one.name == "format_"]  # type: ignore[attr-defined]
    assert set(option.type.choices) == set(FORMATS[kind])
