"""Filing what `deploy` found, as a run of one cell."""

import logging
from dataclasses import replace
from pathlib import Path

from devicekit.errors import StoreError
from devicekit.pipeline.deployment import Deployment
from devicekit.store.filing import ModelRef, Outcome, PlannedCell, end_run, file_cell, new_run
from devicekit.store.open import open_store

_log = logging.getLogger(__name__)
NOWHERE = ""


def file_in_store(deployment: Deployment, device: str, store: str | Path | None) -> Deployment:
    """Files a deployment, measured on the device of that name, in a store; returns it with its run's id.

    `store` is as in `open_store`; NOWHERE for none. The results lie in the deployment's folder by now: a
    store that takes nothing is a warning, not the end.
    """
    if store == NOWHERE:
        return deployment
    source, profile = deployment.source, deployment.profile
    model = ModelRef(deployment.name, source.sha256, source.kind)
    cell = PlannedCell(model, profile, device, deployment.device.address)
    outcome = Outcome(
        deployment.error,
        deployment.candidates,
        facts=deployment.device,
        versions=deployment.to_json()["versions"],
    )
    folder = deployment.folder and str(deployment.folder.resolve())
    plan = {"model": str(deployment.model.resolve()), "folder": folder}
    try:
        with open_store(store) as opened:
            run_id = new_run(opened, "deploy", plan, [cell])
            file_cell(opened, run_id, cell, outcome)
            end_run(opened, run_id)
    except StoreError as error:
        _log.warning("not filed in the store: %s; %s", error.message, error.remedy)
        return deployment
    return replace(deployment, run=run_id)
