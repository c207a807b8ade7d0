"""Runs for tests, without a device: measurements whose samples are computed, never passed off as measured."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from devicekit.errors import DevicekitError
from devicekit.finding import Finding
from devicekit.fit.candidate import Candidate
from devicekit.measurement import Measurement, Memory, stability, summarize
from devicekit.profile.lookup import load_profile
from devicekit.profile.schema import Profile
from devicekit.quantize.fidelity import Fidelity
from devicekit.store.filing import ModelRef, Outcome, PlannedCell, end_run, file_cell, new_run
from devicekit.store.open import Store
from devicekit.testing import FAKE_FACTS


def measured(
    median_us: float = 1000.0,
    *,
    spread: float = 0.01,
    rounds: int = 5,
    count: int = 20,
    seed: int = 0,
    model: str = "m",
    must_have_bytes: int | None = 2 * 2**20,
    **others: Any,
) -> Measurement:
    """Returns a measurement: each round is off by a normal `spread` as a whole, samples by a tenth of it."""
    chance = random.Random(seed)
    samples = []
    for _ in range(rounds):
        middle = median_us * (1 + chance.gauss(0, spread))
        samples += [middle * (1 + chance.gauss(0, spread / 10)) for _ in range(count)]
    values: dict[str, Any] = {
        "evidence": "emulated",
        "runner": "script",
        "runtime_version": "2.3.0",
        "threads": 1,
        "latency": summarize(samples, first_us=2 * median_us, init_us=10 * median_us),
        "memory": Memory(must_have_bytes, 3 * 2**20, 14 * 2**20, "computed"),
        "conditions": {"before": {"hottest_c": 31.0}, "after": {"hottest_c": 33.0}},
        "stability": stability(samples),
        "device": "fake:1",
        "model": model,
        "model_sha256": "a" * 64,
        "round_counts": (count,) * rounds,
    }
    return Measurement(**{**values, **others})


def candidate(
    measurement: Measurement | None, *, recipe: str = "int8", findings: Sequence[Finding] = ()
) -> Candidate:
    return Candidate(
        recipe=recipe,
        path=None,
        size_bytes=55_000,
        sha256="b" * 64,
        status="chosen",
        findings=tuple(findings),
        fidelity=Fidelity(0.9996, 40.0, 0.01, 0.997, None, None, 100),
        measurement=measurement,
    )


def planned(model: str = "net", device: str = "desk", profile: str | Profile = "pixel7") -> PlannedCell:
    target = load_profile(profile) if isinstance(profile, str) else profile
    return PlannedCell(ModelRef(model, "c" * 64, "Keras 2.11 functional"), target, device, f"fake:{device}")


def outcome(
    measurement: Measurement | None,
    *,
    error: DevicekitError | None = None,
    recipe: str = "int8",
    findings: Sequence[Finding] = (),
    **facts: Any,
) -> Outcome:
    if error is not None:
        return Outcome(error)
    return Outcome(
        None,
        (candidate(measurement, recipe=recipe, findings=findings),),
        facts=replace(FAKE_FACTS, **facts),
        versions={"ai-edge-litert": "2.3.0"},
    )


def file_run(
    store: Store,
    cells: Sequence[tuple[PlannedCell, Outcome | None]],
    *,
    label: str | None = None,
    ends: bool = True,
) -> str:
    """Files a fleet run of these cells and returns its id; a cell without an outcome stays planned."""
    run = new_run(
        store, "fleet", {"models": [], "fleet": "fleet.toml"}, [one for one, _ in cells], label=label
    )
    for cell, found in cells:
        if found is not None:
            file_cell(store, run, cell, found)
    if ends:
        end_run(store, run)
    return run
