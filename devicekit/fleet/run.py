"""Running a fleet: every cell is filed as soon as it is known; one failure never stops the others."""

import contextvars
import itertools
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from devicekit import progress
from devicekit import words as fmt
from devicekit.device.lock import locked
from devicekit.device.temporary import folder_prefix
from devicekit.errors import Busy, DevicekitError, StoreError, UsageError
from devicekit.fleet.builds import Artifact, build_all, need_of
from devicekit.fleet.cell import run_cell
from devicekit.fleet.plan import RETRY_S, FleetPlan, Job, plan_fleet, read_plan
from devicekit.fleet.rows import on_row
from devicekit.pipeline.making import AS_PROFILES_SAY, Making
from devicekit.runner.measuring import NO_WISHES, Measuring
from devicekit.store.filing import Outcome, end_run, file_cell, new_run
from devicekit.store.open import Store, open_store
from devicekit.store.reading import cells_of, find_run

_log = logging.getLogger(__name__)

ROUNDS = 5
# Devices that are measured at once, where nobody says how many: a thread each, which mostly waits.
MOST_JOBS = 16

# What runs the cells: the run's jobs and a function to file each outcome in, called from any thread.
Scheduler = Callable[[FleetPlan, Sequence[Job], Callable[[Job, Outcome], None]], None]


def fleet_run(
    models: Sequence[str | Path],
    *,
    fleet: str | Path | None = None,
    where: str | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    store: str | Path | None = None,
    label: str | None = None,
    rounds: int = ROUNDS,
    retry_s: float = RETRY_S,
    making: Making = AS_PROFILES_SAY,
    measuring: Measuring = NO_WISHES,
    threads: int | None = None,
) -> str:
    """Runs every model on every device of the fleet that `where` keeps; returns the run's id.

    `jobs` devices are measured at once (None: MOST_JOBS), one thing at a time on each; `scheduler` is a
    dask scheduler's address that spreads them over hosts instead. `label` is a name for the run, as a
    baseline. A lost device is tried once more after `retry_s`; cells that fail are filed with their reason.
    Raises ProfileError, UsageError and LoadError before anything runs, StoreError where results cannot be
    filed.
    """
    plan = plan_fleet(
        models,
        fleet=fleet,
        where=where,
        making=making,
        measuring=measuring,
        threads=threads,
        rounds=rounds,
        retry_s=retry_s,
    )
    run_all = _scheduled(scheduler, jobs)
    with open_store(store) as opened:
        run_id = new_run(opened, "fleet", plan.to_json(), [job.cell for job in plan.jobs], label=label)
        _run(opened, run_id, plan, plan.jobs, run_all)
    return run_id


def fleet_resume(
    run: str, *, jobs: int | None = None, scheduler: str | None = None, store: str | Path | None = None
) -> str:
    """Goes on with an interrupted run: what is measured is kept, the rest is done; returns the run's id.

    Cells that failed are tried again. Raises UsageError where a model or profile has changed since, Busy
    where the run is going on elsewhere on this host, and as `fleet_run`.
    """
    run_all = _scheduled(scheduler, jobs)
    with open_store(store) as opened:
        with opened.reading() as connection:
            found = find_run(connection, run, kind="fleet")
            done = {(one.model, one.device) for one in cells_of(connection, found.id) if one.state == "done"}
        plan = read_plan(found.plan, found.id)
        left = [job for job in plan.jobs if (job.cell.model.name, job.entry.name) not in done]
        _run(opened, found.id, plan, left, run_all)
    return found.id


def _scheduled(scheduler: str | None, jobs: int | None) -> Scheduler:
    """Returns what runs cells: threads here, or a dask cluster. Raises UsageError where there is none."""
    if scheduler is None:
        return lambda plan, left, file: _run_here(plan, left, file, jobs=jobs)
    from devicekit.fleet.cluster import connected, run_on_cluster

    client = connected(scheduler)  # before anything is filed
    return lambda plan, left, file: run_on_cluster(client, plan, left, file)


