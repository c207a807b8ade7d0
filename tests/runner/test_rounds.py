"""Turns of several models on one device."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from devicekit.cache import sha256_file
from devicekit.device.seam import Completed
from devicekit.errors import Lost, MeasurementError
from devicekit.measurement import Plan
from devicekit.runner.measure import RunnableModel
from devicekit.runner.rounds import measure_in_rounds, only
from devicekit.testing import FAKE_FACTS, FakeDevice, write_dense_model

PLAN = Plan(min_runs=10, min_s=0.0, timeout_s=30)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, RunnableModel]:
    paths = {name: write_dense_model(tmp_path / f"{name}.tflite", seed=i) for i, name in enumerate("abcd")}
    return {name: RunnableModel(path, sha256_file(path)) for name, path in paths.items()}


def order_of(device: FakeDevice, models: dict[str, RunnableModel]) -> list[str]:
    """Returns the names of the models in the order they ran."""
    by_prefix = {f"{model.sha256[:12]}.": name for name, model in models.items()}
    runs = [command for command in device.commands if "board_script.py" in command and "-S" in command]
    prefixes = [word.removeprefix("prefix=") for run in runs for word in run if word.startswith("prefix=")]
    return [by_prefix[prefix] for prefix in prefixes]


def test_every_round_has_each_model_once_in_an_order_of_its_own(models: dict[str, RunnableModel]) -> None:
    orders = []
    for _ in range(2):
        device = FakeDevice()
        rounds = measure_in_rounds(device, models, PLAN, count=4)
        orders.append(order_of(device, models))
        assert all(len(taken) == 4 for taken in rounds.taken.values())
    first = orders[0]
    turns = [first[i : i + 4] for i in range(0, 16, 4)]
    assert turns[0] == list(models)
    assert all(sorted(turn) == list(models) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 2
    assert orders[1] == first  # the same in every run


def test_models_that_take_turns_are_pushed_once(models: dict[str, RunnableModel]) -> None:
    device = FakeDevice()
    measure_in_rounds(device, models, PLAN, count=3)
    assert len(device.pushed) == len(set(device.pushed))


def test_what_fails_takes_no_further_turn_and_the_others_go_on(models: dict[str, RunnableModel]) -> None:
    bad = f"prefix={models['b'].sha256[:12]}."

    def answer(argv: Sequence[str]) -> Completed | None:
        return Completed(0, "noise", "") if bad in argv else None

    device = FakeDevice(run=answer)
    rounds = measure_in_rounds(device, models, PLAN, count=3)
    assert (list(rounds.failed), rounds.taken["b"], rounds.lost) == (["b"], (), None)
    assert [len(rounds.taken[name]) for name in "acd"] == [3, 3, 3]
    assert order_of(device, models).count("b") == 1
    with pytest.raises(MeasurementError):
        only(rounds)


def test_what_was_measured_stays_when_the_device_is_lost(models: dict[str, RunnableModel]) -> None:
    runs = []

    def answer(argv: Sequence[str]) -> Completed | None:
        if "board_script.py" in argv and "-S" in argv:
            runs.append(argv)
            if len(runs) == 6:
                raise Lost("fake:1", during="measuring")
        return None

    rounds = measure_in_rounds(FakeDevice(run=answer), models, PLAN, count=3)
    assert isinstance(rounds.lost, Lost)
    assert sum(len(taken) for taken in rounds.taken.values()) == 5


def test_the_governor_is_set_around_all_turns_and_a_refusal_is_a_note(
    models: dict[str, RunnableModel],
) -> None:
    said = []

    def answer(argv: Sequence[str]) -> Completed | None:
        if argv[0] == "sh" and "scaling_governor" in argv[2] and "echo performance" in argv[2]:
            said.append(argv[2])
            return Completed(0, "refused schedutil\n", "")
        return None

    plan = replace(PLAN, governor="performance")
    rounds = measure_in_rounds(FakeDevice(FAKE_FACTS, run=answer), models, plan, count=2)
    assert len(said) == 1
    [note] = rounds.taken["a"][0].notes[:1]
    assert note == "the governor is not performance: setting it is not permitted, it stays schedutil"
