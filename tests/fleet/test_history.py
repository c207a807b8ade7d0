import csv
import io

from devicekit.fleet.history import history
from devicekit.report import render_as
from devicekit.store.open import Store
from tests.store.samples import file_run, measured, outcome, planned


def test_a_history_marks_what_changed_between_runs(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured(1000))), (planned(device="rack"), outcome(measured(2000)))])
    file_run(store, [(planned(), outcome(measured(1300, seed=1, runtime_version="2.4.0")))])
    file_run(store, [(planned(), outcome(measured(1300, seed=2, runtime_version="2.4.0")))])
    found = history(store, "net")
    assert list(found.points) == ["desk", "rack"]
    first, second, third = found.points["desk"]
    assert first.change is None
    assert second.change and second.change.notes == ("runtime 2.3.0 → 2.4.0",)
    assert second.change.ratio and second.change.ratio.is_different
    assert third.change and third.change.notes == () and third.change.words.startswith("no difference")
    text = render_as(found, "text")
    assert "net on desk   ▁██" in text and "runtime 2.3.0 → 2.4.0" in text
    rows = list(csv.DictReader(io.StringIO(render_as(found, "csv"))))
    assert [row["device"] for row in rows] == ["desk", "desk", "desk", "rack"]
    assert float(rows[1]["ratio"]) > 1.2 and rows[1]["changed"] == "runtime 2.3.0 → 2.4.0"


def test_a_long_history_is_short_on_a_terminal(store: Store) -> None:
    for number in range(20):
        file_run(store, [(planned(), outcome(measured(1000, seed=number, count=3)))])
    text = render_as(history(store, "net"), "text")
    assert "the last 12 of 20" in text and len(text.splitlines()) == 15
    assert len(history(store, "net", limit=5).points["desk"]) == 5