def _run(store: Store, run_id: str, plan: FleetPlan, left: Sequence[Job], run_all: Scheduler) -> None:
    ended = itertools.count(1)

    def file(job: Job, outcome: Outcome) -> None:
        file_cell(store, run_id, job.cell, outcome)
        _tell(plan, job, outcome)
        done = next(ended)
        progress.report("run", detail=f"{done} of {len(left)} done", done=done, total=len(left))

    try:
        with _alone(run_id):
            progress.report("run", detail=f"{run_id}   {_shape(plan)}", total=len(left))
            run_all(plan, left, file)
        end_run(store, run_id)
    except KeyboardInterrupt:
        _log.warning(
            "run %s was interrupted; what is measured is kept: devicekit fleet run --resume %s",
            run_id,
            run_id,
        )
        raise
    except StoreError:
        _log.warning("run %s ended early; go on with: devicekit fleet run --resume %s", run_id, run_id)
        raise


@contextmanager
def _alone(run_id: str) -> Iterator[None]:
    """Holds a run against another kit on this host that would resume it meanwhile. Raises UsageError."""
    try:
        with locked(f"run:{run_id}", wait_s=0.0):
            yield
    except Busy as error:
        if f"run:{run_id}" not in error.message:
            raise
        raise UsageError(
            f"{run_id} is going on in another process", remedy="wait for it to end, or end it first"
        ) from error


def _run_here(
    plan: FleetPlan, left: Sequence[Job], file: Callable[[Job, Outcome], None], *, jobs: int | None
) -> None:
    """Runs the jobs on threads, a device at a time on each; artifacts are built on this one."""
    devices: dict[str, list[Job]] = {}  # by address: one device under two names is still one device
    for job in left:
        devices.setdefault(job.entry.address, []).append(job)
    artifacts: dict[str, Future[Artifact]] = {need_of(job): Future() for job in left}
    stop = threading.Event()

    def run_device(queue: Sequence[Job]) -> None:
        for job in queue:
            with on_row(job.entry.name, stop):
                progress.report("waiting", detail=f"for the artifact of {job.cell.model.name}")
                outcome = _outcome(job, plan, artifacts[need_of(job)])
            file(job, outcome)

    workers = min(jobs or MOST_JOBS, max(len(devices), 1))
    with (
        tempfile.TemporaryDirectory(prefix=folder_prefix()) as keep,
        ThreadPoolExecutor(workers, thread_name_prefix="device") as pool,
    ):
        running = [
            pool.submit(contextvars.copy_context().run, run_device, queue) for queue in devices.values()
        ]
        try:
            build_all(plan, left, artifacts, Path(keep))
            wait(running, return_when=FIRST_EXCEPTION)
            for one in running:
                if one.done():
                    one.result()
        except BaseException:  # Ctrl-C, or a store that takes nothing more: end the others too
            stop.set()
            for one in running:
                one.cancel()
            for waited in artifacts.values():
                waited.cancel()
            raise


def _outcome(job: Job, plan: FleetPlan, artifact: Future[Artifact]) -> Outcome:
    try:
        built = artifact.result()
        built.refuse_unfit(job)
    except DevicekitError as error:
        return Outcome(error, attempts=0)
    return run_cell(
        built,
        job.profile,
        job.entry.address,
        measuring=plan.measuring,
        threads=plan.threads,
        rounds=plan.rounds,
        retry_s=plan.retry_s,
    )


def _tell(plan: FleetPlan, job: Job, outcome: Outcome) -> None:
    """Reports how a cell ended, on its device's row."""
    if outcome.error is not None:
        words = f"failed: {outcome.error.message}"
    else:
        [candidate] = outcome.candidates
        assert candidate.measurement is not None
        taken = candidate.measurement
        words = (
            f"{candidate.recipe}   {fmt.ms(taken.latency.typical_us)} ms   "
            f"{fmt.mib(taken.memory.must_have_bytes)}   {taken.stability}"
        )
    if len({one.model for one in plan.jobs}) > 1:
        words = f"{job.cell.model.name}   {words}"
    progress.report(job.entry.name, detail=words.splitlines()[0], done=1, total=1)


def _shape(plan: FleetPlan) -> str:
    models, devices = ({job.model for job in plan.jobs}, {job.entry.name for job in plan.jobs})
    return f"{fmt.plural(len(models), 'model')} × {fmt.plural(len(devices), 'device')}"
