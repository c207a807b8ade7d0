import random
import xml.etree.ElementTree as ET

import pytest

from devicekit.compare.significance import ratio_apart
from devicekit.errors import Lost, UsageError
from devicekit.finding import Finding
from devicekit.fleet.gate import ANY, GateResult, gate
from devicekit.report import render_as
from devicekit.store.open import Store
from tests.store.samples import file_run, measured, outcome, planned

MIB = 2**20


def judged(store: Store, **options: object) -> GateResult:
    return gate(store, **{"baseline": "last", "max_regression": 0.05, **options})  # type: ignore[arg-type]


def verdicts(result: GateResult) -> dict[str, str]:
    return {f"{one.device} {one.kind}": one.verdict for one in result.checks}


def test_the_same_again_passes(store: Store) -> None:
    for seed in (1, 2):
        file_run(store, [(planned(), outcome(measured(seed=seed)))])
    result = judged(store)
    assert verdicts(result) == {"desk latency": "ok"} and result.error is None


def test_a_real_slow_down_fails_and_says_what_changed(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured(1000)))])
    slow = measured(1150, seed=3, runtime_version="2.4.0")
    file_run(store, [(planned(), outcome(slow, os="Android 16"))])
    result = judged(store)
    [check] = result.failures
    assert "+1" in check.words and "(95 %: +" in check.words and "1.01 → 1.15 ms" in check.words
    assert "runtime 2.3.0 → 2.4.0" in check.look_at and "system none: a fake → Android 16" in check.look_at
    assert result.error and result.error.exit_code == 6
    assert "net on desk" in result.error.message


def test_a_slow_down_within_the_limit_or_the_noise_passes(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured(1000, spread=0.02)))])
    file_run(store, [(planned(), outcome(measured(1030, spread=0.02, seed=5)))])
    assert judged(store).error is None
    file_run(store, [(planned(), outcome(measured(1500, spread=0.4, seed=6)))])
    assert judged(store).error is None


def test_memory_that_grew_fails_and_pages_do_not(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured(must_have_bytes=10 * MIB)))])
    file_run(store, [(planned(), outcome(measured(must_have_bytes=11 * MIB)))])
    assert verdicts(judged(store))["desk memory"] == "FAIL"
    file_run(store, [(planned(), outcome(measured(must_have_bytes=100_000)))])
    file_run(store, [(planned(), outcome(measured(must_have_bytes=140_000)))])
    assert judged(store).error is None


def test_a_missing_device_fails_unless_allowed(store: Store) -> None:
    lost = Lost("fake:rack", during="push")
    file_run(store, [(planned(device=name), outcome(measured())) for name in ("desk", "rack", "shelf")])
    file_run(
        store,
        [(planned(device="desk"), outcome(measured())), (planned(device="rack"), outcome(None, error=lost))],
    )
    result = judged(store)
    assert verdicts(result) == {"desk latency": "ok", "rack missing": "FAIL", "shelf missing": "FAIL"}
    assert "was lost during push" in result.failures[0].words
    assert "--allow-missing shelf" in result.failures[1].look_at
    assert verdicts(judged(store, allow_missing=["rack"]))["rack missing"] == "allowed"
    assert judged(store, allow_missing=[ANY]).error is None


def test_a_run_that_is_not_complete_fails(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured()))])
    file_run(store, [(planned(), None)], ends=False)
    assert verdicts(judged(store)) == {"desk missing": "FAIL"}
    assert "not run yet" in judged(store).failures[0].words


def test_a_broken_budget_fails_whatever_the_baseline_was(store: Store) -> None:
    finding = Finding("latency", "median 30 ms, limits.latency_ms is 20", "try --threads")
    for _ in range(2):
        file_run(store, [(planned(), outcome(measured(), findings=[finding]))])
    [check] = judged(store).failures
    assert (check.kind, check.words, check.look_at) == ("budget", finding.detail, finding.remedy)


