"""One cell of a fleet run: an artifact on a device, measured in rounds, tried again where it was lost."""

import time
from dataclasses import replace

from devicekit import progress
from devicekit.device.connect import connect
from devicekit.device.matching import refuse_others
from devicekit.device.seam import DeviceFacts
from devicekit.fleet.builds import Artifact, failure_of
from devicekit.measurement import Measurement, pooled
from devicekit.pipeline.screening import measured_findings
from devicekit.profile.schema import Profile
from devicekit.runner.limits import hard, plan_for
from devicekit.runner.measure import RunnableModel
from devicekit.runner.measuring import Measuring, suited_to
from devicekit.runner.rounds import measure_in_rounds
from devicekit.store.filing import Outcome

# Tries of a cell whose error is transient.
ATTEMPTS = 2


def run_cell(
    artifact: Artifact,
    profile: Profile,
    address: str,
    *,
    measuring: Measuring,
    threads: int | None,
    rounds: int,
    retry_s: float,
) -> Outcome:
    """Returns how an artifact did on a device, an error included; never raises but for Ctrl-C."""
    attempt = 1
    while True:
        try:
            measurement, facts = _measured(artifact, profile, address, measuring, threads, rounds)
        except Exception as caught:
            error = failure_of(caught)
            if not error.transient or attempt == ATTEMPTS:
                return Outcome(error, attempts=attempt)
            progress.report("lost", detail=f"retrying {attempt} of {ATTEMPTS - 1}: {error.message}")
            time.sleep(retry_s)
            attempt += 1
            continue
        findings = tuple(measured_findings(profile, measurement))
        candidate = replace(artifact.candidate, measurement=measurement, findings=findings)
        return Outcome(None, (candidate,), facts=facts, attempts=attempt, versions=artifact.versions)


def _measured(
    artifact: Artifact, profile: Profile, address: str, how: Measuring, threads: int | None, rounds: int
) -> tuple[Measurement, DeviceFacts]:
    candidate = artifact.candidate
    assert candidate.path and candidate.sha256
    how = suited_to(how, profile)
    progress.report("connecting")
    with connect(address, keep=how.keep, accept_new_host_key=how.accept_new_host_key) as board:
        facts = board.describe()
        notes = refuse_others(profile, facts, strict=how.strict)
        plan = how.applied_to(plan_for(profile, facts, threads=threads))
        plan = replace(plan, notes=(*plan.notes, *notes))
        model = RunnableModel(candidate.path, candidate.sha256, golden=candidate.golden)
        with hard(board, plan, how) as (place, under):
            taken = measure_in_rounds(place, {candidate.recipe: model}, under, count=rounds, how=how)
    if taken.lost is not None:
        raise taken.lost
    for error in taken.failed.values():
        raise error
    return pooled(taken.taken[candidate.recipe]), facts
