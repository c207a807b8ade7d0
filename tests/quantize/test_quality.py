"""What decides on quality: labels where there are any, else how close outputs are."""

from dataclasses import replace

import pytest

from devicekit.quantize.change import Change
from devicekit.quantize.fidelity import Closeness, Fidelity
from devicekit.quantize.quality import MAX_METRIC_DROP, MAX_STEP, MIN_COSINE, MIN_TOP1, Thresholds

WANTED = Thresholds(0.98, 0.98, max_step=0.125, max_metric_drop=0.01)
CLOSE = Fidelity(1.0, 60.0, 0.0, 1.0, None, None, 500)
FAR = Fidelity(0.5, 3.0, 1.0, 0.6, None, None, 500, step=0.4, step_of="y")


def scored(change: Change, *, of: Fidelity = FAR) -> Fidelity:
    return replace(of, task_metric=0.9 + change.value, float_task_metric=0.9, change=change)


def rules(fidelity: Fidelity, wanted: Thresholds = WANTED) -> list[str]:
    return [miss.rule for miss in wanted.misses(fidelity)]


def test_without_labels_how_close_outputs_are_decides() -> None:
    assert rules(FAR) == [MIN_COSINE, MIN_TOP1, MAX_STEP]
    assert WANTED.shortfall(FAR) == pytest.approx(0.48 + 0.38 + 0.275)
    assert rules(replace(FAR, cosine=0.98, top1_agreement=0.98, step=0.125)) == []


def test_with_labels_they_alone_decide() -> None:
    assert rules(scored(Change(0.001, -0.002, 0.004))) == []
    assert rules(scored(Change(-0.05, -0.07, -0.03))) == [MAX_METRIC_DROP]


def test_the_users_own_flags_still_reject() -> None:
    asked = replace(WANTED, asked=(MIN_COSINE,))
    assert rules(scored(Change(0.0, -0.001, 0.001)), asked) == [MIN_COSINE]


def test_a_drop_that_chance_may_have_made_is_undecided() -> None:
    noisy = scored(Change(-0.02, -0.05, 0.01), of=CLOSE)
    assert rules(noisy) == [] and WANTED.is_undecided(noisy)
    sure = scored(Change(-0.02, -0.03, -0.01))
    assert rules(sure) == [MAX_METRIC_DROP] and not WANTED.is_undecided(sure)
    assert not WANTED.is_undecided(scored(Change(0.0, -0.005, 0.005)))


@pytest.mark.parametrize(
    "change", [Change(-0.02, -0.05, 0.01), Change(0.0, -0.3, 0.3), Change(-0.4, -0.9, 0.1)]
)
def test_labels_that_leave_much_open_do_not_decide_alone(change: Change) -> None:
    """Five samples of which two are lost may be chance: how close outputs are says whether they are."""
    assert rules(scored(change)) == [MIN_COSINE, MIN_TOP1, MAX_STEP]
    assert not WANTED.metric_decides(scored(change)) and WANTED.is_undecided(scored(change))


def test_labels_about_one_output_say_nothing_of_the_others() -> None:
    beside = Closeness(0.7, None, worst="boxes", step=0.2, step_of="boxes")
    both = replace(scored(Change(0.0, -0.005, 0.005)), beside=beside)
    assert [(miss.rule, miss.where) for miss in WANTED.misses(both)] == [
        (MIN_COSINE, "boxes"),
        (MAX_STEP, "boxes"),
    ]


def test_a_metric_of_one_number_is_taken_as_it_is() -> None:
    assert rules(scored(Change(-0.02))) == [MAX_METRIC_DROP]
    assert rules(scored(Change(-0.008))) == [], "1 % of 0.9 is 0.009"


def test_no_threshold_rejects_nothing() -> None:
    assert rules(scored(Change(-0.9, -0.9, -0.9)), Thresholds()) == rules(FAR, Thresholds()) == []