def test_another_device_under_the_same_name_is_not_compared(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured(1000), model="Pixel 7"))])
    file_run(store, [(planned(), outcome(measured(2000), model="Pixel 8"))])
    [check] = judged(store).failures
    assert check.words.startswith("another device under this name: Pixel 7") and "Pixel 8" in check.words


def test_another_serial_of_the_same_device_is_compared_and_marked(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured(1000), address="adb:OLD"))])
    file_run(store, [(planned(), outcome(measured(1000, seed=1), address="adb:NEW"))])
    [check] = judged(store).checks
    assert check.verdict == "ok" and "address adb:OLD → adb:NEW" in check.look_at


def test_a_host_is_no_baseline_for_a_device(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured(evidence="simulated")))])
    file_run(store, [(planned(), outcome(measured()))])
    assert judged(store).failures[0].words == "simulated before, emulated now"


def test_too_few_rounds_are_no_pass(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured(rounds=2)))])
    file_run(store, [(planned(), outcome(measured(rounds=2)))])
    [check] = judged(store).failures
    assert "too few rounds" in check.words and "--rounds 5" in check.look_at


def test_several_runs_are_one_baseline(store: Store) -> None:
    for seed in range(3):
        file_run(store, [(planned(), outcome(measured(1000, rounds=2, seed=seed)))])
    file_run(store, [(planned(), outcome(measured(1000, seed=9)))])
    result = judged(store, baseline="3-last")
    assert len(result.baselines) == 3 and result.error is None


def test_new_cells_are_shown_and_pass(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured()))], label="main")
    file_run(store, [(planned(), outcome(measured())), (planned(device="new"), outcome(measured()))])
    result = judged(store, baseline="main")
    assert verdicts(result)["new latency"] == "new" and result.error is None


def test_a_large_gate_shows_what_is_wrong(store: Store) -> None:
    for slower in (1.0, 1.3):
        cells = [(planned(device=f"d{i:03}"), outcome(measured(1000))) for i in range(120)]
        cells.append((planned(device="slow"), outcome(measured(1000 * slower))))
        file_run(store, cells)
    text = render_as(judged(store), "text")
    assert "120 more checks" in text and "slow" in text and len(text.splitlines()) < 10


def test_there_must_be_a_baseline(store: Store) -> None:
    file_run(store, [(planned(), outcome(measured()))])
    for baseline in ("last", "nothing"):
        with pytest.raises(UsageError):
            judged(store, baseline=baseline)


def test_junit_and_markdown_say_what_failed(store: Store) -> None:
    name = "<script>alert(1)</script>|`x`"
    file_run(store, [(planned(model=name), outcome(measured(1000)))])
    file_run(store, [(planned(model=name), outcome(measured(1300)))])
    result = judged(store)
    root = ET.fromstring(render_as(result, "junit"))
    suite = root[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert suite[0].get("classname") == f"devicekit.{name}.latency"
    text = render_as(result, "md")
    assert "❌ 1 failure" in text and "<script" not in text and "|`" not in text
    assert "FAIL" in render_as(result, "text")
    assert '"ok": false' in render_as(result, "json")


def test_the_gate_cries_wolf_less_than_once_in_200_and_finds_what_is_there() -> None:
    """Rounds off by a normal 2 %, five on each side, --max-regression 5%; tools/bench repeats it longer."""
    chance = random.Random(20261127)

    def alarms(slower: float, trials: int) -> int:
        count = 0
        for _ in range(trials):
            before = [1000 * (1 + chance.gauss(0, 0.02)) for _ in range(5)]
            after = [1000 * slower * (1 + chance.gauss(0, 0.02)) for _ in range(5)]
            ratio = ratio_apart(before, after)
            count += ratio is not None and ratio.low > 1.05
        return count

    assert alarms(1.0, 4000) <= 4000 / 200
    assert alarms(1.04, 4000) <= 4000 / 200
    assert alarms(1.12, 4000) >= 4000 * 0.95
